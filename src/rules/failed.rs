//! Owns `FailedLeaf`: one reason why a rule does not match a record, as `explain` tells it.

use schemars::JsonSchema;
use serde::Serialize;

use super::Op;

/// One reason why a rule does not match a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FailedLeaf {
    /// In which part of the rule.
    #[serde(rename = "where")]
    pub place: Place,
    /// The field, as the rule names it; inside a quantifier with the list before it.
    pub key: String,
    /// How it was compared.
    pub op: Op,
    /// As the rule has it.
    pub want: Vec<String>,
    /// As the record has it; `[]` = absent.
    pub got: Vec<String>,
    /// Whether the comparison stands within a `not = { … }`: the rule asks for its opposite. `not = "VALUE"` is an `op` of its
    /// own.
    pub negated: bool,
}

impl FailedLeaf {
    /// There should have been an element in this list, and there is none.
    pub(super) fn no_element(place: Place, list: &str) -> Self {
        let want = vec![true.to_string()];
        Self { place, key: list.to_owned(), op: Op::Exists, want, got: Vec::new(), negated: false }
    }
}

/// The part of a rule that a leaf stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// `when`: the test should have held.
    When,
    /// `unless`: the test should not have held.
    Unless,
    /// `each`: there should have been an element.
    Each,
}
