//! Owns one rule of the files: its keys, and where each stands. A file's `[[rule]]` with the id of a pack's rule changes that
//! rule key by key, in the pack rule's place.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Place};
use super::files::File;
use super::rule_test::{self, RuleTest};
use crate::nearest::nearest;
use crate::rules::Rule;
use crate::rules::parse::{self, Scope};

/// A rule's table, whole.
pub(super) struct One<'a> {
    /// The tables it is made of; of two with one key the first wins. Never empty.
    written: Vec<Written<'a>>,
    /// Their keys together.
    keys: DeTable<'a>,
}

/// A `[[rule]]` where it stands.
#[derive(Clone, Copy)]
struct Written<'a> {
    file: &'a File,
    table: &'a Spanned<DeTable<'a>>,
}

impl<'a> Written<'a> {
    fn id(&self) -> Option<&'a str> {
        self.table.get_ref().get("id")?.get_ref().as_str()
    }

    fn place(&self) -> Place {
        self.file.place(self.table.span().start)
    }
}

/// The rules of `tables` in their order, those that change a pack's rule laid over it. Two of one id are a fault.
pub(super) fn all<'a>(
    files: &'a [File],
    tables: &'a [(usize, Spanned<DeTable<'a>>)],
    faults: &mut Vec<Fault>,
) -> Vec<One<'a>> {
    let written = tables.iter().filter_map(|(file, table)| Some(Written { file: files.get(*file)?, table }));
    let (of_packs, own): (Vec<Written<'a>>, Vec<_>) = written.clone().partition(|one| one.file.pack().is_some());
    let mut twice = |all: &[Written<'a>]| {
        let mut ids: BTreeMap<&'a str, Written<'a>> = BTreeMap::new();
        for one in all {
            let Some(id) = one.id() else { continue };
            if let Some(first) = ids.get(id) {
                let message = format!("is the id of two rules: also at {}; give one another", first.place());
                faults.push(One::new(vec![*one]).fault("id", message));
            }
            ids.entry(id).or_insert(*one);
        }
        ids
    };
    let (of_packs, own) = (twice(&of_packs), twice(&own));
    let rules = written.filter_map(|one| match (one.id(), one.file.pack()) {
        (Some(id), Some(_)) => Some(One::new(own.get(id).into_iter().chain([&one]).copied().collect())),
        (Some(id), None) if of_packs.contains_key(id) => None,
        (Some(id), None) if !one.table.get_ref().contains_key("on") => {
            // Without `on` it is no rule of its own: it was to change one of a pack.
            let near = nearest(id, of_packs.keys().copied());
            let message = |near| format!("changes no rule: no pack has one of this id; did you mean `{near}`?");
            faults.extend(near.map(|near| One::new(vec![one]).fault("id", message(near))));
            near.is_none().then(|| One::new(vec![one]))
        }
        _ => Some(One::new(vec![one])),
    });
    rules.collect()
}

impl<'a> One<'a> {
    fn new(written: Vec<Written<'a>>) -> Self {
        let mut keys = DeTable::new();
        for one in &written {
            for (key, value) in one.table.get_ref() {
                if !keys.contains_key(key.get_ref().as_ref()) {
                    keys.insert(key.clone(), value.clone());
                }
            }
        }
        Self { written, keys }
    }

