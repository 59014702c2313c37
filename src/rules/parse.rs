//! Owns reading one `[[rule]]` from its spanned TOML table: the rule, or every fault with its place and remedy.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::clock::parse_duration;
use crate::lookup::Lookups;
use crate::nearest::nearest;
use crate::record::Dialect;

use super::{List, ListEntry, Policy, Rule, Window};

mod compared;
mod condition;
mod each;
mod expiry;
pub mod foreign;
mod operand;
mod recipients;
mod route;
mod tell;
#[cfg(test)]
pub(crate) mod tests;

/// The keys of `[[rule]]` that its routes have not. `enabled` is checked here and acted upon by whoever keeps the rules;
/// `test` is read by them.
const OWN_KEYS: &[&str] =
    &["id", "description", "enabled", "owner", "expires", "on", "mode", "max_age", "each", "once_per", "route", "test"];

/// Every key of `[[rule]]`.
pub static KEYS: LazyLock<Vec<&'static str>> = LazyLock::new(|| [OWN_KEYS, route::CONDITIONS, tell::KEYS].concat());

/// `max_age` where a rule has none.
pub const MAX_AGE: Duration = Duration::from_hours(72);

/// Most entries of a list that a rule tells: each is a notification of its own for every record.
pub const MAX_LIST: usize = 100;

/// Longest rule id: it is a metric's label and part of every log line about its messages.
const MAX_ID: usize = 64;

/// What a rule may refer to.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `[list]`: entries by name.
    pub lists: BTreeMap<Arc<str>, Vec<ListEntry>>,
    /// `[lookup.*]`.
    pub lookups: Lookups,
    /// `[window.*]`.
    pub windows: BTreeMap<Arc<str>, Arc<Window>>,
    /// Lookups and windows that are there with a fault: what names one is at fault too, and nothing more is said of it.
    pub broken: BTreeSet<String>,
    /// `[policy.*]`.
    pub policies: BTreeMap<Arc<str>, Policy>,
    /// `[channel.*]`.
    pub channels: Vec<Arc<str>>,
    /// Another name of one of them.
    pub also_called: Option<(&'static str, Arc<str>)>,
    /// Those of them that are rooms.
    pub rooms: Vec<Arc<str>>,
    /// The dialects of mapping tables.
    pub dialects: Vec<Dialect>,
    /// Names of templates; `None` = not checked.
    pub templates: Option<Vec<String>>,
    /// Those of them that make no mail.
    pub templates_for_rooms: Vec<String>,
}

/// Told of each fault: byte range in the file, dotted key below the rule, what is wrong and the remedy.
pub type Faults<'a> = dyn FnMut(Range<usize>, String, String) + 'a;

type Value<'i> = Spanned<DeValue<'i>>;

/// Reads one rule; `span` is that of the whole table, for what is missing in it. `None` where there was any fault.
pub fn rule(table: &DeTable<'_>, span: Range<usize>, scope: &Scope, fault: &mut Faults<'_>) -> Option<Rule> {
    let mut reader = Reader { rule: table, table, span, place: String::new(), scope, fault, each: None, faulty: false };
    reader.unknown_keys(&KEYS);
    reader.boolean("enabled");
    let id = reader.id();
    let on = reader.on();
    reader.each = reader.each();
    let when = reader.condition("when");
    let unless = reader.condition("unless");
    let tell = reader.own_tell();
    let rule = Rule {
        rank: 0,
        description: reader.text("description").map_or_else(|| Arc::clone(&id), Arc::from),
        owner: reader.text("owner").map(Arc::from),
        expires: reader.expires(),
        on,
        when,
        unless,
        each: reader.each.clone(),
        once_per: reader.once_per(),
        shadow: reader.word("mode", &["live", "shadow"]).is_some_and(|mode| mode == "shadow"),
        max_age: reader.max_age(),
        routes: reader.routes(&tell),
        tell,
        id,
    };
    (!reader.faulty).then_some(rule)
}

/// One rule's table on its way to a [`Rule`]. A method that meets a fault reports it and gives a placeholder, so that
/// the next fault is found too; the placeholder never leaves, since `faulty` withholds the rule.
struct Reader<'a, 'i> {
    /// The whole rule.
    rule: &'a DeTable<'i>,
    /// What is read just now: the rule or one of its routes.
    table: &'a DeTable<'i>,
    span: Range<usize>,
    /// Dotted key of `table` below the rule, with a dot behind it; empty for the rule.
    place: String,
    scope: &'a Scope,
    fault: &'a mut Faults<'a>,
    /// What the rule is held against one by one.
    each: Option<List>,
    faulty: bool,
}

impl Scope {
    /// Every dialect there is.
    fn dialects(&self) -> impl Iterator<Item = Dialect> {
        Dialect::BUILT_IN.iter().chain(&self.dialects).copied()
    }
}

