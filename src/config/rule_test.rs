//! Owns reading `[[rule.test]]`: what a rule's author says that the rule does. The daemon reads them with the rest and runs
//! none; `auditbell test` does.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Place;
use crate::nearest::nearest;
use crate::rules::Rule;

/// The keys of `[[rule.test]]`.
pub const KEYS: &[&str] = &["name", "record", "records", "lists", "expect", "because"];
/// The keys of an entry of `expect`.
pub const EXPECT_KEYS: &[&str] = &["to", "channel", "subject", "template", "severity", "contains", "not_contains"];

/// One `[[rule.test]]`.
#[derive(Clone, Debug)]
pub struct RuleTest {
    /// A sentence.
    pub name: Arc<str>,
    /// Where it stands.
    pub place: Place,
    /// Kafka messages, in the order in which they come.
    pub messages: Vec<Given>,
    /// Lists in the place of those of the configuration that have the same names.
    pub lists: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// With `lists`: the rule as it is with them.
    pub rule: Option<Rule>,
    /// Every message that the rule takes part in, and no other. Empty: it tells nobody.
    pub expect: Vec<Expected>,
    /// Of a pack's rule that a file of the configuration changes and gives no tests of its own: it says what the rule was,
    /// so it is shown and not run.
    pub set_aside: bool,
    /// With an empty `expect`: the key of a leaf that fails, or the reason of a verdict.
    pub because: Option<String>,
}

/// Where the bytes of a message are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// In a file.
    File(PathBuf),
    /// In the rule file, or in a pack.
    Text(String),
}

/// One entry of `expect`. What is left out may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// An address, the name of a room, or `list:NAME`: one message to each of its entries that is told.
    pub to: Option<String>,
    /// Channel.
    pub channel: Option<String>,
    /// The whole subject of a mail, without `[to …]` of a try-out.
    pub subject: Option<String>,
    /// Template.
    pub template: Option<String>,
    /// Severity of the message.
    pub severity: Option<String>,
    /// Texts that the message says.
    pub contains: Vec<String>,
    /// Texts that it does not say.
    pub not_contains: Vec<String>,
}

/// Told of each fault: byte range in the file, dotted key below the rule, what is wrong and the remedy.
type Faults<'a> = dyn FnMut(Range<usize>, &str, String) + 'a;

/// The tests in `rule`. `place` says where a byte stands; `given` says what the name of a file means, or why it means none.
pub(super) fn read(
    rule: &DeTable<'_>,
    place: &dyn Fn(usize) -> Place,
    given: &dyn Fn(&str) -> Result<Given, String>,
    fault: &mut Faults<'_>,
) -> Vec<RuleTest> {
    let Some(value) = rule.get("test") else { return Vec::new() };
    let Some(items) = value.get_ref().as_array() else {
        fault(value.span(), "test", "must be an array of tables: write [[rule.test]]".into());
        return Vec::new();
    };
    let mut tests = Vec::new();
    for item in items {
        match item.get_ref().as_table() {
            Some(table) => {
                let mut reader = Reader { table, span: item.span(), prefix: "test", fault, faulty: false };
                tests.extend(reader.test(place(item.span().start), given));
            }
            None => fault(item.span(), "test", "must be a table: write [[rule.test]]".into()),
        }
    }
    tests
}

/// One table on its way. A method that meets a fault reports it and gives a placeholder, which `faulty` withholds.
struct Reader<'a, 'f> {
    table: &'a DeTable<'a>,
    span: Range<usize>,
    prefix: &'a str,
    fault: &'f mut Faults<'f>,
    faulty: bool,
}

impl Reader<'_, '_> {
    fn fault(&mut self, span: Range<usize>, key: &str, message: impl Into<String>) {
        self.faulty = true;
        let key = if key.is_empty() { self.prefix.to_owned() } else { format!("{}.{key}", self.prefix) };
        (self.fault)(span, &key, message.into());
    }

    fn test(&mut self, place: Place, given: &dyn Fn(&str) -> Result<Given, String>) -> Option<RuleTest> {
        self.unknown_keys(KEYS);
        let name = self.text("name");
        if name.is_none() && !self.faulty {
            self.fault(self.span.clone(), "name", "is missing: say in a sentence what the rule does here");
        }
        let messages = self.messages(given);
        let lists = self.lists();
        let expect = self.expect();
        let because = self.text("because");
        if because.is_some() && !expect.is_empty() {
            let span = self.span_of("because");
            self.fault(span, "because", "says why nobody is told, but `expect` names somebody: leave one out");
        }
        let name = name.unwrap_or_default().into();
        (!self.faulty).then_some(RuleTest {
            name,
            place,
            messages,
            lists,
            rule: None,
            expect,
            because,
            set_aside: false,
        })
    }

