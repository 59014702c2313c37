//! Owns what a template sees of a message: its records as this reader may see them.
//!
//! Somebody a record is about sees his own target and changes, and of other people nothing but who did it. Whoever the
//! configuration names by address (the security team) sees the whole record. Every text of a record is cleaned here,
//! once, before any template has it. [`super::schema`] is the table of what this makes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Draft, Kind, text, words};
use crate::clock::Timestamp;
use crate::lookup::Lookups;
use crate::people::Person;
use crate::plan::Recipient;
use crate::plan::{LookedUp, Party, looked_up, parties};
use crate::record::Record;

/// Records that a mail spells out; of the rest it gives the number.
const MAX_RECORDS: usize = 20;
/// Changed properties of one record that a mail spells out.
const MAX_CHANGES: usize = 20;
/// Values of one column of a lookup that a mail spells out.
const MAX_ROWS: usize = 20;
/// Two services that note one act do so within seconds.
const SAME_ACT_MILLIS: u64 = 5_000;

/// The context of `draft`; `brand` is the object every mail shares.
pub fn context(draft: &Draft<'_>, brand: &Value, lookups: &Lookups) -> Value {
    let reader = match (draft.kind, draft.about) {
        (Kind::Unresolved | Kind::Failed, Some(about)) => about.recipient,
        _ => draft.recipient,
    };
    let seen: Vec<Seen<'_>> = draft.records.iter().map(|record| Seen::new(record, reader, draft)).collect();
    let upn = seen.iter().find_map(|seen| seen.upn.clone());
    let records = told_once(in_order_of_weight(seen.iter().map(Seen::view).collect()));
    // Null without one: `{{#if about}}` asks whether there is somebody.
    let about = draft.about.map(|about| {
        json!({
            "recipient": upn_or_name(upn.clone(), about.recipient, draft),
            "reason": about.reason,
            "room": matches!(about.recipient, Recipient::Room(_)),
        })
    });
    let own = |value: fn(&Person) -> &Option<String>| {
        draft.person.and_then(|person| value(person).as_deref()).map(|value| text::clean_own(value, text::SHORT))
    };
    json!({
        "recipient": {
            "address": draft.person.map(|person| &*person.address),
            "name": own(|person| &person.name),
            "upn": draft.person.and(upn),
            "locale": own(|person| &person.locale),
            "time_zone": own(|person| &person.time_zone),
        },
        "message": {
            "key": draft.key,
            "kind": draft.kind.as_str(),
            "time": draft.created_at,
            "late": draft.late,
        },
        "count": records.len(),
        "records": records.into_iter().take(MAX_RECORDS).collect::<Vec<_>>(),
        "rule": { "id": draft.rule, "description": draft.title },
        "severity": draft.severity,
        "brand": brand,
        "links": {},
        "lookup": rows(&seen, lookups),
        "previous": {},
        "about": about,
    })
}

/// What the lookups say of the records: by lookup and column, the values of all of them, each once. No row is shown that
/// belongs to somebody else among a record's targets.
fn rows(seen: &[Seen<'_>], lookups: &Lookups) -> Value {
    let mut all: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for one in seen {
        let shown = |key: &str| !one.names_others(&text::clean(key, usize::MAX));
        for LookedUp { lookup, column, values } in looked_up(lookups, one.record, &shown) {
            let told = all.entry(lookup).or_default().entry(column).or_default();
            for value in values {
                if told.len() < MAX_ROWS && !told.contains(&value) {
                    told.push(value);
                }
            }
        }
    }
    let text = |values: Vec<&str>| (!values.is_empty()).then(|| text::clean_own(&values.join(", "), text::LONG));
    let columns = |columns: BTreeMap<&str, Vec<&str>>| {
        columns.into_iter().map(|(column, values)| (column.to_owned(), json!(text(values)))).collect::<Map<_, _>>()
    };
    all.into_iter().map(|(lookup, of)| (lookup.to_owned(), Value::Object(columns(of)))).collect::<Map<_, _>>().into()
}

/// How a person is named to somebody else: as the record names him, else as we do.
fn upn_or_name(upn: Option<String>, recipient: &Recipient, draft: &Draft<'_>) -> String {
    upn.unwrap_or_else(|| clean(draft, recipient.name(), text::LONG))
}

/// A mail client makes links of what looks like one, so that is broken; a machine compares, so a room has the value whole.
fn clean(draft: &Draft<'_>, value: &str, cap: usize) -> String {
    if matches!(draft.recipient, Recipient::Room(_)) {
        text::clean_own(value, text::MACHINE)
    } else {
        text::clean(value, cap)
    }
}

/// One record and what its reader may see of it.
struct Seen<'a> {
    record: &'a Record,
    /// The reader's targets; `None`: the reader sees all.
    own: Option<Vec<usize>>,
    /// The reader's own UPN as the record writes it, not defanged: he knows it.
    upn: Option<String>,
    /// Whether the reader did it himself.
    by_self: Option<bool>,
    /// Names of the other people among the targets, folded.
    others: Vec<String>,
    draft: &'a Draft<'a>,
}

