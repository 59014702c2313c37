//! `positions`: where each partition is read.

use std::process::ExitCode;

use super::store::{configured, print_json, with};
use super::{Options, Output};

/// Arguments of `positions`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List the next offset of every partition
    List,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> ExitCode {
    let Args { options, command: Command::List } = args;
    let positions = match configured(&options)
        .and_then(|config| with(&config, |store| async move { store.all_positions().await }))
    {
        Ok(positions) => positions,
        Err(code) => return code,
    };
    for row in positions {
        match options.output {
            Output::Json => print_json(&row),
            Output::Text => println!(
                "{} {}/{} next={} at={} bad={} cluster={}",
                row.source, row.topic, row.partition, row.next, row.at, row.bad, row.cluster
            ),
        }
    }
    ExitCode::SUCCESS
}
