//! Owns the operation index: from the head of a record to the few rules that could match it, in two or three look-ups.
//!
//! Invariant: whatever a full scan of the rules would match is among the candidates.

use std::collections::HashMap;

use crate::record::{Dialect, Head};

use super::Rule;
use super::fold::fold;

/// (dialect, folded operation) → places of rules, in config order.
#[derive(Debug, Default)]
pub(super) struct Index {
    dialects: HashMap<Dialect, Entry>,
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
            for dialect in Dialect::ALL.iter().filter(|dialect| rule.concerns(**dialect)) {
                let entry = index.dialects.entry(*dialect).or_default();
                match rule.when.on("operation") {
                    None => entry.rest.push(place),
                    Some(test) => test.equal().unwrap_or_default().iter().for_each(|operation| {
                        let places = entry.by_operation.entry(operation.clone()).or_default();
                        // Two spellings of one operation in one list fold to the same key.
                        if places.last() != Some(&place) {
                            places.push(place);
                        }
                    }),
                }
            }
        }
        index
    }

    /// Whether any rule could match.
    pub(super) fn wants(&self, head: &Head<'_>) -> bool {
        let Some(entry) = self.dialects.get(&head.dialect) else { return false };
        !entry.rest.is_empty() || names(head).any(|name| entry.by_operation.contains_key(name.as_str()))
    }

    /// Places of the rules that could match, in config order.
    pub(super) fn candidates(&self, head: &Head<'_>) -> Vec<usize> {
        let Some(entry) = self.dialects.get(&head.dialect) else { return Vec::new() };
        let mut places = entry.rest.clone();
        places.extend(names(head).filter_map(|name| entry.by_operation.get(name.as_str())).flatten());
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// The folded names that the condition `operation` is matched against.
fn names(head: &Head<'_>) -> impl Iterator<Item = String> {
    [&head.operation, &head.activity].into_iter().flatten().map(|name| fold(name))
}
