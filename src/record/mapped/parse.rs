//! Owns reading one mapping table from its TOML: the table, or every fault with its place and remedy.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Block, Check, Conditions, Dialect, EVERYTHING, Source, Table, Texts, Wants};
use crate::nearest::nearest;
use crate::record::dialect::Mapped;
use crate::record::fold::{fold, fold_part};
use crate::record::path::Path;
use crate::record::{EntityKind, Flag, Severity};

/// The keys of `[dialect.NAME]`.
pub const KEYS: &[&str] = &[
    "detect",
    "inside",
    "identity",
    "id",
    "revision",
    "time",
    "operation",
    "activity",
    "result",
    "state",
    "severity",
    "category",
    "service",
    "tenant",
    "subscription",
    "resource",
    "correlation_id",
    "actor",
    "targets",
    "changes",
    "details",
    "tactics",
    "flags",
];

/// Those of them that are one text each.
const TEXTS: &[&str] = &[
    "id",
    "revision",
    "operation",
    "activity",
    "result",
    "state",
    "severity",
    "category",
    "service",
    "tenant",
    "subscription",
    "resource",
    "correlation_id",
];

/// The parts of the view of which a table may tell several.
const PARTS: &[(&str, &[&str])] = &[
    ("actor", &["list", "when", "type", "id", "upn", "name", "ip", "app"]),
    ("targets", &["list", "when", "type", "id", "upn", "name", "changes"]),
    ("changes", &["list", "when", "name", "old", "new"]),
];

/// The keys of a path that is written as a table.
const SOURCE: &[&str] = &["path", "when", "after", "map", "default"];

/// Longest name: it is a metric's label and stands in every record.
const MAX_NAME: usize = 63;

/// Told of each fault: byte range in the file, dotted key below the table, what is wrong and the remedy.
pub type Faults<'a> = dyn FnMut(Range<usize>, String, String) + 'a;

type Item<'i> = Spanned<DeValue<'i>>;

/// Reads the table of `name`; `span` is that of the whole table, for what is missing in it. `None` where there was any fault.
pub fn table(name: &str, table: &DeTable<'_>, span: Range<usize>, fault: &mut Faults<'_>) -> Option<Table> {
    let mut reader = Reader { fault, faulty: false };
    if let Err(message) = checked_name(name) {
        reader.fault(&span, "", message);
    }
    reader.known(table, "", KEYS);
    for (key, remedy) in [
        ("detect", "say how a record is recognised, e.g. detect = { eventType = true }"),
        ("operation", "name the path of what was done, e.g. operation = \"eventType\""),
    ] {
        if !table.contains_key(key) {
            reader.fault(&span, key, format!("is missing: {remedy}"));
        }
    }
    let of_things = reader.word(table, "identity", &["event", "state"]) == Some("state");
    let read = Table {
        dialect: Dialect::Mapped(Mapped::new(name, of_things)),
        detect: table.get("detect").map_or(Conditions(Vec::new()), |value| reader.conditions("detect", value)),
        inside: table.get("inside").map(|value| reader.paths("inside", value)).unwrap_or_default(),
        texts: reader.texts(table, "", TEXTS),
        time: table.get("time").map(|value| reader.paths("time", value)).unwrap_or_default(),
        actor: reader.blocks(table, "", "actor"),
        targets: reader.blocks(table, "", "targets"),
        changes: reader.blocks(table, "", "changes"),
        details: reader.details(table),
        tactics: table.get("tactics").map(|value| reader.source("tactics", value)).unwrap_or_default(),
        flags: reader.flags(table),
    };
    (!reader.faulty).then_some(read)
}

/// The error follows the table's name.
fn checked_name(name: &str) -> Result<(), String> {
    let formed = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= MAX_NAME
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.');
    if !formed {
        return Err(format!(
            "is no valid name: use a-z, 0-9, `-` and `.`, beginning with a letter, at most {MAX_NAME}"
        ));
    }
    let taken = Dialect::BUILT_IN.iter().any(|dialect| dialect.as_str() == name) || name.starts_with("auditbell.");
    if taken || name == "any" {
        return Err("is a dialect of our own, which no table describes: give yours another name".into());
    }
    Ok(())
}

struct Reader<'a> {
    fault: &'a mut Faults<'a>,
    faulty: bool,
}

