//! Owns the decision who is told: a record and the rules it matched, to intents. Pure: no I/O, no clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::record::{Record, Severity};
use crate::rules::{Group, Known, Match, Subject, Tell, fold};

mod extent;
mod id;
mod looked_up;
mod parties;
mod people;
mod recipient;
#[cfg(test)]
mod tests;

pub use crate::rules::Throttle;
pub use extent::Extent;
pub use id::NotificationId;
pub use looked_up::{LookedUp, looked_up};
pub use parties::{Canonical, Party, parties};
pub use recipient::Recipient;

use id::Once;
use people::Scene;

/// One notification that plan wants: a (rule, record, recipient, channel) and what shall become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Unique in the store: the second time it is a `duplicate`.
    pub id: NotificationId,
    /// Rule id.
    pub rule: Arc<str>,
    /// Channel name.
    pub channel: Arc<str>,
    /// `None` only with [`Fate::Ends`] where nobody could be named.
    pub recipient: Option<Recipient>,
    /// With `each`: the identity of the element.
    pub element: Option<Arc<str>>,
    /// Template name.
    pub template: Arc<str>,
    /// The rule's description, kept on the message row for the fallback template.
    pub title: Arc<str>,
    /// The rule's, else the record's, else medium.
    pub severity: Severity,
    /// The rule's place in the configuration: of the notifications that share a message the lowest gives the wording.
    pub rank: u32,
    /// The brake on its rule: how many new messages of this rule may leave this channel at once.
    pub throttle: Option<Throttle>,
    /// Send it, or end it at once with a verdict.
    pub fate: Fate,
}

/// What becomes of a new notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Becomes (or joins) a message.
    Send {
        /// When the message may leave.
        due_at: Timestamp,
        /// When it is too late to leave.
        expires_at: Timestamp,
        /// The group it joins while that is open: hash of (policy, values of its `by`, recipient, channel).
        group: Option<Arc<str>>,
    },
    /// Has a verdict and no message.
    Ends {
        /// The verdict.
        verdict: Verdict,
        /// Why, in the closed vocabulary of `docs/verdicts.md`: `too-old`, `before-rule`, `no-user`, `shadow`, …
        reason: &'static str,
    },
}

/// The verdict of a notification, as the ledger keeps it (the attempt's verdict is `channels::Verdict`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i64)]
#[expect(missing_docs, reason = "design invariant 8 names them")]
pub enum Verdict {
    /// See the message: pending, or as its state says.
    Message = 0,
    Sent = 1,
    Failed = 2,
    Expired = 3,
    Cancelled = 4,
    Discarded = 5,
    Silenced = 6,
    Muted = 7,
    Skipped = 8,
    Shadow = 9,
    Duplicate = 10,
}

impl Verdict {
    /// As metrics and commands name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
            Self::Silenced => "silenced",
            Self::Muted => "muted",
            Self::Skipped => "skipped",
            Self::Shadow => "shadow",
            Self::Duplicate => "duplicate",
        }
    }
}

/// What plan knows beside the record and its rules.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What conditions know too.
    pub known: Known<'a>,
    /// Kafka's time of the envelope; `None` for a file.
    pub broker_time: Option<Timestamp>,
    /// When each rule was first active; a rule that is not in it has always been.
    pub rules_seen: &'a HashMap<Arc<str>, Timestamp>,
    /// Who is who.
    pub directory: Directory<'a>,
}

/// What the directory knows just now (`people::People`).
#[derive(Clone, Copy)]
pub struct Directory<'a> {
    /// The canonical name of a person.
    pub canonical: Canonical<'a>,
    /// The canonical name of a person's manager.
    pub manager: &'a dyn Fn(&Recipient) -> Option<Recipient>,
    /// A person's other addresses.
    pub alternates: &'a dyn Fn(&Recipient) -> Vec<Arc<str>>,
}

/// How much older than its rule a record may be by Kafka's time: what was on its way while the rule was deployed is told.
const BEFORE_RULE: Duration = Duration::from_hours(1);

