//! `inspect`: what we understand of records, one JSON object each.

use std::process::ExitCode;

use super::input::Input;
use crate::record::envelope::Item;
use crate::record::view::View;

/// Arguments of `inspect`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Add the record as it came, as the last key
    #[arg(long)]
    raw: bool,
}

/// Runs the command: 1 if anything could not be read, 2 if the file could not.
#[expect(clippy::needless_pass_by_value, reason = "every command takes its arguments alike")]
pub(crate) fn run(args: Args) -> ExitCode {
    args.input.each(&mut |position, item, output| match item {
        Item::Record(raw) => {
            let record = raw.read(position, None);
            let view = View::from(&record);
            output.line(&if args.raw { view.with_raw(&record) } else { view })
        }
        Item::Dead(dead) => output.line(&View::of_dead(&position, &dead)),
    })
}
