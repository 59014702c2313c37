//! Owns mapping tables: a family of records that we do not know is described by paths, without code. A table says how to
//! recognise a record and where each field of the view stands; ours are embedded, the user's stand in the configuration,
//! and both are read by [`parse`]. What a dialect of our own recognises is never a table's.

mod fill;
pub mod parse;
mod sieve;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;
use toml::de::DeTable;

use super::fold::{Whole, fold};
use super::path::Path;
use super::{Dialect, Flag, Head, Position, Record, field};
use crate::clock::Timestamp;
pub(super) use fill::read;
use sieve::Sieve;

/// The tables that we ship, by name.
const SHIPPED: &[(&str, &str)] = &[
    ("aws.cloudtrail", include_str!("aws.cloudtrail.toml")),
    ("defender.xdr", include_str!("defender.xdr.toml")),
    ("github.audit", include_str!("github.audit.toml")),
    ("intune.audit", include_str!("intune.audit.toml")),
    ("o365.audit", include_str!("o365.audit.toml")),
    ("okta.system", include_str!("okta.system.toml")),
    ("sentinel.incident", include_str!("sentinel.incident.toml")),
];

/// Every mapping table in force, those of the configuration first. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialects(Arc<Set>);

#[derive(Debug)]
struct Set {
    tables: Vec<Table>,
    sieve: Sieve,
}

/// One mapping table.
#[derive(Clone, Debug)]
pub struct Table {
    dialect: Dialect,
    /// Any of these, and all checks of it.
    detect: Conditions,
    /// Where the record may stand inside of what a pipeline put around it.
    inside: Vec<Path>,
    /// The fields that are one text each.
    texts: Texts,
    time: Vec<Path>,
    actor: Vec<Block>,
    targets: Vec<Block>,
    changes: Vec<Block>,
    /// By name; [`EVERYTHING`] takes all there is at its paths.
    details: Vec<(Box<str>, Source)>,
    tactics: Source,
    flags: Vec<(Flag, Conditions)>,
}

/// What stands for every name among `details`, and for every other word of a map.
const EVERYTHING: &str = "*";

/// Fields of the view, or of one of its parts, by name.
type Texts = BTreeMap<&'static str, Source>;

/// Where a text stands.
#[derive(Clone, Debug, Default)]
struct Source {
    /// The first that has a value.
    paths: Vec<Path>,
    /// Only what follows the last of these.
    after: Option<Box<str>>,
    /// The producer's words, folded, and ours; [`EVERYTHING`] stands for every other word.
    map: BTreeMap<Box<str>, Box<str>>,
    /// Where no path has a value.
    default: Option<Box<str>>,
    /// Only of what fulfils it.
    when: Option<Conditions>,
}

/// An actor, a target or a change, or one for each element of a list.
#[derive(Clone, Debug)]
struct Block {
    /// `None`: it stands in the record itself.
    list: Option<Path>,
    /// Only where the element fulfils it.
    when: Option<Conditions>,
    texts: Texts,
    /// What changed of this target.
    changes: Vec<Block>,
}

/// Any of these; of each, all.
#[derive(Clone, Debug)]
struct Conditions(Vec<Vec<Check>>);

#[derive(Clone, Debug)]
struct Check {
    path: Path,
    wants: Wants,
}

/// Texts are folded.
#[derive(Clone, Debug)]
enum Wants {
    Exists(bool),
    Equal(Vec<Box<str>>),
    /// None of these; also where there is nothing.
    Not(Vec<Box<str>>),
    StartsWith(Vec<Box<str>>),
    Contains(Vec<Box<str>>),
}

impl Dialects {
    /// The tables that we ship, and no other.
    #[must_use]
    pub fn shipped() -> Self {
        static SHIPPED: LazyLock<Dialects> = LazyLock::new(|| Dialects::new(Vec::new()));
        SHIPPED.clone()
    }

    /// `own` before the shipped ones; one that has the name of a shipped table takes its place.
    #[must_use]
    pub fn new(own: Vec<Table>) -> Self {
        let mut tables = own;
        for (name, text) in SHIPPED {
            if !tables.iter().any(|table| table.dialect.as_str() == *name) {
                tables.extend(shipped(name, text));
            }
        }
        let sieve = Sieve::new(&tables);
        Self(Arc::new(Set { tables, sieve }))
    }

    /// The whole view of `raw`, one JSON object. Never fails: what cannot be read becomes a problem.
    #[must_use]
    pub fn read(&self, raw: &str, position: Position, broker_time: Option<Timestamp>) -> Record {
        Record::read_with(self, raw, None, position, broker_time)
    }

    /// The dialect of each table.
    pub fn iter(&self) -> impl Iterator<Item = Dialect> {
        self.0.tables.iter().map(|table| table.dialect)
    }

    /// The table of a record that no dialect of our own took, and where in it the record stands.
    pub(super) fn table_of<'v>(&self, tree: &'v Value) -> Option<(&Table, Cow<'v, Value>)> {
        self.0.tables.iter().find_map(|table| Some((table, table.root(tree)?)))
    }

    /// The head of such a record; `None` where no table recognises it. As the tree would say, but only what the tables look
    /// at is made into one.
    pub(super) fn mapped_head(&self, raw: &str) -> Option<Head<'static>> {
        let tree = self.0.sieve.pass(raw)?;
        let (table, root) = self.table_of(&tree)?;
        let (operation, activity) = table.names(&root);
        Some(Head { dialect: table.dialect, operation: operation.map(Cow::Owned), activity: activity.map(Cow::Owned) })
    }
}

/// A test holds that none has a fault.
fn shipped(name: &str, text: &str) -> Option<Table> {
    let table = DeTable::parse(text).ok()?;
    parse::table(name, table.get_ref(), 0..text.len(), &mut |_, _, _| {})
}

