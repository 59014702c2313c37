//! The answer for people: what the record is, whom it tells and why, and of the rules that do not match every reason why not.

use std::fmt::Write as _;

use super::answer::{Considered, Explanation, Named, Notification, Outcome, Step, Subject};
use crate::cli::out::plain;
use crate::record::Record;
use crate::rules::{FailedLeaf, Op, Place};
use crate::store::operate::Event;

/// Most characters of one value: a whole record is a value, too. JSON has all of it.
const SHOWN: usize = 300;

/// The whole text, with an empty line at its end.
pub(super) fn of(explanation: &Explanation) -> String {
    let Explanation { record, outcome, rules, notifications, history } = explanation;
    let mut text = Text(String::new());
    match record {
        Subject::Record(record) => text.record(record),
        Subject::Dead(position, dead) => {
            text.line(0, &format!("no record: {} bytes at item {}", dead.bytes.len(), position.index));
        }
        Subject::Forgotten(position, dialect, at) => {
            let family = dialect.map_or("a record", |dialect| dialect.as_str());
            text.line(0, &format!("{family} of {at}, item {} of {}", position.index, position.source));
        }
    }
    text.line(1, outcome.map_or("its content is past [store] content: what would be is not known", said));
    for rule in rules.iter().filter(|rule| rule.matched) {
        text.matched(rule, notifications);
    }
    text.misses(rules);
    if !history.is_empty() {
        text.line(1, "what did happen:");
        for event in history {
            text.event(event);
        }
    }
    text.0.push('\n');
    text.0
}

fn said(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Notify => "somebody would be told:",
        Outcome::NoRule => "nobody would be told: no rule is about such records (on)",
        Outcome::NoMatch => "nobody would be told: no rule matches",
        Outcome::NothingToSend => "nobody would be told, although it matches:",
        Outcome::DeadLetter => "nobody would be told: it cannot be read (auditbell dead-letters)",
    }
}

/// Lines, two spaces further in for each level.
struct Text(String);

impl Text {
    fn line(&mut self, level: usize, text: &str) {
        self.0.extend(std::iter::repeat_n("  ", level));
        self.0.push_str(&plain(text));
        self.0.push('\n');
    }

    fn record(&mut self, record: &Record) {
        let time = record.time.map_or_else(|| "at no known time".to_owned(), |time| time.to_string());
        let mut title = record.operation.clone().unwrap_or_else(|| "(no operation)".into());
        for more in [&record.result, &record.state].into_iter().flatten() {
            let _ = write!(title, " · {more}");
        }
        self.line(0, &format!("{title} · {time}"));
        let severity = record.severity.map(|severity| format!(", {}", severity.as_str())).unwrap_or_default();
        self.line(1, &format!("{} {}{severity}", record.dialect.as_str(), record.id));
        if let Some(actor) = &record.actor {
            let ip = actor.ip.as_ref().map(|ip| format!(" from {ip}")).unwrap_or_default();
            let who = first([&actor.upn, &actor.name, &actor.id]);
            self.line(1, &format!("by {} {who}{ip}", actor.kind.as_str()));
        }
        for target in &record.targets {
            self.line(1, &format!("to {} {}", target.kind.as_str(), first([&target.upn, &target.name, &target.id])));
        }
    }

    fn matched(&mut self, rule: &Considered, notifications: &[Notification]) {
        let element = rule.element.as_ref().map(|element| format!(" of {element}")).unwrap_or_default();
        let route = rule.route.map(|route| format!(", route {route}")).unwrap_or_default();
        self.line(1, &format!("rule {} matches{element}{route}", rule.rule));
        for passed in &rule.passed {
            self.line(2, &format!("route {} is not taken:", passed.route));
            passed.failed.iter().for_each(|failed| self.line(3, &leaf(failed)));
        }
        for one in notifications.iter().filter(|one| one.rule == rule.rule && one.element == rule.element) {
            self.notification(one);
        }
    }