impl<'a> Seen<'a> {
    fn new(record: &'a Record, reader: &Recipient, draft: &'a Draft<'a>) -> Self {
        if !matches!(reader, Recipient::User(_)) {
            // Nobody's account is meant by an address or a room, so nobody "did it himself".
            return Self { record, own: None, upn: None, by_self: None, others: Vec::new(), draft };
        }
        let parties = parties(record, &|id, upn| draft.people.canonical(id, upn));
        let is_reader = |party: &&Party| {
            party.recipient.as_ref() == Some(reader)
                || draft.people.is(reader, party.id.as_deref(), party.upn.as_deref())
        };
        let (mine, others): (Vec<&Party>, Vec<&Party>) = parties.iter().partition(is_reader);
        let own: Vec<usize> = mine.iter().flat_map(|party| party.targets.iter().copied()).collect();
        let hidden = others.iter().flat_map(|party| &party.targets).filter_map(|target| record.targets.get(*target));
        let others = hidden
            .flat_map(|target| [&target.upn, &target.name, &target.id])
            .flatten()
            // Shorter ones would be found inside words.
            .filter(|name| name.chars().count() > 2)
            .map(|name| text::clean(name, text::LONG).to_lowercase())
            .collect();
        Self {
            record,
            upn: mine.iter().find_map(|party| party.upn.as_deref()).map(|upn| text::clean_own(upn, text::LONG)),
            by_self: record.actor.as_ref().map(|_| mine.iter().any(|party| party.actor)),
            own: Some(own),
            others,
            draft,
        }
    }

    fn view(&self) -> Value {
        let record = self.record;
        let short = |value: &Option<String>| value.as_deref().map(|value| self.text(value, text::SHORT));
        json!({
            "dialect": record.dialect.as_str(),
            "id": self.clean(&record.id, text::LONG),
            "revision": self.clean(&record.revision, text::SHORT),
            "time": record.time,
            "operation": short(&record.operation),
            "result": short(&record.result),
            "state": short(&record.state),
            "severity": record.severity,
            "category": short(&record.category),
            "service": short(&record.service),
            "tenant": short(&record.tenant),
            "subscription": short(&record.subscription),
            "resource": self.unless_about_others(record.resource.as_deref(), text::PATH),
            "correlation_id": short(&record.correlation_id),
            "actor": self.actor(),
            "targets": self.targets(),
            "changes": self.changes(),
            "activity": short(&record.activity),
            "details": self.details(),
            "tactics": record.tactics.iter().map(|tactic| self.clean(tactic, text::SHORT)).collect::<Vec<_>>(),
            "by_self": self.by_self,
        })
    }

    /// Cleaned; the reader's own UPN stays as it is.
    fn text(&self, value: &str, cap: usize) -> String {
        let tidy = text::clean_own(value, cap);
        if self.upn.as_ref().is_some_and(|upn| upn.eq_ignore_ascii_case(&tidy)) { tidy } else { self.clean(value, cap) }
    }

    fn clean(&self, value: &str, cap: usize) -> String {
        clean(self.draft, value, cap)
    }

    /// `None` where the text names somebody else among the targets.
    fn unless_about_others(&self, value: Option<&str>, cap: usize) -> Option<String> {
        let whole = text::clean(value?, usize::MAX);
        (!self.names_others(&whole)).then(|| self.text(value.unwrap_or_default(), cap))
    }

