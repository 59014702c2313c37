//! What would happen to one record, decided as the daemon decides it: the same rules, the same plan, no store. Equal
//! configuration, record and moment give an equal answer.

use std::collections::HashMap;

use super::answer::{Considered, Explanation, Named, Notification, Outcome, Step, Subject};
use crate::clock::Timestamp;
use crate::lookup::Lookups;
use crate::people::{self, People, Resolution};
use crate::plan::{self, Fate, Intent, Party, Recipient, Verdict};
use crate::record::envelope::Dead;
use crate::record::{Position, Record};
use crate::rules::{Decision, Known, Match, Rule, Rules, Tell, To};

/// Told of an address on a channel: whether mail for it is not even tried, because the other side refused it for good.
pub(super) type Refused<'a> = dyn Fn(&str, &str) -> bool + 'a;

/// What is asked.
pub(super) struct Explainer {
    pub rules: Rules,
    /// What they look things up in.
    pub lookups: Lookups,
    pub people: People,
    /// What `people` was loaded with.
    pub directory: people::Settings,
    /// `None`: each record's own time.
    pub now: Option<Timestamp>,
}

impl Explainer {
    /// Everything about `record` but its history.
    pub(super) fn record(&self, record: Record, broker_time: Option<Timestamp>, refused: &Refused<'_>) -> Explanation {
        let now = self.now.or(record.time).unwrap_or_default();
        let canonical = |id: Option<&str>, upn: Option<&str>| self.people.canonical(id, upn);
        let considered: Vec<&Rule> = self.rules.iter().filter(|rule| rule.concerns(record.dialect)).collect();
        let known = Known { now, lookups: &self.lookups };
        let decisions: Vec<(&Rule, Decision)> = considered
            .iter()
            .flat_map(|rule| rule.evaluate(&record, known).into_iter().map(|decision| (*rule, decision)))
            .collect();
        let matched: Vec<Match<'_>> =
            decisions.iter().filter_map(|(rule, decision)| rule.matched(decision.clone())).collect();
        // No store is asked: every rule counts as having always been there.
        let directory = plan::Directory {
            canonical: &canonical,
            manager: &|of| self.people.manager(of),
            alternates: &|of| self.people.alternates(of),
        };
        let context = plan::Context { known, broker_time, rules_seen: &HashMap::new(), directory };
        let intents = plan::plan(&record, &matched, &context);
        let parties = plan::parties(&record, &canonical);
        let of = Of { explainer: self, record: &record, parties: &parties, refused };
        let notifications: Vec<Notification> =
            intents.iter().filter_map(|intent| Some(of.notification(intent, self.rules.get(&intent.rule)?))).collect();
        let outcome = match () {
            () if intents.iter().any(|intent| matches!(intent.fate, Fate::Send { .. })) => Outcome::Notify,
            () if considered.is_empty() => Outcome::NoRule,
            () if matched.is_empty() => Outcome::NoMatch,
            () => Outcome::NothingToSend,
        };
        let rules = decisions.into_iter().map(|(rule, decision)| Considered {
            rule: rule.id.to_string(),
            matched: decision.matched,
            element: decision.element.map(|element| element.place.to_string()),
            route: decision.route,
            failed: decision.failed,
            undecided: Vec::new(),
        });
        let rules = rules.collect();
        let record = Subject::Record(Box::new(record));
        Explanation { record, outcome: Some(outcome), rules, notifications, history: Vec::new() }
    }
}

/// What is no record.
pub(super) fn dead(position: Position, dead: Dead<'_>) -> Explanation {
    let dead = Dead { reason: dead.reason, bytes: dead.bytes.into_owned().into() };
    Explanation {
        record: Subject::Dead(position, dead),
        outcome: Some(Outcome::DeadLetter),
        rules: Vec::new(),
        notifications: Vec::new(),
        history: Vec::new(),
    }
}

/// One record and the people whom it names.
struct Of<'a> {
    explainer: &'a Explainer,
    record: &'a Record,
    parties: &'a [Party],
    refused: &'a Refused<'a>,
}

