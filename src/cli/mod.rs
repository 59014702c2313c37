//! Owns the command line: one command per file, each with its `Args` and its `run`. Results go to stdout, talk to stderr.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::{self, Config, Fault};
use crate::people::People;

#[macro_use]
mod out;

mod check;
mod dead_letters;
mod demo;
mod explain;
mod init;
mod input;
mod inspect;
mod messages;
mod operations;
mod positions;
mod reload;
mod rules;
mod run;
mod schema;
mod send_test;
mod status;
mod store;
mod test;

/// Reads audit-log and alert records from Kafka and tells the person concerned, once.
#[derive(Parser, Debug)]
#[command(name = "auditbell", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// For the commands that read a configuration. `global`: it may follow a command's own subcommand as well.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct ConfigFile {
    /// Configuration file
    #[arg(short, long, global = true, value_name = "FILE", default_value = "/etc/auditbell/auditbell.toml")]
    pub config: PathBuf,
}

impl ConfigFile {
    /// The configuration, or its faults on stderr and 78.
    pub(crate) fn load(&self) -> Result<Config, ExitCode> {
        config::load(&self.config).map_err(at_fault)
    }
}

/// Says on stderr what is wrong with a configuration: 78.
fn at_fault(faults: impl IntoIterator<Item = Fault>) -> ExitCode {
    for fault in faults {
        eprintln!("{fault}");
    }
    ExitCode::from(exit::CONFIG)
}

/// Who is who, or what is wrong with the people file.
fn people(config: &Config) -> Result<People, ExitCode> {
    let people = People::load(config.people.clone());
    people.map_err(|error| at_fault([config.fault("people.csv", format!("{error:#}"))]))
}

/// For those of them that print for people or for programs, as asked.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Form of the result
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// `-o`.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the daemon
    Run(run::Args),
    /// Try the whole path on this machine: no Kafka, no mail server, no configuration
    Demo(demo::Args),
    /// Write a configuration to begin with into an empty directory
    Init(init::Args),
    /// Check the configuration, then let the running daemon take it over
    Reload(reload::Args),
    /// Report every fault and warning of a configuration
    Check(check::Args),
    /// Print what we understand of records; always as JSON, one object a line
    Inspect(inspect::Args),
    /// Print what would happen to records, or did, why, and why not
    Explain(explain::Args),
    /// Send one marked message through a real channel
    SendTest(send_test::Args),
    /// Run the `[[rule.test]]`s of a configuration
    Test(test::Args),
    /// What rules there are: from where, whose, in which state, and when each last matched
    Rules(rules::Args),
    /// The operation names that are known: who should hear of each, and what it means
    Operations(operations::Args),
    /// The outbox: list, show, retry, cancel, move, release, discard
    Messages(messages::Args),
    /// Unreadable records: list, show, replay, discard
    DeadLetters(dead_letters::Args),
    /// Where each partition is read: list, set
    Positions(positions::Args),
    /// How things stand: positions and lag, holds, channels and queues, worker, configuration, store
    Status(status::Args),
    /// The accountant: do the books of the store balance?
    Store(store::Args),
    /// JSON Schemas
    Schema(schema::Args),
}

/// The exit codes of `sysexits.h` that we use.
pub(crate) mod exit {
    /// The thing asked about failed.
    pub const FAILED: u8 = 1;
    /// The command line, or a file that it names (clap's code for usage).
    pub const USAGE: u8 = 2;
    /// The store is damaged or its disk fails (`EX_IOERR`).
    pub const STORE: u8 = 74;
    /// Try again: a lock, a broker (`EX_TEMPFAIL`).
    pub const TRY_AGAIN: u8 = 75;
    /// Bad configuration (`EX_CONFIG`).
    pub const CONFIG: u8 = 78;
}

/// Parses the command line and runs the command. Usage errors end with 2 (clap).
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Check(args) => check::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Explain(args) => explain::run(args),
        Command::SendTest(args) => send_test::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Operations(args) => operations::run(args),
        Command::Messages(args) => messages::run(args),
        Command::DeadLetters(args) => dead_letters::run(args),
        Command::Positions(args) => positions::run(args),
        Command::Status(args) => status::run(&args),
        Command::Store(args) => store::run(args),
        Command::Schema(args) => schema::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
