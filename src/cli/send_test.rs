//! `send-test`.

use std::process::ExitCode;

use super::{Global, exit};

/// Arguments of `send-test`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_global: &Global, _args: Args) -> ExitCode {
    ExitCode::from(exit::FAILED)
}
