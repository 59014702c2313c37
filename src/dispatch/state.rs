//! Owns the state table of `docs/delivery.md`: what happened to a claimed message, to what is written. Pure: `now` and the
//! jitter are arguments.
//!
//! Invariants, each a test: a message that is not final has a `due_at` after now; none lives past its `expires_at`; an
//! escalation never escalates.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::schedule::{Schedule, after_ambiguous};
use crate::channels::Verdict;
use crate::clock::Timestamp;
use crate::compose::Kind;
use crate::plan::Recipient;
use crate::record::own::{self, GivenUp};
use crate::store::{Escalation, FinalState, Loaded, Settled};

/// From so many crashes on, a message goes out with the built-in template only.
pub const SUSPECT_FALLBACK: u32 = 3;
/// At so many crashes it is given up.
const SUSPECT_GIVE_UP: u32 = 6;
/// How often an unknown recipient is looked up again: as soon as a change of the people file is sure to be read.
const LOOK_UP_AGAIN: Duration = Duration::from_mins(1);
/// How often a broken template is tried again, and for how long before the built-in one takes over.
const TEMPLATE_AGAIN: Duration = Duration::from_mins(5);
const TEMPLATE_PATIENCE: Duration = Duration::from_hours(1);
/// What leaves so much later than it was accepted says so.
const LATE: Duration = Duration::from_hours(1);
/// The reason of a `Never` that says that there is no such mailbox, whoever asks.
pub const MAILBOX_REFUSED: &str = "mailbox-refused";
/// How long such a mailbox is not tried again: relays count what is sent to nobody against whoever sends it.
pub const REFUSED_FOR: Duration = Duration::from_hours(7 * 24);
/// The reason of a `Never`, or of a `Hold` while not every relay has been asked, that a smaller form of the message may avoid.
pub const TOO_BIG: &str = "too-big";
/// How long a message that is too big for the relays that work waits for another one, before its plain form goes. A broken
/// relay is tried again after twelve minutes at the latest (`channels::breaker`), so each had its chance.
const TOO_BIG_PATIENCE: Duration = Duration::from_mins(15);
/// An escalation has as long as the usual `max_age` to be told.
const ESCALATION_LIFE: Duration = Duration::from_hours(3 * 24);

/// What the table needs from the configuration.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `[channel.NAME] retry`.
    pub schedule: Schedule,
    /// `people.wait`.
    pub wait: Duration,
    /// Who hears in the place of somebody without an address, and of what a channel left that is there no more:
    /// `people.fallback` through this channel; through a room nobody, since it was for a person.
    pub stand_ins: Arc<[StandIn]>,
    /// Who hears of what this channel gives up: its `fallback`, else the stand-ins of a personal channel.
    pub fallback: Arc<[StandIn]>,
}

/// Whom to tell, and through which channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Its name.
    pub channel: Arc<str>,
    /// Of a person by address, or the room that the channel is.
    pub recipient: Recipient,
}