/// Who shall be told of `record`, which matched as `matches` says: of each match one intent per (person, personal channel),
/// one per room, and one without recipient where `to` names nobody.
#[must_use]
pub fn plan(record: &Record, matches: &[Match<'_>], context: &Context<'_>) -> Vec<Intent> {
    let parties = parties(record, context.directory.canonical);
    let now = context.known.now;
    // A time ahead of ours would otherwise keep a message alive for as long as the producer's clock is wrong.
    let news = record.news().or(context.broker_time).unwrap_or(now).min(now);
    matches.iter().flat_map(|one| intents(record, one, &parties, news, context)).collect()
}

fn intents(record: &Record, one: &Match<'_>, parties: &[Party], news: Timestamp, context: &Context<'_>) -> Vec<Intent> {
    let (rule, tell) = (one.rule, one.tell());
    let part = one.element.as_ref().map(|element| &element.part);
    let scene = Scene { record, part, parties, known: context.known, directory: context.directory };
    let told_once = Once::new(record, context.broker_time, &rule.once_per, context.known);
    let intent = |channel: &Arc<str>, recipient: Option<Recipient>, fate: Fate| Intent {
        id: NotificationId::new(
            &told_once,
            one.element.as_ref().map(|element| &*element.identity),
            &rule.id,
            recipient.as_ref(),
            channel,
        ),
        rule: Arc::clone(&rule.id),
        channel: Arc::clone(channel),
        recipient,
        element: one.element.as_ref().map(|element| element.identity.clone()),
        template: Arc::clone(&tell.template),
        title: Arc::clone(&rule.description),
        severity: tell.severity.or(record.severity).unwrap_or(Severity::Medium),
        rank: rule.rank,
        throttle: tell.throttle,
        fate,
    };
    if tell.is_empty() {
        let (verdict, reason) = if one.is_muted() { (Verdict::Muted, "route") } else { (Verdict::Skipped, "no-route") };
        return vec![intent(&"".into(), None, Fate::Ends { verdict, reason })];
    }
    told(tell, &scene)
        .into_iter()
        .map(|(channel, recipient, end)| {
            let fate = end.map_or_else(
                || fate(record, one, recipient.as_ref(), channel, news, context),
                |reason| Fate::Ends { verdict: Verdict::Skipped, reason },
            );
            intent(channel, recipient, fate)
        })
        .collect()
}

/// Everybody whom `tell` tells, and through what: people through its personal channels, then its rooms.
fn told<'a>(tell: &'a Tell, scene: &Scene<'_>) -> Vec<(&'a Arc<str>, Option<Recipient>, Option<&'static str>)> {
    let people = if tell.channels.is_empty() { Vec::new() } else { scene.people(tell) };
    let personal = people
        .into_iter()
        .flat_map(|(recipient, end)| tell.channels.iter().map(move |channel| (channel, recipient.clone(), end)));
    let rooms = tell.rooms.iter().map(|room| (room, Some(Recipient::Room(Arc::clone(room))), None));
    personal.chain(rooms).collect()
}

/// What becomes of a notification that has a recipient. Shadow is decided last: it stands for what would have been sent.
/// `news`: what its age counts from.
fn fate(
    record: &Record,
    one: &Match<'_>,
    recipient: Option<&Recipient>,
    channel: &str,
    news: Timestamp,
    context: &Context<'_>,
) -> Fate {
    let (rule, now) = (one.rule, context.known.now);
    let Context { broker_time, rules_seen, .. } = *context;
    let expires_at = news.plus(rule.max_age);
    if now >= expires_at {
        return Fate::Ends { verdict: Verdict::Expired, reason: "too-old" };
    }
    let since = rules_seen.get(&rule.id).copied();
    if broker_time.zip(since).is_some_and(|(written, since)| written.plus(BEFORE_RULE) < since) {
        return Fate::Ends { verdict: Verdict::Skipped, reason: "before-rule" };
    }
    if one.is_muted() {
        return Fate::Ends { verdict: Verdict::Muted, reason: "route" };
    }
    if rule.shadow {
        return Fate::Ends { verdict: Verdict::Shadow, reason: "shadow" };
    }
    let group = recipient.zip(one.tell().group.as_ref()).and_then(|(recipient, group)| {
        Some((group_key(record, group, recipient, channel, context.known)?, group.wait))
    });
    match group {
        // At least half of what is left of its life is for sending it.
        Some((key, wait)) => {
            let due_at = now.plus(wait.min(expires_at.since(now) / 2));
            Fate::Send { due_at, expires_at, group: Some(key) }
        }
        None => Fate::Send { due_at: now, expires_at, group: None },
    }
}

/// `None` where the record has none of the values: records that share nothing do not belong together.
fn group_key(
    record: &Record,
    group: &Group,
    recipient: &Recipient,
    channel: &str,
    known: Known<'_>,
) -> Option<Arc<str>> {
    let values = |name: &Arc<str>| -> Vec<String> {
        let subject = Subject::named(name);
        subject.iter().flat_map(|subject| subject.of(record, None, known)).map(|value| fold(&value)).collect()
    };
    let by: Vec<Vec<String>> = group.by.iter().map(values).collect();
    by.iter().any(|values| !values.is_empty()).then(|| id::group_key(&group.policy, &by, recipient, channel))
}
