//! Owns the run of one test: its messages through decode, rules, plan and the groups of `accept`, to what would be sent.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::cli::explain;
use crate::clock::Timestamp;
use crate::compose::{About, Composer, Draft, Kind};
use crate::config::{Config, Fault, Given, Listed, RuleTest};
use crate::people::{self, People, Person, Resolution};
use crate::plan::{self, Extent, Fate, Intent, NotificationId, Recipient};
use crate::record::envelope::{self, Item};
use crate::record::{Dialects, Position, Record, Severity};
use crate::rules::{Known, Rule, Rules};

/// Names that can never be anybody's (RFC 2606), so that records in tests may use them whatever the configuration allows.
const EXAMPLES: [&str; 3] = ["example.com", "example.net", "example.org"];

/// What every test runs in.
pub(super) struct World<'a> {
    pub config: &'a Config,
    people: People,
    composer: Composer,
}

/// What came of a test's messages.
#[derive(Default)]
pub(super) struct Came {
    /// The messages that the rule takes part in.
    pub messages: Vec<Message>,
    /// For each record why the rule tells nobody of it, most telling first; a record of which it tells somebody has none.
    pub silence: Vec<Vec<Reason>>,
    /// What could not be read or worded.
    pub troubles: Vec<String>,
}

/// Why a rule tells nobody of a record.
pub(super) struct Reason {
    /// The key of a leaf that fails, or the reason of a verdict.
    pub key: String,
    /// For people.
    pub words: String,
}

/// A message as it would be sent.
pub(super) struct Message {
    /// An address, or the name of a room.
    pub to: String,
    pub channel: Arc<str>,
    pub template: Arc<str>,
    pub severity: Severity,
    /// Of a mail.
    pub subject: Option<String>,
    /// The text part of a mail; the whole document for a room.
    pub text: String,
}

/// A message while records join it.
struct Open {
    id: NotificationId,
    first: Intent,
    due_at: Timestamp,
    group: Option<Arc<str>>,
    created_at: Timestamp,
    /// Every rule that takes part.
    rules: BTreeSet<Arc<str>>,
    /// Places of its records, and what of each it is about.
    records: Vec<(usize, Extent)>,
}

impl<'a> World<'a> {
    /// Reads people and templates; every fault of theirs.
    pub(super) fn new(config: &'a Config) -> Result<Self, Vec<Fault>> {
        let mut settings: people::Settings = config.people.clone();
        settings.allow_domains.extend(EXAMPLES.map(str::to_owned));
        let people = People::load(settings).map_err(|error| vec![config.fault("people.csv", format!("{error:#}"))])?;
        let fault = |fault: crate::compose::Fault| Fault {
            file: fault.file,
            line: fault.line,
            key: String::new(),
            message: fault.message,
        };
        let composer = Composer::load(config.templates.as_deref(), &config.brand, &config.lookups)
            .map_err(|faults| faults.into_iter().map(fault).collect::<Vec<_>>())?;
        Ok(Self { config, people, composer })
    }

    /// Runs `test`, of the rule `listed`, with the rules of its own file or pack.
    pub(super) fn run(&self, listed: &Listed, test: &RuleTest) -> Came {
        let mut came = Came::default();
        let records = read(&self.config.dialects, test, &mut came.troubles);
        let rules = self.around(listed, test.rule.as_ref());
        let Some(rule) = rules.get(&listed.rule.id) else { return came };
        let mut seen = HashSet::new();
        let mut open: Vec<Open> = Vec::new();
        for (place, record) in records.iter().enumerate() {
            let mut intents = self.intents(&rules, record);
            intents.retain(|intent| seen.insert(intent.id));
            came.silence.push(silence(rule, record, self.known(record), &intents));
            for intent in intents {
                join(&mut open, intent, place, moment(record));
            }
        }
        open.retain(|message| message.rules.contains(&listed.rule.id));
        for message in &open {
            self.word(message, &records, &mut came);
        }
        came
    }

