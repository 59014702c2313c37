//! Owns the rules' place in the configuration: what must hold between a rule and the rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;

use super::Listed;
use super::build;
use super::fault::Fault;
use super::files::{File, PACK};
use super::one::{self, One};
use super::reading::Reading;
use super::used::Used;
use crate::packs;
use crate::people::{self, address};
use crate::rules::parse::Scope;
use crate::rules::{ListEntry, Rule, Tell, To};
use crate::store;

/// Records of which the ledger knows nothing any more are refused a day early (`docs/records.md`), so no rule can tell
/// of what is older.
const REFUSED_EARLY: Duration = Duration::from_hours(24);

/// What rules are held against.
pub(super) struct Around<'a> {
    pub scope: Scope,
    /// `None` if it has faults of its own.
    pub people: Option<&'a people::Settings>,
    /// `None` if it has faults of its own.
    pub store: Option<&'a store::Settings>,
    /// `[templates] dir`.
    pub templates: Option<&'a Path>,
}

/// The enabled rules of all files, in order. A disabled rule is held to the same grammar.
pub(super) fn read(
    reading: &mut Reading<'_>,
    files: &[File],
    tables: &[(usize, Spanned<DeTable<'_>>)],
    around: &Around<'_>,
) -> Vec<Listed> {
    let mut listed = Vec::new();
    let mut used = Used::default();
    let of_packs = of_packs(&around.scope);
    let before = reading.faults.len();
    for one in one::all(files, tables, &mut reading.faults) {
        let scope = if one.tells_as_a_pack() { &of_packs } else { &around.scope };
        let mut tests = one.tests(&mut reading.faults);
        let Some(rule) = one.parse(scope, &mut reading.faults) else { continue };
        used.rule(&one, &rule);
        for test in tests.iter_mut().filter(|test| !test.lists.is_empty()) {
            test.rule = one.parse(&with_lists(scope, &test.lists), &mut reading.faults);
        }
        let faults = one.beside(&rule, around);
        reading.faults.extend(faults);
        if one.enabled() {
            let doubts = one.doubts(&rule, &around.scope.lists, reading.now);
            reading.warnings.extend(doubts);
            reading.warnings.extend(one.tests_doubted(&rule, &tests, &around.scope));
        } else {
            reading.warnings.push(one.fault("enabled", "is false: the rule tells nobody"));
        }
        let (place, pack) = one.origin();
        listed.push(Listed { rule, enabled: one.enabled(), place, pack: pack.map(Arc::from), tests });
    }
    let found = reading.faults.split_off(before);
    reading.faults.extend(once_for_a_pack(found));
    let enabled: Vec<&Rule> = listed.iter().filter(|listed| listed.enabled).map(|listed| &listed.rule).collect();
    between(reading, &enabled, around.people);
    told_lists(reading, &enabled, around);
    used.unused(reading, around);
    listed
}

/// `scope` as the rules of packs see it, which cannot know how the channels of a configuration are called.
fn of_packs(scope: &Scope) -> Scope {
    let personal: Vec<&Arc<str>> = scope.channels.iter().filter(|channel| !scope.rooms.contains(channel)).collect();
    let only = if let [only] = personal[..] { Some((packs::CHANNEL, only.clone())) } else { None };
    Scope { also_called: only, ..scope.clone() }
}

/// What a pack lacks, it lacks in most of its rules: said once, with the remedy that is right for a pack.
fn once_for_a_pack(faults: Vec<Fault>) -> Vec<Fault> {
    let mut said: Vec<(Fault, usize)> = Vec::new();
    for fault in faults {
        let of_a_pack = fault.file.starts_with(PACK);
        let same = |one: &&mut (Fault, usize)| one.0.file == fault.file && one.0.message == fault.message;
        match said.iter_mut().find(same).filter(|_| of_a_pack) {
            Some((_, more)) => *more += 1,
            None => said.push((fault, 0)),
        }
    }
    let whole = |(mut fault, more): (Fault, usize)| {
        if fault.file.starts_with(PACK) {
            let others = if more > 0 { format!(" (and in {more} more of its rules)") } else { String::new() };
            let remedy = "add what the pack needs, or change its rules by their ids (docs/commands.md, Packs)";
            fault.message = format!("{}{others}; {remedy}", fault.message);
        }
        fault
    };
    said.into_iter().map(whole).collect()
}

/// `scope` with the lists that a test gives in the place of those of the same names.
fn with_lists(scope: &Scope, lists: &BTreeMap<Arc<str>, Vec<Arc<str>>>) -> Scope {
    let mut scope = scope.clone();
    for (name, texts) in lists {
        let entries = texts.iter().map(|text| ListEntry { text: text.clone(), during: None }).collect();
        scope.lists.insert(name.clone(), entries);
    }
    scope
}

/// What must hold between the rules and the rest.
fn between(reading: &mut Reading<'_>, rules: &[&Rule], people: Option<&people::Settings>) {
    if rules.is_empty() && !reading.faulty() {
        reading.warn("rule", "is missing: without [[rule]] tables nobody is told anything");
    }
    let tells_people = rules.iter().any(|rule| tells_people(rule));
    if tells_people && people.is_some() && !reading.is_set("people.fallback") {
        let message = "is missing: rules tell `target` or `actor`, so somebody must hear of those without an address; \
                       add fallback = \"list:NAME\"";
        reading.fault("people.fallback", message);
    }
}

/// Faults of lists that are told: each address must be one that may be mailed.
fn told_lists(reading: &mut Reading<'_>, rules: &[&Rule], around: &Around<'_>) {
    let Some(people) = around.people else { return };
    for to in rules.iter().flat_map(|rule| rule.tells()).flat_map(Tell::named) {
        let To::List(name, entries) = to else { continue };
        for entry in entries {
            if address::deliverable(&entry.text, &people.allow_domains).is_err() {
                reading.fault(&format!("list.{name}"), build::outside(&entry.text));
            }
        }
    }
}

/// Whether it tells people whom a record names through a personal channel.
fn tells_people(rule: &Rule) -> bool {
    rule.tells().any(|tell| !tell.channels.is_empty() && tell.named().any(To::is_of_record))
}

impl One<'_> {
    /// Faults between the rule and other sections.
    fn beside(&self, rule: &Rule, around: &Around<'_>) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(people) = around.people {
            let outside = rule.tells().flat_map(Tell::named).filter_map(|to| match to {
                To::Address(to) if address::deliverable(to, &people.allow_domains).is_err() => Some(build::outside(to)),
                _ => None,
            });
            faults.extend(outside.map(|message| self.fault("to", message)));
        }
        if let Some(store) = around.store
            && rule.max_age + REFUSED_EARLY > store.ledger
        {
            let message = "must be at least a day shorter than store.ledger: older records are refused before any rule";
            faults.push(self.fault("max_age", message));
        }
        faults
    }
}
