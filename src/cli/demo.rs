//! `demo`.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::exit;
use crate::demo;

/// Arguments of `demo`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Deliver the samples once, print a summary and end: 0, or 1 if a mail is missing or was not expected
    #[arg(long)]
    once: bool,
    /// Where the inbox page listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    let options = demo::Options { once: args.once, listen: args.listen };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("auditbell: no runtime: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    match runtime.block_on(demo::run(options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(exit::FAILED),
        Err(error) => {
            eprintln!("auditbell: {error:#}");
            ExitCode::from(exit::FAILED)
        }
    }
}
