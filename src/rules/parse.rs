//! Owns reading one `[[rule]]` from its spanned TOML table: the rule, or every fault with its place and remedy.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::clock::parse_duration;
use crate::nearest::nearest;
use crate::record::{Dialect, Severity};

use super::{Policy, Rule, To};

mod condition;
mod expiry;
mod operand;
#[cfg(test)]
pub(super) mod tests;

/// The keys of `[[rule]]`. `enabled` is checked here and acted upon by whoever keeps the rules.
pub const KEYS: &[&str] = &[
    "id",
    "description",
    "enabled",
    "owner",
    "expires",
    "on",
    "when",
    "unless",
    "to",
    "except",
    "channels",
    "template",
    "severity",
    "mode",
    "max_age",
    "policy",
];

/// `max_age` where a rule has none.
pub const MAX_AGE: Duration = Duration::from_hours(72);

/// Most entries of a list that a rule tells: each is a notification of its own for every record.
pub const MAX_LIST: usize = 100;

/// Longest rule id: it is a metric's label and part of every log line about its messages.
const MAX_ID: usize = 64;

/// What a rule may refer to.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `[list]`: addresses by name.
    pub lists: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// `[policy.*]`.
    pub policies: BTreeMap<Arc<str>, Policy>,
    /// `[channel.*]`.
    pub channels: Vec<Arc<str>>,
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
    let mut reader = Reader { table, span, scope, fault, faulty: false };
    reader.unknown_keys();
    reader.boolean("enabled");
    let id = reader.id();
    let Policy { group, throttle } = reader.policy();
    let (rooms, channels): (Vec<_>, Vec<_>) =
        reader.channels().into_iter().partition(|channel| scope.rooms.contains(channel));
    let rule = Rule {
        rank: 0,
        description: reader.text("description").map_or_else(|| Arc::clone(&id), Arc::from),
        owner: reader.text("owner").map(Arc::from),
        expires: reader.expires(),
        on: reader.on(),
        when: reader.condition("when"),
        unless: reader.condition("unless"),
        to: reader.to(&channels, &rooms),
        template: reader.template(&channels),
        except: reader.people("except"),
        channels,
        rooms,
        severity: reader.severity(),
        shadow: reader.word("mode", &["live", "shadow"]).is_some_and(|mode| mode == "shadow"),
        max_age: reader.max_age(),
        group,
        throttle,
        id,
    };
    (!reader.faulty).then_some(rule)
}