    /// The table that a dotted key below the rule stands in; of a key that is nowhere the first.
    fn holder(&self, key: &str) -> Option<&Written<'a>> {
        let first = key.split(['.', '[']).next().unwrap_or(key);
        self.written.iter().find(|one| one.table.get_ref().contains_key(first)).or(self.written.first())
    }

    fn place(&self, key: &str, span: &Range<usize>) -> Place {
        let holder = self.holder(key);
        holder.map_or(Place { file: String::new(), line: None }, |holder| holder.file.place(span.start))
    }

    /// The value of a key, if it is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.keys.get(key)?.get_ref().as_str()
    }

    fn route_values(&self) -> impl Iterator<Item = &Spanned<DeValue<'a>>> {
        let routes = self.keys.get("route").and_then(|routes| routes.get_ref().as_array());
        routes.into_iter().flat_map(|routes| routes.iter())
    }

    /// The tables of its routes.
    pub fn routes(&self) -> impl Iterator<Item = &DeTable<'a>> {
        self.route_values().filter_map(|route| route.get_ref().as_table())
    }

    /// A fault of the route at `place`: at its `key`, or at the route where that is not written.
    pub fn route_fault(&self, place: usize, key: Option<&str>, message: impl Into<String>) -> Fault {
        let route = self.route_values().nth(place);
        let written = route.and_then(|route| route.get_ref().as_table()?.get_key_value(key?));
        let span = written.map(|(key, _)| key.span()).or(route.map(Spanned::span)).unwrap_or_default();
        let below = key.map(|key| format!(".{key}")).unwrap_or_default();
        let key = format!("route[{place}]{below}");
        Fault::at(&self.place(&key, &span), self.key(&key), message)
    }

    /// A fault of one of its tests.
    pub fn fault_of_test(&self, test: &RuleTest, message: impl Into<String>) -> Fault {
        Fault::at(&test.place, self.key("test"), message)
    }

    /// Whether it is on.
    pub fn enabled(&self) -> bool {
        self.keys.get("enabled").and_then(|value| value.get_ref().as_bool()).unwrap_or(true)
    }

    /// Dotted key, with the rule's id where it has one.
    fn key(&self, below: &str) -> String {
        self.text("id").map_or_else(|| format!("rule.{below}"), |id| format!("rule.{id}.{below}"))
    }

    /// A fault at `key`, or at the rule where the key is not written.
    pub fn fault(&self, key: &str, message: impl Into<String>) -> Fault {
        let written = self.keys.get_key_value(key).map(|(key, _)| key.span());
        let whole = || self.written.first().map(|one| one.table.span()).unwrap_or_default();
        Fault::at(&self.place(key, &written.unwrap_or_else(whole)), self.key(key), message)
    }

    /// Where it stands, and the pack that it came from.
    pub fn origin(&self) -> (Place, Option<&'a str>) {
        let place = self.written.first().map_or(Place { file: String::new(), line: None }, Written::place);
        (place, self.written.iter().find_map(|one| one.file.pack()))
    }

    /// Whether a pack says through which channels it tells.
    pub fn tells_as_a_pack(&self) -> bool {
        self.is_of_a_pack("channels")
    }

    /// Whether `key` is as a pack has it.
    pub fn is_of_a_pack(&self, key: &str) -> bool {
        self.holder(key).is_some_and(|holder| holder.file.pack().is_some())
    }

    /// Its tests. A pack's are of its own rule, not of what a file made of it.
    pub fn tests(&self, faults: &mut Vec<Fault>) -> Vec<RuleTest> {
        let Some(holder) = self.holder("test") else { return Vec::new() };
        let mut fault = |span: Range<usize>, key: &str, message: String| {
            faults.push(Fault::at(&holder.file.place(span.start), self.key(key), message));
        };
        let place = |offset| holder.file.place(offset);
        let mut tests = rule_test::read(&self.keys, &place, &|name| holder.file.given(name), &mut fault);
        let set_aside = self.written.len() > 1 && holder.file.pack().is_some();
        for test in &mut tests {
            test.set_aside = set_aside;
        }
        tests
    }

    /// The rule; `None`, and the faults, where there is any.
    pub fn parse(&self, scope: &Scope, faults: &mut Vec<Fault>) -> Option<Rule> {
        let whole = self.written.first().map(|one| one.table.span()).unwrap_or_default();
        let mut fault = |span: Range<usize>, key: String, message: String| {
            faults.push(Fault::at(&self.place(&key, &span), self.key(&key), message));
        };
        parse::rule(&self.keys, whole, scope, &mut fault)
    }
}
