//! Owns `OncePer`: what of a record a rule tells once.

use crate::record::Record;
use crate::record::fold::fold;

use super::{Known, Subject};

/// `once_per`: records that agree in all of this are told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OncePer {
    /// The record's id; of an event also its time and activity, without which ids are not unique.
    pub id: bool,
    /// The record's revision.
    pub revision: bool,
    /// Other fields, each with at most one value.
    pub fields: Vec<Subject>,
}

impl Default for OncePer {
    fn default() -> Self {
        Self { id: true, revision: false, fields: Vec::new() }
    }
}

impl OncePer {
    /// The name and the folded value of each field that `record` has, in the order of the rule.
    #[must_use]
    pub fn values(&self, record: &Record, known: Known<'_>) -> Vec<(&str, String)> {
        let values = |field: &Subject| -> Vec<String> {
            field.of(record, None, known).iter().map(|value| fold(value)).collect()
        };
        let named = self.fields.iter().flat_map(|field| values(field).into_iter().map(|value| (field.name(), value)));
        named.collect()
    }
}