/// One rule's table on its way to a [`Rule`]. A method that meets a fault reports it and gives a placeholder, so that
/// the next fault is found too; the placeholder never leaves, since `faulty` withholds the rule.
struct Reader<'a, 'i> {
    table: &'a DeTable<'i>,
    span: Range<usize>,
    scope: &'a Scope,
    fault: &'a mut Faults<'a>,
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
        (self.fault)(span, key.to_owned(), message);
    }

    /// "… did you mean …?", else what there is.
    fn unknown(&mut self, span: Range<usize>, key: &str, what: &str, word: &str, known: &[&str]) {
        let word = shown(word);
        let remedy = match nearest(&word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "there is none".to_owned(),
            None => format!("known: {}", known.join(", ")),
        };
        self.fault(span, key, format!("unknown {what} `{word}`; {remedy}"));
    }

    fn unknown_keys(&mut self) {
        let table = self.table;
        for key in table.keys().filter(|key| !KEYS.contains(&key.get_ref().as_ref())) {
            self.unknown(key.span(), &shown(key.get_ref()), "key", key.get_ref(), KEYS);
        }
    }

    fn missing(&mut self, key: &str, remedy: &str) {
        self.fault(self.span.clone(), key, format!("is missing; {remedy}"));
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
            self.fault(value.span(), key, "must be true or false".into());
        }
    }

    /// A text out of a closed set.
    fn word(&mut self, key: &str, known: &[&str]) -> Option<&'a str> {
        let word = self.text(key)?;
        if !known.contains(&word) {
            let span = self.table.get(key).map_or_else(|| self.span.clone(), Spanned::span);
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

    /// Whom `channels`, the personal ones, tell. Rooms need nobody.
    fn to(&mut self, channels: &[Arc<str>], rooms: &[Arc<str>]) -> Vec<To> {
        if !self.table.contains_key("to") && (rooms.is_empty() || !channels.is_empty()) {
            let needs = channels.first().map(|channel| format!("channel `{channel}` writes to people: "));
            let remedy = "say who is told: \"target\", \"actor\", \"list:NAME\" or an address";
            self.missing("to", &format!("{}{remedy}", needs.unwrap_or_default()));
        }
        self.people("to")
    }

    fn people(&mut self, key: &str) -> Vec<To> {
        let mut people = Vec::new();
        for (span, text) in self.texts(key).unwrap_or_default() {
            people.extend(self.person(key, span, text));
        }
        people
    }

    fn person(&mut self, key: &str, span: Range<usize>, text: &str) -> Option<To> {
        match text {
            "target" => return Some(To::Target),
            "actor" => return Some(To::Actor),
            _ => {}
        }
        if let Some(name) = text.strip_prefix("list:") {
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
            return Some(To::List(Arc::clone(name), entries.clone()));
        }
        if !is_address(text) {
            self.unknown(span, key, "recipient", text, &["target", "actor", "list:NAME", "an address"]);
            return None;
        }
        Some(To::Address(text.into()))
    }

    fn channels(&mut self) -> Vec<Arc<str>> {
        if !self.table.contains_key("channels") {
            self.missing("channels", "name at least one [channel.NAME], e.g. channels = [\"email\"]");
        }
        let mut channels: Vec<Arc<str>> = Vec::new();
        for (span, name) in self.texts("channels").unwrap_or_default() {
            let scope = self.scope;
            match scope.channels.iter().find(|channel| &***channel == name) {
                Some(channel) if !channels.contains(channel) => channels.push(Arc::clone(channel)),
                Some(_) => self.fault(span, "channels", format!("`{}` is named twice; once is enough", shown(name))),
                None => {
                    let known: Vec<_> = scope.channels.iter().map(|channel| &**channel).collect();
                    self.unknown(span, "channels", "channel", name, &known);
                }
            }
        }
        channels
    }

    /// A template that the personal ones of the rule's channels can use.
    fn template(&mut self, channels: &[Arc<str>]) -> Arc<str> {
        if !self.table.contains_key("template") {
            self.missing("template", "name the folder below templates/, e.g. template = \"password-changed\"");
        }
        let scope = self.scope;
        let known: Option<Vec<&str>> = scope.templates.as_ref().map(|names| names.iter().map(|name| &**name).collect());
        let name = match known {
            Some(known) => self.word("template", &known),
            None => self.text("template"),
        };
        if let (Some(name), Some(value), [channel, ..]) = (name, self.table.get("template"), channels)
            && scope.templates_for_rooms.iter().any(|known| known == name)
        {
            let message = format!(
                "has a body.hbs and no mail, and channel `{channel}` sends mail: add subject.hbs, html.hbs and text.hbs to its folder"
            );
            self.fault(value.span(), "template", message);
        }
        name.unwrap_or_default().into()
    }

    fn severity(&mut self) -> Option<Severity> {
        let known: Vec<_> = Severity::ALL.iter().map(|severity| severity.as_str()).collect();
        self.word("severity", &known).and_then(Severity::named)
    }

    fn max_age(&mut self) -> Duration {
        let Some(text) = self.text("max_age") else { return MAX_AGE };
        let span = self.table.get("max_age").map_or_else(|| self.span.clone(), Spanned::span);
        match parse_duration(text) {
            Ok(Duration::ZERO) => {
                self.fault(span, "max_age", "must be more than nothing: no record is that young".into());
            }
            Ok(age) => return age,
            Err(message) => self.fault(span, "max_age", message),
        }
        MAX_AGE
    }

    fn policy(&mut self) -> Policy {
        let Some(name) = self.text("policy") else { return Policy::default() };
        let scope = self.scope;
        let Some(policy) = scope.policies.get(name) else {
            let span = self.table.get("policy").map_or_else(|| self.span.clone(), Spanned::span);
            let known: Vec<_> = scope.policies.keys().map(|name| &**name).collect();
            self.unknown(span, "policy", "policy", name, &known);
            return Policy::default();
        };
        policy.clone()
    }
}

/// `text` as a fault may repeat it: short and without control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// Whether `text` has the form of an address; whether it may be mailed is the directory's decision.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control());
    plain(local) && plain(domain) && !local.contains('@') && domain.contains('.')
}
