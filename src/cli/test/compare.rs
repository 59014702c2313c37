//! Owns what a test wants against what came, in words.

use super::world::{Message, World};
use crate::config::{Config, Expected, Listed, RuleTest};

/// What is not as `test` says; none: it passes.
pub(super) fn differences(world: &World<'_>, listed: &Listed, test: &RuleTest) -> Vec<String> {
    let came = world.run(listed, test);
    let mut differences = came.troubles;
    let mut left: Vec<&Message> = came.messages.iter().collect();
    for (number, expected) in (1..).zip(&test.expect) {
        let found = take(world.config, expected, &mut left);
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

/// Takes the message that `expected` means out of `left`; why there is none. A list takes all to its entries.
fn take(config: &Config, expected: &Expected, left: &mut Vec<&Message>) -> Option<String> {
    let list = expected.to.as_deref().and_then(|to| to.strip_prefix("list:"));
    let is_meant = |message: &Message| match (&expected.to, list) {
        (None, _) => true,
        (Some(to), None) => message.to.eq_ignore_ascii_case(to),
        (Some(_), Some(list)) => config
            .lists
            .get(list)
            .is_some_and(|entries| entries.iter().any(|entry| message.to.eq_ignore_ascii_case(&entry.text))),
    };
    let (meant, others): (Vec<&Message>, Vec<&Message>) = left.iter().partition(|message| is_meant(message));
    let to = expected.to.as_deref().unwrap_or("anybody");
    if meant.is_empty() {
        let got: Vec<&str> = others.iter().map(|message| &*message.to).collect();
        let got = if got.is_empty() { "none".to_owned() } else { format!("to {}", got.join(", ")) };
        return Some(format!("wanted one to {to}, got {got}"));
    }
    if list.is_some() {
        let wrong = meant.iter().find_map(|message| unlike(message, expected));
        *left = others;
        return wrong;
    }
    // The one that fits; else the nearest, so that only the difference is told.
    let nearest = meant.iter().min_by_key(|message| unlike(message, expected).map_or(0, |_| 1))?;
    left.retain(|message| !std::ptr::eq(*message, *nearest));
    unlike(nearest, expected)
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
