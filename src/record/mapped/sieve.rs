//! Owns the pass over a record's text that keeps only what the tables' detection and names look at: a tree of two levels
//! at most, so that a record nobody asks for costs no tree of its own.
//!
//! Invariant: whatever a path that is watched finds in the whole tree, it finds in what is kept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Conditions, Table};
use crate::record::mend;

/// The names that are kept.
#[derive(Debug, Default)]
pub(super) struct Sieve(Vec<Kept>);

/// A name of the first level.
#[derive(Debug)]
struct Kept {
    name: Box<str>,
    /// The names below it that are kept; `None`: all of it.
    below: Option<Vec<Box<str>>>,
}

impl Sieve {
    pub(super) fn new(tables: &[Table]) -> Self {
        let mut sieve = Self::default();
        for table in tables {
            let names = ["operation", "activity"].into_iter().filter_map(|name| table.texts.get(name));
            let whens = names.clone().filter_map(|source| source.when.as_ref()).flat_map(Conditions::paths);
            let names = names.flat_map(|source| &source.paths);
            for path in table.detect.paths().chain(names).chain(whens) {
                sieve.keep(path.names());
                for outer in &table.inside {
                    sieve.keep(&[outer.names(), path.names()].concat());
                }
            }
        }
        sieve
    }

    fn keep(&mut self, path: &[Box<str>]) {
        let [first, rest @ ..] = path else { return };
        let place = self.0.iter().position(|kept| kept.name.eq_ignore_ascii_case(first)).unwrap_or_else(|| {
            self.0.push(Kept { name: first.clone(), below: Some(Vec::new()) });
            self.0.len() - 1
        });
        match (rest.first(), &mut self.0[place].below) {
            (Some(second), Some(below)) => below.push(second.clone()),
            (_, below) => *below = None,
        }
    }

    /// What is kept of `raw`, one JSON object.
    pub(super) fn pass(&self, raw: &str) -> Option<Value> {
        let pass = |text: &str| {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            Outer(self).deserialize(&mut deserializer)
        };
        // As the whole tree would be mended.
        pass(raw).or_else(|_| pass(&mend::clean(raw))).ok()
    }

    fn kept(&self, key: &str) -> Option<&Kept> {
        self.0.iter().find(|kept| is_meant(key, &kept.name))
    }
}

/// Whether `key` is `name`, in any case, or begins with it and a dot: `{"a":{"b":1}}` is also written `{"a.b":1}`.
fn is_meant(key: &str, name: &str) -> bool {
    let begins = key.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
    begins && matches!(key.as_bytes().get(name.len()), None | Some(b'.'))
}

struct Outer<'s>(&'s Sieve);

impl<'de> DeserializeSeed<'de> for Outer<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Outer<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            match self.0.kept(&key) {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(Kept { name, below: Some(below) }) if key.len() == name.len() => {
                    let value = map.next_value_seed(Below(below))?;
                    kept.insert(key, value);
                }
                Some(_) => {
                    let value = map.next_value()?;
                    kept.insert(key, value);
                }
            }
        }
        Ok(Value::Object(kept))
    }
}

/// A value of which, if it is an object, only these names are kept.
struct Below<'s>(&'s [Box<str>]);

impl<'de> DeserializeSeed<'de> for Below<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Below<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if self.0.iter().any(|name| is_meant(&key, name)) {
                let value = map.next_value()?;
                kept.insert(key, value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Object(kept))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::from(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }
}
