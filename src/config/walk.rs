//! Owns the walk over the files' tables: every unknown key, wrong type and bad value becomes a fault with its line; what
//! is good becomes the layer "files", and every key's place is kept for later faults.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use config::{Map, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::dialects::Found;
use super::fault::{Fault, Place};
use super::files::File;
use super::laid::example;
use super::schema::{self, Form, Kind, Need, Shape};
use crate::lookup;
use crate::nearest::nearest;
use crate::record::mapped::parse::KEYS;

/// What the walk found.
#[derive(Default)]
pub(super) struct Walked<'f> {
    /// Good values only. Every scalar is a string, as the environment gives them.
    pub tree: Map<String, Value>,
    /// Place of each dotted key, good or bad.
    pub places: BTreeMap<String, Place>,
    /// The `[[rule]]` tables in order, with the index of their file.
    pub rules: Vec<(usize, Spanned<DeTable<'f>>)>,
    /// The `[dialect.NAME]` tables in order.
    pub dialects: Vec<Found<'f>>,
    /// Named tables that only packs have: a file's own takes their place.
    of_packs: BTreeSet<String>,
    /// Where secrets stand, by file: left out of the config's hash.
    pub secrets: Vec<(usize, Range<usize>)>,
}

/// Walks one file's table.
pub(super) fn walk<'f>(
    walked: &mut Walked<'f>,
    faults: &mut Vec<Fault>,
    (index, file): (usize, &File),
    table: DeTable<'f>,
) {
    let mut one = Walker { walked, faults, index, file };
    for (key, value) in table {
        one.top(&key, value);
    }
}

struct Walker<'w, 'f> {
    walked: &'w mut Walked<'f>,
    faults: &'w mut Vec<Fault>,
    index: usize,
    file: &'w File,
}

