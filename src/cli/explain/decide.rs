//! What would happen to one record, decided as the daemon decides it: the same rules, the same plan, no store. Equal
//! configuration, record and moment give an equal answer.

use std::collections::HashMap;
use std::sync::Arc;

use super::answer::{Considered, Explanation, Instead, Named, Notification, Outcome, Step, Subject};
use crate::clock::Timestamp;
use crate::config;
use crate::dispatch::state::MAILBOX_REFUSED;
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
    /// Who hears of what each channel gives up.
    pub fallbacks: HashMap<Arc<str>, Vec<config::Instead>>,
    /// `None`: each record's own time.
    pub now: Option<Timestamp>,
}

impl Explainer {
    /// Everything about `record` but its history.
    pub(super) fn record(&self, record: Record, broker_time: Option<Timestamp>, refused: &Refused<'_>) -> Explanation {
        let now = self.now.or(record.time).unwrap_or_default();
        let known = Known { now, lookups: &self.lookups };
        let directory = plan::Directory {
            canonical: &|id, upn| self.people.canonical(id, upn),
            manager: &|of| self.people.manager(of),
            alternates: &|of| self.people.alternates(of),
        };
        // No store is asked: every rule counts as having always been there.
        let context = plan::Context { known, broker_time, rules_seen: &HashMap::new(), directory };
        let parties = plan::parties(&record, directory.canonical);
        let of = Of { explainer: self, record: &record, parties: &parties, context, refused };
        let (mut rules, mut notifications) = (Vec::new(), Vec::new());
        for rule in self.rules.iter().filter(|rule| rule.concerns(record.dialect)) {
            for decision in rule.evaluate(&record, known) {
                let Decision { element, route, .. } = &decision;
                rules.push(Considered {
                    rule: rule.id.to_string(),
                    matched: decision.matched,
                    element: element.as_ref().map(|element| element.place.to_string()),
                    route: *route,
                    failed: decision.failed.clone(),
                    undecided: Vec::new(),
                    passed: decision.passed.clone(),
                });
                notifications.extend(rule.matched(decision).iter().flat_map(|one| of.notifications(one)));
            }
        }
        let sent = |one: &Notification| matches!(one.decision, "send" | "group");
        let outcome = match () {
            () if notifications.iter().any(sent) => Outcome::Notify,
            () if rules.is_empty() => Outcome::NoRule,
            () if !rules.iter().any(|rule| rule.matched) => Outcome::NoMatch,
            () => Outcome::NothingToSend,
        };
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
    context: plan::Context<'a>,
    refused: &'a Refused<'a>,
}

impl Of<'_> {
    fn notifications(&self, one: &Match<'_>) -> Vec<Notification> {
        let intents = plan::plan(self.record, std::slice::from_ref(one), &self.context);
        intents.iter().map(|intent| self.notification(intent, one)).collect()
    }

    fn notification(&self, intent: &Intent, one: &Match<'_>) -> Notification {
        let (decision, reason, due) = decision(intent, one.tell());
        let recipient = intent.recipient.as_ref();
        let fallback = match (&intent.fate, recipient) {
            (Fate::Send { .. }, Some(recipient)) => self.fallback(recipient, &intent.channel),
            _ => Vec::new(),
        };
        let (mut addresses, lost) = recipient.map_or_else(Default::default, |who| self.reach(who, &intent.channel));
        let mut reasons: Vec<String> = reason.into_iter().collect();
        if let (Fate::Send { .. }, Some(recipient), Some(why)) = (&intent.fate, recipient, lost) {
            let (what, instead, told) = match why {
                Lost::Unresolved(why) => {
                    let instead = self.stand_ins(recipient);
                    let told = instead.iter().filter_map(|step| step.address.clone()).collect();
                    (format!("unresolved: {why}"), instead, told)
                }
                Lost::Refused => {
                    let told = fallback.iter().map(Instead::to_string).collect::<Vec<_>>();
                    (format!("given up: {MAILBOX_REFUSED}"), Vec::new(), told)
                }
            };
            let told = if told.is_empty() { "nobody".to_owned() } else { told.join(", ") };
            reasons.push(format!("{what}; told instead: {told}"));
            addresses.extend(instead);
        }
        Notification {
            id: intent.id.to_string(),
            rule: intent.rule.to_string(),
            mode: if one.rule.shadow { "shadow" } else { "live" },
            severity: intent.severity,
            channel: Some(intent.channel.to_string()).filter(|channel| !channel.is_empty()),
            recipient: recipient.map(|recipient| self.named(recipient, one)),
            addresses,
            decision,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            due,
            silence: None,
            case: None,
            element: one.element.as_ref().map(|element| element.place.to_string()),
            route: one.route,
            fallback,
        }
    }

