//! Owns what is probably not meant in a `[[rule.test]]`. The daemon runs none and needs none of what they name, so all of it is
//! a warning.

use super::fault::Fault;
use super::one::One;
use super::rule_test::{Expected, Given, RuleTest};
use crate::nearest::nearest;
use crate::record::Severity;
use crate::rules::parse::Scope;
use crate::rules::{Condition, Rule};

/// Why a record that a rule matches is told to nobody, in the words of `docs/verdicts.md`.
const REASONS: [&str; 11] = [
    "no-user",
    "no-identity",
    "no-route",
    "no-other-address",
    "off-duty",
    "nobody-of",
    "except",
    "before-rule",
    "too-old",
    "route",
    "shadow",
];
/// What fails beside conditions: the rule's own keys, its end, what is no news.
const OTHERS: [&str; 4] = ["on", "each", "now", "flags"];

impl One<'_> {
    /// What of the tests of `rule` is probably not meant. Those that are set aside are not run.
    pub fn tests_doubted(&self, rule: &Rule, tests: &[RuleTest], scope: &Scope) -> Vec<Fault> {
        let run = tests.iter().filter(|test| !test.set_aside);
        let doubts = run.flat_map(|test| {
            let of_lists = test.lists.keys().filter_map(|list| unknown("list", list, scope.lists.keys()));
            let of_expect = test.expect.iter().flat_map(|expected| unheard(expected, test, scope));
            let messages =
                missing(test).chain(of_lists).chain(of_expect).chain(test.because.as_deref().and_then(|key| {
                    let doubt = no_reason(key, rule)?;
                    Some(format!("because: {doubt}"))
                }));
            messages.map(|message| self.fault_of_test(test, message)).collect::<Vec<_>>()
        });
        doubts.collect()
    }
}

/// Files that are not there.
fn missing(test: &RuleTest) -> impl Iterator<Item = String> {
    test.messages.iter().filter_map(|message| match message {
        Given::File(path) if !path.is_file() => {
            Some(format!("names `{}`, which is no file: correct the path, or add the file", path.display()))
        }
        _ => None,
    })
}

/// What an entry of `expect` names and the configuration does not have.
fn unheard(expected: &Expected, test: &RuleTest, scope: &Scope) -> Vec<String> {
    let to = expected.to.as_deref().and_then(|to| match to.strip_prefix("list:") {
        Some(list) => unknown("list", list, scope.lists.keys().chain(test.lists.keys())),
        None if to.contains('@') => None,
        None => unknown("room", to, &scope.rooms).map(|message| format!("{message}; a person is named by an address")),
    });
    let channel = expected.channel.as_deref().and_then(|channel| unknown("channel", channel, &scope.channels));
    let templates = scope.templates.as_ref();
    let template =
        expected.template.as_deref().zip(templates).and_then(|(name, known)| unknown("template", name, known));
    let severities = Severity::ALL.iter().map(|severity| severity.as_str());
    let severity = expected.severity.as_deref().and_then(|word| unknown("severity", word, severities));
    [to, channel, template, severity].into_iter().flatten().map(|message| format!("expect: {message}")).collect()
}

/// `None` where `name` is one of those that are `known`.
fn unknown<K: AsRef<str>>(what: &str, name: &str, known: impl IntoIterator<Item = K>) -> Option<String> {
    let known: Vec<K> = known.into_iter().collect();
    let words = || known.iter().map(AsRef::as_ref);
    if words().any(|word| word == name) {
        return None;
    }
    let remedy = match nearest(name, words()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("known: {}", words().collect::<Vec<_>>().join(", ")),
    };
    Some(format!("unknown {what} `{name}`; {remedy}"))
}

/// `None` where `key` is that of a condition of the rule, or a reason of a verdict.
fn no_reason(key: &str, rule: &Rule) -> Option<String> {
    let mut keys = Vec::new();
    for condition in [&rule.when, &rule.unless] {
        leaves(condition, "", &mut keys);
    }
    let known = || keys.iter().map(String::as_str).chain(REASONS).chain(OTHERS);
    if known().any(|known| known == key) {
        return None;
    }
    let remedy = match nearest(key, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "name one of its conditions' keys, or a reason of docs/verdicts.md".to_owned(),
    };
    Some(format!("`{key}` is nothing that the rule can fail for; {remedy}"))
}

/// The keys of the leaves of a condition, as `test` and `explain` name them.
fn leaves(condition: &Condition, before: &str, keys: &mut Vec<String>) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| leaves(part, before, keys)),
        Condition::Not(part) => leaves(part, before, keys),
        Condition::Test(_) | Condition::Value(_) => {
            keys.extend(condition.tests().iter().map(|test| format!("{before}{}", test.subject.name())));
        }
        Condition::Elements { name, inner, .. } => {
            keys.push(format!("{before}{name}"));
            leaves(inner, &format!("{before}{name}."), keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::REASONS;

    #[test]
    fn the_reasons_are_those_of_the_page_that_come_before_a_message_is_made() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verdicts.md")).unwrap();
        let early = ["| `skipped` |", "| `muted` |", "| `shadow` |", "| `expired` | `too-old` |"];
        let rows = page.lines().filter(|line| early.iter().any(|start| line.starts_with(start)));
        let documented: BTreeSet<&str> = rows.filter_map(|row| row.split('`').nth(3)).collect();
        assert_eq!(documented, BTreeSet::from(REASONS));
    }
}