impl Table {
    /// The record in `tree`, if it is one of this table's.
    fn root<'v>(&self, tree: &'v Value) -> Option<Cow<'v, Value>> {
        if self.detect.hold(tree) {
            return Some(Cow::Borrowed(tree));
        }
        let inside = self.inside.iter().flat_map(|path| path.values(tree)).map(opened);
        inside.into_iter().find(|root| root.is_object() && self.detect.hold(root))
    }

    /// (operation, activity).
    fn names(&self, root: &Value) -> (Option<String>, Option<String>) {
        let (operation, activity) = (self.text("operation", root), self.text("activity", root));
        let activity = activity.filter(|activity| Some(activity) != operation.as_ref());
        (operation, activity)
    }

    fn text(&self, name: &str, root: &Value) -> Option<String> {
        self.texts.get(name)?.text(root)
    }
}

impl Block {
    /// What it is told of: the record itself, or the elements of its list.
    fn elements<'v>(&self, value: &'v Value) -> Vec<Cow<'v, Value>> {
        let mut found = match &self.list {
            Some(list) => elements(list, value),
            None => vec![Cow::Borrowed(value)],
        };
        found.retain(|element| self.when.as_ref().is_none_or(|when| when.hold(element)));
        found
    }
}

impl Conditions {
    /// What they look at, and whether what stands there matters.
    fn looks(&self) -> impl Iterator<Item = (&Path, bool)> {
        self.0.iter().flatten().map(|check| (&check.path, !matches!(check.wants, Wants::Exists(_))))
    }

    fn hold(&self, value: &Value) -> bool {
        self.0.iter().any(|all| all.iter().all(|check| check.holds(value)))
    }
}

impl Check {
    fn holds(&self, value: &Value) -> bool {
        let values = self.path.values(value);
        let found = || values.iter().filter_map(|value| field::text(value));
        let is_any =
            |texts: &[Box<str>]| found().map(|text| fold(&text)).any(|text| texts.iter().any(|own| **own == *text));
        let any = |parts: &[Box<str>], how: fn(&Whole, &str) -> bool| {
            found().map(|text| Whole::of(&text)).any(|text| parts.iter().any(|part| how(&text, part)))
        };
        match &self.wants {
            // An empty text is as good as none.
            Wants::Exists(wanted) => {
                let says = |value: &Cow<'_, Value>| !value.is_string() || field::text(value).is_some();
                values.iter().any(says) == *wanted
            }
            Wants::Equal(texts) => is_any(texts),
            Wants::Not(texts) => !is_any(texts),
            Wants::StartsWith(parts) => any(parts, Whole::begins_with),
            Wants::Contains(parts) => any(parts, Whole::has),
        }
    }
}

impl Source {
    /// The first text there is.
    fn text(&self, value: &Value) -> Option<String> {
        self.texts(value).into_iter().next()
    }

    /// Every text at the first path that has one; of a list its elements, also of one inside a string.
    fn texts(&self, value: &Value) -> Vec<String> {
        self.texts_that(value, |_| true)
    }

    /// As [`Self::texts`], of those alone that fulfil `wanted`.
    fn texts_that(&self, value: &Value, wanted: fn(&str) -> bool) -> Vec<String> {
        if self.when.as_ref().is_some_and(|when| !when.hold(value)) {
            return Vec::new();
        }
        let at = |path: &Path| {
            let words = elements(path, value).into_iter().filter_map(|element| self.word(&field::text(&element)?));
            words.filter(|word| wanted(word)).collect::<Vec<_>>()
        };
        let found = self.paths.iter().map(at).find(|texts| !texts.is_empty()).unwrap_or_default();
        if found.is_empty() { self.default.iter().map(ToString::to_string).collect() } else { found }
    }

    /// The producer's word, cut and translated.
    fn word(&self, text: &str) -> Option<String> {
        let text = match &self.after {
            Some(mark) => text.rsplit_once(&**mark)?.1.trim(),
            None => text,
        };
        let ours = self.map.get(&*fold(text)).or_else(|| self.map.get(EVERYTHING));
        let word = ours.map_or(text, |ours| ours);
        (!field::is_placeholder(word)).then(|| word.to_owned())
    }

    /// Whether `word` is one that the table itself wrote.
    fn writes(&self, word: &str) -> bool {
        self.map.values().chain(&self.default).any(|ours| **ours == *word)
    }

    /// The first value there is, as it came; a list of several whole.
    fn value(&self, value: &Value) -> Option<Value> {
        let at = |path: &Path| {
            let mut values: Vec<Value> = path.values(value).into_iter().map(Cow::into_owned).collect();
            if values.len() > 1 { Some(Value::Array(values)) } else { values.pop() }
        };
        self.paths.iter().find_map(at).or_else(|| self.default.as_deref().map(Value::from))
    }
}

/// What stands at the path; of a list its elements, also of one that came inside a string.
fn elements<'v>(path: &Path, value: &'v Value) -> Vec<Cow<'v, Value>> {
    let mut found = Vec::new();
    for value in path.values(value).into_iter().map(opened) {
        match value {
            Cow::Borrowed(Value::Array(list)) => found.extend(list.iter().map(Cow::Borrowed)),
            Cow::Owned(Value::Array(list)) => found.extend(list.into_iter().map(Cow::Owned)),
            other => found.push(other),
        }
    }
    found
}

/// See [`field::opened`].
fn opened(value: Cow<'_, Value>) -> Cow<'_, Value> {
    match value {
        Cow::Borrowed(value) => field::opened(value),
        Cow::Owned(value) => Cow::Owned(field::opened(&value).into_owned()),
    }
}