    /// The enabled rules of the file that `listed` stands in, or of its pack. A rule in shadow is tested as though it were live;
    /// `instead` stands in the place of `listed` itself.
    fn around(&self, listed: &Listed, instead: Option<&Rule>) -> Rules {
        let beside = |other: &&Listed| match (&listed.pack, &other.pack) {
            (None, None) => other.place.file == listed.place.file,
            (pack, others) => pack == others,
        };
        let rules = self.config.listed.iter().filter(|other| other.enabled).filter(beside);
        let rules = rules.map(|other| match instead {
            Some(rule) if other.rule.id == rule.id => rule,
            _ => &other.rule,
        });
        Rules::new(rules.map(|rule| Rule { shadow: false, ..rule.clone() }).collect())
    }

    fn intents(&self, rules: &Rules, record: &Record) -> Vec<Intent> {
        let context = plan::Context {
            known: self.known(record),
            broker_time: None,
            rules_seen: &HashMap::new(),
            directory: plan::Directory {
                canonical: &|id, upn| self.people.canonical(id, upn),
                manager: &|of| self.people.manager(of),
                alternates: &|of| self.people.alternates(of),
            },
        };
        plan::plan(record, &rules.matching(record, context.known), &context)
    }

    /// A record in a test is decided in the moment in which it happened.
    fn known(&self, record: &Record) -> Known<'_> {
        Known { now: moment(record), lookups: &self.config.lookups }
    }

    /// What a message becomes: one mail or document, or one to each of the fallback.
    fn word(&self, message: &Open, records: &[Record], came: &mut Came) {
        let Some(recipient) = &message.first.recipient else { return };
        let of_it = message.records.iter().filter_map(|(place, extent)| Some((records.get(*place)?.clone(), extent)));
        let (records, extents): (Vec<Record>, Vec<&Extent>) = of_it.unzip();
        let resolution = match recipient {
            Recipient::Room(_) => None,
            _ => Some(self.people.resolve(recipient, &records)),
        };
        let shown = records.into_iter().zip(extents).map(|(record, extent)| extent.shown(record, recipient));
        let records: Vec<Record> = shown.collect();
        let reason = match resolution {
            None => return self.compose(message, (Kind::Normal, recipient, None), None, &records, came),
            Some(Resolution::Found(person)) => {
                return self.compose(message, (Kind::Normal, recipient, None), Some(person), &records, came);
            }
            Some(Resolution::Unknown) => "unknown-recipient",
            Some(Resolution::Refused(refusal)) => refusal.as_str(),
        };
        let about = Some(About { recipient, reason });
        for address in &self.config.people.fallback {
            let instead = Recipient::Address(address.clone());
            match self.people.resolve(&instead, &[]) {
                Resolution::Found(person) => {
                    self.compose(message, (Kind::Unresolved, &instead, about), Some(person), &records, came);
                }
                Resolution::Unknown | Resolution::Refused(_) => {
                    came.troubles.push(format!("nobody can be told instead of {recipient}: {reason}"));
                }
            }
        }
    }

    fn compose(
        &self,
        message: &Open,
        (kind, recipient, about): (Kind, &Recipient, Option<About<'_>>),
        person: Option<Person>,
        records: &[Record],
        came: &mut Came,
    ) {
        let intent = &message.first;
        let key = message.id.to_string();
        let draft = Draft {
            key: &key,
            template: &intent.template,
            fallback: false,
            kind,
            rule: &intent.rule,
            title: &intent.title,
            severity: intent.severity,
            created_at: message.created_at,
            late: false,
            recipient,
            person: person.as_ref(),
            people: &self.people,
            about,
            records,
        };
        let worded = match &person {
            Some(_) => self.composer.words(&draft).map(|(subject, text)| (Some(subject), text)),
            None => {
                self.composer.document(&draft).map(|room| (None, String::from_utf8_lossy(&room.bytes).into_owned()))
            }
        };
        match worded {
            Ok((subject, text)) => came.messages.push(Message {
                to: person.map_or_else(|| intent.channel.to_string(), |person| person.address.to_string()),
                channel: intent.channel.clone(),
                template: intent.template.clone(),
                severity: intent.severity,
                subject,
                text,
            }),
            Err(error) => came.troubles.push(error.to_string()),
        }
    }
}

