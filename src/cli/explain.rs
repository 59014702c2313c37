//! `explain`: what would happen to records, why, and why not: one JSON object each. It reads no store and sends nothing;
//! the same configuration, record and moment give the same answer.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::input::Input;
use super::{ConfigFile, exit};
use crate::clock::Timestamp;
use crate::config;
use crate::people::{self, People, Resolution};
use crate::plan::{self, Fate, Intent, Party, Recipient, Verdict};
use crate::record::envelope::{Dead, Item};
use crate::record::view::View;
use crate::record::{Position, Record, Severity};
use crate::rules::{FailedLeaf, Rule, Rules, To};

mod redact;

use redact::MASK;

/// Arguments of `explain`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    input: Input,
    /// Decide as of this moment (RFC 3339); without it, as of each record's own
    #[arg(long, value_name = "TIME", value_parser = moment)]
    now: Option<Timestamp>,
    /// Mask who and what the record is about, for somebody who shall not know
    #[arg(long)]
    redact: bool,
}

fn moment(text: &str) -> Result<Timestamp, jiff::Error> {
    text.parse::<jiff::Timestamp>().map(|at| Timestamp::from_millis(at.as_millisecond()))
}

/// Runs the command: 1 if anything could not be read, 2 if the file could not, 78 for a bad configuration.
#[expect(clippy::needless_pass_by_value, reason = "every command takes its arguments alike")]
pub(crate) fn run(args: Args) -> ExitCode {
    let config = match config::load(&args.file.config) {
        Ok(config) => config,
        Err(faults) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            return ExitCode::from(exit::CONFIG);
        }
    };
    let directory = config.people.clone();
    let people = match People::load(config.people) {
        Ok(people) => people,
        Err(error) => {
            eprintln!("auditbell: {error:#}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    let explainer = Explainer { rules: config.rules, people, directory, now: args.now, redact: args.redact };
    args.input.each(&mut |position, item, output| match item {
        Item::Record(raw) => explainer.record(raw.read(position, None), &mut |line| output.line(line)),
        Item::Dead(dead) => output.line(&explainer.dead(&position, dead)),
    })
}

/// What is asked, and of whom.
struct Explainer {
    rules: Rules,
    people: People,
    /// What `people` was loaded with.
    directory: people::Settings,
    now: Option<Timestamp>,
    redact: bool,
}

/// One line of the result. Every key is always there, in this order; new ones come at the end.
#[derive(Serialize)]
struct Explanation<'a> {
    record: View<'a>,
    outcome: Outcome,
    rules: Vec<Considered<'a>>,
    notifications: Vec<Notification<'a>>,
    /// What did happen: only a store knows.
    history: [(); 0],
}

/// What it comes to.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// Somebody would be told.
    Notify,
    /// No enabled rule's `on` fits.
    NoRule,
    /// Rules were considered and none matched.
    NoMatch,
    /// A rule matched, and nobody would be told.
    NothingToSend,
    /// It is no record.
    DeadLetter,
}

/// An enabled rule whose `on` fits.
#[derive(Serialize)]
struct Considered<'a> {
    rule: &'a str,
    matched: bool,
    /// With `each` and with routes, when they are due.
    element: Option<&'a str>,
    route: Option<usize>,
    failed: Vec<FailedLeaf>,
    undecided: [(); 0],
}

#[derive(Serialize)]
struct Notification<'a> {
    id: String,
    rule: &'a str,
    mode: &'static str,
    severity: Severity,
    channel: Arc<str>,
    recipient: Option<Named<'a>>,
    addresses: Vec<Step>,
    decision: &'static str,
    reason: Option<String>,
    due: Option<Timestamp>,
    silence: Option<&'a str>,
    case: Option<&'a str>,
}

/// Who a recipient is, and by which entry of `to`.
#[derive(Serialize)]
struct Named<'a> {
    r#ref: String,
    kind: &'static str,
    id: Option<&'a str>,
    upn: Option<&'a str>,
}

