//! Owns the operation index: from the head of a record to the few rules that could match it, in two or three look-ups.
//!
//! Invariant: whatever a full scan of the rules would match is among the candidates.

use std::collections::HashMap;

use crate::record::{Dialect, Head};

use super::Rule;
use crate::record::fold::fold;

/// (dialect, folded operation) → places of rules, in config order.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// So few that looking through them is faster than hashing.
    dialects: Vec<(Dialect, Entry)>,
    /// Rules on every dialect but our own.
    any: Entry,
}

#[derive(Debug, Default)]
struct Entry {
    by_operation: HashMap<Box<str>, Vec<usize>>,
    /// Rules that name no operation.
    rest: Vec<usize>,
}

impl Index {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate() {
            if rule.on.is_empty() {
                index.any.add(place, rule);
            }
            for dialect in &rule.on {
                index.entry(*dialect).add(place, rule);
            }
        }
        index
    }

    fn entry(&mut self, dialect: Dialect) -> &mut Entry {
        let known = self.dialects.iter().position(|(of, _)| *of == dialect);
        let place = known.unwrap_or_else(|| {
            self.dialects.push((dialect, Entry::default()));
            self.dialects.len() - 1
        });
        &mut self.dialects[place].1
    }

    /// Whether any rule is about `dialect`.
    pub(super) fn knows(&self, dialect: Dialect) -> bool {
        self.of(dialect).next().is_some()
    }

    /// The entries that hold the rules of `dialect`.
    fn of(&self, dialect: Dialect) -> impl Iterator<Item = &Entry> {
        let any = (!dialect.is_own()).then_some(&self.any);
        let own = self.dialects.iter().find(|(of, _)| *of == dialect).map(|(_, entry)| entry);
        own.into_iter().chain(any).filter(|entry| !entry.is_empty())
    }

    /// Whether any rule could match.
    pub(super) fn wants(&self, head: &Head<'_>) -> bool {
        if self.of(head.dialect).any(|entry| !entry.rest.is_empty()) {
            return true;
        }
        let named = |name: String| self.of(head.dialect).any(|entry| entry.by_operation.contains_key(name.as_str()));
        names(head).any(named)
    }

    /// Places of the rules that could match, in config order.
    pub(super) fn candidates(&self, head: &Head<'_>) -> Vec<usize> {
        let names: Vec<String> = names(head).collect();
        let mut places = Vec::new();
        for entry in self.of(head.dialect) {
            places.extend_from_slice(&entry.rest);
            places.extend(names.iter().filter_map(|name| entry.by_operation.get(name.as_str())).flatten());
        }
        places.sort_unstable();
        places.dedup();
        places
    }
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.by_operation.is_empty() && self.rest.is_empty()
    }

    fn add(&mut self, place: usize, rule: &Rule) {
        match rule.when.on("operation") {
            None => self.rest.push(place),
            Some(test) => test.equal().unwrap_or_default().iter().for_each(|operation| {
                let places = self.by_operation.entry(operation.clone()).or_default();
                // Two spellings of one operation in one list fold to the same key, and so does a dialect named twice.
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }),
        }
    }
}

/// The folded names that the condition `operation` is matched against.
fn names(head: &Head<'_>) -> impl Iterator<Item = String> {
    [&head.operation, &head.activity].into_iter().flatten().map(|name| fold(name))
}
