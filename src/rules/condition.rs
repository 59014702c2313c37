//! Owns `Condition`: what stands in `when` and `unless`, whether a record fulfils it, and every reason why not. A tree: AND
//! between keys, `all`, `any`, `not`, and quantifiers over the elements of a list.

use std::borrow::Cow;

use serde_json::Value;

use crate::record::{Record, Severity};

use super::decision::Known;
use super::failed::{FailedLeaf, Place};
use super::field::Subject;
use super::operator::{Op, Wanted, fold_value};
use crate::record::fold::fold;
use crate::record::path::{self, Path};

/// A `when` or an `unless`, or a part of one.
#[derive(Clone, Debug)]
pub enum Condition {
    /// Every part holds; true where there is none.
    All(Vec<Self>),
    /// A part holds.
    Any(Vec<Self>),
    /// The part does not hold.
    Not(Box<Self>),
    /// A test of one field.
    Test(Test),
    /// Tests of one field, each [`Check::Any`]: one and the same value fulfils them all.
    Value(Vec<Test>),
    /// The part holds of elements of a list; its fields are the element's.
    Elements {
        /// Of all, or of one.
        quantifier: Quantifier,
        /// The list, as written.
        name: Box<str>,
        /// The list.
        list: List,
        /// What of an element.
        inner: Box<Self>,
    },
}

impl Default for Condition {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

/// How many elements must fulfil something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    /// One and the same.
    Some,
    /// Each of them, and there is one.
    Every,
}

/// A list whose elements are looked at one by one.
#[derive(Clone, Debug)]
pub enum List {
    /// The view's `targets`.
    Targets,
    /// The view's `changes`.
    Changes,
    /// Somewhere in the record as it came.
    Raw(Path),
    /// Somewhere in the element that is looked at: by a quantifier, else by `each`.
    Element(Path),
}

impl List {
    /// As a rule writes it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Targets => "targets".to_owned(),
            Self::Changes => "changes".to_owned(),
            Self::Raw(path) => format!("raw.{path}"),
            Self::Element(path) => path.to_string(),
        }
    }

    fn elements<'r>(&self, seen: Seen<'r>) -> Vec<Cow<'r, Value>> {
        // The view's own types always become JSON.
        let owned = |value: serde_json::Result<Value>| value.ok().map(Cow::Owned);
        match self {
            Self::Targets => {
                seen.record.targets.iter().filter_map(|target| owned(serde_json::to_value(target))).collect()
            }
            Self::Changes => {
                seen.record.changes.iter().filter_map(|change| owned(serde_json::to_value(change))).collect()
            }
            Self::Raw(path) => path.values(seen.raw),
            Self::Element(path) => seen.element.or(seen.each).map(|inner| path.values(inner)).unwrap_or_default(),
        }
    }
}

/// What a condition is held against.
#[derive(Clone, Copy)]
pub(super) struct Seen<'r> {
    /// The record; with `each` over targets or changes as though it had only one of them.
    pub record: &'r Record,
    /// The whole record as it came.
    pub raw: &'r Value,
    pub known: Known<'r>,
    /// With `each` over a path: the element that the rule is held against.
    pub each: Option<&'r Value>,
    /// The element of a list that a quantifier looks at.
    pub element: Option<&'r Value>,
    /// In a route: the severity that stands in the record's place.
    pub severity: Option<Severity>,
}

/// A test of one field: `KEY = VALUE`, `KEY = [VALUE, …]`, `KEY = { OPERATOR = … }`.
#[derive(Clone, Debug)]
pub struct Test {
    /// What is looked at.
    pub subject: Subject,
    /// How it compares.
    pub op: Op,
    /// As written; numbers and booleans as their text.
    pub want: Vec<Box<str>>,
    check: Check,
}

/// How a test is decided.
#[derive(Clone, Debug)]
pub enum Check {
    /// A value fulfils it.
    Any(Wanted),
    /// No value fulfils it.
    None(Vec<Wanted>),
    /// There is a value, or there is none.
    Exists(bool),
    /// A value equals a value of this field of the record.
    SameAs(Subject),
    /// The domain of a value is that of a value of this field of the record.
    SameDomainAs(Subject),
    /// One and the same change is of such a property, from such a value, to such a value. Each `None`: any.
    Changed {
        /// The property's name.
        property: Option<Wanted>,
        /// A value before.
        from: Option<Side>,
        /// A value after.
        to: Option<Side>,
    },
}