/// One place that was asked for an address; `fallback` where somebody else hears instead.
#[derive(Serialize)]
struct Step {
    #[serde(rename = "step")]
    asked: &'static str,
    result: &'static str,
    address: Option<Arc<str>>,
}

impl Explainer {
    fn record(
        &self,
        mut record: Record,
        line: &mut dyn FnMut(&Explanation<'_>) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let now = self.now.or(record.time).unwrap_or_default();
        let canonical = |id: Option<&str>, upn: Option<&str>| self.people.canonical(id, upn);
        let considered: Vec<&Rule> = self.rules.iter().filter(|rule| rule.concerns(record.dialect)).collect();
        let failed: Vec<Vec<FailedLeaf>> = considered.iter().map(|rule| rule.evaluate(&record)).collect();
        let matched: Vec<&Rule> =
            considered.iter().zip(&failed).filter(|(_, failed)| failed.is_empty()).map(|(rule, _)| *rule).collect();
        // No store is asked: every rule counts as having always been there.
        let context = plan::Context { now, broker_time: None, rules_seen: &HashMap::new(), canonical: &canonical };
        let intents = plan::plan(&record, &matched, &context);
        let parties = plan::parties(&record, &canonical);
        let notifications: Vec<Notification<'_>> = intents
            .iter()
            .filter_map(|intent| Some(self.notification(intent, self.rules.get(&intent.rule)?, &parties, &record)))
            .collect();
        let outcome = match () {
            () if intents.iter().any(|intent| matches!(intent.fate, Fate::Send { .. })) => Outcome::Notify,
            () if considered.is_empty() => Outcome::NoRule,
            () if matched.is_empty() => Outcome::NoMatch,
            () => Outcome::NothingToSend,
        };
        if self.redact {
            redact::record(&mut record);
        }
        let rules = considered.iter().zip(failed).map(|(rule, failed)| Considered {
            rule: &rule.id,
            matched: failed.is_empty(),
            element: None,
            route: None,
            failed: failed.into_iter().map(|leaf| if self.redact { redact::leaf(leaf) } else { leaf }).collect(),
            undecided: [],
        });
        let record = View::from(&record);
        line(&Explanation { record, outcome, rules: rules.collect(), notifications, history: [] })
    }

    fn dead<'a>(&self, position: &'a Position, mut dead: Dead<'_>) -> Explanation<'a> {
        if self.redact {
            // As long as it was, so that its length is still told.
            dead.bytes = vec![b'*'; dead.bytes.len()].into();
        }
        let record = View::of_dead(position, &dead);
        Explanation { record, outcome: Outcome::DeadLetter, rules: vec![], notifications: vec![], history: [] }
    }

    fn notification<'a>(
        &self,
        intent: &Intent,
        rule: &'a Rule,
        parties: &'a [Party],
        record: &Record,
    ) -> Notification<'a> {
        let (decision, reason, due) = decision(intent, rule);
        let recipient = intent.recipient.as_ref();
        let (mut addresses, lost) = recipient.map_or_else(Default::default, |who| self.reach(who, record));
        let mut reasons: Vec<String> = reason.into_iter().collect();
        if let (Fate::Send { .. }, Some(recipient), Some(why)) = (&intent.fate, recipient, lost) {
            let instead = self.fallback(recipient, record);
            let told: Vec<&str> = instead.iter().filter_map(|step| step.address.as_deref()).collect();
            let told = if told.is_empty() { "nobody".to_owned() } else { told.join(", ") };
            reasons.push(format!("unresolved: {why}; told instead: {told}"));
            addresses.extend(instead);
        }
        Notification {
            id: intent.id.to_string(),
            rule: &rule.id,
            mode: if rule.shadow { "shadow" } else { "live" },
            severity: intent.severity,
            channel: Arc::clone(&intent.channel),
            recipient: recipient.map(|recipient| self.named(recipient, rule, parties)),
            addresses,
            decision,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            due,
            silence: None,
            case: None,
        }
    }

    fn named<'a>(&self, recipient: &Recipient, rule: &Rule, parties: &'a [Party]) -> Named<'a> {
        let shown = |name: &'a Option<String>| name.as_deref().map(|name| if self.redact { MASK } else { name });
        match recipient {
            Recipient::User(_) => {
                let party = parties.iter().find(|party| party.recipient.as_ref() == Some(recipient));
                let target = rule.to.contains(&To::Target) && party.is_some_and(|party| !party.targets.is_empty());
                Named {
                    r#ref: if target { "target" } else { "actor" }.into(),
                    kind: "user",
                    id: party.and_then(|party| shown(&party.id)),
                    upn: party.and_then(|party| shown(&party.upn)),
                }
            }
            Recipient::Address(address) => {
                let list = rule.to.iter().find_map(|to| match to {
                    To::List(name, entries) if entries.iter().any(|entry| entry.to_lowercase() == **address) => {
                        Some(name)
                    }
                    _ => None,
                });
                let r#ref = list.map_or_else(|| "address".to_owned(), |name| format!("list:{name}"));
                Named { r#ref, kind: "address", id: None, upn: None }
            }
            Recipient::Room(channel) => Named { r#ref: channel.to_string(), kind: "room", id: None, upn: None },
        }
    }

    /// Where the directory looked for an address and what it found; why nobody can be mailed there, if so.
    fn reach(&self, recipient: &Recipient, record: &Record) -> (Vec<Step>, Option<String>) {
        if matches!(recipient, Recipient::Room(_)) {
            return (Vec::new(), None); // it needs none
        }
        let resolution = self.people.resolve(recipient, std::slice::from_ref(record));
        let lost = match &resolution {
            Resolution::Found(_) => None,
            Resolution::Unknown => Some(format!("unknown for {:?}", self.directory.wait)),
            Resolution::Refused(refusal) => Some(refusal.as_str().to_owned()),
        };
        let filed = self.people.lists(recipient);
        let place = match recipient {
            _ if filed => "people.csv",
            Recipient::User(_) => "record",
            Recipient::Address(_) | Recipient::Room(_) => "config",
        };
        let listed = self.directory.csv.is_some();
        let file = (listed && !filed).then_some(Step { asked: "people.csv", result: "unknown", address: None });
        (file.into_iter().chain([self.step(place, resolution)]).collect(), lost)
    }

    /// Who hears of what cannot be told to `recipient`: the fallback list but for `recipient`, as dispatch has it.
    fn fallback(&self, recipient: &Recipient, record: &Record) -> Vec<Step> {
        let list = self.directory.fallback.iter().cloned().map(Recipient::Address);
        list.filter(|other| other != recipient)
            .map(|other| self.step("fallback", self.people.resolve(&other, std::slice::from_ref(record))))
            .collect()
    }

    fn step(&self, asked: &'static str, resolution: Resolution) -> Step {
        let (result, address) = match resolution {
            Resolution::Found(person) => ("found", Some(person.address)),
            Resolution::Unknown => ("unknown", None),
            Resolution::Refused(refusal) => (refusal.as_str(), None),
        };
        Step { asked, result, address: address.map(|address| if self.redact { MASK.into() } else { address }) }
    }
}

/// The decision, its reason, and when the message would be due.
fn decision(intent: &Intent, rule: &Rule) -> (&'static str, Option<String>, Option<Timestamp>) {
    match &intent.fate {
        Fate::Send { due_at, group: None, .. } => ("send", None, Some(*due_at)),
        Fate::Send { due_at, group: Some(_), .. } => {
            let reason = rule.group.as_ref().map(|group| format!("policy {}: wait {:?}", group.policy, group.wait));
            ("group", reason, Some(*due_at))
        }
        Fate::Ends { verdict, reason } => {
            let decision = match verdict {
                Verdict::Expired => "expired",
                Verdict::Shadow => "shadow",
                Verdict::Silenced => "silenced",
                Verdict::Muted => "muted",
                Verdict::Duplicate => "duplicate",
                _ => "skipped",
            };
            (decision, Some((*reason).to_owned()), None)
        }
    }
}
