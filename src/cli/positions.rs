//! `positions`: where each partition is read.

use std::process::ExitCode;

use super::store::{print_json, with};
use super::{Global, Output};

/// Arguments of `positions`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List the next offset of every partition
    List,
}

/// Runs the command.
#[expect(clippy::needless_pass_by_value, reason = "every command takes its arguments alike")]
pub(crate) fn run(global: &Global, args: Args) -> ExitCode {
    let Args { command: Command::List } = args;
    let positions = match with(global, |store| async move { store.all_positions().await }) {
        Ok(positions) => positions,
        Err(code) => return code,
    };
    for row in positions {
        match global.output {
            Output::Json => print_json(&row),
            Output::Text => println!(
                "{} {}/{} next={} at={} bad={} cluster={}",
                row.source, row.topic, row.partition, row.next, row.at, row.bad, row.cluster
            ),
        }
    }
    ExitCode::SUCCESS
}
