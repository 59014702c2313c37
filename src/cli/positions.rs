//! `positions`: where each partition is read.

mod set;

use std::process::ExitCode;

use super::store::with;
use super::{Options, Output, out};

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
    /// Read a partition from another offset on; prints what that means, and does it with --apply
    Set(set::Args),
}

/// Runs the command.
pub(crate) fn run(args: Args) -> ExitCode {
    let Args { options, command } = args;
    match command {
        Command::List => list(&options),
        Command::Set(args) => set::run(&options, &args).unwrap_or_else(|code| code),
    }
}

fn list(options: &Options) -> ExitCode {
    let positions = match options
        .file
        .load()
        .and_then(|config| with(&config, |store| async move { store.all_positions().await }))
    {
        Ok(positions) => positions,
        Err(code) => return code,
    };
    for row in positions {
        match options.output {
            Output::Json => out::json(&row),
            Output::Text => outln!(
                "{}:{}:{} next={} bad={} accepted_at={} cluster={}",
                row.source,
                row.topic,
                row.partition,
                row.next,
                row.bad,
                row.at,
                row.cluster
            ),
        }
    }
    ExitCode::SUCCESS
}