impl Test {
    /// A test with its operand as written and as it is decided.
    #[must_use]
    pub fn new(subject: Subject, op: Op, want: Vec<Box<str>>, check: Check) -> Self {
        Self { subject, op, want, check }
    }

    /// How it is decided.
    #[must_use]
    pub fn check(&self) -> &Check {
        &self.check
    }

    /// The values that would make it true, folded; `None` unless it is a plain comparison.
    pub fn equal(&self) -> Option<&[Box<str>]> {
        match &self.check {
            Check::Any(Wanted::Equal(texts)) => Some(texts),
            _ => None,
        }
    }

    /// Whether this one value of the field fulfils it.
    fn takes(&self, value: &str) -> bool {
        matches!(&self.check, Check::Any(wanted) if wanted.is_met_by(value))
    }

    fn holds(&self, seen: Seen<'_>) -> bool {
        let any = |wanted: &Wanted| self.subject.values(seen).iter().any(|value| wanted.is_met_by(value));
        match &self.check {
            Check::Any(wanted) => any(wanted),
            Check::None(wanted) => !wanted.iter().any(any),
            Check::Exists(wanted) => self.subject.values(seen).iter().any(|value| exists(value)) == *wanted,
            Check::SameAs(other) => self.shares(seen, other, |text| Some(fold_value(text))),
            Check::SameDomainAs(other) => self.shares(seen, other, |text| Some(fold(text.rsplit_once('@')?.1))),
            Check::Changed { property, from, to } => seen.record.changes.iter().any(|change| {
                let met = |side: &Option<Side>, value: &Value| side.as_ref().is_none_or(|side| side.is_met_by(value));
                property.as_ref().is_none_or(|wanted| wanted.is_met_by(&change.name))
                    && met(from, &change.old)
                    && met(to, &change.new)
            }),
        }
    }

    /// Whether a value of ours and one of `other` (of the record, even inside an element) agree in what `part` takes of them.
    fn shares(&self, seen: Seen<'_>, other: &Subject, part: impl Fn(&str) -> Option<String>) -> bool {
        let theirs = other.values(Seen { element: None, ..seen });
        let theirs: Vec<String> = theirs.iter().filter_map(|value| part(value)).collect();
        self.subject.values(seen).iter().filter_map(|value| part(value)).any(|value| theirs.contains(&value))
    }

    fn leaf(&self, place: Place, negated: bool, seen: Seen<'_>) -> FailedLeaf {
        let got = match &self.check {
            Check::Changed { .. } => seen
                .record
                .changes
                .iter()
                .map(|change| format!("{}: {} → {}", change.name, change.old, change.new))
                .collect(),
            _ => self.subject.values(seen).into_iter().map(Cow::into_owned).collect(),
        };
        let want = match &self.check {
            // What the other field has says more than its name.
            Check::SameAs(other) | Check::SameDomainAs(other) => {
                let theirs = other.values(Seen { element: None, ..seen });
                vec![format!("{} = {}", other.name(), theirs.join(", "))]
            }
            _ => self.want.iter().map(ToString::to_string).collect(),
        };
        FailedLeaf { place, key: self.subject.name().to_owned(), op: self.op, want, got, negated }
    }
}

/// What the value before or after a change must be.
#[derive(Clone, Debug)]
pub enum Side {
    /// A value of it fulfils this.
    Any(Wanted),
    /// No value of it fulfils this; nothing at all does not either.
    None(Wanted),
    /// There is one, or there is none.
    Exists(bool),
}

impl Side {
    fn is_met_by(&self, value: &Value) -> bool {
        let values = sides(value);
        match self {
            Self::Any(wanted) => values.iter().any(|text| wanted.is_met_by(text)),
            Self::None(wanted) => !values.iter().any(|text| wanted.is_met_by(text)),
            Self::Exists(wanted) => values.iter().any(|text| exists(text)) == *wanted,
        }
    }
}

/// The text of one side of a change: of a list each element, of nothing nothing.
fn sides(value: &Value) -> Vec<Cow<'_, str>> {
    match value {
        Value::Array(list) => list.iter().flat_map(sides).collect(),
        value => path::text(Cow::Borrowed(value)).into_iter().collect(),
    }
}

/// What producers write for nothing does not exist.
fn exists(value: &str) -> bool {
    !value.trim().is_empty() && !value.eq_ignore_ascii_case("<null>")
}