impl Of<'_> {
    fn notification(&self, intent: &Intent, rule: &Rule) -> Notification {
        let (decision, reason, due) = decision(intent, rule);
        let recipient = intent.recipient.as_ref();
        let (mut addresses, lost) = recipient.map_or_else(Default::default, |who| self.reach(who, &intent.channel));
        let mut reasons: Vec<String> = reason.into_iter().collect();
        if let (Fate::Send { .. }, Some(recipient), Some(why)) = (&intent.fate, recipient, lost) {
            let instead = self.fallback(recipient);
            let told: Vec<&str> = instead.iter().filter_map(|step| step.address.as_deref()).collect();
            let told = if told.is_empty() { "nobody".to_owned() } else { told.join(", ") };
            reasons.push(format!("unresolved: {why}; told instead: {told}"));
            addresses.extend(instead);
        }
        Notification {
            id: intent.id.to_string(),
            rule: rule.id.to_string(),
            mode: if rule.shadow { "shadow" } else { "live" },
            severity: intent.severity,
            channel: intent.channel.to_string(),
            recipient: recipient.map(|recipient| self.named(recipient, rule)),
            addresses,
            decision,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            due,
            silence: None,
            case: None,
            element: None,
        }
    }

    fn named(&self, recipient: &Recipient, rule: &Rule) -> Named {
        match recipient {
            Recipient::User(_) | Recipient::Manager(_) => {
                let party = self.parties.iter().find(|party| party.recipient.as_ref() == Some(recipient));
                let target = rule.tells().flat_map(Tell::named).any(|to| *to == To::Target)
                    && party.is_some_and(|party| !party.targets.is_empty());
                Named {
                    r#ref: if target { "target" } else { "actor" }.into(),
                    kind: "user",
                    id: party.and_then(|party| party.id.clone()),
                    upn: party.and_then(|party| party.upn.clone()),
                }
            }
            Recipient::Address(address) => {
                let list = rule.tells().flat_map(Tell::named).find_map(|to| match to {
                    To::List(name, entries) if entries.iter().any(|entry| entry.text.to_lowercase() == **address) => {
                        Some(name)
                    }
                    _ => None,
                });
                let r#ref = list.map_or_else(|| "address".to_owned(), |name| format!("list:{name}"));
                Named { r#ref, kind: "address", id: None, upn: None }
            }
            Recipient::Room(channel) => Named { r#ref: channel.to_string(), kind: "room", id: None, upn: None },
            Recipient::Missing(text) => Named { r#ref: text.to_string(), kind: "missing", id: None, upn: None },
        }
    }

    /// Where the directory looked for an address and what it found; why nobody can be mailed there, if so.
    fn reach(&self, recipient: &Recipient, channel: &str) -> (Vec<Step>, Option<String>) {
        if matches!(recipient, Recipient::Room(_)) {
            return (Vec::new(), None); // it needs none
        }
        let Explainer { people, directory, .. } = self.explainer;
        let resolution = people.resolve(recipient, std::slice::from_ref(self.record));
        let mut lost = match &resolution {
            Resolution::Found(_) => None,
            Resolution::Unknown => Some(format!("unknown for {:?}", directory.wait)),
            Resolution::Refused(refusal) => Some(refusal.as_str().to_owned()),
        };
        let filed = people.lists(recipient);
        let place = match recipient {
            _ if filed => "people.csv",
            Recipient::User(_) | Recipient::Manager(_) => "record",
            Recipient::Address(_) | Recipient::Room(_) | Recipient::Missing(_) => "config",
        };
        let listed = directory.csv.is_some();
        let file = (listed && !filed).then_some(Step { asked: "people.csv", result: "unknown", address: None });
        let mut steps: Vec<Step> = file.into_iter().chain([step(place, resolution)]).collect();
        let address = steps.last().and_then(|step| step.address.clone());
        if let Some(address) = address.filter(|address| (self.refused)(channel, address)) {
            steps.push(Step { asked: "mailbox", result: "mailbox-refused", address: Some(address) });
            lost = Some("mailbox-refused".to_owned());
        }
        (steps, lost)
    }

    /// Who hears of what cannot be told to `recipient`: the fallback list but for `recipient`, as dispatch has it.
    fn fallback(&self, recipient: &Recipient) -> Vec<Step> {
        let Explainer { people, directory, .. } = self.explainer;
        let list = directory.fallback.iter().cloned().map(Recipient::Address);
        list.filter(|other| other != recipient)
            .map(|other| step("fallback", people.resolve(&other, std::slice::from_ref(self.record))))
            .collect()
    }
}

fn step(asked: &'static str, resolution: Resolution) -> Step {
    let (result, address) = match resolution {
        Resolution::Found(person) => ("found", Some(person.address.to_string())),
        Resolution::Unknown => ("unknown", None),
        Resolution::Refused(refusal) => (refusal.as_str(), None),
    };
    Step { asked, result, address }
}

/// The decision, its reason, and when the message would be due.
fn decision(intent: &Intent, rule: &Rule) -> (&'static str, Option<String>, Option<Timestamp>) {
    match &intent.fate {
        Fate::Send { due_at, group: None, .. } => ("send", None, Some(*due_at)),
        Fate::Send { due_at, group: Some(_), .. } => {
            let group = rule.tells().find_map(|tell| tell.group.as_ref());
            let reason = group.map(|group| format!("policy {}: wait {:?}", group.policy, group.wait));
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
