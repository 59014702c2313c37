//! Owns the rules' place in the configuration: ids over all files, where a fault in one stands, and what must hold
//! between a rule and the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;

use super::build;
use super::fault::{Fault, Place};
use super::files::File;
use super::reading::Reading;
use crate::people::{self, address};
use crate::rules::parse::Scope;
use crate::rules::{Rule, To, catalogue, parse};
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
) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut ids: BTreeMap<&str, Place> = BTreeMap::new();
    let mut policies_used = BTreeSet::new();
    let mut reads_lists = BTreeSet::new();
    for (file, table) in tables {
        let Some(file) = files.get(*file) else { continue };
        let one = One::new(file, table);
        if let Some(first) = one.text("id").and_then(|id| ids.insert(id, one.place(table.span()))) {
            let message = format!("is the id of two rules: also at {first}; give one another");
            reading.faults.push(one.fault("id", message));
        }
        policies_used.extend(one.text("policy").map(str::to_owned));
        let Some(rule) = one.parse(&around.scope, &mut reading.faults) else { continue };
        reads_lists.extend(rule.to.iter().chain(&rule.except).filter_map(|to| match to {
            To::List(name, _) => Some(name.to_string()),
            _ => None,
        }));
        let faults = one.beside(&rule, around);
        reading.faults.extend(faults);
        if one.enabled() {
            reading.warnings.extend(one.doubts(&rule));
            rules.push(rule);
        } else {
            reading.warnings.push(one.fault("enabled", "is false: the rule tells nobody"));
        }
    }
    between(reading, &rules, around.people);
    unused(reading, &around.scope, &policies_used, reads_lists);
    rules
}

/// What must hold between the rules and the rest.
fn between(reading: &mut Reading<'_>, rules: &[Rule], people: Option<&people::Settings>) {
    if rules.is_empty() && reading.faults.is_empty() {
        reading.warn("rule", "is missing: without [[rule]] tables nobody is told anything");
    }
    let tells_people = rules
        .iter()
        .any(|rule| !rule.channels.is_empty() && rule.to.iter().any(|to| matches!(to, To::Target | To::Actor)));
    if tells_people && people.is_some() && !reading.is_set("people.fallback") {
        let message = "is missing: rules tell `target` or `actor`, so somebody must hear of those without an address; \
                       add fallback = \"list:NAME\"";
        reading.fault("people.fallback", message);
    }
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

/// One rule's table and file.
struct One<'a> {
    file: &'a File,
    table: &'a Spanned<DeTable<'a>>,
}

impl<'a> One<'a> {
    fn new(file: &'a File, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self { file, table }
    }

    fn place(&self, span: Range<usize>) -> Place {
        self.file.place(span.start)
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.table.get_ref().get(key)?.get_ref().as_str()
    }

    fn enabled(&self) -> bool {
        self.table.get_ref().get("enabled").and_then(|value| value.get_ref().as_bool()).unwrap_or(true)
    }

    /// Dotted key, with the rule's id where it has one.
    fn key(&self, below: &str) -> String {
        self.text("id").map_or_else(|| format!("rule.{below}"), |id| format!("rule.{id}.{below}"))
    }

    /// A fault at `key`, or at the rule where the key is not written.
    fn fault(&self, key: &str, message: impl Into<String>) -> Fault {
        let span = self.table.get_ref().get_key_value(key).map_or_else(|| self.table.span(), |(key, _)| key.span());
        Fault::at(&self.place(span), self.key(key), message)
    }

    fn parse(&self, scope: &Scope, faults: &mut Vec<Fault>) -> Option<Rule> {
        let mut fault = |span: Range<usize>, key: String, message: String| {
            faults.push(Fault::at(&self.place(span), self.key(&key), message));
        };
        parse::rule(self.table.get_ref(), self.table.span(), scope, &mut fault)
    }

    /// Faults between the rule and other sections.
    fn beside(&self, rule: &Rule, around: &Around<'_>) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(people) = around.people {
            let outside = rule.to.iter().filter_map(|to| match to {
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
        let tells_people = rule.to.iter().any(|to| matches!(to, To::Target | To::Actor));
        if tells_people && !rule.shadow && rule.throttle.is_none() {
            let message = "has no brake: whoever changes all accounts at once mails everybody at once; add \
                           throttle = { max = 100, per = \"10m\", overflow = \"hold\" } to its policy";
            doubts.push(self.fault("policy", message));
        }
        if rule.channels.is_empty() && !rule.to.is_empty() {
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