    fn notification(&mut self, one: &Notification) {
        let to = one.recipient.as_ref().map_or_else(
            || "nobody".to_owned(),
            |named| {
                let Named { r#ref, id, upn, .. } = named;
                let name = upn.as_ref().or(id.as_ref()).map(|name| format!(" {name}")).unwrap_or_default();
                format!("{ref}{name}")
            },
        );
        let due = one.due.map(|due| format!(", due {due}")).unwrap_or_default();
        let reason = one.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let severity = one.severity.as_str();
        let channel = one.channel.as_ref().map(|channel| format!(" through {channel}")).unwrap_or_default();
        self.line(2, &format!("{} {severity}{channel} to {to}{due}{reason}", one.decision));
        for Step { asked, result, address } in &one.addresses {
            let address = address.as_deref().unwrap_or("no address");
            self.line(3, &format!("{asked}: {result}: {address}"));
        }
        if !one.fallback.is_empty() {
            let instead: Vec<String> = one.fallback.iter().map(ToString::to_string).collect();
            self.line(3, &format!("if it is given up: {}", instead.join(", ")));
        }
    }

    /// The rules that do not match. Those that are about other operations are named together: of hundreds of rules they are
    /// most.
    fn misses(&mut self, rules: &[Considered]) {
        let misses = rules.iter().filter(|rule| !rule.matched);
        let asks_another = |leaf: &FailedLeaf| {
            leaf.place == Place::When && leaf.key == "operation" && (leaf.op == Op::Not) == leaf.negated
        };
        let (elsewhere, near): (Vec<_>, Vec<_>) = misses.partition(|rule| rule.failed.iter().any(asks_another));
        for rule in near {
            let element = rule.element.as_ref().map(|element| format!(" for {element}")).unwrap_or_default();
            self.line(1, &format!("rule {} does not match{element}:", rule.rule));
            rule.failed.iter().for_each(|failed| self.line(2, &leaf(failed)));
            if !rule.undecided.is_empty() {
                self.line(2, &format!("not known before it is sent: {}", rule.undecided.join(", ")));
            }
        }
        if !elsewhere.is_empty() {
            let mut names: Vec<&str> = elsewhere.iter().map(|rule| &*rule.rule).collect();
            names.dedup();
            self.line(1, &format!("about other operations: {}", names.join(", ")));
        }
    }

    fn event(&mut self, event: &Event) {
        let through = event.channel.as_ref().map(|channel| format!(" through {channel}")).unwrap_or_default();
        let to = event.recipient.as_deref().unwrap_or("nobody");
        let mut line = format!("{} {}{through} to {to} by rule {}", event.time, event.verdict, event.rule);
        for more in [
            event.reason.clone(),
            event.attempt.map(|attempt| format!("attempt {attempt}")),
            event.reply.clone(),
            event.message.as_ref().map(|key| format!("messages show {key}")),
        ]
        .into_iter()
        .flatten()
        {
            let _ = write!(line, "; {more}");
        }
        self.line(2, &line);
    }
}

/// A leaf that fails, in words.
pub(crate) fn leaf(FailedLeaf { place, key, op, want, got, negated }: &FailedLeaf) -> String {
    let shown = |value: &String| match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("“{}…”", &value[..end]),
        None => format!("“{value}”"),
    };
    let quoted = |values: &[String]| values.iter().map(shown).collect::<Vec<_>>().join(", ");
    let got = if got.is_empty() { "absent".to_owned() } else { quoted(got) };
    let not = if *negated { "not " } else { "" };
    format!("{} {key} {not}{} {}: it is {got}", word(place), word(op), quoted(want))
}

/// A member of a closed set, as in JSON.
fn word(member: &impl serde::Serialize) -> String {
    serde_json::to_value(member).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn first<const N: usize>(names: [&Option<String>; N]) -> &str {
    names.into_iter().flatten().next().map_or("(no name)", |name| name)
}
