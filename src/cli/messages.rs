//! `messages`: the outbox. Addresses are shown: the result is for the operator who asked, on stdout.

mod show;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgGroup;

use super::store::{who, with};
use super::{Options, Output, exit, out};
use crate::clock::Clock;
use crate::config::Config;
use crate::plan::NotificationId;
use crate::store::State;
use crate::store::operate::{Action, Change, Filter, Message, Waiting, Which};

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
        /// Only messages in this state; `orphaned`: pending, on a channel that the configuration does not have
        #[arg(long, value_parser = listed)]
        state: Option<Listed>,
        /// Only messages of this rule
        #[arg(long)]
        rule: Option<String>,
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
    /// Show one message: its records, every attempt with its reply, what it stands for and what stands for it
    Show {
        /// A message's key (left side of the Message-ID), or the id of any of its notifications
        #[arg(value_parser = key)]
        key: NotificationId,
        /// With the records as they came
        #[arg(long)]
        raw: bool,
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
    /// Move messages that wait or are held to another channel of their kind
    #[command(group = ArgGroup::new("which").required(true).args(["keys", "channel"]))]
    Move {
        /// Keys of messages
        #[arg(value_parser = key)]
        keys: Vec<NotificationId>,
        /// Everything unfinished of this channel; it need not be in the configuration any more
        #[arg(long)]
        channel: Option<String>,
        /// The channel that they shall leave by
        #[arg(long, value_name = "CHANNEL")]
        to: String,
        /// Only print what would be moved
        #[arg(long)]
        dry_run: bool,
    },
    /// Let go what the brake holds, in the order in which it came; without a choice, print what is held
    Release(Choice),
    /// End what the brake holds; without a choice, print what is held
    Discard(Choice),
}

/// Which of the held messages.
#[derive(clap::Args, Debug)]
struct Choice {
    /// Keys of messages
    #[arg(value_parser = key)]
    keys: Vec<NotificationId>,
    /// Everything held of this rule
    #[arg(long, conflicts_with = "keys")]
    rule: Option<String>,
    /// Everything held of this channel
    #[arg(long, conflicts_with = "keys")]
    channel: Option<String>,
    /// Everything held
    #[arg(long, conflicts_with_all = ["keys", "rule", "channel"])]
    all: bool,
    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,
}

/// `--state`.
#[derive(Clone, Copy, Debug)]
enum Listed {
    In(State),
    Orphaned,
}

/// Runs the command; 1 if there is no such message or a change could not be made, 75 if it is being sent.
pub(crate) fn run(args: Args) -> ExitCode {
    let Args { options, command } = args;
    let done = match command {
        Command::List { state, rule, channel, before, limit } => {
            list(&options, state, Filter { rule, channel, before, limit, ..Filter::default() })
        }
        Command::Show { key, raw } => show::run(&options, key, raw),
        Command::Retry { keys } => change(&options, &Request::of_keys("retry", Action::Retry, keys)),
        Command::Cancel { keys } => change(&options, &Request::of_keys("cancel", Action::Cancel, keys)),
        Command::Move { keys, channel, to, dry_run } => relocate(&options, keys, channel, &to, dry_run),
        Command::Release(choice) => held(&options, "release", Action::Release, choice),
        Command::Discard(choice) => held(&options, "discard", Action::Discard, choice),
    };
    done.unwrap_or_else(|code| code)
}

