//! `dead-letters`: what could not be read, with its bytes and its place.

mod replay;

use std::process::ExitCode;

use base64::Engine as _;

use super::store::{who, with};
use super::{Options, Output, exit, out};
use crate::clock::Clock;
use crate::store::operate::DeadLetterRow;

/// Arguments of `dead-letters`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List dead letters, newest first
    List {
        /// Only numbers below this one (the last of the page before)
        #[arg(long, value_name = "NUMBER")]
        before: Option<i64>,
        /// Most dead letters
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one with its bytes, as text; -o json has them exactly, in base64
    Show {
        /// From the list
        number: i64,
    },
    /// Read dead letters again, by this version and this configuration; tell what was not told yet
    Replay {
        /// From the list
        #[arg(required_unless_present = "all")]
        numbers: Vec<i64>,
        /// All of them, oldest first
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
    },
    /// Delete dead letters; a partition that was held for too many bad messages goes on
    Discard {
        /// From the list
        #[arg(required_unless_present = "all")]
        numbers: Vec<i64>,
        /// All of them
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
    },
}

/// Runs the command; 1 if there is no such dead letter.
pub(crate) fn run(args: Args) -> ExitCode {
    let Args { options, command } = args;
    let done = match command {
        Command::List { before, limit } => list(&options, before, limit),
        Command::Show { number } => show(&options, number),
        Command::Replay { numbers, all } => replay::run(&options, (!all).then_some(numbers)),
        Command::Discard { numbers, all } => discard(&options, (!all).then_some(numbers)),
    };
    done.unwrap_or_else(|code| code)
}

fn list(options: &Options, before: Option<i64>, limit: u32) -> Result<ExitCode, ExitCode> {
    for letter in with(&options.file.load()?, |store| async move { store.dead_letters(before, limit).await })? {
        match options.output {
            Output::Json => out::json(&letter),
            Output::Text => print(&letter),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(letter: &DeadLetterRow) {
    let DeadLetterRow { number, source, topic, partition, offset, at, error, .. } = letter;
    let item = letter.item.map_or_else(|| "-".to_owned(), |item| item.to_string());
    let bytes = letter.bytes.unwrap_or_default();
    outln!("{number} {source}:{topic}:{partition}:{offset}:{item} {error} {at} bytes={bytes}");
}

fn show(options: &Options, number: i64) -> Result<ExitCode, ExitCode> {
    let Some((letter, body)) = with(&options.file.load()?, |store| async move { store.dead_letter(number).await })?
    else {
        eprintln!("{number}: no such dead letter");
        return Ok(ExitCode::from(exit::FAILED));
    };
    match options.output {
        Output::Json => {
            let mut value = serde_json::json!(letter);
            value["body_base64"] = body.map(|body| base64::engine::general_purpose::STANDARD.encode(body)).into();
            out::json(&value);
        }
        Output::Text => {
            print(&letter);
            match body {
                Some(body) => String::from_utf8_lossy(&body).lines().for_each(|line| outln!("  {line}")),
                None => outln!("(its bytes are past [store] content)"),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn discard(options: &Options, numbers: Option<Vec<i64>>) -> Result<ExitCode, ExitCode> {
    let wanted = numbers.as_ref().map(Vec::len);
    let now = Clock::system().now();
    let discarded = with(&options.file.load()?, |store| async move { store.discard(numbers, &who(), now).await })?;
    match options.output {
        Output::Json => out::json(&serde_json::json!({ "discarded": discarded })),
        Output::Text => outln!("discarded: {discarded}"),
    }
    let all = wanted.is_none_or(|wanted| wanted == discarded);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}
