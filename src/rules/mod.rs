//! Owns `Rule` and the set of them: which rules a record matches, and for each of the others every reason why not.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::record::{Dialect, Flag, Head, Record, Severity};

pub mod catalogue;
mod condition;
mod field;
mod index;
mod operator;
pub mod parse;
#[cfg(test)]
pub(crate) mod tests;
pub mod window;

pub use crate::record::fold::fold;
pub use crate::record::path::Path;
pub use condition::{Check, Condition, FailedLeaf, List, Place, Quantifier, Test};
pub use field::{FIELDS, Field, GROUP_BY, Subject};
pub use operator::{Op, Order, Wanted};
pub use window::{ListEntry, Window};

use index::Index;

/// One `[[rule]]`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique.
    pub id: Arc<str>,
    /// Its place among the enabled rules, set by [`Rules::new`]: in one message the lower rank gives the wording.
    pub rank: u32,
    /// For people; also the title on the message row.
    pub description: Arc<str>,
    /// Who answers for it, in the operator's words.
    pub owner: Option<Arc<str>>,
    /// The first moment at which it is off for good.
    pub expires: Option<Timestamp>,
    /// Dialects; empty = `"any"`: all but our own.
    pub on: Vec<Dialect>,
    /// Must hold.
    pub when: Condition,
    /// Must not hold.
    pub unless: Condition,
    /// Whom to tell.
    pub to: Vec<To>,
    /// Whom not.
    pub except: Vec<To>,
    /// Personal channels: each person of `to` is told through each.
    pub channels: Vec<Arc<str>>,
    /// Channels that are rooms: each is told itself, whoever `to` names.
    pub rooms: Vec<Arc<str>>,
    /// Template name.
    pub template: Arc<str>,
    /// `None`: the record's, else medium.
    pub severity: Option<Severity>,
    /// Matches are recorded, nobody is mailed.
    pub shadow: bool,
    /// Older records are not told.
    pub max_age: Duration,
    /// `group` of the rule's policy.
    pub group: Option<Group>,
    /// `throttle` of the rule's policy.
    pub throttle: Option<Throttle>,
}

/// One entry of `to` or `except`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Each affected user.
    Target,
    /// Who did it.
    Actor,
    /// `list:NAME`, expanded.
    List(Arc<str>, Vec<Arc<str>>),
    /// A literal address.
    Address(Arc<str>),
}

/// `[policy.NAME]`: when messages go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What shares a key leaves together.
    pub group: Option<Group>,
    /// How many may leave at once.
    pub throttle: Option<Throttle>,
}

/// `policy.NAME.throttle`: the brake. Of the new messages of one rule on one channel, those beyond `max` within `per` are
/// held until an operator releases or discards them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Most new messages.
    pub max: u32,
    /// Length of a window. It begins with the first message after the last one's end.
    pub per: Duration,
}

/// `policy.NAME.group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The policy's name; part of the key.
    pub policy: Arc<str>,
    /// View fields whose values make the key; each one of [`GROUP_BY`].
    pub by: Vec<Arc<str>>,
    /// How long the first waits for the others.
    pub wait: Duration,
}

/// Flags that mark records of no moment: a rule sees them only if its `when` names `flags`.
const QUIET_FLAGS: [Flag; 2] = [Flag::Sample, Flag::Snapshot];

impl Rule {
    /// Whether `on` fits.
    #[must_use]
    pub fn concerns(&self, dialect: Dialect) -> bool {
        if self.on.is_empty() { !dialect.is_own() } else { self.on.contains(&dialect) }
    }

    /// Whether it is off for good at `now`.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// Every channel that the rule tells through, rooms last.
    pub fn ways(&self) -> impl Iterator<Item = &Arc<str>> {
        self.channels.iter().chain(&self.rooms)
    }

    /// Whether `record`, of a dialect that the rule concerns, fulfils it.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        self.concerns(record.dialect) && self.evaluate(record).is_empty()
    }

    /// Every reason why `record` does not fulfil the rule; none = it matches.
    #[must_use]
    pub fn evaluate(&self, record: &Record) -> Vec<FailedLeaf> {
        let mut failed = self.when.failing(record);
        failed.extend(self.unless.excluding(record));
        if !self.when.names("flags") && record.flags.iter().any(|flag| QUIET_FLAGS.contains(flag)) {
            failed.push(FailedLeaf {
                place: Place::When,
                key: "flags".into(),
                op: Op::Not,
                want: QUIET_FLAGS.map(|flag| flag.as_str().to_owned()).to_vec(),
                got: record.flags.iter().map(|flag| flag.as_str().to_owned()).collect(),
            });
        }
        failed
    }
}

/// The enabled rules in config order, with their index. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules(Arc<Set>);

#[derive(Debug)]
struct Set {
    rules: Vec<Rule>,
    index: Index,
}

impl Rules {
    /// Ranks and indexes `rules`, given in config order.
    #[must_use]
    pub fn new(mut rules: Vec<Rule>) -> Self {
        (0..).zip(&mut rules).for_each(|(rank, rule)| rule.rank = rank);
        let index = Index::new(&rules);
        Self(Arc::new(Set { rules, index }))
    }

    /// All of them, in config order.
    pub fn iter(&self) -> std::slice::Iter<'_, Rule> {
        self.0.rules.iter()
    }

    /// The rule with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Rule> {
        self.iter().find(|rule| &*rule.id == id)
    }

    /// Whether any rule could match a record with this head: asked of every record, before its tree is built.
    #[must_use]
    pub fn wanted(&self, head: &Head<'_>) -> bool {
        self.0.index.wants(head)
    }

    /// The rules that could match a record with this head, in config order.
    #[must_use]
    pub fn candidates(&self, head: &Head<'_>) -> Vec<&Rule> {
        self.0.index.candidates(head).into_iter().filter_map(|place| self.0.rules.get(place)).collect()
    }

    /// The rules that `record` matches, in config order.
    #[must_use]
    pub fn matching(&self, record: &Record) -> Vec<&Rule> {
        let head = Head {
            dialect: record.dialect,
            operation: record.operation.as_deref().map(Cow::Borrowed),
            activity: record.activity.as_deref().map(Cow::Borrowed),
        };
        let mut rules = self.candidates(&head);
        rules.retain(|rule| rule.evaluate(record).is_empty());
        rules
    }
}

impl<'a> IntoIterator for &'a Rules {
    type Item = &'a Rule;
    type IntoIter = std::slice::Iter<'a, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
