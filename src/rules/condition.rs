//! Owns `Condition`: what stands in `when` and `unless`, and whether a record fulfils it. AND between keys, OR in a list.

use serde::Serialize;

use crate::record::Record;

use super::field::Subject;
use super::fold::fold;

/// A `when` or an `unless`: every test must hold.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    tests: Vec<Test>,
}

/// `KEY = VALUE` or `KEY = [VALUE, …]`: any value of the record equals any value wanted.
#[derive(Clone, Debug)]
pub struct Test {
    /// What is looked at.
    pub subject: Subject,
    /// As written; numbers and booleans as their text.
    pub want: Vec<Box<str>>,
    folded: Vec<Box<str>>,
}

impl Test {
    /// A test that holds where `subject` has one of the values `want`.
    #[must_use]
    pub fn new(subject: Subject, want: Vec<Box<str>>) -> Self {
        let folded = want.iter().map(|value| fold(value).into()).collect();
        Self { subject, want, folded }
    }

    /// The values wanted, folded.
    pub fn folded(&self) -> impl Iterator<Item = &str> {
        self.folded.iter().map(|value| &**value)
    }

    fn holds(&self, record: &Record) -> bool {
        self.subject.values(record).into_iter().any(|value| self.folded.contains(&fold(value).into_boxed_str()))
    }

    fn leaf(&self, place: Place, record: &Record) -> FailedLeaf {
        FailedLeaf {
            place,
            key: self.subject.name().to_owned(),
            op: Op::In,
            want: self.want.iter().map(ToString::to_string).collect(),
            got: self.subject.values(record).into_iter().map(str::to_owned).collect(),
        }
    }
}

impl Condition {
    /// The condition that holds where all of `tests` do.
    #[must_use]
    pub fn new(tests: Vec<Test>) -> Self {
        Self { tests }
    }

    /// The tests, in the order of the file's keys.
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// The test on this short name.
    pub fn on(&self, name: &str) -> Option<&Test> {
        self.tests.iter().find(|test| test.subject.name() == name)
    }

    /// Whether every test holds; true where there is none.
    #[must_use]
    pub fn holds(&self, record: &Record) -> bool {
        self.tests.iter().all(|test| test.holds(record))
    }

    /// As `when`: every test that does not hold.
    pub(super) fn failing(&self, record: &Record) -> Vec<FailedLeaf> {
        self.tests.iter().filter(|test| !test.holds(record)).map(|test| test.leaf(Place::When, record)).collect()
    }

    /// As `unless`: every test, if together they hold. An empty `unless` excludes nothing.
    pub(super) fn excluding(&self, record: &Record) -> Vec<FailedLeaf> {
        if self.tests.is_empty() || !self.holds(record) {
            return Vec::new();
        }
        self.tests.iter().map(|test| test.leaf(Place::Unless, record)).collect()
    }
}

/// One reason why a rule does not match a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedLeaf {
    /// In which part of the rule.
    #[serde(rename = "where")]
    pub place: Place,
    /// The short name.
    pub key: String,
    /// How it was compared.
    pub op: Op,
    /// As the rule has it.
    pub want: Vec<String>,
    /// As the record has it; `[]` = absent.
    pub got: Vec<String>,
}

/// The part of a rule that a leaf stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// `when`: the test should have held.
    When,
    /// `unless`: the test should not have held.
    Unless,
}

/// How a leaf compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Any value got equals any value wanted.
    In,
    /// No value got may equal a value wanted.
    Not,
}
