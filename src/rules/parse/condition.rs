//! Owns reading a `when` or `unless`: short names, closed values, and the three ways to write a dotted key.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::rules::{Condition, FIELDS, Subject, Test, fold};

use super::{Reader, Value, shown};

/// Words that will compare otherwise than by equality. `details.KEY` would take them for a part of its key, and such a rule
/// would match nothing without a word.
const OPERATORS: &[&str] = &[
    "in",
    "not",
    "contains",
    "starts_with",
    "ends_with",
    "matches",
    "exists",
    "gt",
    "gte",
    "lt",
    "lte",
    "at_least",
    "cidr",
    "in_list",
    "same_as",
    "same_domain_as",
    "changed",
    "from",
    "to",
    "during",
    "all",
    "any",
    "some",
    "every",
];

impl Reader<'_, '_> {
    /// The tests of `place`, `when` or `unless`.
    pub(super) fn condition(&mut self, place: &'static str) -> Condition {
        let Some(value) = self.table.get(place) else { return Condition::default() };
        let DeValue::Table(table) = value.get_ref() else {
            self.fault(value.span(), place, format!("must be a table: {place} = {{ operation = \"…\" }}"));
            return Condition::default();
        };
        if table.is_empty() {
            self.fault(value.span(), place, "is empty; write a condition or leave the key out".into());
        }
        let mut tests: Vec<Test> = Vec::new();
        for (key, span, value) in leaves(table) {
            let path = format!("{place}.{}", shown(&key));
            let Some(test) = self.test(&path, &key, span.clone(), value) else { continue };
            if tests.iter().any(|other| other.subject.name() == test.subject.name()) {
                self.fault(span, &path, "is tested twice; put all values into one list".into());
                continue;
            }
            tests.push(test);
        }
        Condition::new(tests)
    }

    fn test(&mut self, path: &str, key: &str, span: Range<usize>, value: &Value<'_>) -> Option<Test> {
        if let Some((field, operator)) = key.rsplit_once('.')
            && OPERATORS.contains(&operator)
            && Subject::named(field).is_some()
        {
            let message =
                format!("`{}` takes a value or a list of values; operators are not supported yet", shown(field));
            self.fault(span, path, message);
            return None;
        }
        let Some(subject) = Subject::named(key) else {
            let known: Vec<_> = FIELDS.iter().map(|field| field.name).chain(["details.KEY"]).collect();
            self.unknown(span, path, "field", key, &known);
            return None;
        };
        let items: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() {
            self.fault(value.span(), path, "is an empty list, which no record fulfils; name a value".into());
            return None;
        }
        let closed = subject.closed();
        let mut want = Vec::with_capacity(items.len());
        for item in items {
            let Some(text) = scalar(item.get_ref()) else {
                self.fault(item.span(), path, "must be a text, a number, true or false, or a list of them".into());
                continue;
            };
            if text.trim().is_empty() {
                self.fault(item.span(), path, "is empty text, which no field has; name a value".into());
            } else if !closed.is_empty() && !closed.iter().any(|known| fold(known) == fold(&text)) {
                self.unknown(item.span(), path, "value", &text, &closed);
            }
            want.push(text.into());
        }
        Some(Test::new(subject, want))
    }
}

/// Every value of a condition with its dotted name and the span of its key: `actor = { upn = "…" }`, `actor.upn = "…"` and
/// `"actor.upn" = "…"` are one.
fn leaves<'a>(table: &'a DeTable<'_>) -> Vec<(String, Range<usize>, &'a Value<'a>)> {
    let mut found = Vec::new();
    // A stack, not recursion: a rule file's depth is not ours to trust.
    let mut open = vec![(String::new(), table)];
    while let Some((prefix, table)) = open.pop() {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => open.push((format!("{name}."), inner)),
                _ => found.push((name, key.span(), value)),
            }
        }
    }
    found.sort_by_key(|(_, span, _)| span.start);
    found
}

/// The text by which a value is compared: `50053` equals `"50053"`.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(boolean) => Some(boolean.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
