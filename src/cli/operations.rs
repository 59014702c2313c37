//! `operations`: the catalogue of activity names, to write rules by.

use std::process::ExitCode;

use serde::Serialize;

use super::{Output, exit, out};
use crate::rules::catalogue::{self, Concerns, Operation};

/// Arguments of `operations`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Words that dialect, service, name or meaning must hold, all of them; without any, everything that is known
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Printed as it is with `-o json`.
#[derive(Serialize)]
struct Found {
    operations: Vec<&'static Operation>,
    /// Where nothing was found: what was probably meant, the likeliest first.
    nearest: Vec<&'static str>,
}

/// Prints what is found; 1 if nothing is.
#[expect(clippy::needless_pass_by_value, reason = "every command takes its arguments alike")]
pub(crate) fn run(args: Args) -> ExitCode {
    let query = args.words.join(" ");
    let operations = catalogue::search(&query);
    let nearest = if operations.is_empty() { catalogue::nearest(&[], &query) } else { Vec::new() };
    let found = Found { operations, nearest };
    match args.output {
        Output::Json => out::json(&found),
        Output::Text => print(&found, &query),
    }
    if found.operations.is_empty() { ExitCode::from(exit::FAILED) } else { ExitCode::SUCCESS }
}

fn print(found: &Found, query: &str) {
    let mut above = None;
    for operation in &found.operations {
        let heading = (operation.dialect, operation.service);
        if above != Some(heading) {
            if above.is_some() {
                outln!("");
            }
            outln!("{}, {}", heading.0.as_str(), heading.1);
            above = Some(heading);
        }
        let concerns = operation.concerns.map_or("", Concerns::as_str);
        let meaning = if operation.meaning.is_empty() { String::new() } else { format!(": {}", operation.meaning) };
        outln!("  {concerns:<9} {}{meaning}", operation.name);
    }
    if found.operations.is_empty() {
        outln!("nobody has seen `{query}`{}", catalogue::did_you_mean(&found.nearest));
    }
}
