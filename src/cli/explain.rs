//! `explain`: what would happen to records, or did, why, and why not. Records come from a file, by their id, or by the person
//! whom they name. It sends nothing and changes nothing.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::input::{Input, Output};
use super::messages::key;
use super::store::{Opened, missing};
use super::{Options, Output as Form, at_fault};
use crate::clock::{Clock, Timestamp, parse_duration};
use crate::config::{self, Config};
use crate::record::Record;
use crate::record::envelope::Item;

mod answer;
mod decide;
mod kept;
mod redact;
#[cfg(test)]
mod tests;
mod text;

pub(super) use answer::schema;
pub(super) use text::leaf;

use answer::Explanation;
use decide::Explainer;

/// Arguments of `explain`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    input: Input,
    /// The record of this id, or of the notification or message of this id: from the store, else with --since from the topics
    #[arg(long, value_name = "ID", conflicts_with_all = ["files", "lines", "person"])]
    id: Option<String>,
    /// Every record since --since that is about this person: those that the ledger knows, then those that the topics hold.
    /// An object id, UPN, address, DOMAIN\user or SID
    #[arg(long, value_name = "PERSON", conflicts_with_all = ["files", "lines"], requires = "since")]
    person: Option<String>,
    /// How far back to look: a span before now (3d) or a time (2026-01-22T18:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// Most records to look up
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    most: u32,
    /// Longest time to read the topics for
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = parse_duration)]
    within: Duration,
    /// Try the rule files of this directory (*.toml) in place of the configuration's own rules and included files; packs stay
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// Decide as of this moment (RFC 3339); without it, as of each record's own
    #[arg(long, value_name = "TIME", value_parser = now)]
    now: Option<Timestamp>,
    /// Look for addresses as far as a delivery would: also ask the store which mailboxes are not tried, because they were
    /// refused
    #[arg(long)]
    resolve: bool,
    /// Mask who and what the record is about, for somebody who shall not know
    #[arg(long)]
    redact: bool,
}

/// `--since`.
#[derive(Clone, Copy, Debug)]
enum Since {
    Ago(Duration),
    At(Timestamp),
}

fn since(text: &str) -> Result<Since, String> {
    let ago = parse_duration(text.trim_start_matches('-')).map(Since::Ago);
    ago.or_else(|_| moment(text).map(Since::At).map_err(|_| "neither a span as 3d nor a time of RFC 3339".to_owned()))
}

fn moment(text: &str) -> Result<Timestamp, jiff::Error> {
    text.parse::<jiff::Timestamp>().map(|at| Timestamp::from_millis(at.as_millisecond()))
}

fn now(text: &str) -> Result<Timestamp, String> {
    moment(text).map_err(|_| "no time of RFC 3339, as 2026-01-22T18:00:00Z".to_owned())
}

/// Runs the command: 1 if anything could not be read or found, 2 if the file could not, 75 if the brokers could not be asked,
/// 78 for a bad configuration. A store that is not there knows nothing.
pub(crate) fn run(args: Args) -> ExitCode {
    explain(args).unwrap_or_else(|code| code)
}

fn explain(args: Args) -> Result<ExitCode, ExitCode> {
    let Args { options, input, id, person, since, most, within, rules, now, resolve, redact } = args;
    let config = match &rules {
        None => options.file.load()?,
        Some(rules) => config::load_with_rules(&options.file.config, rules).map_err(at_fault)?,
    };
    let people = super::people(&config)?;
    let clock = Clock::system();
    let asked = id.is_some() || person.is_some();
    // Only what did happen needs a store; a file, and what the topics hold, is explained without one.
    let path = &config.store.path;
    let store = if path.exists() { Some(Opened::new(&config, false)?) } else { None };
    if asked && store.is_none() {
        let what = match since {
            Some(_) => "only the topics are searched",
            None => "nothing is known; with --since WHEN the topics are searched",
        };
        eprintln!("{}\n{what}", missing(path));
    }
    let explainer = Explainer {
        rules: config.rules.clone(),
        lookups: config.lookups.clone(),
        people,
        directory: config.people.clone(),
        fallbacks: config.channels.iter().map(|channel| (channel.name.clone(), channel.fallback.clone())).collect(),
        now,
    };
    let desk = Desk { config, explainer, store, resolve, redact, form: options.output, clock };
    let since = since.map(|since| match since {
        Since::Ago(span) => desk.clock.now().minus(span),
        Since::At(at) => at,
    });
    match (id, person, since) {
        (Some(id), _, since) => desk.of_id(&id, since, most, within),
        (None, Some(person), Some(since)) => desk.of_person(&person, since, most, within),
        _ => Ok(input.each(&mut |position, item, output| match item {
            Item::Record(raw) => desk.record(raw.read(&desk.config.dialects, position, None), None, output),
            Item::Dead(dead) => desk.show(decide::dead(position, dead), output),
        })),
    }
}

/// Where records are explained, with everything that is asked.
struct Desk {
    config: Config,
    explainer: Explainer,
    store: Option<Opened>,
    resolve: bool,
    redact: bool,
    form: Form,
    clock: Clock,
}

impl Desk {
    /// Explains `record` with what the store knows of it.
    fn record(&self, record: Record, broker_time: Option<Timestamp>, output: &mut Output) -> io::Result<()> {
        let (identity, at) = (record.identity(), record.time);
        let mut explanation = self.decide(record, broker_time);
        if let Some(store) = &self.store {
            let ids = explanation.notifications.iter().filter_map(|one| key(&one.id).ok()).collect();
            let history = store.ask(|store| async move { store.history(identity, at, ids).await });
            // What is wrong was said; what would happen is told all the same.
            explanation.history = history.unwrap_or_default();
        }
        self.show(explanation, output)
    }

    fn decide(&self, record: Record, broker_time: Option<Timestamp>) -> Explanation {
        let now = self.clock.now();
        let refused = |channel: &str, address: &str| {
            let Some(store) = self.store.as_ref().filter(|_| self.resolve) else { return false };
            store.ask(|store| async move { store.is_refused(channel, address, now).await }).unwrap_or_default()
        };
        self.explainer.record(record, broker_time, &refused)
    }

    fn show(&self, mut explanation: Explanation, output: &mut Output) -> io::Result<()> {
        if self.redact {
            redact::explanation(&mut explanation);
        }
        match self.form {
            Form::Json => output.line(&explanation),
            Form::Text => output.text(&text::of(&explanation)),
        }
    }
}