    fn unknown_keys(&mut self, known: &[&'static str]) {
        let table = self.table;
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name: String = key.get_ref().chars().filter(|c| !c.is_control()).take(60).collect();
            let near = nearest(&name, known.iter().copied());
            let remedy =
                near.map_or_else(|| format!("known: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
            self.fault(key.span(), &name, format!("unknown key `{name}`; {remedy}"));
        }
    }

    fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let value = self.table.get(key)?;
        let text = value.get_ref().as_str().filter(|text| !text.trim().is_empty());
        if text.is_none() {
            self.fault(value.span(), key, "must be a text in quotes, and not empty");
        }
        text.map(str::to_owned)
    }

    /// A list of texts, or one text for a list of one.
    fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let items = value.get_ref().as_array().map_or_else(|| vec![value], |items| items.iter().collect());
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_str().filter(|text| !text.trim().is_empty()) {
                Some(text) => texts.push(text.to_owned()),
                None => self.fault(item.span(), key, "must be a text in quotes, or a list of them; not empty"),
            }
        }
        texts
    }

    fn messages(&mut self, given: &dyn Fn(&str) -> Result<Given, String>) -> Vec<Given> {
        let table = self.table;
        let items = match (table.get("record"), table.get("records")) {
            (Some(record), None) => vec![("record", record)],
            (None, Some(records)) => match records.get_ref().as_array() {
                Some(items) if !items.is_empty() => items.iter().map(|item| ("records", item)).collect(),
                _ => {
                    self.fault(records.span(), "records", "must be a list of records, and not empty");
                    Vec::new()
                }
            },
            (Some(_), Some(records)) => {
                self.fault(records.span(), "records", "stands beside `record`: keep one of them");
                Vec::new()
            }
            (None, None) => {
                let remedy = "is missing: name a file with one, or write it here as JSON";
                self.fault(self.span.clone(), "record", remedy);
                Vec::new()
            }
        };
        let mut messages = Vec::with_capacity(items.len());
        for (key, item) in items {
            match one_message(item.get_ref(), given) {
                Ok(message) => messages.push(message),
                Err(message) => self.fault(item.span(), key, message),
            }
        }
        messages
    }

    fn lists(&mut self) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
        let Some(value) = self.table.get("lists") else { return BTreeMap::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.fault(value.span(), "lists", "must be a table of lists: { NAME = [\"…\"] }");
            return BTreeMap::new();
        };
        let prefix = format!("{}.lists", self.prefix);
        let mut lists = Reader { table, span: value.span(), prefix: &prefix, fault: &mut *self.fault, faulty: false };
        let of = |name: &str, lists: &mut Reader<'_, '_>| lists.texts(name).into_iter().map(Arc::from).collect();
        let read = table.keys().map(|name| (Arc::from(name.get_ref().as_ref()), of(name.get_ref(), &mut lists)));
        let read = read.collect();
        self.faulty |= lists.faulty;
        read
    }

    fn expect(&mut self) -> Vec<Expected> {
        let Some(value) = self.table.get("expect") else {
            let remedy = "is missing: list the messages, e.g. [{ to = \"alice@example.com\" }], or [] for none";
            self.fault(self.span.clone(), "expect", remedy);
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.fault(value.span(), "expect", "must be a list of tables: [{ to = \"…\" }]");
            return Vec::new();
        };
        let mut expect = Vec::with_capacity(items.len());
        for item in items {
            let Some(table) = item.get_ref().as_table() else {
                self.fault(item.span(), "expect", "must be a table: { to = \"…\" }");
                continue;
            };
            let prefix = format!("{}.expect", self.prefix);
            let mut entry =
                Reader { table, span: item.span(), prefix: &prefix, fault: &mut *self.fault, faulty: false };
            let expected = entry.expected();
            self.faulty |= entry.faulty;
            expect.push(expected);
        }
        expect
    }

    fn expected(&mut self) -> Expected {
        self.unknown_keys(EXPECT_KEYS);
        Expected {
            to: self.text("to"),
            channel: self.text("channel"),
            subject: self.text("subject"),
            template: self.text("template"),
            severity: self.text("severity"),
            contains: self.texts("contains"),
            not_contains: self.texts("not_contains"),
        }
    }
}

/// A table is a record; a text is one if it begins like JSON, else the name of a file.
fn one_message(value: &DeValue<'_>, given: &dyn Fn(&str) -> Result<Given, String>) -> Result<Given, String> {
    match value {
        DeValue::Table(_) => Ok(Given::Text(json(value).to_string())),
        DeValue::String(text) if text.trim_start().starts_with(['{', '[']) => Ok(Given::Text(text.to_string())),
        DeValue::String(text) => given(text),
        _ => Err("must be the name of a file, JSON in quotes, or a table".into()),
    }
}

/// What stands in TOML, as JSON. Dates become text.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| number.to_string().into(), Value::from)
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect())
        }
    }
}
