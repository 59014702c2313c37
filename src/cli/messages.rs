//! `messages`: the outbox. Addresses are shown: the result is for the operator who asked, on stdout.

use std::process::ExitCode;

use super::store::{print_json, who, with};
use super::{Options, Output, exit};
use crate::clock::Clock;
use crate::plan::NotificationId;
use crate::store::State;
use crate::store::operate::{Change, Detail, Filter, Message};

/// Arguments of `messages`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List messages, newest first
    List {
        /// Only messages in this state
        #[arg(long, value_parser = state)]
        state: Option<State>,
        /// Only messages of this channel
        #[arg(long)]
        channel: Option<String>,
        /// Only numbers below this one (the last of the page before)
        #[arg(long, value_name = "NUMBER")]
        before: Option<i64>,
        /// Most messages
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one message, what it stands for and what was tried
    Show {
        /// A message's key (left side of the Message-ID), or the id of any of its notifications
        #[arg(value_parser = key)]
        key: NotificationId,
    },
    /// Make messages due now: such as wait, failed, expired or were cancelled
    Retry {
        /// Keys of messages
        #[arg(required = true, value_parser = key)]
        keys: Vec<NotificationId>,
    },
    /// End messages that are not being sent
    Cancel {
        /// Keys of messages
        #[arg(required = true, value_parser = key)]
        keys: Vec<NotificationId>,
    },
}

/// Runs the command; 1 if there is no such message or a change could not be made.
pub(crate) fn run(args: Args) -> ExitCode {
    let Args { options, command } = args;
    let done = match command {
        Command::List { state, channel, before, limit } => list(&options, Filter { state, channel, before, limit }),
        Command::Show { key } => show(&options, key),
        Command::Retry { keys } => change(&options, &keys, "retry"),
        Command::Cancel { keys } => change(&options, &keys, "cancel"),
    };
    done.unwrap_or_else(|code| code)
}

fn list(options: &Options, filter: Filter) -> Result<ExitCode, ExitCode> {
    let messages = with(options, |store| async move { store.messages(filter).await })?;
    for message in &messages {
        match options.output {
            Output::Json => print_json(message),
            Output::Text => print(message),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(message: &Message) {
    let Message { number, key, state, channel, recipient, rule, created_at, attempts, .. } = message;
    let state = if message.claimed { "sending" } else { *state };
    println!("{number} {key} {state} {channel} {rule} {recipient} {created_at} attempts={attempts}");
}

fn show(options: &Options, key: NotificationId) -> Result<ExitCode, ExitCode> {
    let Some(detail) = with(options, |store| async move { store.message(key).await })? else {
        eprintln!("{key}: no such message");
        return Ok(ExitCode::from(exit::FAILED));
    };
    match options.output {
        Output::Json => print_json(&detail),
        Output::Text => print_detail(&detail),
    }
    Ok(ExitCode::SUCCESS)
}

fn print_detail(Detail { message, notifications, tries }: &Detail) {
    print(message);
    let line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            println!("  {name}: {value}");
        }
    };
    line("address", message.address.clone());
    line("due", message.due_at.map(|at| at.to_string()));
    line("expires", Some(message.expires_at.to_string()));
    line("done", message.done_at.map(|at| at.to_string()));
    line("reply", message.reply.clone());
    line("reference", message.reference.clone());
    for one in notifications {
        let (origin, reason) = (one.origin.as_deref().unwrap_or("-"), one.reason.as_deref().unwrap_or("-"));
        println!("  notification {} {} {} {origin} reason={reason}", one.id, one.rule, one.at);
    }
    for one in tries {
        println!("  attempt {} {} {} {}", one.n, one.at, one.verdict, one.reply.as_deref().unwrap_or_default());
    }
}

fn change(options: &Options, keys: &[NotificationId], what: &str) -> Result<ExitCode, ExitCode> {
    let (now, who) = (Clock::system().now(), who());
    let changes = with(options, |store| async move {
        let mut changes = Vec::new();
        for key in keys {
            changes.push(match what {
                "retry" => store.retry(*key, &who, now).await?,
                _ => store.cancel(*key, &who, now).await?,
            });
        }
        Ok(changes)
    })?;
    for (key, change) in keys.iter().zip(&changes) {
        match (change, options.output) {
            (Change::Done, Output::Text) => println!("{key} {what}: done"),
            (Change::Done, Output::Json) => print_json(&serde_json::json!({"key": key.to_string(), "done": true})),
            (refused, _) => eprintln!("{key}: {}", why(*refused)),
        }
    }
    let all = changes.iter().all(|change| *change == Change::Done);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

fn why(change: Change) -> String {
    match change {
        Change::Done => "done".into(),
        Change::Unknown => "no such message".into(),
        Change::BeingSent => "being sent, try again".into(),
        Change::Ended(state) => format!("is {} already", state.name()),
        Change::ContentGone => "its records are past [store] content: there is nothing left to send".into(),
    }
}

fn state(text: &str) -> Result<State, String> {
    let known = State::ALL.map(State::name);
    State::ALL.into_iter().find(|state| state.name() == text).ok_or_else(|| format!("one of {}", known.join(", ")))
}

/// 32 hexadecimal digits; a whole Message-ID will do.
fn key(text: &str) -> Result<NotificationId, String> {
    let digits = text.trim_start_matches('<').split('@').next().unwrap_or_default();
    let bytes: Option<Vec<u8>> = (digits.len() == 32 && digits.is_ascii())
        .then(|| (0..32).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect())
        .flatten();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map(NotificationId)
        .ok_or_else(|| "a key is 32 hexadecimal digits".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_digits_or_from_a_message_id() {
        let id = NotificationId([0x0f; 16]);
        assert_eq!(key(&id.to_string()), Ok(id));
        assert_eq!(key(&format!("<{id}@example.com>")), Ok(id));
        for wrong in ["", "0f", "zz0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0fää"] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }
}
