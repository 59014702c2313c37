//! `rules`: what rules there are, from where, whose, in which state, and when each last matched.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::store::with;
use super::{Options, Output, out};
use crate::clock::{Clock, Timestamp};
use crate::config::Listed;

/// Arguments of `rules`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
}

/// One rule; printed as it is with `-o json`, one object a line.
#[derive(Serialize)]
struct Row {
    id: Arc<str>,
    state: State,
    /// Null: never, or there is no store yet.
    last_match: Option<Timestamp>,
    file: String,
    line: Option<usize>,
    pack: Option<Arc<str>>,
    owner: Option<Arc<str>>,
    expires: Option<Timestamp>,
    /// How many `[[rule.test]]` it has.
    tests: usize,
    description: Arc<str>,
}

/// Whether a rule tells anybody.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It does.
    Live,
    /// Its matches are recorded, nobody is told.
    Shadow,
    /// `enabled = false`.
    Disabled,
    /// Its `expires` is over.
    Expired,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Shadow => "shadow",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
        }
    }

    fn of(listed: &Listed, now: Timestamp) -> Self {
        match () {
            () if !listed.enabled => Self::Disabled,
            () if listed.rule.is_over(now) => Self::Expired,
            () if listed.rule.shadow => Self::Shadow,
            () => Self::Live,
        }
    }
}

/// Prints all rules in config order; with a store and without one.
pub(crate) fn run(args: &Args) -> ExitCode {
    rules(&args.options).unwrap_or_else(|code| code)
}

fn rules(options: &Options) -> Result<ExitCode, ExitCode> {
    let config = options.file.load()?;
    // Before the first `run` there is nothing that could have matched.
    let matched: HashMap<Arc<str>, Timestamp> = if config.store.path.exists() {
        with(&config, |store| async move { store.last_matches().await })?.into_iter().collect()
    } else {
        eprintln!("{}: there is no store yet, so no rule has matched", config.store.path.display());
        HashMap::new()
    };
    let now = Clock::system().now();
    let rows: Vec<Row> = config
        .listed
        .iter()
        .map(|listed| Row {
            id: listed.rule.id.clone(),
            state: State::of(listed, now),
            last_match: matched.get(&listed.rule.id).copied(),
            file: listed.place.file.clone(),
            line: listed.place.line,
            pack: listed.pack.clone(),
            owner: listed.rule.owner.clone(),
            expires: listed.rule.expires,
            tests: listed.tests.iter().filter(|test| !test.set_aside).count(),
            description: listed.rule.description.clone(),
        })
        .collect();
    match options.output {
        Output::Json => rows.iter().for_each(out::json),
        Output::Text => print(&rows),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(rows: &[Row]) {
    let heading = ["ID", "STATE", "LAST MATCH", "OWNER", "PACK", "FILE"].map(str::to_owned);
    let of = |row: &Row| {
        let none = || "-".to_owned();
        let line = row.line.map_or_else(String::new, |line| format!(":{line}"));
        [
            row.id.to_string(),
            row.state.as_str().to_owned(),
            row.last_match.map_or_else(|| "never".to_owned(), |at| at.to_string()),
            row.owner.as_deref().map_or_else(none, str::to_owned),
            row.pack.as_deref().map_or_else(none, str::to_owned),
            format!("{}{line}", row.file),
        ]
    };
    let table: Vec<[String; 6]> = std::iter::once(heading).chain(rows.iter().map(of)).collect();
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    for row in &table {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        outln!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