fn list(options: &Options, state: Option<Listed>, mut filter: Filter) -> Result<ExitCode, ExitCode> {
    let config = options.file.load()?;
    match state {
        Some(Listed::In(state)) => filter.state = Some(state),
        Some(Listed::Orphaned) => filter.orphans_of = Some(channels(&config)),
        None => {}
    }
    let messages = with(&config, |store| async move { store.messages(filter).await })?;
    for message in &messages {
        match options.output {
            Output::Json => out::json(message),
            Output::Text => print(message),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn channels(config: &Config) -> Vec<Arc<str>> {
    config.channels.iter().map(|channel| channel.name.clone()).collect()
}

fn print(message: &Message) {
    let Message { number, key, state, channel, recipient, rule, created_at, attempts, .. } = message;
    let state = if message.claimed { "sending" } else { *state };
    outln!("{number} {key} {state} {channel} {rule} {recipient} {created_at} attempts={attempts}");
}

/// One change as it was asked for.
struct Request {
    action: Action,
    /// `release`, for the result.
    verb: &'static str,
    /// The command's words, for the operator's row.
    said: String,
    chosen: Chosen,
    dry_run: bool,
}

enum Chosen {
    /// Each is answered by name.
    Keys(Vec<NotificationId>),
    /// Answered in numbers.
    All(Which),
}

impl Request {
    fn of_keys(verb: &'static str, action: Action, keys: Vec<NotificationId>) -> Self {
        let words: Vec<String> = keys.iter().map(ToString::to_string).collect();
        Self {
            action,
            verb,
            said: format!("messages {verb} {}", words.join(" ")),
            chosen: Chosen::Keys(keys),
            dry_run: false,
        }
    }

    fn of_all(verb: &'static str, action: Action, words: &str, which: Which) -> Self {
        Self { action, verb, said: format!("messages {verb} {words}"), chosen: Chosen::All(which), dry_run: false }
    }
}

fn relocate(
    options: &Options,
    keys: Vec<NotificationId>,
    channel: Option<String>,
    to: &str,
    dry_run: bool,
) -> Result<ExitCode, ExitCode> {
    let config = options.file.load()?;
    let Some(target) = config.channels.iter().find(|channel| &*channel.name == to) else {
        let known = channels(&config).join(", ");
        eprintln!("--to {to}: there is no such channel in the configuration; there are: {known}");
        return Err(ExitCode::from(exit::USAGE));
    };
    let action = Action::Move { to: target.name.clone(), room: target.sender.is_none() };
    let request = match channel {
        None => Request::of_keys("move", action, keys),
        Some(channel) => {
            let words = format!("--channel {channel} --to {to}");
            Request::of_all("move", action, &words, Which::Unfinished { channel })
        }
    };
    change(options, &Request { dry_run, ..request })
}

fn held(options: &Options, verb: &'static str, action: Action, choice: Choice) -> Result<ExitCode, ExitCode> {
    let Choice { keys, rule, channel, all, dry_run } = choice;
    let config = options.file.load()?;
    if !all && keys.is_empty() && rule.is_none() && channel.is_none() {
        print_held(options, &config)?;
        eprintln!("nothing was done: name messages by their keys, by --rule, by --channel, or --all");
        return Err(ExitCode::from(exit::USAGE));
    }
    if action == Action::Release {
        refuse_orphans(&config, &keys, rule.as_deref(), channel.as_deref())?;
    }
    let word = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("--{name} {value}"));
    let words: Vec<String> = word("rule", &rule).into_iter().chain(word("channel", &channel)).collect();
    let words = if all { "--all".to_owned() } else { words.join(" ") };
    let request = if keys.is_empty() {
        Request::of_all(verb, action, &words, Which::Held { rule, channel })
    } else {
        Request::of_keys(verb, action, keys)
    };
    change(options, &Request { dry_run, ..request })
}

/// What is released on a channel that is gone would wait for a day and expire.
fn refuse_orphans(
    config: &Config,
    keys: &[NotificationId],
    rule: Option<&str>,
    channel: Option<&str>,
) -> Result<(), ExitCode> {
    let chosen = |held: &Waiting| {
        rule.is_none_or(|rule| rule == held.rule) && channel.is_none_or(|channel| channel == held.channel)
    };
    let used: Vec<String> = with(config, |store| async move {
        if keys.is_empty() {
            return Ok(store.held().await?.into_iter().filter(chosen).map(|held| held.channel).collect());
        }
        let mut used = Vec::new();
        for key in keys {
            used.extend(store.message(*key).await?.map(|found| found.message.channel));
        }
        Ok(used)
    })?;
    let known = channels(config);
    let gone = used.iter().find(|used| !known.iter().any(|name| **name == ***used));
    gone.map_or(Ok(()), |channel| {
        eprintln!("channel {channel} is not in the configuration: `messages move --channel {channel} --to …` first");
        Err(ExitCode::from(exit::FAILED))
    })
}

fn print_held(options: &Options, config: &Config) -> Result<(), ExitCode> {
    for held in with(config, |store| async move { store.held().await })? {
        match options.output {
            Output::Json => out::json(&held),
            Output::Text => outln!(
                "held: rule={} channel={} messages={} oldest={}",
                held.rule,
                held.channel,
                held.messages,
                held.oldest
            ),
        }
    }
    Ok(())
}

fn change(options: &Options, request: &Request) -> Result<ExitCode, ExitCode> {
    let config = options.file.load()?;
    let (now, who) = (Clock::system().now(), who());
    let Request { action, verb, said, chosen, dry_run } = request;
    let (keys, changes) = with(&config, |store| async move {
        let keys = match chosen {
            Chosen::Keys(keys) => keys.clone(),
            Chosen::All(which) => store.select(which.clone()).await?,
        };
        if *dry_run {
            store.try_change(action, &keys, now).await
        } else {
            store.change(action, &keys, (&who, said), now).await
        }
        .map(|changes| (keys, changes))
    })?;
    match chosen {
        Chosen::Keys(_) if !dry_run => {
            keys.iter().zip(&changes).for_each(|(key, change)| answer(options, verb, *key, *change));
        }
        Chosen::Keys(_) | Chosen::All(_) => sum_up(options, request, &changes),
    }
    Ok(outcome(&changes))
}

/// 75 where all that is left is being sent: another try may do.
fn outcome(changes: &[Change]) -> ExitCode {
    let left: Vec<&Change> = changes.iter().filter(|change| **change != Change::Done).collect();
    match () {
        () if left.is_empty() => ExitCode::SUCCESS,
        () if left.iter().all(|change| **change == Change::BeingSent) => ExitCode::from(exit::TRY_AGAIN),
        () => ExitCode::from(exit::FAILED),
    }
}

fn answer(options: &Options, verb: &str, key: NotificationId, change: Change) {
    match (change, options.output) {
        (Change::Done, Output::Text) => outln!("{key} {verb}: done"),
        (Change::Done, Output::Json) => out::json(&serde_json::json!({"key": key.to_string(), "done": true})),
        (refused, _) => eprintln!("{key}: {}", why(refused)),
    }
}

fn sum_up(options: &Options, Request { verb, dry_run, .. }: &Request, changes: &[Change]) {
    let mut sums: BTreeMap<Change, usize> = BTreeMap::new();
    for change in changes {
        *sums.entry(*change).or_default() += 1;
    }
    let done = sums.remove(&Change::Done).unwrap_or_default();
    let left = changes.len() - done;
    match (options.output, dry_run) {
        (Output::Json, false) => out::json(&serde_json::json!({ "action": verb, "done": done, "left": left })),
        (Output::Json, true) => out::json(&serde_json::json!({ "would": verb, "messages": done, "left": left })),
        (Output::Text, false) => outln!("{verb}: {done}"),
        (Output::Text, true) => outln!("would {verb}: {done}"),
    }
    for (refused, count) in sums {
        eprintln!("{}: {count}: {}", if *dry_run { "would not" } else { "not done" }, why(refused));
    }
}

fn why(change: Change) -> String {
    match change {
        Change::Done => "done".into(),
        Change::Unknown => "no such message".into(),
        Change::BeingSent => "being sent, try again".into(),
        Change::Ended(State::Held) => "is held by the brake: `messages release` or `messages discard`".into(),
        Change::Ended(State::Pending) => "waits already".into(),
        Change::Ended(state) => format!("is {} already", state.name()),
        Change::ContentGone => "its records are past [store] content: there is nothing left to send".into(),
        Change::There => "is on that channel already".into(),
        Change::OtherKind => "a message for a person leaves by a personal channel, one for a room by a room's".into(),
    }
}

fn listed(text: &str) -> Result<Listed, String> {
    let known = State::ALL.map(State::name);
    let state = State::ALL.into_iter().find(|state| state.name() == text).map(Listed::In);
    state
        .or_else(|| (text == "orphaned").then_some(Listed::Orphaned))
        .ok_or_else(|| format!("one of {}, orphaned", known.join(", ")))
}

/// 32 hexadecimal digits; a whole Message-ID will do.
pub(super) fn key(text: &str) -> Result<NotificationId, String> {
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
