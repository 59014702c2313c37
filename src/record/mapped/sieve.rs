//! Owns the pass over a record's text that keeps only what the tables' detection and names look at: a tree of two levels
//! at most, so that a record nobody asks for costs no tree of its own.
//!
//! Invariant: whatever a path that is watched finds in the whole tree, it finds in what is kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Conditions, Table};
use crate::record::{mend, skim};

/// The names that are kept, by their first byte in lower case: every key of every record is looked up.
#[derive(Debug, Default)]
pub(super) struct Sieve(BTreeMap<u8, Vec<Kept>>);

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
            let whens = names.clone().filter_map(|source| source.when.as_ref()).flat_map(Conditions::looks);
            let names = names.flat_map(|source| &source.paths).map(|path| (path, true));
            for (path, matters) in table.detect.looks().chain(names).chain(whens) {
                sieve.keep(path.names(), matters);
                for outer in &table.inside {
                    sieve.keep(&[outer.names(), path.names()].concat(), matters);
                }
            }
        }
        sieve
    }

    /// `matters`: what stands there, and not only that it does. An object without its names is still there.
    fn keep(&mut self, path: &[Box<str>], matters: bool) {
        let [first, rest @ ..] = path else { return };
        let named = self.0.entry(start(first)).or_default();
        let place = named.iter().position(|kept| kept.name.eq_ignore_ascii_case(first)).unwrap_or_else(|| {
            named.push(Kept { name: first.clone(), below: Some(Vec::new()) });
            named.len() - 1
        });
        match (rest.first(), &mut named[place].below) {
            (Some(second), Some(below)) => below.push(second.clone()),
            (None, _) if !matters => {}
            (_, below) => *below = None,
        }
    }

    /// What is kept of `raw`, one JSON object.
    pub(super) fn pass(&self, raw: &str) -> Option<Value> {
        let pass = |text: &str| {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            Outer(self).deserialize(&mut deserializer)
        };
        // As the whole tree would be read, and mended.
        skim::whole_seed(raw, Outer(self)).or_else(|| pass(raw).or_else(|_| pass(&mend::clean(raw))).ok())
    }

    fn kept(&self, key: &str) -> Option<&Kept> {
        self.0.get(&start(key))?.iter().find(|kept| is_meant(key, &kept.name))
    }
}

fn start(name: &str) -> u8 {
    name.bytes().next().unwrap_or_default().to_ascii_lowercase()
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
        while let Some(key) = map.next_key_seed(Key(|key: &str| Some((key.to_owned(), self.0.kept(key)?))))? {
            match key {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some((key, Kept { name, below: Some(below) })) if key.len() == name.len() => {
                    let value = map.next_value_seed(Below(below))?;
                    kept.insert(key, value);
                }
                Some((key, _)) => {
                    let value = map.next_value()?;
                    kept.insert(key, value);
                }
            }
        }
        Ok(Value::Object(kept))
    }
}

/// A key, and what is to be known of it.
struct Key<F>(F);

impl<'de, T, F: Fn(&str) -> T> DeserializeSeed<'de> for Key<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<T, F: Fn(&str) -> T> Visitor<'_> for Key<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<T, E> {
        Ok((self.0)(key))
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
        let name = |key: &str| self.0.iter().any(|name| is_meant(key, name)).then(|| key.to_owned());
        while let Some(key) = map.next_key_seed(Key(name))? {
            match key {
                Some(key) => drop(kept.insert(key, map.next_value()?)),
                None => drop(map.next_value::<IgnoredAny>()?),
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
