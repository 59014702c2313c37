//! `schema`: JSON Schemas for editors and programs.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::record::view;

/// Arguments of `schema`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Whose
    #[arg(value_enum)]
    of: Of,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// What `inspect` prints of a record
    Record,
    /// What `explain` prints of a record
    Explain,
}

/// Runs the command.
#[expect(clippy::needless_pass_by_value, reason = "every command takes its arguments alike")]
pub(crate) fn run(args: Args) -> ExitCode {
    let schema = match args.of {
        Of::Record => view::schema(),
        Of::Explain => super::explain::schema(),
    };
    for line in format!("{:#}", schema.as_value()).lines() {
        outln!("{line}");
    }
    ExitCode::SUCCESS
}