    fn names_others(&self, text: &str) -> bool {
        let folded = text.to_lowercase();
        self.others.iter().any(|name| folded.contains(name))
    }

    fn sees(&self, target: usize) -> bool {
        self.own.as_ref().is_none_or(|own| own.contains(&target))
    }

    fn actor(&self) -> Value {
        let Some(actor) = &self.record.actor else {
            return json!({"type": null, "id": null, "upn": null, "name": null, "ip": null, "app": null});
        };
        let short = |value: &Option<String>| value.as_deref().map(|value| self.text(value, text::SHORT));
        json!({
            "type": actor.kind,
            "id": short(&actor.id),
            "upn": short(&actor.upn),
            "name": short(&actor.name),
            "ip": short(&actor.ip),
            "app": short(&actor.app),
        })
    }

    fn targets(&self) -> Vec<Value> {
        let short = |value: &Option<String>| value.as_deref().map(|value| self.text(value, text::SHORT));
        let seen = self.record.targets.iter().enumerate().filter(|(at, _)| self.sees(*at)).take(MAX_CHANGES);
        seen.map(|(_, target)| {
            json!({"type": target.kind, "id": short(&target.id), "upn": short(&target.upn), "name": short(&target.name)})
        })
        .collect()
    }

    fn changes(&self) -> Vec<Value> {
        let told = self.record.changes.iter().filter(|change| {
            self.sees(change.target)
                && !words::is_housekeeping(&change.name)
                && change.old != change.new
                && !self
                    .names_others(&text::clean(&format!("{} {} {}", change.name, change.old, change.new), usize::MAX))
        });
        let views = told.map(|change| {
            json!({
                "name": self.clean(&change.name, text::SHORT),
                "old": text::clean_value(&change.old, &|text| self.clean(text, text::SHORT)),
                "new": text::clean_value(&change.new, &|text| self.clean(text, text::SHORT)),
            })
        });
        views.take(MAX_CHANGES).collect()
    }

    fn details(&self) -> Map<String, Value> {
        let told = self.record.details.iter().filter_map(|(key, value)| {
            let cap = match key.as_str() {
                "reason" | "userAgent" => text::LONG,
                // A person concerned is not read long texts that others wrote.
                "description" | "remediation" if self.own.is_none() => text::PARAGRAPH,
                _ => text::SHORT,
            };
            Some((self.clean(key, text::SHORT), self.unless_about_others(Some(value), cap)?.into()))
        });
        told.collect()
    }
}

/// The record that says best what happened comes first: no follow-up, done by a person, with an address or a reason.
/// Among equals the oldest.
fn in_order_of_weight(mut records: Vec<Value>) -> Vec<Value> {
    records.sort_by_key(|record| {
        let there = |path: &str| record.pointer(path).is_some_and(|value| !value.is_null());
        let follow_up = record["operation"].as_str().is_some_and(words::is_follow_up);
        let by_person = record.pointer("/actor/type").is_some_and(|kind| kind == "user");
        let told = u8::from(there("/actor/ip")) + u8::from(there("/details/reason"));
        (follow_up, !by_person, u8::MAX - told)
    });
    records
}

/// Drops changes that an earlier record of the message told already, then records that tell nothing new.
fn told_once(records: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::with_capacity(records.len());
    for mut record in records {
        if let Some(changes) = record["changes"].as_array_mut() {
            changes.retain(|change| {
                !kept.iter().any(|earlier| earlier["changes"].as_array().is_some_and(|told| told.contains(change)))
            });
        }
        let same = |earlier: &Value| {
            let equal = ["operation", "result", "actor", "targets"].iter().all(|key| earlier[key] == record[key]);
            equal && moments_apart(earlier, &record) <= SAME_ACT_MILLIS
        };
        let silent = record["changes"].as_array().is_none_or(Vec::is_empty);
        if !(silent && kept.iter().any(same)) {
            kept.push(record);
        }
    }
    kept
}

fn moments_apart(one: &Value, other: &Value) -> u64 {
    let millis = |record: &Value| {
        let time = record["time"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
        time.map_or(0, |time| Timestamp::from_millis(time.as_millisecond()).as_millis())
    };
    millis(one).abs_diff(millis(other))
}
