//! `check`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::{Options, Output, exit, out};
use crate::app::parts;
use crate::channels::{
    self,
    past::{Logins, Past},
};
use crate::config::{self, ChannelSettings, Config, Fault};
use crate::source;
use crate::store::Store;

/// For each source: long enough for a TLS handshake with each of some brokers.
const PROBE_LIMIT: Duration = Duration::from_secs(15);

/// Arguments of `check`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    /// Configurations to check; without any, the one of `--config`
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Warnings count as faults
    #[arg(long)]
    strict: bool,
    /// Try the brokers, relays, Graph and webhooks as well, without sending anything; 1 if one cannot be used
    #[arg(long)]
    connect: bool,
}

/// Everything that was found in all files; printed as it is with `-o json`.
#[derive(Default, Serialize)]
struct Findings {
    ok: bool,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    /// With `--connect`.
    unreachable: Vec<Fault>,
}

/// Reports every fault and warning; 78 if there is a fault, 1 if something could not be reached.
pub(crate) fn run(args: Args) -> ExitCode {
    let files = if args.files.is_empty() { vec![args.options.file.config] } else { args.files };
    let variables = config::environment();
    let mut found = Findings::default();
    let mut configs = Vec::new();
    for file in &files {
        let report = config::examine(file, &variables);
        found.faults.extend(report.faults);
        found.warnings.extend(report.warnings);
        if let Some(config) = report.config {
            found.faults.extend(parts(&config));
            configs.push(config);
        }
    }
    let wrong = !found.faults.is_empty() || (args.strict && !found.warnings.is_empty());
    if args.connect && !wrong {
        found.unreachable = configs.iter().flat_map(unreachable).collect();
    }
    found.ok = !wrong && found.unreachable.is_empty();
    match args.options.output {
        Output::Text => print(&found),
        Output::Json => out::json(&found),
    }
    match (wrong, found.ok) {
        (true, _) => ExitCode::from(exit::CONFIG),
        (false, false) => ExitCode::from(exit::FAILED),
        (false, true) => ExitCode::SUCCESS,
    }
}

/// Faults of the files that the configuration names: templates, logo, people, certificates, the store's place.
pub(super) fn parts(config: &Config) -> Vec<Fault> {
    let mut faults = parts::build(config, &[], &Logins::default()).err().unwrap_or_default();
    faults.extend(Store::examine(&config.store).err().map(|error| config.fault("store.url", error.to_string())));
    faults
}

/// Tries every source and every relay; what cannot be used, by its table's name.
fn unreachable(config: &Config) -> Vec<Fault> {
    let sources =
        config.sources.iter().map(|source| (format!("source.{}", source.name), source::probe(source, PROBE_LIMIT)));
    let channels = config.channels.iter().map(|channel| (format!("channel.{}", channel.name), probe(channel)));
    sources
        .chain(channels)
        .filter_map(|(key, tried)| Some(config.fault(&key, format!("cannot be used: {:#}", tried.err()?))))
        .collect()
}

/// Up to the login, under the channel's own limits for each phase.
fn probe(channel: &ChannelSettings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let opened = channels::open(&channel.name, &channel.settings, &Past::default())?;
    runtime.block_on(opened.probe())
}

fn print(found: &Findings) {
    for fault in &found.faults {
        outln!("{fault}");
    }
    for warning in &found.warnings {
        outln!("{warning} (warning)");
    }
    for fault in &found.unreachable {
        outln!("{fault}");
    }
    match (found.faults.len() + found.unreachable.len(), found.warnings.len()) {
        (0, 0) => outln!("ok"),
        (0, warnings) => outln!("ok, warnings: {warnings}"),
        (faults, warnings) => outln!("faults: {faults}, warnings: {warnings}"),
    }
}