impl<'a> Reader<'a, '_> {
    fn fault(&mut self, span: Range<usize>, key: &str, message: String) {
        self.faulty = true;
        (self.fault)(span, format!("{}{key}", self.place), message);
    }

    /// "… did you mean …?", else what there is.
    fn unknown(&mut self, span: Range<usize>, key: &str, what: &str, word: &str, known: &[&str]) {
        let word = shown(word);
        let remedy = match nearest(&word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if ["operator", "field"].contains(&what) && foreign::instead_of(&word).is_some() => {
                format!("write {}", foreign::instead_of(&word).unwrap_or_default())
            }
            None if known.is_empty() => "there is none: add it".to_owned(),
            None => format!("known: {}", known.join(", ")),
        };
        self.fault(span, key, format!("unknown {what} `{word}`; {remedy}"));
    }

    fn unknown_keys(&mut self, known: &[&str]) {
        let table = self.table;
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            self.unknown(key.span(), &shown(key.get_ref()), "key", key.get_ref(), known);
        }
    }

    fn missing(&mut self, key: &str, remedy: &str) {
        self.fault(self.span.clone(), key, format!("is missing; {remedy}"));
    }

    /// Where the value of `key` stands, or the table where it has none.
    fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    fn text(&mut self, key: &str) -> Option<&'a str> {
        let value = self.table.get(key)?;
        match value.get_ref().as_str() {
            Some("") => self.fault(value.span(), key, "is empty; write a text or leave the key out".into()),
            Some(text) => return Some(text),
            None => self.fault(value.span(), key, "must be a text in quotes".into()),
        }
        None
    }

    fn boolean(&mut self, key: &str) {
        if let Some(value) = self.table.get(key)
            && !value.get_ref().is_bool()
        {
            self.fault(value.span(), key, "must be true or false, without quotes".into());
        }
    }

    /// A text out of a closed set.
    fn word(&mut self, key: &str, known: &[&str]) -> Option<&'a str> {
        let word = self.text(key)?;
        if !known.contains(&word) {
            let span = self.span_of(key);
            self.unknown(span, key, "value", word, known);
            return None;
        }
        Some(word)
    }

    /// A list of texts, or one text for a list of one. `None` where the key is absent or at fault.
    fn texts(&mut self, key: &str) -> Option<Vec<(Range<usize>, &'a str)>> {
        let value = self.table.get(key)?;
        let items: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() {
            self.fault(value.span(), key, "is an empty list; name at least one".into());
            return None;
        }
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => texts.push((item.span(), text)),
                None => self.fault(item.span(), key, "must be a text in quotes, or a list of them".into()),
            }
        }
        Some(texts)
    }

    fn id(&mut self) -> Arc<str> {
        if !self.table.contains_key("id") {
            self.missing("id", "give the rule a name of its own, e.g. id = \"password-reset\"");
        }
        let id = self.text("id").unwrap_or_default();
        let formed = id.starts_with(|c: char| c.is_ascii_lowercase())
            && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if let Some(value) = self.table.get("id")
            && !id.is_empty()
            && (!formed || id.len() > MAX_ID)
        {
            let message = format!("must be a-z, 0-9 and -, begin with a letter and have at most {MAX_ID} characters");
            self.fault(value.span(), "id", message);
        }
        id.into()
    }

    fn on(&mut self) -> Vec<Dialect> {
        if !self.table.contains_key("on") {
            self.missing("on", "name a dialect, a list of them, or \"any\", e.g. on = \"entra.audit\"");
        }
        let names = self.texts("on").unwrap_or_default();
        if matches!(names[..], [(_, "any")]) {
            return Vec::new();
        }
        let mut dialects = Vec::with_capacity(names.len());
        for (span, name) in names {
            match self.scope.dialects().find(|dialect| dialect.as_str() == name) {
                Some(dialect) => dialects.push(dialect),
                None if name == "any" => {
                    self.fault(span, "on", "`any` stands alone: on = \"any\"".into());
                }
                None => {
                    let known: Vec<_> = self.scope.dialects().map(Dialect::as_str).chain(["any"]).collect();
                    self.unknown(span, "on", "dialect", name, &known);
                }
            }
        }
        dialects
    }

    fn max_age(&mut self) -> Duration {
        let Some(text) = self.text("max_age") else { return MAX_AGE };
        let span = self.span_of("max_age");
        match parse_duration(text) {
            Ok(Duration::ZERO) => {
                self.fault(span, "max_age", "must be more than nothing: no record is that young".into());
            }
            Ok(age) => return age,
            Err(message) => self.fault(span, "max_age", message),
        }
        MAX_AGE
    }
}

/// `text` as a fault may repeat it: short and without control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