/// What happened to a claimed message.
#[derive(Debug)]
pub enum Event {
    /// A channel made its attempt with these bytes.
    Attempted {
        /// What it came to.
        verdict: Verdict,
        /// What was sent.
        bytes: Bytes,
        /// blake3 of it.
        digest: [u8; 32],
    },
    /// The directory does not know the recipient (yet).
    Unknown,
    /// The directory says that the recipient is not to be mailed.
    Refused(&'static str),
    /// It is for a person and stands on a room, or the reverse.
    WrongChannel,
    /// The template does not render.
    TemplateFailed,
    /// The mailbox was refused for good not long ago: it is not tried again.
    RefusedBefore,
}

/// Whether the message is over before anything is tried: too late, or it has crashed us too often.
#[must_use]
pub fn over(policy: &Policy, message: &Loaded, now: Timestamp) -> Option<Settled> {
    if message.claim.suspect >= SUSPECT_GIVE_UP {
        return Some(policy.given_up(message, FinalState::Failed, "crashed_us", now));
    }
    (now >= message.expires_at).then(|| policy.given_up(message, FinalState::Expired, "undelivered", now))
}

/// The end of an expired message whose channel is gone: `policy` is that of a channel that is there.
#[must_use]
pub fn stranded(policy: &Policy, message: &Loaded, now: Timestamp) -> Settled {
    never(message, (FinalState::Expired, "undelivered"), (Kind::Failed, &policy.stand_ins), now)
}

/// Whether the wording says that the message is late. Asked of when it was first claimed for an attempt, so that a copy says
/// what the first one said.
#[must_use]
pub fn late(message: &Loaded) -> bool {
    message.claim.first_at.since(message.created_at) > LATE
}

/// Whether the built-in template takes the place of the message's own: it may have crashed us, or it has been broken for an
/// hour. Never silence, never an empty mail.
#[must_use]
pub fn falls_back(message: &Loaded, template_failed: bool, now: Timestamp) -> bool {
    message.claim.suspect >= SUSPECT_FALLBACK || template_failed && now >= message.created_at.plus(TEMPLATE_PATIENCE)
}

/// Whether the plain form is to be tried in the place of a message that came to `verdict`: it is too big for every relay, or
/// has waited long enough, or until its end, for one that cannot be reached.
#[must_use]
pub fn is_too_big(verdict: &Verdict, message: &Loaded, now: Timestamp) -> bool {
    match verdict {
        Verdict::Never { reason } => *reason == TOO_BIG,
        Verdict::Hold { until, why } => {
            *why == TOO_BIG && (now >= message.created_at.plus(TOO_BIG_PATIENCE) || *until >= message.expires_at)
        }
        _ => false,
    }
}

/// The row of the table for `event`.
#[must_use]
pub fn settled(policy: &Policy, message: &Loaded, event: Event, now: Timestamp, jitter: f64) -> Settled {
    // Whatever waits is looked at once more at its end, so that it ends; the attempt before is written and counted.
    let again = |due_at: Timestamp| {
        let soonest = now.plus(Duration::from_secs(1));
        due_at.max(soonest).min(message.expires_at.max(soonest))
    };
    let hold = |until| Settled::Hold { until: again(until) }; // costs no attempt
    let attempt = message.claim.attempt;
    match event {
        Event::Attempted { verdict: Verdict::Sent { reference }, digest, .. } => Settled::Sent { reference, digest },
        Event::Attempted { verdict: Verdict::Later { not_before }, .. } => {
            let due_at = policy.schedule.next(attempt, message.claim.first_at, now, jitter);
            Settled::Later { due_at: again(not_before.unwrap_or(due_at).max(due_at)) }
        }
        Event::Attempted { verdict: Verdict::Ambiguous, bytes, .. } => {
            Settled::Ambiguous { due_at: again(now.plus(after_ambiguous(attempt))), bytes }
        }
        Event::Attempted { verdict: Verdict::Never { reason }, .. } => {
            policy.given_up(message, FinalState::Failed, reason, now)
        }
        Event::Attempted { verdict: Verdict::Hold { until, why: TOO_BIG }, .. } => {
            let plain_at = message.created_at.plus(TOO_BIG_PATIENCE);
            hold(if now < plain_at { until.min(plain_at) } else { until })
        }
        Event::Attempted { verdict: Verdict::Hold { until, .. }, .. } => hold(until),
        Event::Unknown if now < message.created_at.plus(policy.wait) => {
            hold(now.plus(LOOK_UP_AGAIN).min(message.created_at.plus(policy.wait)))
        }
        Event::Unknown => policy.unresolved(message, "unresolved", now),
        Event::Refused(reason) => policy.unresolved(message, reason, now),
        Event::WrongChannel => policy.given_up(message, FinalState::Failed, "wrong-channel", now),
        Event::TemplateFailed => hold(now.plus(TEMPLATE_AGAIN)),
        Event::RefusedBefore => policy.given_up(message, FinalState::Failed, MAILBOX_REFUSED, now),
    }
}

/// What stands in the place of a reply where nothing was tried; empty where the reason says it all.
#[must_use]
pub fn why_untried(outcome: &Settled) -> &'static str {
    match outcome {
        Settled::Never { reason: MAILBOX_REFUSED, .. } => {
            "not tried: this mailbox was refused through this channel in the last 7 days"
        }
        _ => "",
    }
}

impl Policy {
    fn given_up(&self, message: &Loaded, state: FinalState, reason: &'static str, now: Timestamp) -> Settled {
        never(message, (state, reason), (Kind::Failed, &self.fallback), now)
    }

    fn unresolved(&self, message: &Loaded, reason: &'static str, now: Timestamp) -> Settled {
        never(message, (FinalState::Failed, reason), (Kind::Unresolved, &self.stand_ins), now)
    }
}

/// The end of `message`: who hears of it by which wording, and the record of it.
fn never(
    message: &Loaded,
    (state, reason): (FinalState, &'static str),
    (kind, stand_ins): (Kind, &[StandIn]),
    now: Timestamp,
) -> Settled {
    Settled::Never {
        state,
        reason,
        escalation: escalate(message, kind, stand_ins, now),
        record: record(message, state, reason),
    }
}

/// The notifications that stand for `message`, one for each of `stand_ins`; none for an escalation or a test mail.
fn escalate(message: &Loaded, kind: Kind, stand_ins: &[StandIn], now: Timestamp) -> Vec<Escalation> {
    if message.kind != Kind::Normal {
        return Vec::new();
    }
    let escalation = |one: &StandIn| Escalation {
        kind,
        recipient: one.recipient.clone(),
        channel: one.channel.clone(),
        expires_at: now.plus(ESCALATION_LIFE),
    };
    // Who has just not been told this way is not told that way of it.
    let same = |one: &&StandIn| one.recipient == message.recipient && one.channel == message.claim.channel;
    stand_ins.iter().filter(|one| !same(one)).map(escalation).collect()
}

/// What the rules hear of the end of `message`. Nothing of one that itself tells of such a record, or of its escalation: a
/// dead room that is told of dead rooms would never come to an end.
fn record(message: &Loaded, state: FinalState, reason: &'static str) -> Option<GivenUp> {
    let of_ours = message.records.iter().any(|record| own::is_own(&record.position));
    (!of_ours && message.kind != Kind::Test).then(|| GivenUp {
        message: message.key.to_string(),
        state: match state {
            FinalState::Failed => "failed",
            FinalState::Expired => "expired",
        },
        reason,
        channel: message.claim.channel.clone(),
        rule: message.rule.clone(),
        kind: message.kind.as_str(),
        severity: message.severity,
        recipient: message.recipient.to_string(),
        // The store knows better.
        attempts: message.claim.attempt,
        code: None,
    })
}

#[cfg(test)]
mod tests;
