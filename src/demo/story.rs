//! Owns what the page tells: each record that was fed in, what became of it, and which mail came of which records.
//!
//! It reads records with the daemon's own decoder, rules and plan, which are pure; whether a mail really came is known
//! from the mailbox alone.

use std::collections::HashMap;
use std::sync::Arc;

use mail_parser::MessageParser;

use crate::clock::Timestamp;
use crate::compose::Kind;
use crate::lookup::Lookups;
use crate::people::{People, Resolution};
use crate::plan::{self, Fate, Intent, NotificationId, Recipient};
use crate::record::envelope::{self, Item};
use crate::record::{Dialects, Position, Record};
use crate::rules::{Known, Rules};

use super::mailbox::Received;

/// Mails and intents that the page keeps; the demo may run for days.
const KEPT: usize = 200;

/// A mail as the employee sees it, with what it came from.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Left side of the Message-ID.
    pub key: String,
    pub to: String,
    pub from: String,
    pub subject: String,
    pub at: Timestamp,
    pub html: String,
    pub text: String,
    /// Id and description of each rule that asked for it.
    pub rules: Vec<(Arc<str>, Arc<str>)>,
    /// Why it went to this address, when not to the person concerned.
    pub instead: Option<&'static str>,
    /// The records, as they came, indented.
    pub records: Vec<String>,
}

/// A notification that was planned, and its record.
struct Planned {
    intent: Intent,
    record: Arc<str>,
}

/// Everything so far.
pub(super) struct Story {
    rules: Rules,
    people: Arc<People>,
    planned: Vec<Planned>,
    /// Newest last.
    pub letters: Vec<Letter>,
}

impl Story {
    pub fn new(rules: Rules, people: Arc<People>) -> Self {
        Self { rules, people, planned: Vec::new(), letters: Vec::new() }
    }

    /// A message went into the topic: one line per record, what becomes of it and why.
    pub fn sent(&mut self, message: &str, offset: i64, now: Timestamp) -> Vec<String> {
        let lines = envelope::decode(Some(message.as_bytes()))
            .into_iter()
            .enumerate()
            .map(|(index, item)| match item {
                Item::Dead(dead) => {
                    format!("{offset:>4}.{index} (unreadable)  → kept in the dead letters: {}", dead.reason.as_str())
                }
                Item::Record(raw) => {
                    let position = Position {
                        source: "demo".into(),
                        topic: Some(super::feed::TOPIC.into()),
                        partition: Some(0),
                        offset: Some(offset),
                        index: u32::try_from(index).unwrap_or(u32::MAX),
                    };
                    let record = raw.read(&Dialects::shipped(), position, Some(now));
                    let what = record.operation.as_deref().unwrap_or("(no operation)").escape_debug().to_string();
                    format!("{offset:>4}.{index} {what}  → {}", self.decide(&record, now))
                }
            })
            .collect();
        let surplus = self.planned.len().saturating_sub(KEPT * 10);
        self.planned.drain(..surplus);
        lines
    }

    fn decide(&mut self, record: &Record, now: Timestamp) -> String {
        let known = Known { now, lookups: &Lookups::default() }; // the demo's configuration has none
        let matching = self.rules.matching(record, known);
        if matching.is_empty() {
            let decisions = self.rules.iter().flat_map(|rule| {
                rule.evaluate(record, known).into_iter().map(move |decision| (&rule.id, decision.failed))
            });
            let missed = decisions.into_iter().find_map(|(rule, failed)| match failed.as_slice() {
                [leaf] if &*leaf.key != "operation" => Some(format!("rule {rule} does not match: {}", leaf.key)),
                _ => None,
            });
            return missed.unwrap_or_else(|| "no rule watches this".to_owned());
        }
        let people = self.people.clone();
        let canonical = move |id: Option<&str>, upn: Option<&str>| people.canonical(id, upn);
        let directory = plan::Directory {
            canonical: &canonical,
            manager: &|of| self.people.manager(of),
            alternates: &|of| self.people.alternates(of),
        };
        let context = plan::Context { known, broker_time: Some(now), rules_seen: &HashMap::new(), directory };
        let intents = plan::plan(record, &matching, &context);
        let pretty: Arc<str> = serde_json::to_string_pretty(&record.raw).unwrap_or_default().into();
        let mut words: Vec<String> = intents.iter().map(|intent| self.told(intent, record)).collect();
        words.dedup();
        self.planned.extend(intents.into_iter().map(|intent| Planned { intent, record: pretty.clone() }));
        words.join(", ")
    }

