//! `--redact`: replaces what tells who or what a record is about. What is absent stays absent, and the shape is kept.
//!
//! Fields that name somebody go whole. Of every other text, which is the producer's or whoever wrote into it, go the
//! words that look like an address.

use std::net::{IpAddr, SocketAddr};

use super::answer::{Explanation, Named, Notification, Subject};
use crate::record::Record;
use crate::rules::{FailedLeaf, Op};
use crate::store::operate::Event;

/// What stands for something masked.
const MASK: &str = "***";

/// The short names whose values say who or what a record is about.
const PERSONAL: &[&str] = &[
    "id",
    "resource",
    "subscription",
    "actor.id",
    "actor.upn",
    "actor.name",
    "actor.ip",
    "actor.app",
    "target.id",
    "target.upn",
    "target.name",
];

/// Masks all of it.
pub(super) fn explanation(explanation: &mut Explanation) {
    match &mut explanation.record {
        Subject::Record(whole) => record(whole),
        // As long as it was, so that its length is still told.
        Subject::Dead(_, dead) => dead.bytes = vec![b'*'; dead.bytes.len()].into(),
        Subject::Forgotten(..) => {}
    }
    for rule in &mut explanation.rules {
        rule.failed.iter_mut().for_each(leaf);
        rule.passed.iter_mut().flat_map(|route| &mut route.failed).for_each(leaf);
    }
    explanation.notifications.iter_mut().for_each(notification);
    explanation.history.iter_mut().for_each(event);
}

fn notification(one: &mut Notification) {
    if let Some(Named { r#ref, id, upn, .. }) = &mut one.recipient {
        clean(r#ref);
        [id, upn].into_iter().for_each(hide);
    }
    one.addresses.iter_mut().for_each(|step| hide(&mut step.address));
    one.fallback.iter_mut().for_each(|instead| hide(&mut instead.address));
    one.reason.iter_mut().for_each(clean);
}

fn event(event: &mut Event) {
    if let Some(recipient) = &mut event.recipient
        && let Some((kind @ ("user" | "addr" | "manager" | "missing"), _)) = recipient.split_once(':')
    {
        *recipient = format!("{kind}:{MASK}");
    }
    // The other side may say whose mailbox it was, in words of its own: only its codes stay.
    if let Some(reply) = &mut event.reply {
        let is_code = |word: &&str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
        let codes: Vec<&str> = reply.split_whitespace().take_while(is_code).collect();
        *reply = codes.into_iter().chain([MASK]).collect::<Vec<_>>().join(" ");
    }
}

fn record(record: &mut Record) {
    MASK.clone_into(&mut record.id);
    hide(&mut record.resource);
    hide(&mut record.subscription);
    if let Some(actor) = &mut record.actor {
        [&mut actor.id, &mut actor.upn, &mut actor.name, &mut actor.ip, &mut actor.app].into_iter().for_each(hide);
    }
    for target in &mut record.targets {
        [&mut target.id, &mut target.upn, &mut target.name].into_iter().for_each(hide);
    }
    for change in &mut record.changes {
        clean(&mut change.name);
        for value in [&mut change.old, &mut change.new].into_iter().filter(|value| !value.is_null()) {
            *value = MASK.into();
        }
    }
    let details = std::mem::take(&mut record.details);
    record.details = details.into_keys().map(|key| (cleaned(&key), MASK.to_owned())).collect();
    for problem in &mut record.problems {
        hide(&mut problem.detail);
        problem.field.iter_mut().for_each(clean);
    }
    clean(&mut record.revision);
    record.tactics.iter_mut().for_each(clean);
    [
        &mut record.operation,
        &mut record.activity,
        &mut record.result,
        &mut record.state,
        &mut record.category,
        &mut record.service,
        &mut record.tenant,
        &mut record.correlation_id,
    ]
    .into_iter()
    .flatten()
    .for_each(clean);
}

/// Masks what a condition wanted and got, and whom the path of its field names.
fn leaf(leaf: &mut FailedLeaf) {
    // What stands in free fields may name anybody; so may the field that another is held against.
    let key = leaf.key.to_ascii_lowercase();
    let free =
        ["details.", "raw", "changes", "targets.", "element", "lookup."].iter().any(|prefix| key.starts_with(prefix));
    let personal = PERSONAL.contains(&&*leaf.key) || free || matches!(leaf.op, Op::SameAs | Op::SameDomainAs);
    for value in leaf.want.iter_mut().chain(&mut leaf.got) {
        if personal { MASK.clone_into(value) } else { clean(value) }
    }
    clean(&mut leaf.key);
}

fn hide(value: &mut Option<String>) {
    if let Some(text) = value {
        MASK.clone_into(text);
    }
}

fn clean(text: &mut String) {
    *text = cleaned(text);
}

/// `text` with every word that looks like an address masked.
fn cleaned(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || c.is_control() || "<>\"'`(),;[]{}|".contains(c);
    let words = text.split_inclusive(ends).map(|part| match part.char_indices().next_back() {
        Some((at, last)) if ends(last) => part.split_at(at),
        _ => (part, ""),
    });
    words.flat_map(|(word, end)| [if is_address(word) { MASK } else { word }, end]).collect()
}

/// Mail address or UPN, `DOMAIN\user`, URL, IP address with or without port.
fn is_address(word: &str) -> bool {
    let bare = word.trim_end_matches(['.', '!', '?']);
    word.contains(['@', '\\'])
        || word.contains("://")
        || bare.parse::<IpAddr>().is_ok()
        || bare.parse::<SocketAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Place;

    #[test]
    fn a_condition_keeps_its_field_and_names_nobody() {
        let leaf_of = |key: &str| FailedLeaf {
            place: Place::When,
            key: key.to_owned(),
            op: Op::In,
            want: vec!["eve".into()],
            got: vec!["bob".into()],
            negated: true,
        };
        for (key, expected) in [
            ("raw.ExtendedProperties.\"alice@example.com\"", "raw.ExtendedProperties.\"***\""),
            ("details.EXAMPLE\\alice", "***"),
            ("actor.upn", "actor.upn"),
        ] {
            let mut masked = leaf_of(key);
            leaf(&mut masked);
            let all = vec![MASK.to_owned()];
            assert_eq!(masked, FailedLeaf { key: expected.into(), want: all.clone(), got: all, ..leaf_of(key) });
        }
    }

    #[test]
    fn of_free_text_the_words_that_look_like_an_address_go() {
        for (why, text, expected) in [
            ("no address", "Reset user password (by admin)", "Reset user password (by admin)"),
            ("a header in disguise", "Reset\r\nBcc: mallory@attacker.example", "Reset\r\nBcc: ***"),
            ("in angle brackets", "MAIL FROM:<x@example.com>.", "MAIL FROM:<***>."),
            ("two in a list", "a@example.com,b@example.com;", "***,***;"),
            ("a local part in quotes", "\"a b\"@example.com", "\"a b\"***"),
            ("a URL", "visit https://attacker.example/login, now", "visit ***, now"),
            ("a Windows name", "by EXAMPLE\\alice", "by ***"),
            ("an IPv4 address at the end of a sentence", "from 192.0.2.7.", "from ***"),
            ("with a port", "from 192.0.2.7:443", "from ***"),
            ("an IPv6 address", "from [2001:db8::1]", "from [***]"),
            ("letters of more than one byte", "für „ä@example.com“ …", "für *** …"),
            ("nothing", "", ""),
        ] {
            assert_eq!(cleaned(text), expected, "{why}");
        }
    }
}
