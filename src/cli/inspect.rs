//! `inspect`: what we understand of records, one JSON object each.

use std::path::PathBuf;
use std::process::ExitCode;

use super::at_fault;
use super::input::Input;
use crate::config;
use crate::record::Dialects;
use crate::record::envelope::Item;
use crate::record::view::View;

/// Arguments of `inspect`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Configuration whose mapping tables count too; without it, those that are shipped
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Add the record as it came, as the last key
    #[arg(long)]
    raw: bool,
}

/// Runs the command: 1 if anything could not be read, 2 if the file could not, 78 for a bad configuration.
pub(crate) fn run(args: Args) -> ExitCode {
    let dialects = match args.config.map(|path| config::load(&path)) {
        None => Dialects::shipped(),
        Some(Ok(config)) => config.dialects,
        Some(Err(faults)) => return at_fault(faults),
    };
    args.input.each(&mut |position, item, output| match item {
        Item::Record(raw) => {
            let record = raw.read(&dialects, position, None);
            let view = View::from(&record);
            output.line(&if args.raw { view.with_raw(&record) } else { view })
        }
        Item::Dead(dead) => output.line(&View::of_dead(&position, &dead)),
    })
}