    fn named(&self, recipient: &Recipient, one: &Match<'_>) -> Named {
        let party = |wanted: &Recipient| self.parties.iter().find(|party| party.recipient.as_ref() == Some(wanted));
        let (kind, person) = match recipient {
            Recipient::User(_) => ("user", Some(recipient.clone())),
            Recipient::Manager(of) => ("user", (self.context.directory.manager)(&Recipient::User(of.clone()))),
            Recipient::Address(_) => ("address", None),
            Recipient::Room(_) => ("room", None),
            Recipient::Missing(_) => ("missing", None),
        };
        let known = person.as_ref().and_then(party);
        // Of somebody whom the record does not name, what the directory calls them.
        let name = person.as_ref().filter(|_| known.is_none()).map(|person| person.name().to_string());
        let (upn, id) =
            name.map_or((None, None), |name| if name.contains('@') { (Some(name), None) } else { (None, Some(name)) });
        Named {
            r#ref: match recipient {
                Recipient::Room(_) | Recipient::Missing(_) => recipient.name().to_string(),
                _ => self.entry(recipient, one).unwrap_or_else(|| kind.to_owned()),
            },
            kind,
            id: known.and_then(|party| party.id.clone()).or(id),
            upn: known.and_then(|party| party.upn.clone()).or(upn),
        }
    }

    /// The entry of `to` that names `recipient`: the plan is asked for each of them alone.
    fn entry(&self, recipient: &Recipient, one: &Match<'_>) -> Option<String> {
        let found = one.tell().named().find(|to| {
            let tell = Tell { to: vec![(*to).clone()], except: Vec::new(), ..one.tell().clone() };
            let rule = Rule { tell, routes: Vec::new(), ..one.rule.clone() };
            let alone = Match { rule: &rule, element: one.element.clone(), route: None };
            let intents = plan::plan(self.record, &[alone], &self.context);
            intents.iter().any(|intent| intent.recipient.as_ref() == Some(recipient))
        })?;
        Some(match found {
            To::Target => "target".to_owned(),
            To::Actor => "actor".to_owned(),
            To::TargetManager => "target.manager".to_owned(),
            To::ActorManager => "actor.manager".to_owned(),
            To::TargetAlternates => "target.alternates".to_owned(),
            To::TargetPrevious => "target.previous".to_owned(),
            To::List(name, _) => format!("list:{name}"),
            To::Reference(text, _) => text.to_string(),
            To::Address(_) | To::FirstOf(_) => "address".to_owned(),
        })
    }

    /// Where the directory looked for an address and what it found; why nobody can be mailed there, if so.
    fn reach(&self, recipient: &Recipient, channel: &str) -> (Vec<Step>, Option<Lost>) {
        if matches!(recipient, Recipient::Room(_)) {
            return (Vec::new(), None); // it needs none
        }
        let Explainer { people, directory, .. } = self.explainer;
        let resolution = people.resolve(recipient, std::slice::from_ref(self.record));
        let mut lost = match &resolution {
            Resolution::Found(_) => None,
            Resolution::Unknown => Some(Lost::Unresolved(format!("unknown for {:?}", directory.wait))),
            Resolution::Refused(refusal) => Some(Lost::Unresolved(refusal.as_str().to_owned())),
        };
        let filed = people.lists(recipient);
        let place = match recipient {
            Recipient::Manager(_) => "people.csv",
            _ if filed => "people.csv",
            Recipient::User(_) => "record",
            Recipient::Address(_) | Recipient::Room(_) => "config",
            Recipient::Missing(_) => "rule",
        };
        let asked = directory.csv.is_some() && matches!(recipient, Recipient::User(_) | Recipient::Address(_));
        let file = (asked && !filed).then_some(Step { asked: "people.csv", result: "unknown", address: None });
        let mut steps: Vec<Step> = file.into_iter().chain([step(place, resolution)]).collect();
        let address = steps.last().and_then(|step| step.address.clone());
        if let Some(address) = address.filter(|address| (self.refused)(channel, address)) {
            steps.push(Step { asked: "mailbox", result: MAILBOX_REFUSED, address: Some(address) });
            lost = Some(Lost::Refused);
        }
        (steps, lost)
    }

    /// Who hears of what `channel` gives up of the messages for `recipient`, as dispatch has it.
    fn fallback(&self, recipient: &Recipient, channel: &str) -> Vec<Instead> {
        let all = self.explainer.fallbacks.get(channel).into_iter().flatten();
        let same = |instead: &&config::Instead| {
            let address = instead.address.as_ref().map(|address| Recipient::Address(address.clone()));
            *instead.channel == *channel && address.as_ref() == Some(recipient)
        };
        let instead = all.filter(|instead| !same(instead)).map(|instead| Instead {
            channel: instead.channel.to_string(),
            address: instead.address.as_ref().map(ToString::to_string),
        });
        instead.collect()
    }

    /// Who hears of what cannot be told to `recipient`: `people.fallback` but for `recipient`, as dispatch has it.
    fn stand_ins(&self, recipient: &Recipient) -> Vec<Step> {
        let Explainer { people, directory, .. } = self.explainer;
        let list = directory.fallback.iter().cloned().map(Recipient::Address);
        list.filter(|other| other != recipient)
            .map(|other| step("fallback", people.resolve(&other, std::slice::from_ref(self.record))))
            .collect()
    }
}

/// Why a message would end without an attempt.
enum Lost {
    /// There is no address for the recipient: in these words.
    Unresolved(String),
    /// The mailbox is not tried: the channel gives the message up.
    Refused,
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
fn decision(intent: &Intent, tell: &Tell) -> (&'static str, Option<String>, Option<Timestamp>) {
    match &intent.fate {
        Fate::Send { due_at, group: None, .. } => ("send", None, Some(*due_at)),
        Fate::Send { due_at, group: Some(_), .. } => {
            let reason = tell.group.as_ref().map(|group| format!("policy {}: wait {:?}", group.policy, group.wait));
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