impl<'f> Walker<'_, 'f> {
    fn fault(&mut self, span: &Range<usize>, key: &str, message: impl Into<String>) {
        self.faults.push(Fault::at(&self.file.place(span.start), key, message));
    }

    fn top(&mut self, key: &Spanned<impl AsRef<str>>, value: Spanned<DeValue<'f>>) {
        let name = key.get_ref().as_ref();
        if name == "include" {
            if self.index > 0 {
                self.fault(&key.span(), name, "only the main file may include: move it there");
            }
        } else if name == "rule" {
            self.rules(key.span(), value);
        } else if name == "dialect" {
            match value.into_inner() {
                DeValue::Table(table) => self.dialects("", table),
                _ => self.fault(&key.span(), name, DIALECT_FORM),
            }
        } else if let Some(section) = schema::section(name) {
            self.section(section, key.span(), value.get_ref());
        } else {
            let known: Vec<&str> =
                schema::SECTIONS.iter().map(|section| section.name).chain(["include", "rule", "dialect"]).collect();
            self.fault(&key.span(), name, schema::unknown(name, &known));
        }
    }

    fn rules(&mut self, key: Range<usize>, value: Spanned<DeValue<'f>>) {
        let form = "must be an array of tables: write [[rule]]";
        let DeValue::Array(items) = value.into_inner() else { return self.fault(&key, "rule", form) };
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => self.walked.rules.push((self.index, Spanned::new(span, table))),
                _ => self.fault(&span, "rule", form),
            }
        }
    }

    /// The tables below `[dialect]`. A name may hold dots, and `[dialect.a.b]` means the same as `[dialect."a.b"]`.
    fn dialects(&mut self, above: &str, tables: DeTable<'f>) {
        for (key, value) in tables {
            let name = if above.is_empty() { key.get_ref().to_string() } else { format!("{above}.{}", key.get_ref()) };
            let span = value.span();
            match value.into_inner() {
                DeValue::Table(table) if is_part_of_a_name(&table) => self.dialects(&name, table),
                DeValue::Table(table) => {
                    if self.claim(&format!("dialect.{name}"), &key.span()) {
                        let table = Spanned::new(span, table);
                        self.walked.dialects.push(Found { file: self.index, name, table });
                    }
                }
                _ => self.fault(&span, &format!("dialect.{name}"), DIALECT_FORM),
            }
        }
    }

    fn section(&mut self, section: &'static schema::Section, at: Range<usize>, value: &DeValue<'f>) {
        let Some(table) = value.as_table() else {
            let form = if section.has_names() { ".NAME" } else { "" };
            return self.fault(&at, section.name, format!("must be a table: write [{}{form}]", section.name));
        };
        match section.form {
            Form::Single => {
                if self.claim(section.name, &at) {
                    let map = self.table(section.name, &section.every_key(), table);
                    self.walked.tree.insert(section.name.into(), value_of(ValueKind::Table(map)));
                }
            }
            Form::Named | Form::Typed(_) | Form::Free => {
                let mut map = Map::new();
                for (name, value) in table {
                    let path = format!("{}.{}", section.name, name.get_ref());
                    if !schema::is_name(name.get_ref()) {
                        self.fault(&name.span(), &path, schema::NAME_FORM);
                    } else if self.claim(&path, &name.span())
                        && let Some(value) = self.named(section, &path, value)
                    {
                        map.insert(name.get_ref().to_string(), value);
                    }
                }
                self.merge(section.name, map);
            }
        }
    }

    fn named(&mut self, section: &'static schema::Section, path: &str, value: &Spanned<DeValue<'f>>) -> Option<Value> {
        if section.form == Form::Free {
            return section.keys.first().and_then(|key| self.value(path, key.shape, value));
        }
        let Some(table) = value.get_ref().as_table() else {
            self.fault(&value.span(), path, format!("must be a table: write [{}.NAME]", section.name));
            return None;
        };
        // The `type` may also come from another layer; what it does not have is found when the layers are together.
        let kind = table.get("type").and_then(|kind| kind.get_ref().as_str());
        let keys = section.keys_of(kind).map_or_else(|| section.every_key(), |keys| keys.iter().collect());
        Some(value_of(ValueKind::Table(self.table(path, &keys, table))))
    }

    /// Notes where `path` stands; the second place of one path is a fault, but that the files' own is taken over a pack's.
    /// Packs are walked last.
    fn claim(&mut self, path: &str, at: &Range<usize>) -> bool {
        let place = self.file.place(at.start);
        let of_pack = self.file.pack().is_some();
        if let Some(first) = self.walked.places.get(path) {
            if of_pack && !self.walked.of_packs.contains(path) {
                return false;
            }
            let message = format!("stands twice: also at {first}; keep one, or give one another name");
            self.faults.push(Fault::at(&place, path, message));
            return false;
        }
        self.walked.places.insert(path.into(), place);
        if of_pack {
            self.walked.of_packs.insert(path.into());
        }
        true
    }

    fn merge(&mut self, section: &str, map: Map<String, Value>) {
        let entry = self.walked.tree.entry(section.into()).or_insert_with(|| value_of(ValueKind::Table(Map::new())));
        if let ValueKind::Table(known) = &mut entry.kind {
            known.extend(map);
        }
    }

    fn table(&mut self, path: &str, keys: &[&'static schema::Key], table: &DeTable<'f>) -> Map<String, Value> {
        let mut map = Map::new();
        for (name, value) in table {
            let below = format!("{path}.{}", name.get_ref());
            let Some(key) = keys.iter().find(|key| key.name == name.get_ref()) else {
                let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
                self.fault(&name.span(), &below, schema::unknown(name.get_ref(), &known));
                continue;
            };
            self.walked.places.insert(below.clone(), self.file.place(name.span().start));
            if let Some(value) = self.value(&below, key.shape, value) {
                map.insert(key.name.into(), value);
            }
        }
        map
    }

    fn value(&mut self, path: &str, shape: Shape, value: &Spanned<DeValue<'f>>) -> Option<Value> {
        match (shape, value.get_ref()) {
            (Shape::One(kind), _) => self.scalar(path, kind, value),
            (Shape::Many(kind), DeValue::Array(items)) => {
                self.each(path, value, items.iter(), |walker, item| walker.scalar(path, kind, item))
            }
            // One text stands for a list of one, as in rules. Laid out as an array: its commas separate nothing.
            (Shape::Many(kind), _) => self.scalar(path, kind, value).map(|only| value_of(ValueKind::Array(vec![only]))),
            (Shape::Table(keys), DeValue::Table(table)) => {
                Some(value_of(ValueKind::Table(self.table(path, &keys.iter().collect::<Vec<_>>(), table))))
            }
            (Shape::Map, DeValue::Table(table)) => Some(value_of(ValueKind::Table(self.map(path, table)))),
            (Shape::Entries(keys), DeValue::Array(items)) => {
                self.each(path, value, items.iter(), |walker, item| walker.entry(path, keys, item))
            }
            (Shape::Entries(keys), _) => {
                self.entry(path, keys, value).map(|only| value_of(ValueKind::Array(vec![only])))
            }
            (Shape::Rows, DeValue::Array(items)) => {
                self.each(path, value, items.iter(), |walker, item| walker.row(path, item))
            }
            (Shape::Rows, _) => {
                self.fault(&value.span(), path, "must be a list of rows: write [{ … }, { … }]");
                None
            }
            (Shape::Table(_) | Shape::Map, _) => {
                self.fault(&value.span(), path, "must be a table: write { … }");
                None
            }
        }
    }

    /// A list of which every item is good; there is at least one.
    fn each<'i>(
        &mut self,
        path: &str,
        value: &Spanned<DeValue<'f>>,
        items: impl ExactSizeIterator<Item = &'i Spanned<DeValue<'f>>>,
        read: impl Fn(&mut Self, &Spanned<DeValue<'f>>) -> Option<Value>,
    ) -> Option<Value>
    where
        'f: 'i,
    {
        let count = items.len();
        if count == 0 {
            self.fault(&value.span(), path, "must not be empty: name at least one, or leave the key out");
            return None;
        }
        let good: Vec<Value> = items.filter_map(|item| read(self, item)).collect();
        (good.len() == count).then(|| value_of(ValueKind::Array(good)))
    }

    /// A table of `keys`, or a text in the place of one with the first key alone.
    fn entry(&mut self, path: &str, keys: &'static [schema::Key], item: &Spanned<DeValue<'f>>) -> Option<Value> {
        let map = match (item.get_ref(), keys.first()) {
            (DeValue::Table(table), _) => {
                let map = self.table(path, &keys.iter().collect::<Vec<_>>(), table);
                let required = keys.iter().filter(|key| key.need == Need::Required);
                for key in required.filter(|key| !table.contains_key(key.name)) {
                    self.fault(
                        &item.span(),
                        &format!("{path}.{}", key.name),
                        format!("is missing: add {}", example(key)),
                    );
                }
                map
            }
            (_, Some(schema::Key { name, shape: Shape::One(kind), .. })) => {
                Map::from_iter([((*name).to_owned(), self.scalar(path, *kind, item)?)])
            }
            _ => return None,
        };
        Some(value_of(ValueKind::Table(map)))
    }

    /// Cells by their columns: text, numbers and booleans by their text.
    fn row(&mut self, path: &str, item: &Spanned<DeValue<'f>>) -> Option<Value> {
        let DeValue::Table(table) = item.get_ref() else {
            self.fault(&item.span(), path, "must be a row: write { COLUMN = \"…\", … }");
            return None;
        };
        let mut row = Map::new();
        for (name, value) in table {
            let column = name.get_ref().as_ref();
            let cell = match value.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
                DeValue::Float(number) => Some(number.as_str().to_owned()),
                DeValue::Boolean(flag) => Some(flag.to_string()),
                _ => None,
            };
            let cell = cell.filter(|cell| !cell.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER));
            // `target.upn = "…"` in a row is a table.
            if !lookup::is_column(column) || value.get_ref().is_table() {
                self.fault(&name.span(), path, lookup::COLUMN_FORM);
            } else if let Some(cell) = cell {
                row.insert(column.to_owned(), value_of(ValueKind::String(cell)));
            } else {
                let message = "must be text in quotes without control characters, a number, true or false";
                self.fault(&value.span(), &format!("{path}.{column}"), message);
            }
        }
        (row.len() == table.len()).then(|| value_of(ValueKind::Table(row)))
    }

    fn map(&mut self, path: &str, table: &DeTable<'f>) -> Map<String, Value> {
        let mut map = Map::new();
        for (name, value) in table {
            let below = format!("{path}.{}", name.get_ref());
            self.walked.places.insert(below.clone(), self.file.place(name.span().start));
            // Any of them may be a secret that we do not know to be one.
            if let Some(value) = self.scalar(&below, Kind::Secret, value) {
                map.insert(name.get_ref().to_string(), value);
            }
        }
        map
    }

    fn scalar(&mut self, path: &str, kind: Kind, value: &Spanned<DeValue<'f>>) -> Option<Value> {
        if matches!(kind, Kind::Secret) {
            self.walked.secrets.push((self.index, value.span()));
        }
        let checked = text_of(kind, value.get_ref()).and_then(|text| kind.check(&text).map(|()| text));
        match checked {
            Ok(text) => Some(value_of(ValueKind::String(text))),
            Err(message) => {
                self.fault(&value.span(), path, message);
                None
            }
        }
    }
}

/// What to say of a dialect that is no table.
const DIALECT_FORM: &str = "must be a table: write [dialect.\"NAME\"]";

/// Whether a table holds nothing but tables, and none of the keys of a dialect, nor what was meant to be one.
fn is_part_of_a_name(table: &DeTable<'_>) -> bool {
    !table.is_empty()
        && table
            .iter()
            .all(|(key, value)| value.get_ref().is_table() && nearest(key.get_ref(), KEYS.iter().copied()).is_none())
}

fn text_of(kind: Kind, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::Integer(number) if kind.is_number() && number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Boolean(flag) if kind.is_bool() => Ok(flag.to_string()),
        DeValue::String(text) if !kind.is_number() && !kind.is_bool() => Ok(text.to_string()),
        _ if kind.is_number() => Err("must be a whole number, without quotes".into()),
        _ if kind.is_bool() => Err("must be true or false, without quotes".into()),
        other => Err(format!("must be text in quotes, not {}", other.type_str())),
    }
}

fn value_of(kind: ValueKind) -> Value {
    Value::new(None, kind)
}