    fn told(&self, intent: &Intent, record: &Record) -> String {
        let resolution = intent.recipient.as_ref().map(|who| self.people.resolve(who, std::slice::from_ref(record)));
        let lost = match (&intent.fate, &resolution) {
            (Fate::Ends { reason, .. }, _) => return format!("nobody is told: {reason} (rule {})", intent.rule),
            (_, Some(Resolution::Refused(refusal))) => refusal.as_str(),
            (_, Some(Resolution::Unknown)) => "unknown",
            _ => return format!("will be told by mail (rule {})", intent.rule),
        };
        format!("nobody can be mailed ({lost}): the fallback list hears instead (rule {})", intent.rule)
    }

    /// A mail arrived.
    pub fn arrived(&mut self, mail: &Received, now: Timestamp) -> Letter {
        let parsed = MessageParser::default().parse(&mail.bytes).unwrap_or_default();
        let key = parsed.message_id().unwrap_or_default().split('@').next().unwrap_or_default().to_owned();
        let (origins, instead) = self.origins(&key, &mail.to);
        let mut records: Vec<String> = origins.iter().map(|planned| planned.record.to_string()).collect();
        records.dedup();
        let mut ids: Vec<Arc<str>> = origins.iter().map(|planned| planned.intent.rule.clone()).collect();
        ids.sort();
        ids.dedup();
        let rules = ids
            .into_iter()
            .map(|id| {
                let description = self.rules.get(&id).map_or_else(|| id.clone(), |rule| rule.description.clone());
                (id, description)
            })
            .collect();
        let from = parsed.from().and_then(|from| from.first()).map_or_else(String::new, |from| {
            format!("{} <{}>", from.name().unwrap_or_default(), from.address().unwrap_or_default())
        });
        let letter = Letter {
            key,
            to: mail.to.clone(),
            from,
            subject: parsed.subject().unwrap_or_default().to_owned(),
            at: now,
            html: parsed.body_html(0).unwrap_or_default().into_owned(),
            text: parsed.body_text(0).unwrap_or_default().into_owned(),
            rules,
            instead,
            records,
        };
        self.letters.push(letter.clone());
        let surplus = self.letters.len().saturating_sub(KEPT);
        self.letters.drain(..surplus);
        letter
    }

    /// The notifications behind a mail: the one whose id is its key (or which it stands for), and those of its group.
    fn origins(&self, key: &str, to: &str) -> (Vec<&Planned>, Option<&'static str>) {
        let fallback = Recipient::Address(to.into());
        let stands_for = |id: NotificationId, channel: &str, kind: Kind| {
            id.escalation(kind as i64, &fallback, channel, 0).to_string() == key
        };
        let found = self.planned.iter().find_map(|planned| {
            let Intent { id, channel, .. } = &planned.intent;
            if id.to_string() == key {
                Some((planned, None))
            } else if stands_for(*id, channel, Kind::Unresolved) {
                Some((planned, Some("the person concerned has no address that may be mailed")))
            } else if stands_for(*id, channel, Kind::Failed) {
                Some((planned, Some("the mail to the person concerned was given up")))
            } else {
                None
            }
        });
        let Some((first, instead)) = found else { return (Vec::new(), None) };
        let group = group(&first.intent);
        let same = |planned: &&Planned| {
            planned.intent.id == first.intent.id || group.is_some() && self::group(&planned.intent) == group
        };
        (self.planned.iter().filter(same).collect(), instead)
    }
}

fn group(intent: &Intent) -> Option<&Arc<str>> {
    match &intent.fate {
        Fate::Send { group, .. } => group.as_ref(),
        Fate::Ends { .. } => None,
    }
}
