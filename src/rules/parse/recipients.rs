//! Owns reading `to` and `except`: whom a rule tells, and whom not.

use std::ops::Range;

use toml::de::DeValue;

use crate::rules::{List, RAW, To};

use super::{MAX_LIST, Reader, Value};

/// The words that stand for people of the record.
const WORDS: [(&str, To); 6] = [
    ("target", To::Target),
    ("actor", To::Actor),
    ("target.manager", To::TargetManager),
    ("actor.manager", To::ActorManager),
    ("target.alternates", To::TargetAlternates),
    ("target.previous", To::TargetPrevious),
];

/// The forms that are no words.
const FORMS: [&str; 4] = ["list:NAME", "lookup:NAME.COLUMN", "field:PATH", "an address"];

impl Reader<'_, '_> {
    /// The entries of `key`, a list or only one.
    pub(super) fn people(&mut self, key: &str) -> Vec<To> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        self.entries(key, value, true)
    }

    fn entries(&mut self, key: &str, value: &Value<'_>, outer: bool) -> Vec<To> {
        let items: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() {
            self.fault(value.span(), key, "is an empty list; name at least one".into());
        }
        items.into_iter().filter_map(|item| self.entry(key, item, outer)).collect()
    }

    fn entry(&mut self, key: &str, item: &Value<'_>, outer: bool) -> Option<To> {
        match item.get_ref() {
            DeValue::String(text) => self.person(key, item.span(), text),
            DeValue::Table(table) if outer => match table.get("first_of") {
                Some(value) if table.len() == 1 => {
                    Some(To::FirstOf(self.entries(&format!("{key}.first_of"), value, false)))
                }
                _ => {
                    let message = "must be { first_of = [\"target.manager\", \"list:NAME\"] }";
                    self.fault(item.span(), key, message.into());
                    None
                }
            },
            DeValue::Table(_) => {
                self.fault(item.span(), key, "holds no other `first_of`; name its entries here".into());
                None
            }
            _ => {
                self.fault(item.span(), key, "must be a text in quotes, or a list of them".into());
                None
            }
        }
    }

    fn person(&mut self, key: &str, span: Range<usize>, text: &str) -> Option<To> {
        if let Some((word, to)) = WORDS.iter().find(|(word, _)| *word == text) {
            if word.starts_with("target") {
                self.element_has_no_target(key, span, text);
            }
            return Some(to.clone());
        }
        if let Some(name) = text.strip_prefix("list:") {
            return self.list_of_people(key, span, name);
        }
        if let Some(path) = text.strip_prefix("field:") {
            if path.eq_ignore_ascii_case(RAW) {
                self.fault(span, key, format!("`{text}` is the whole record: name a place in it, field:raw.PATH"));
                return None;
            }
            let subject = self.subject_named(key, path, span)?;
            return Some(To::Reference(text.into(), subject));
        }
        if let Some(path) = text.strip_prefix("lookup:") {
            let by = path.split('.').next().and_then(|name| self.scope.lookups.get(name)).map(|lookup| lookup.by());
            if by.is_some_and(|by| by.starts_with("target.")) {
                self.element_has_no_target(key, span.clone(), text);
            }
            let subject = self.subject_named(key, &format!("lookup.{path}"), span)?;
            return Some(To::Reference(text.into(), subject));
        }
        if !is_address(text) {
            let known: Vec<_> = WORDS.iter().map(|(word, _)| *word).chain(FORMS).collect();
            self.unknown(span, key, "recipient", text, &known);
            return None;
        }
        Some(To::Address(text.into()))
    }

    /// The targets of the record are not those of a raw element: each of them would be told of every element.
    fn element_has_no_target(&mut self, key: &str, span: Range<usize>, text: &str) {
        if matches!(self.each, Some(List::Raw(_))) && key.starts_with("to") {
            let message = format!(
                "`{text}` is of the record, not of the element: take each = \"targets\", field:element.PATH, or a lookup by \
                 element.PATH"
            );
            self.fault(span, key, message);
        }
    }

    fn list_of_people(&mut self, key: &str, span: Range<usize>, name: &str) -> Option<To> {
        let Some((name, entries)) = self.scope.lists.get_key_value(name) else {
            let known: Vec<_> = self.scope.lists.keys().map(|name| &**name).collect();
            self.unknown(span, key, "list", name, &known);
            return None;
        };
        if entries.len() > MAX_LIST {
            let message = format!("list `{name}` has {} entries, at most {MAX_LIST} can be told", entries.len());
            self.fault(span, key, message);
            return None;
        }
        let stranger = entries.iter().position(|entry| !is_address(&entry.text));
        if let Some(place) = stranger {
            let message = format!("list `{name}` cannot be told: its entry {} is no address", place + 1);
            self.fault(span, key, message);
            return None;
        }
        Some(To::List(name.clone(), entries.clone()))
    }
}

/// Whether `text` has the form of an address; whether it may be mailed is the directory's decision.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control());
    plain(local) && plain(domain) && !local.contains('@') && domain.contains('.')
}
