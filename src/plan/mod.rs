//! Owns the decision who is told: a record and the rules it matched, to intents. Pure: no I/O, no clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::record::{Record, Severity};
use crate::rules::{Group, Rule, Subject, To, fold};

mod id;
mod parties;
#[cfg(test)]
mod tests;

pub use crate::rules::Throttle;
pub use id::NotificationId;
pub use parties::{Canonical, Party, parties};

/// Whom a notification is for, canonical: one person has one recipient. Not yet an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Recipient {
    /// `user:` + object id where known, else the UPN, folded to lower case.
    User(Arc<str>),
    /// `addr:` + an address from the config (a list entry or a literal).
    Address(Arc<str>),
    /// `room:` + the name of a channel that is the recipient itself.
    Room(Arc<str>),
}

/// `user:…`, `addr:…` or `room:…`, the form the store and the hash use.
impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Address(address) => write!(f, "addr:{address}"),
            Self::Room(channel) => write!(f, "room:{channel}"),
        }
    }
}

impl std::str::FromStr for Recipient {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("user", id)) => Ok(Self::User(id.into())),
            Some(("addr", address)) => Ok(Self::Address(address.into())),
            Some(("room", channel)) => Ok(Self::Room(channel.into())),
            _ => Err(anyhow::anyhow!("not a recipient")),
        }
    }
}

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
    /// With `each`: which element. Always `None` until that is due.
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
    /// The time of the decision.
    pub now: Timestamp,
    /// Kafka's time of the envelope; `None` for a file.
    pub broker_time: Option<Timestamp>,
    /// When each rule was first active; a rule that is not in it has always been.
    pub rules_seen: &'a HashMap<Arc<str>, Timestamp>,
    /// The canonical name of a person.
    pub canonical: Canonical<'a>,
}

/// How much older than its rule a record may be by Kafka's time: what was on its way while the rule was deployed is told.
const BEFORE_RULE: Duration = Duration::from_hours(1);

/// Who shall be told of `record`, which matched `rules`: one intent per (rule, person, personal channel), one per (rule,
/// room), and one without recipient for a rule whose `to` names nobody.
#[must_use]
pub fn plan(record: &Record, rules: &[&Rule], context: &Context<'_>) -> Vec<Intent> {
    let parties = parties(record, context.canonical);
    let mut intents = Vec::new();
    for rule in rules {
        for (channel, recipient, end) in told(rule, &parties, context) {
            let fate = end.map_or_else(
                || fate(record, rule, recipient.as_ref(), channel, context),
                |reason| Fate::Ends { verdict: Verdict::Skipped, reason },
            );
            intents.push(Intent {
                id: NotificationId::new(record, context.broker_time, None, &rule.id, recipient.as_ref(), channel),
                rule: Arc::clone(&rule.id),
                channel: Arc::clone(channel),
                recipient,
                element: None,
                template: Arc::clone(&rule.template),
                title: Arc::clone(&rule.description),
                severity: rule.severity.or(record.severity).unwrap_or(Severity::Medium),
                rank: rule.rank,
                throttle: rule.throttle,
                fate,
            });
        }
    }
    intents
}

/// Whom a rule tells through a channel, or would but for a reason.
type Told<'a> = (&'a Arc<str>, Option<Recipient>, Option<&'static str>);

/// Everybody whom `rule` tells, and through what: people through its personal channels, then its rooms.
fn told<'a>(rule: &'a Rule, parties: &[Party], context: &Context<'_>) -> Vec<Told<'a>> {
    let people = if rule.channels.is_empty() { Vec::new() } else { people(rule, parties, context) };
    let personal = people
        .into_iter()
        .flat_map(|(recipient, end)| rule.channels.iter().map(move |channel| (channel, recipient.clone(), end)));
    let rooms = rule.rooms.iter().map(|room| (room, Some(Recipient::Room(Arc::clone(room))), None));
    personal.chain(rooms).collect()
}

