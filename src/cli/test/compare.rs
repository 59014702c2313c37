//! Owns what a test wants against what came, in words.

use std::collections::BTreeSet;

use super::world::{Message, World};
use crate::config::{Config, Expected, Listed, RuleTest};

/// What is not as `test` says; none: it passes.
pub(super) fn differences(world: &World<'_>, listed: &Listed, test: &RuleTest) -> Vec<String> {
    let came = world.run(listed, test);
    let mut differences = came.troubles;
    let mut left: Vec<&Message> = came.messages.iter().collect();
    for (number, expected) in (1..).zip(&test.expect) {
        let found = take(world.config, test, expected, &mut left);
        differences.extend(found.into_iter().map(|why| format!("message {number} of `expect`: {why}")));
    }
    for message in left {
        let subject = message.subject.as_deref().map(|subject| format!(", \"{subject}\"")).unwrap_or_default();
        differences.push(format!("not expected: a message to {} on {}{subject}", message.to, message.channel));
    }
    let why = came.silence.iter().flatten();
    if let Some(because) = &test.because {
        let other = came.silence.iter().find(|reasons| !reasons.iter().any(|reason| reason.key == *because));
        if let Some(reasons) = other {
            let words: Vec<&str> = reasons.iter().map(|reason| &*reason.words).collect();
            let got = if words.is_empty() { "it tells somebody".to_owned() } else { words.join("; ") };
            differences.push(format!("because: wanted {because}, got {got}"));
        }
    } else if came.messages.len() < test.expect.len() {
        differences.extend(why.map(|reason| reason.words.clone()));
    }
    if came.silence.is_empty() && differences.is_empty() {
        differences.push("the test's message holds no record".into());
    }
    differences
}

/// Takes the message that `expected` means out of `left`; why there is none. Of a list it takes one to each entry.
fn take(config: &Config, test: &RuleTest, expected: &Expected, left: &mut Vec<&Message>) -> Option<String> {
    let list = expected.to.as_deref().and_then(|to| to.strip_prefix("list:"));
    let is_meant = |message: &Message| match (&expected.to, list) {
        (None, _) => true,
        (Some(to), None) => message.to.eq_ignore_ascii_case(to),
        (Some(_), Some(list)) => entries(config, test, list).iter().any(|entry| message.to.eq_ignore_ascii_case(entry)),
    };
    if let Some(name) = list.filter(|name| !test.lists.contains_key(*name) && !config.lists.contains_key(*name)) {
        return Some(format!("there is no list `{name}`: add it to [list], or to `lists` of the test"));
    }
    let (meant, others): (Vec<&Message>, Vec<&Message>) = left.iter().partition(|message| is_meant(message));
    let to = expected.to.as_deref().unwrap_or("anybody");
    if meant.is_empty() {
        let got: Vec<&str> = others.iter().map(|message| &*message.to).collect();
        let got = if got.is_empty() { "none".to_owned() } else { format!("to {}", got.join(", ")) };
        return Some(format!("wanted one to {to}, got {got}"));
    }
    // Of a list each entry has one; of an address, or of anybody, there is one.
    let places: BTreeSet<&str> = match list {
        Some(_) => meant.iter().map(|message| &*message.to).collect(),
        None => BTreeSet::from([to]),
    };
    let mut wrong = None;
    for place in places {
        let here = meant.iter().filter(|message| list.is_none() || message.to == place);
        // The one that fits; else any of them, so that only the difference is told.
        let Some(nearest) = here.min_by_key(|message| i32::from(unlike(message, expected).is_some())) else { continue };
        left.retain(|message| !std::ptr::eq(*message, *nearest));
        wrong = wrong.or_else(|| unlike(nearest, expected));
    }
    wrong
}

/// The texts of a list, as the test has it.
fn entries<'a>(config: &'a Config, test: &'a RuleTest, list: &str) -> Vec<&'a str> {
    match (test.lists.get(list), config.lists.get(list)) {
        (Some(given), _) => given.iter().map(|text| &**text).collect(),
        (None, Some(entries)) => entries.iter().map(|entry| &*entry.text).collect(),
        (None, None) => Vec::new(),
    }
}

/// How `message` is not what is expected.
fn unlike(message: &Message, expected: &Expected) -> Option<String> {
    let differs = |what: &str, want: &Option<String>, got: &str| {
        let want = want.as_deref().filter(|want| *want != got)?;
        Some(format!("{what}: wanted \"{want}\", got \"{got}\""))
    };
    let subject = message.subject.as_deref().unwrap_or_default();
    let text = whole(&message.text);
    let absent = expected.contains.iter().find(|part| !text.contains(&whole(part)));
    let absent = absent.map(|part| format!("contains: wanted \"{part}\", it says:\n{}", message.text.trim()));
    let present = expected.not_contains.iter().find(|part| text.contains(&whole(part)));
    let present = present.map(|part| format!("not_contains: \"{part}\" is in it:\n{}", message.text.trim()));
    [
        differs("channel", &expected.channel, &message.channel),
        differs("subject", &expected.subject, subject),
        differs("template", &expected.template, &message.template),
        differs("severity", &expected.severity, message.severity.as_str()),
        absent,
        present,
    ]
    .into_iter()
    .flatten()
    .reduce(|all, one| format!("{all}; {one}"))
}

/// A text as people read it: on one line, and what a mail breaks so that no client makes a link of it whole again.
fn whole(text: &str) -> String {
    let text = text.replace("[.]", ".").replace("[@]", "@").replace("hxxp", "http");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