impl Reader<'_> {
    fn fault(&mut self, span: &Range<usize>, key: &str, message: impl Into<String>) {
        self.faulty = true;
        (self.fault)(span.clone(), key.to_owned(), message.into());
    }

    /// Every key that is none of `known` is a fault.
    fn known(&mut self, table: &DeTable<'_>, path: &str, known: &[&str]) {
        for name in table.keys() {
            let word = name.get_ref();
            if !known.contains(&word.as_ref()) {
                let remedy = match nearest(word, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.fault(&name.span(), &below(path, word), format!("unknown key; {remedy}"));
            }
        }
    }

    /// A text out of a closed set.
    fn word<'t>(&mut self, table: &'t DeTable<'_>, key: &str, known: &[&str]) -> Option<&'t str> {
        let value = table.get(key)?;
        let word = value.get_ref().as_str().filter(|word| known.contains(word));
        if word.is_none() {
            self.fault(&value.span(), key, format!("must be one of {}", known.join(", ")));
        }
        word
    }

    /// A text, or a list of them; at least one.
    fn words<'t>(&mut self, key: &str, value: &'t Item<'_>) -> Vec<(Range<usize>, &'t str)> {
        let items: Vec<&Item<'_>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() {
            self.fault(&value.span(), key, "is an empty list: name at least one, or leave the key out");
        }
        let mut words = Vec::new();
        for item in items {
            match item.get_ref().as_str().filter(|text| !text.trim().is_empty()) {
                Some(text) => words.push((item.span(), text)),
                None => self.fault(&item.span(), key, "must be a text in quotes, or a list of them"),
            }
        }
        words
    }

    /// `.` is the element itself.
    fn path(&mut self, span: &Range<usize>, key: &str, text: &str) -> Option<Path> {
        if text == "." {
            return Some(Path::itself());
        }
        Path::parse(text)
            .map_err(|message| {
                let text: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
                self.fault(span, key, format!("`{text}` is no path: {message}"));
            })
            .ok()
    }

    fn paths(&mut self, key: &str, value: &Item<'_>) -> Vec<Path> {
        let words = self.words(key, value);
        words.into_iter().filter_map(|(span, text)| self.path(&span, key, text)).collect()
    }

    /// `"path"`, `["path", …]`, or a table with more to say.
    fn source(&mut self, key: &str, value: &Item<'_>) -> Source {
        let DeValue::Table(table) = value.get_ref() else {
            return Source { paths: self.paths(key, value), ..Source::default() };
        };
        self.known(table, key, SOURCE);
        if !table.contains_key("path") && !table.contains_key("default") {
            self.fault(&value.span(), key, "names no value: add path = \"…\", or default = \"…\" for a fixed one");
        }
        let mut source = Source::default();
        if let Some(value) = table.get("path") {
            source.paths = self.paths(&below(key, "path"), value);
        }
        for (name, place) in [("after", &mut source.after), ("default", &mut source.default)] {
            if let Some(value) = table.get(name) {
                match value.get_ref().as_str().filter(|text| !text.is_empty()) {
                    Some(text) => *place = Some(text.into()),
                    None => self.fault(&value.span(), &below(key, name), "must be a text in quotes"),
                }
            }
        }
        source.when = table.get("when").map(|value| self.conditions(&below(key, "when"), value));
        if let Some(value) = table.get("map") {
            self.map(&below(key, "map"), value, &mut source);
        }
        source
    }

    fn map(&mut self, key: &str, value: &Item<'_>, source: &mut Source) {
        let Some(table) = value.get_ref().as_table() else {
            return self.fault(&value.span(), key, "must be a table of words: { \"theirs\" = \"ours\" }");
        };
        for (theirs, ours) in table {
            match ours.get_ref().as_str().filter(|text| !text.trim().is_empty()) {
                Some(ours) => drop(source.map.insert(fold(theirs.get_ref()).into(), ours.into())),
                None => self.fault(&ours.span(), &below(key, theirs.get_ref()), "must be a text in quotes"),
            }
        }
    }

    /// The sources among the keys of a table; the words of a closed field are held against it.
    fn texts(&mut self, table: &DeTable<'_>, path: &str, names: &[&'static str]) -> Texts {
        let mut texts = Texts::new();
        for name in names {
            let Some(value) = table.get(*name) else { continue };
            let key = below(path, name);
            let source = match value.get_ref().as_str() {
                // What sort of thing it is, is more often known than written.
                Some(word) if *name == "type" => Source { default: Some(word.into()), ..Source::default() },
                _ => self.source(&key, value),
            };
            let known: Vec<&str> = match *name {
                "type" => EntityKind::ALL.iter().map(|kind| kind.as_str()).collect(),
                "severity" => Severity::ALL.iter().map(|severity| severity.as_str()).collect(),
                _ => Vec::new(),
            };
            let words = source.map.values().chain(&source.default);
            let strange = words.filter(|word| !known.is_empty() && !known.contains(&&***word)).cloned();
            for word in strange.collect::<Vec<_>>() {
                self.fault(&value.span(), &key, format!("`{word}` must be one of {}", known.join(", ")));
            }
            texts.insert(name, source);
        }
        texts
    }

    /// One table, or a list of them.
    fn blocks(&mut self, table: &DeTable<'_>, path: &str, part: &'static str) -> Vec<Block> {
        let Some(value) = table.get(part) else { return Vec::new() };
        let key = below(path, part);
        let items: Vec<&Item<'_>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let known = PARTS.iter().find(|(name, _)| *name == part).map_or(&[][..], |(_, keys)| *keys);
        let mut blocks = Vec::new();
        for item in items {
            let Some(table) = item.get_ref().as_table() else {
                self.fault(&item.span(), &key, "must be a table, or a list of them: { id = \"…\", … }");
                continue;
            };
            self.known(table, &key, known);
            let names: Vec<&'static str> =
                known.iter().copied().filter(|name| !["list", "when", "changes"].contains(name)).collect();
            let list = table.get("list").and_then(|value| self.paths(&below(&key, "list"), value).into_iter().next());
            let when = table.get("when").map(|value| self.conditions(&below(&key, "when"), value));
            let changes = if known.contains(&"changes") { self.blocks(table, &key, "changes") } else { Vec::new() };
            let texts = self.texts(table, &key, &names);
            if texts.is_empty() {
                self.fault(&item.span(), &key, format!("says nothing: add one of {}", names.join(", ")));
            }
            blocks.push(Block { list, when, texts, changes });
        }
        blocks
    }

    /// `{ PATH = …, … }`, all of which must hold, or a list of such, any of which.
    fn conditions(&mut self, key: &str, value: &Item<'_>) -> Conditions {
        let items: Vec<&Item<'_>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut any = Vec::new();
        for item in &items {
            match item.get_ref().as_table().filter(|table| !table.is_empty()) {
                Some(table) => any.push(self.checks(key, table)),
                None => self.fault(&item.span(), key, "must be a table of paths: { eventType = true }"),
            }
        }
        if items.is_empty() {
            self.fault(&value.span(), key, "names no path: every record would do");
        }
        Conditions(any)
    }

    fn checks(&mut self, key: &str, table: &DeTable<'_>) -> Vec<Check> {
        let mut checks = Vec::new();
        for (name, value) in table {
            let path = self.path(&name.span(), key, name.get_ref());
            let wants = self.wants(&below(key, name.get_ref()), value);
            checks.extend(path.zip(wants).map(|(path, wants)| Check { path, wants }));
        }
        checks
    }

    /// `true` it is there, `false` it is not, texts it is any of them, `{ not = … }`, `{ starts_with = … }`.
    fn wants(&mut self, key: &str, value: &Item<'_>) -> Option<Wants> {
        let folded = |words: Vec<(_, &str)>, fold: fn(&str) -> String| {
            words.into_iter().map(|(_, text)| fold(text).into()).collect()
        };
        match value.get_ref() {
            DeValue::Boolean(there) => Some(Wants::Exists(*there)),
            DeValue::String(_) | DeValue::Array(_) => Some(Wants::Equal(folded(self.words(key, value), fold))),
            DeValue::Table(table) if table.len() == 1 => {
                let (word, value) = table.iter().next()?;
                let key = below(key, word.get_ref());
                match word.get_ref().as_ref() {
                    "not" => Some(Wants::Not(folded(self.words(&key, value), fold))),
                    "starts_with" => Some(Wants::StartsWith(folded(self.words(&key, value), fold_part))),
                    "contains" => Some(Wants::Contains(folded(self.words(&key, value), fold_part))),
                    _ => {
                        let message = "must be not, starts_with or contains; a path with dots stands in quotes";
                        self.fault(&word.span(), &key, message);
                        None
                    }
                }
            }
            _ => {
                let message = "must be true (it is there), false, a text, a list of texts, { not = \"…\" }, \
                               { starts_with = \"…\" } or { contains = \"…\" }";
                self.fault(&value.span(), key, message);
                None
            }
        }
    }

    fn details(&mut self, table: &DeTable<'_>) -> Vec<(Box<str>, Source)> {
        let Some(value) = table.get("details") else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.fault(&value.span(), "details", "must be a table: { NAME = \"path\" }");
            return Vec::new();
        };
        let mut details = Vec::new();
        for (name, value) in table {
            let name = name.get_ref().as_ref();
            let source = self.source(&below("details", name), value);
            details.push((Box::from(name), source));
        }
        // What has a name of its own comes before what is taken along.
        details.sort_by_key(|(name, _)| &**name == EVERYTHING);
        details
    }

    fn flags(&mut self, table: &DeTable<'_>) -> Vec<(Flag, Conditions)> {
        let Some(value) = table.get("flags") else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.fault(&value.span(), "flags", "must be a table: { sample = { PATH = … } }");
            return Vec::new();
        };
        let known: Vec<&str> = Flag::ALL.iter().map(|flag| flag.as_str()).collect();
        self.known(table, "flags", &known);
        let mut flags = Vec::new();
        for flag in Flag::ALL {
            let Some(value) = table.get(flag.as_str()) else { continue };
            let when = match value.get_ref() {
                // No check fails.
                DeValue::Boolean(true) => Conditions(vec![Vec::new()]),
                _ => self.conditions(&below("flags", flag.as_str()), value),
            };
            flags.push((*flag, when));
        }
        flags
    }
}

/// The dotted key of `name` below `path`.
fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