/// The records of the test's messages, in order.
fn read(dialects: &Dialects, of: &RuleTest, troubles: &mut Vec<String>) -> Vec<Record> {
    let mut records = Vec::new();
    for (number, given) in (0..).zip(&of.messages) {
        let (source, bytes) = match given {
            Given::Text(text) => ("the rule file".to_owned(), Ok(text.clone().into_bytes())),
            Given::File(path) => (path.display().to_string(), std::fs::read(path)),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                troubles.push(format!("{source}: cannot be read: {error}"));
                continue;
            }
        };
        for (index, item) in (0..).zip(envelope::decode(Some(&bytes))) {
            let position =
                Position { source: source.as_str().into(), topic: None, partition: None, offset: Some(number), index };
            match item {
                Item::Record(raw) => records.push(raw.read(dialects, position, None)),
                Item::Dead(dead) => {
                    troubles.push(format!("{source}: record {index} is none: {}", dead.reason.as_str()));
                }
            }
        }
    }
    records
}

/// When a record happened.
fn moment(record: &Record) -> Timestamp {
    record.time.unwrap_or_default()
}

/// Why `rule` tells nobody of `record`.
fn silence(rule: &Rule, record: &Record, known: Known<'_>, intents: &[Intent]) -> Vec<Reason> {
    if !rule.concerns(record.dialect) {
        let words = format!("on: wanted another dialect, got {}", record.dialect.as_str());
        return vec![Reason { key: "on".into(), words }];
    }
    let failed = rule.evaluate(record, known).into_iter().flat_map(|decision| decision.failed);
    let failed = failed.map(|leaf| Reason { words: explain::leaf(&leaf), key: leaf.key });
    let ended = intents.iter().filter(|intent| intent.rule == rule.id).filter_map(|intent| match &intent.fate {
        Fate::Ends { verdict, reason } => {
            Some(Reason { key: (*reason).to_owned(), words: format!("{}: {reason}", verdict.as_str()) })
        }
        Fate::Send { .. } => None,
    });
    let told = intents.iter().any(|intent| intent.rule == rule.id && matches!(intent.fate, Fate::Send { .. }));
    if told { Vec::new() } else { failed.chain(ended).collect() }
}

/// Puts a notification into the open message of its group, or opens one, as `accept` does.
fn join(open: &mut Vec<Open>, intent: Intent, place: usize, now: Timestamp) {
    let Fate::Send { due_at, group, .. } = &intent.fate else { return };
    let (due_at, group) = (*due_at, group.clone());
    let same = |message: &&mut Open| group.is_some() && message.group == group && now < message.due_at;
    let Some(message) = open.iter_mut().find(same) else {
        let (id, rules) = (intent.id, BTreeSet::from([intent.rule.clone()]));
        let records = vec![(place, Extent::of(intent.element.clone()))];
        open.push(Open { id, first: intent, due_at, group, created_at: now, rules, records });
        return;
    };
    message.rules.insert(intent.rule.clone());
    match message.records.iter_mut().find(|(known, _)| *known == place) {
        Some((_, extent)) => extent.add(intent.element.clone()),
        None => message.records.push((place, Extent::of(intent.element.clone()))),
    }
    let severity = message.first.severity.max(intent.severity);
    if intent.rank < message.first.rank {
        message.first = Intent { recipient: message.first.recipient.clone(), ..intent };
    }
    message.first.severity = severity;
}
