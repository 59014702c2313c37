//! `check`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{Global, Output, exit};
use crate::config::{self, Fault};

/// Arguments of `check`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Configurations to check; without any, the one of `--config`
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Warnings count as faults
    #[arg(long)]
    strict: bool,
}

/// Everything that was found in all files; printed as it is with `-o json`.
#[derive(Default, Serialize)]
struct Findings {
    ok: bool,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

/// Reports every fault and warning; 78 if there is a fault.
pub(crate) fn run(global: &Global, args: Args) -> ExitCode {
    let files = if args.files.is_empty() { vec![global.config.clone()] } else { args.files };
    let variables = config::environment();
    let mut found = Findings::default();
    for file in &files {
        let report = config::examine(file, &variables);
        found.faults.extend(report.faults);
        found.warnings.extend(report.warnings);
    }
    found.ok = found.faults.is_empty() && !(args.strict && !found.warnings.is_empty());
    match global.output {
        Output::Text => print(&found),
        Output::Json => println!("{}", serde_json::json!(found)),
    }
    if found.ok { ExitCode::SUCCESS } else { ExitCode::from(exit::CONFIG) }
}

fn print(found: &Findings) {
    for fault in &found.faults {
        println!("{fault}");
    }
    for warning in &found.warnings {
        println!("{warning} (warning)");
    }
    match (found.faults.len(), found.warnings.len()) {
        (0, 0) => println!("ok"),
        (0, warnings) => println!("ok, warnings: {warnings}"),
        (faults, warnings) => println!("faults: {faults}, warnings: {warnings}"),
    }
}
