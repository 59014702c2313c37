//! Owns the layers: defaults < files < environment, laid over each other by the `config` crate. It never parses values
//! (crate `config` would turn a password `007` into `7`): every scalar stays a string until its own reader takes it.

use std::collections::BTreeMap;

use config::{Environment, Map, Source, Value, ValueKind};

use super::fault::{Fault, Place};
use super::laid::kind_of;
use super::schema::{self, Form, Key, Kind, Need, Shape};

/// What our variables begin with.
pub(super) const PREFIX: &str = "AUDITBELL__";

/// The environment's part: only variables with our prefix, checked.
#[derive(Default)]
pub(super) struct Variables {
    /// Dotted key and value, as `config::Environment` takes them.
    values: Map<String, String>,
    /// Variable of each dotted key, good or bad.
    pub names: BTreeMap<String, String>,
    /// The keys that hold secrets: left out of the config's hash.
    pub secrets: Vec<String>,
}

impl Variables {
    /// Takes ours out of `all`; an unknown one, or one with a bad value, is a fault.
    pub fn read(all: &BTreeMap<String, String>, faults: &mut Vec<Fault>) -> Self {
        let mut ours = Self::default();
        for (name, value) in all {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let place = Place { file: name.clone(), line: None };
            match find(rest) {
                Err(message) => faults.push(Fault::at(&place, "", message)),
                Ok((path, shape)) => {
                    if let Err(message) = check(shape, value) {
                        faults.push(Fault::at(&place, path.as_str(), message));
                    } else {
                        ours.values.insert(format!("{PREFIX}{}", path.replace('.', "__")), value.clone());
                    }
                    if matches!(shape, Shape::One(Kind::Secret)) {
                        ours.secrets.push(path.clone());
                    }
                    if let Some(other) = ours.names.insert(path.clone(), name.clone()) {
                        faults.push(Fault::at(&place, path, format!("is set twice: also by {other}; keep one")));
                    }
                }
            }
        }
        ours
    }

    /// Name and value of each, secrets left out, for the config's hash.
    pub fn public(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.keys().filter(|path| !self.secrets.contains(path)).filter_map(|path| {
            let (key, value) = self.values.get_key_value(&format!("{PREFIX}{}", path.replace('.', "__")))?;
            Some((key.as_str(), value.as_str()))
        })
    }
}

/// The dotted key of a variable's name without the prefix, and its shape. `_` stands for `-` in table names.
fn find(rest: &str) -> Result<(String, Shape), String> {
    let words: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
    let unknown = |word: &str, known: &[&str]| Err(format!("`{word}`: {}", schema::unknown(word, known)));
    let mut words = words.iter().map(String::as_str);
    let first = words.next().unwrap_or_default();
    let Some(section) = schema::section(first).filter(|_| !schema::FILES_ONLY.contains(&first)) else {
        if schema::FILES_ONLY.contains(&first) || ["rule", "include", "dialect"].contains(&first) {
            return Err(format!("`{first}` can be set only in a file"));
        }
        let known: Vec<&str> = schema::SECTIONS
            .iter()
            .map(|section| section.name)
            .filter(|name| !schema::FILES_ONLY.contains(name))
            .collect();
        return unknown(first, &known);
    };
    let mut path = first.to_owned();
    if section.has_names() {
        let name = words.next().unwrap_or_default().replace('_', "-");
        if !schema::is_name(&name) {
            return Err(format!("`{name}` {}", schema::NAME_FORM));
        }
        path = format!("{path}.{name}");
    }
    let mut keys = section.every_key();
    loop {
        let word = words.next().unwrap_or_default();
        let Some(key) = keys.iter().find(|key| key.name == word) else {
            return unknown(word, &keys.iter().map(|key| key.name).collect::<Vec<_>>());
        };
        path = format!("{path}.{word}");
        match key.shape {
            Shape::Table(below) => keys = below.iter().collect(),
            Shape::Map | Shape::Entries(_) | Shape::Rows => return Err(format!("`{word}` can be set only in a file")),
            Shape::One(_) | Shape::Many(_) => {
                return words
                    .next()
                    .map_or(Ok((path, key.shape)), |word| Err(format!("`{word}`: nothing stands below this key")));
            }
        }
    }
}

fn check(shape: Shape, value: &str) -> Result<(), String> {
    match shape {
        Shape::One(kind) => kind.check(value),
        Shape::Many(kind) => split(value).try_for_each(|item| kind.check(item)),
        Shape::Table(_) | Shape::Map | Shape::Entries(_) | Shape::Rows => Ok(()),
    }
}

/// The items of a list in a variable or a default.
pub(super) fn split(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

/// Lays the layers over each other.
pub(super) fn lay(files: &Map<String, Value>, variables: &Variables) -> anyhow::Result<Map<String, Value>> {
    let environment = Environment::with_prefix("AUDITBELL")
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables.values.clone()));
    let above = config::Config::builder().add_source(Layer(files.clone())).add_source(environment.clone()).build()?;
    let defaults = Layer(defaults(&above.collect()?));
    let all = config::Config::builder()
        .add_source(defaults)
        .add_source(Layer(files.clone()))
        .add_source(environment)
        .build()?;
    Ok(all.collect()?)
}

/// The default of every key of every table that there is: all single sections, and the named ones of the layers above.
fn defaults(above: &Map<String, Value>) -> Map<String, Value> {
    let of = |keys: &[Key]| -> Value {
        let set = keys.iter().filter_map(|key| match key.need {
            Need::Default(text) => Some((key.name.to_owned(), Value::from(text))),
            Need::Required | Need::Optional => None,
        });
        Value::from(set.collect::<Map<String, Value>>())
    };
    let mut root = Map::new();
    for section in schema::SECTIONS {
        match section.form {
            Form::Single => drop(root.insert(section.name.into(), of(section.keys))),
            Form::Named | Form::Typed(_) => {
                if let Some(ValueKind::Table(tables)) = above.get(section.name).map(|value| &value.kind) {
                    let keys = |value: &Value| match &value.kind {
                        ValueKind::Table(table) => section.keys_of(kind_of(table)).unwrap_or_default(),
                        _ => &[],
                    };
                    let tables = tables.iter().map(|(name, value)| (name.clone(), of(keys(value))));
                    root.insert(section.name.into(), Value::from(tables.collect::<Map<String, Value>>()));
                }
            }
            Form::Free => {}
        }
    }
    root
}

/// A layer that is a tree already. It may hold secrets, hence no derived `Debug`.
#[derive(Clone)]
struct Layer(Map<String, Value>);

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Layer")
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}