impl Condition {
    /// The plain comparison of this short name that must hold whatever else does.
    #[must_use]
    pub fn on(&self, name: &str) -> Option<&Test> {
        match self {
            Self::All(parts) => parts.iter().find_map(|part| part.on(name)),
            Self::Test(test) if test.subject.name() == name && test.equal().is_some() => Some(test),
            Self::Value(tests) => tests.iter().find(|test| test.subject.name() == name && test.equal().is_some()),
            _ => None,
        }
    }

    /// Whether any test looks at this short name.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.tests().iter().any(|test| test.subject.name() == name)
    }

    /// Every test in it, in the order of the file.
    #[must_use]
    pub fn tests(&self) -> Vec<&Test> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::tests).collect(),
            Self::Not(part) | Self::Elements { inner: part, .. } => part.tests(),
            Self::Test(test) => vec![test],
            Self::Value(tests) => tests.iter().collect(),
        }
    }

    /// The tests that must all hold together.
    #[must_use]
    pub fn together(&self) -> Vec<&Test> {
        match self {
            Self::All(parts) => parts.iter().flat_map(Self::together).collect(),
            Self::Test(test) => vec![test],
            Self::Value(tests) => tests.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }

    /// Whether it holds.
    pub(super) fn is_met(&self, seen: Seen<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.is_met(seen)),
            Self::Any(parts) => parts.iter().any(|part| part.is_met(seen)),
            Self::Not(part) => !part.is_met(seen),
            Self::Test(test) => test.holds(seen),
            Self::Value(tests) => {
                let values = tests.first().map(|test| test.subject.values(seen)).unwrap_or_default();
                values.iter().any(|value| tests.iter().all(|test| test.takes(value)))
            }
            Self::Elements { quantifier, list, inner, .. } => {
                let elements = list.elements(seen);
                let met = |element: &Cow<'_, Value>| inner.is_met(Seen { element: Some(element), ..seen });
                match quantifier {
                    Quantifier::Some => elements.iter().any(met),
                    Quantifier::Every => !elements.is_empty() && elements.iter().all(met),
                }
            }
        }
    }

    /// As `when`: every test to which it is owed that the condition does not hold; none where it does.
    pub(super) fn failing(&self, seen: Seen<'_>) -> Vec<FailedLeaf> {
        let mut failed = Vec::new();
        self.explain(seen, true, Place::When, &mut failed);
        failed
    }

    /// As `unless`: every test, if together they hold. An empty `unless` excludes nothing.
    pub(super) fn excluding(&self, seen: Seen<'_>) -> Vec<FailedLeaf> {
        let mut failed = Vec::new();
        if !self.is_empty() {
            self.explain(seen, false, Place::Unless, &mut failed);
        }
        failed
    }

    /// Adds the tests because of which the condition is not what is `wanted`; nothing where it is.
    fn explain(&self, seen: Seen<'_>, wanted: bool, place: Place, failed: &mut Vec<FailedLeaf>) {
        if self.is_met(seen) == wanted {
            return;
        }
        // A `when` wants its tests to hold and an `unless` not to, unless a `not` turns that about.
        let negated = wanted != (place == Place::When);
        match self {
            // Where a part is as wanted, it is not to blame.
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.explain(seen, wanted, place, failed);
                }
            }
            Self::Not(part) => part.explain(seen, !wanted, place, failed),
            Self::Test(test) => failed.push(test.leaf(place, negated, seen)),
            Self::Value(tests) => {
                let before = failed.len();
                let to_blame = tests.iter().filter(|test| test.holds(seen) != wanted);
                failed.extend(to_blame.map(|test| test.leaf(place, negated, seen)));
                // Each has a value of its own, and none has them all.
                if failed.len() == before {
                    failed.extend(tests.iter().map(|test| test.leaf(place, negated, seen)));
                }
            }
            Self::Elements { name, list, inner, .. } => {
                let elements = list.elements(seen);
                let before = failed.len();
                for element in &elements {
                    inner.explain(Seen { element: Some(element), ..seen }, wanted, place, failed);
                }
                for leaf in failed.iter_mut().skip(before) {
                    leaf.key = format!("{name}.{}", leaf.key);
                }
                if elements.is_empty() {
                    failed.push(FailedLeaf { negated, ..FailedLeaf::no_element(place, name) });
                }
            }
        }
    }
}
