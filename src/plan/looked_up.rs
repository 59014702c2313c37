//! Owns what the lookups say of a record, for whoever words a message about it and knows no rules.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::lookup::Lookups;
use crate::record::Record;
use crate::rules::{Known, Subject};

/// One column of one lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedUp<'l> {
    /// The lookup's name.
    pub lookup: &'l Arc<str>,
    /// The column's.
    pub column: &'l Arc<str>,
    /// What stands there in the rows that belong to the record, in their order.
    pub values: Vec<&'l str>,
}

/// Every column of every one of `lookups`, with what it says of `record` by those keys that `sees` lets through.
pub fn looked_up<'l>(lookups: &'l Lookups, record: &Record, sees: &dyn Fn(&str) -> bool) -> Vec<LookedUp<'l>> {
    // No lookup is asked by the time of the decision or by another lookup.
    let known = Known { now: Timestamp::default(), lookups };
    let mut all = Vec::new();
    for table in lookups.iter() {
        let by = Subject::named(table.by());
        let keys = by.iter().flat_map(|by| by.of(record, None, known)).filter(|key| sees(key)).collect::<Vec<_>>();
        for (place, column) in table.columns().iter().enumerate() {
            let values = keys.iter().flat_map(|key| table.values(place, key)).collect();
            all.push(LookedUp { lookup: table.name(), column, values });
        }
    }
    all
}
