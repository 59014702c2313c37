//! Owns the rules' place in the configuration: what must hold between a rule and the rest.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;

use super::Listed;
use super::build;
use super::fault::Fault;
use super::files::File;
use super::one::{self, One};
use super::reading::Reading;
use crate::people::{self, address};
use crate::rules::parse::Scope;
use crate::rules::{Rule, Tell, To, catalogue};
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
}

/// The enabled rules of all files, in order. A disabled rule is held to the same grammar.
pub(super) fn read(
    reading: &mut Reading<'_>,
    files: &[File],
    tables: &[(usize, Spanned<DeTable<'_>>)],
    around: &Around<'_>,
) -> Vec<Listed> {
    let mut listed = Vec::new();
    let mut policies_used = BTreeSet::new();
    let mut reads_lists = BTreeSet::new();
    for one in one::all(files, tables, &mut reading.faults) {
        policies_used.extend(one.text("policy").map(str::to_owned));
        let tests = one.tests(&mut reading.faults);
        let Some(rule) = one.parse(&around.scope, &mut reading.faults) else { continue };
        let people = rule.tells().flat_map(|tell| tell.to.iter().chain(&tell.except)).flat_map(To::leaves);
        reads_lists.extend(people.filter_map(|to| match to {
            To::List(name, _) => Some(name.to_string()),
            _ => None,
        }));
        let faults = one.beside(&rule, around);
        reading.faults.extend(faults);
        if one.enabled() {
            reading.warnings.extend(one.doubts(&rule));
        } else {
            reading.warnings.push(one.fault("enabled", "is false: the rule tells nobody"));
        }
        let (place, pack) = one.origin();
        listed.push(Listed { rule, enabled: one.enabled(), place, pack: pack.map(Arc::from), tests });
    }
    let enabled: Vec<&Rule> = listed.iter().filter(|listed| listed.enabled).map(|listed| &listed.rule).collect();
    between(reading, &enabled, around.people);
    told_lists(reading, &enabled, around);
    unused(reading, &around.scope, &policies_used, reads_lists);
    listed
}

/// What must hold between the rules and the rest.
fn between(reading: &mut Reading<'_>, rules: &[&Rule], people: Option<&people::Settings>) {
    if rules.is_empty() && reading.faults.is_empty() {
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

fn unused(reading: &mut Reading<'_>, scope: &Scope, policies: &BTreeSet<String>, mut lists: BTreeSet<String>) {
    let of_channels = build::below(reading, "channel").into_iter().flat_map(|name| {
        let texts = reading.many(&format!("channel.{name}.fallback"), |text| Ok(text.to_owned()));
        texts.unwrap_or_default().into_iter().filter_map(|text| text.strip_prefix("list:").map(str::to_owned))
    });
    lists.extend(of_channels);
    lists.extend(build::fallback(reading).into_iter().filter_map(|addressee| match addressee {
        build::Addressee::List(name) => Some(name),
        build::Addressee::Address(_) => None,
    }));
    for name in scope.lists.keys().filter(|name| !lists.contains(&***name)) {
        reading.warn(&format!("list.{name}"), "is used by no rule and by no fallback");
    }
    for name in scope.policies.keys().filter(|name| !policies.contains(&***name)) {
        reading.warn(&format!("policy.{name}"), "is used by no rule");
    }
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

    /// What is allowed and probably not meant.
    fn doubts(&self, rule: &Rule) -> Vec<Fault> {
        let mut doubts = Vec::new();
        if rule.shadow {
            doubts.push(self.fault("mode", "is \"shadow\": matches are counted, nobody is told"));
        }
        let unbraked = rule.tells().any(|tell| tell.throttle.is_none() && tell.named().any(To::is_of_record));
        if unbraked && !rule.shadow {
            let message = "has no brake: whoever changes all accounts at once mails everybody at once; add \
                           throttle = { max = 100, per = \"10m\", overflow = \"hold\" } to its policy";
            doubts.push(self.fault("policy", message));
        }
        if !rule.tell.is_empty() && rule.tells().all(|tell| tell.channels.is_empty()) && !rule.tell.to.is_empty() {
            doubts.push(self.fault("to", "tells nobody: the rule's channels are rooms, which are told themselves"));
        }
        let operations = rule.when.on("operation").map_or(&[][..], |test| &test.want);
        let unseen = |operation: &&str| catalogue::unseen(&rule.on, operation);
        for operation in operations.iter().map(|operation| &**operation).filter(unseen) {
            let near = catalogue::nearest(&rule.on, operation);
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            doubts.push(self.fault("when", format!("`{operation}` is no operation that anybody has seen{near}")));
        }
        doubts
    }
}
