//! `send-test`: one marked message through the real channel, as the daemon would send it.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;
use tokio::sync::watch;

use super::{Options, Output, exit, out, people};
use crate::channels::past::Past;
use crate::channels::{self, Handover, Outgoing, Permission, Verdict};
use crate::clock::{Clock, Timestamp};
use crate::compose::{Composer, Draft, Kind};
use crate::config::{ChannelSettings, Config};
use crate::people::{People, Person, Resolution};
use crate::plan::Recipient;
use crate::record::Severity;

/// Arguments of `send-test`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    /// Table name of the channel: `email` for `[channel.email]`
    #[arg(long, value_name = "NAME")]
    channel: String,
    /// To whom; must be within the allowed domains of `[people]`. Not for a room, such as a webhook
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
}

/// What came of it; printed as it is with `-o json`.
#[derive(Serialize)]
struct Outcome {
    /// Left side of the Message-ID.
    message: String,
    /// Where it went: not `--to` if the channel has `redirect_to`.
    to: Option<Arc<str>>,
    /// `sent later never ambiguous hold`.
    verdict: &'static str,
    /// Of `never` and `hold`.
    reason: Option<&'static str>,
    /// What the relay said, or what went wrong.
    reply: String,
}

/// Sends one message: 0 if the relay took it, 1 if not, 2 for a channel or a recipient that there is not, 78 if the
/// configuration does not load.
pub(crate) fn run(args: &Args) -> ExitCode {
    send_test(args).unwrap_or_else(|code| code)
}

fn send_test(args: &Args) -> Result<ExitCode, ExitCode> {
    let Options { file, output } = &args.options;
    let config = file.load()?;
    let people = people(&config)?;
    let said = |code: u8| {
        move |error: anyhow::Error| {
            eprintln!("{error:#}");
            ExitCode::from(code)
        }
    };
    let (settings, to) = way(&config, args).map_err(said(exit::USAGE))?;
    let outcome = send(&config, settings, &people, to).map_err(said(exit::FAILED))?;
    match output {
        Output::Text => print(&outcome),
        Output::Json => out::json(&outcome),
    }
    Ok(if outcome.verdict == "sent" { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

/// The channel that is meant, and `--to`, which a room does not have and people need.
fn way<'a>(config: &'a Config, args: &'a Args) -> anyhow::Result<(&'a ChannelSettings, Option<&'a str>)> {
    let name = &args.channel;
    let settings = config.channels.iter().find(|channel| *channel.name == **name).with_context(|| {
        let known: Vec<&str> = config.channels.iter().map(|channel| &*channel.name).collect();
        format!("there is no [channel.{name}]; there is: {}", known.join(", "))
    })?;
    match (&settings.sender, args.to.as_deref()) {
        (None, Some(_)) => anyhow::bail!("[channel.{name}] is a room: leave --to out"),
        (Some(_), None) => anyhow::bail!("[channel.{name}] tells people: add --to ADDRESS"),
        (_, to) => Ok((settings, to)),
    }
}

fn send(config: &Config, settings: &ChannelSettings, people: &People, to: Option<&str>) -> anyhow::Result<Outcome> {
    let (recipient, person) = recipient(settings, people, to)?;
    let now = Clock::system().now();
    let outgoing = message(config, settings, people, &recipient, person.as_ref(), now)?;
    let channel = channels::open(&settings.name, &settings.settings, &Past::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let attempt = runtime.block_on(async {
        let attempt = channel.attempt(&outgoing, now).await;
        channel.close().await;
        attempt
    });
    let (verdict, reason) = match attempt.verdict {
        Verdict::Sent { .. } => ("sent", None),
        Verdict::Later { .. } => ("later", None),
        Verdict::Never { reason } => ("never", Some(reason)),
        Verdict::Ambiguous => ("ambiguous", None),
        Verdict::Hold { why, .. } => ("hold", Some(why)),
    };
    Ok(Outcome {
        message: outgoing.key.to_string(),
        to: outgoing.to.clone(),
        verdict,
        reason,
        reply: attempt.reply.clone(),
    })
}

/// The person whom `to` names, or the room that the channel is.
fn recipient(
    settings: &ChannelSettings,
    people: &People,
    to: Option<&str>,
) -> anyhow::Result<(Recipient, Option<Person>)> {
    let Some(to) = to else { return Ok((Recipient::Room(settings.name.clone()), None)) };
    let recipient = Recipient::Address(to.into());
    match people.resolve(&recipient, &[]) {
        Resolution::Found(person) => Ok((recipient, Some(person))),
        Resolution::Refused(refusal) => anyhow::bail!("{to} may not be mailed: {}", refusal.as_str()),
        Resolution::Unknown => anyhow::bail!("{to} is not known"),
    }
}

/// The mail or document, composed as the daemon composes it.
fn message(
    config: &Config,
    settings: &ChannelSettings,
    people: &People,
    recipient: &Recipient,
    person: Option<&Person>,
    now: Timestamp,
) -> anyhow::Result<Outgoing> {
    let composer = Composer::load(config.templates.as_deref(), &config.brand, &config.lookups)
        .map_err(|faults| anyhow::anyhow!(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let key = format!("test-{:016x}", u64::from_be_bytes(seed));
    let draft = Draft {
        key: &key,
        template: "test",
        fallback: false,
        kind: Kind::Test,
        rule: "send-test",
        title: "",
        severity: Severity::Low,
        created_at: now,
        late: false,
        recipient,
        person,
        people,
        about: None,
        records: &[],
    };
    let (to, bytes) = match &settings.sender {
        Some(sender) => {
            let mail = composer.compose(sender, &draft)?;
            (Some(mail.to), mail.bytes)
        }
        None => (None, composer.document(&draft)?.bytes),
    };
    // Nobody takes the permission back: the command ends with the attempt.
    let permission = watch::Sender::new(Permission::Go).subscribe();
    let handover = Handover::default();
    Ok(Outgoing { key: key.into(), to, bytes, urgent: false, permission, handover })
}

fn print(outcome: &Outcome) {
    let reason = outcome.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let to = outcome.to.as_deref().map_or_else(String::new, |to| format!(" to {to}"));
    outln!("{}{reason}: {}{to}", outcome.verdict, outcome.message);
    outln!("{}", outcome.reply);
}