/// The people whom `rule` tells, each once, with the reason for those it does not.
fn people(rule: &Rule, parties: &[Party], context: &Context<'_>) -> Vec<(Option<Recipient>, Option<&'static str>)> {
    let mut people: Vec<Person<'_>> = Vec::new();
    let mut nobody = None;
    for to in &rule.to {
        let named = named(to, parties);
        if named.is_empty() {
            nobody = nobody.or(Some("no-user"));
        }
        for person in named {
            if person.recipient().is_none() {
                nobody = nobody.or(Some("no-identity"));
            } else if !people.iter().any(|other| other.is(&person, context.canonical)) {
                people.push(person);
            }
        }
    }
    let excepted: Vec<Person<'_>> = rule.except.iter().flat_map(|to| named(to, parties)).collect();
    let people = people.into_iter().map(|person| {
        let except = excepted.iter().any(|other| other.is(&person, context.canonical));
        (person.recipient(), except.then_some("except"))
    });
    people.chain(nobody.map(|reason| (None, Some(reason)))).collect()
}

/// Somebody named by `to` or `except`.
enum Person<'a> {
    Party(&'a Party),
    Address(&'a Arc<str>),
}

fn named<'a>(to: &'a To, parties: &'a [Party]) -> Vec<Person<'a>> {
    match to {
        To::Target => parties.iter().filter(|party| !party.targets.is_empty()).map(Person::Party).collect(),
        To::Actor => parties.iter().filter(|party| party.actor).map(Person::Party).collect(),
        To::List(_, addresses) => addresses.iter().map(Person::Address).collect(),
        To::Address(address) => vec![Person::Address(address)],
    }
}

impl Person<'_> {
    fn recipient(&self) -> Option<Recipient> {
        match self {
            Self::Party(party) => party.recipient.clone(),
            Self::Address(address) => Some(Recipient::Address(address.to_lowercase().into())),
        }
    }

    fn is(&self, other: &Self, canonical: Canonical<'_>) -> bool {
        match (self, other) {
            (Self::Party(a), Self::Party(b)) => a.recipient.is_some() && a.recipient == b.recipient,
            (Self::Party(party), Self::Address(address)) | (Self::Address(address), Self::Party(party)) => {
                party.has_address(address, canonical)
            }
            (Self::Address(a), Self::Address(b)) => {
                let known = canonical(None, Some(a));
                a.to_lowercase() == b.to_lowercase() || (known.is_some() && known == canonical(None, Some(b)))
            }
        }
    }
}

/// What becomes of a notification that has a recipient. Shadow is decided last: it stands for what would have been sent.
fn fate(record: &Record, rule: &Rule, recipient: Option<&Recipient>, channel: &str, context: &Context<'_>) -> Fate {
    let Context { now, broker_time, rules_seen, .. } = *context;
    // A time ahead of ours would otherwise keep a message alive for as long as the producer's clock is wrong.
    let happened = record.own_time().or(broker_time).unwrap_or(now).min(now);
    let expires_at = happened.plus(rule.max_age);
    if now >= expires_at {
        return Fate::Ends { verdict: Verdict::Expired, reason: "too-old" };
    }
    let since = rules_seen.get(&rule.id).copied();
    if broker_time.zip(since).is_some_and(|(written, since)| written.plus(BEFORE_RULE) < since) {
        return Fate::Ends { verdict: Verdict::Skipped, reason: "before-rule" };
    }
    if rule.shadow {
        return Fate::Ends { verdict: Verdict::Shadow, reason: "shadow" };
    }
    let group = recipient
        .zip(rule.group.as_ref())
        .and_then(|(recipient, group)| Some((group_key(record, group, recipient, channel)?, group.wait)));
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
fn group_key(record: &Record, group: &Group, recipient: &Recipient, channel: &str) -> Option<Arc<str>> {
    let values = |name: &Arc<str>| -> Vec<String> {
        let subject = Subject::named(name);
        subject.iter().flat_map(|subject| subject.of(record)).map(|value| fold(&value)).collect()
    };
    let by: Vec<Vec<String>> = group.by.iter().map(values).collect();
    by.iter().any(|values| !values.is_empty()).then(|| id::group_key(&group.policy, &by, recipient, channel))
}
