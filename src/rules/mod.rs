//! Owns `Rule` and the set of them: which rules a record matches, and for each of the others every reason why not.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::record::{Dialect, Glance, Head, Record};

pub mod catalogue;
mod condition;
mod decision;
mod failed;
mod field;
mod implied;
mod index;
mod once;
mod operator;
pub mod parse;
mod tell;
#[cfg(test)]
pub(crate) mod tests;
pub mod window;

pub use crate::record::fold::fold;
pub use crate::record::path::Path;
pub use condition::{Check, Condition, List, Quantifier, Side, Test};
pub(crate) use decision::elements;
pub use decision::{Decision, Element, Known, Match, Part, PassedRoute};
pub use failed::{FailedLeaf, Place};
pub use field::{ELEMENT, FIELDS, Field, GROUP_BY, RAW, Root, Subject};
pub use implied::{Never, Nothing};
pub use once::OncePer;
pub use operator::{Op, Order, Wanted, fold_keys};
pub use parse::foreign::instead_of_last;
pub use tell::{Group, Policy, Route, Tell, Throttle, To};
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
    /// Held against each element of this list, not against the record as a whole.
    pub each: Option<List>,
    /// What of a record is told once.
    pub once_per: OncePer,
    /// Matches are recorded, nobody is mailed.
    pub shadow: bool,
    /// Older records are not told.
    pub max_age: Duration,
    /// Whom to tell and how where no route holds; empty where the rule has only routes.
    pub tell: Tell,
    /// The first that holds decides whom to tell and how.
    pub routes: Vec<Route>,
}

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

    /// Its own way of telling and those of its routes that are not mute.
    pub fn tells(&self) -> impl Iterator<Item = &Tell> {
        let own = Some(&self.tell).filter(|tell| !tell.is_empty());
        own.into_iter().chain(self.routes.iter().filter(|route| !route.mute).map(|route| &route.tell))
    }

    /// Every channel that the rule may tell through, each once.
    #[must_use]
    pub fn ways(&self) -> Vec<&Arc<str>> {
        let mut ways: Vec<&Arc<str>> = Vec::new();
        for way in self.tells().flat_map(Tell::ways) {
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        ways
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

    /// Whether any rule could match the record: asked of every one, before its tree is built. Where what is known does not
    /// tell, one may.
    #[must_use]
    pub fn may_want(&self, glance: &Glance<'_>) -> bool {
        match glance {
            Glance::Head(head) => self.0.index.wants(head),
            Glance::Dialect(dialect) => self.0.index.knows(*dialect),
            Glance::Nothing => true,
        }
    }

    /// The rules that could match a record with this head, in config order.
    #[must_use]
    pub fn candidates(&self, head: &Head<'_>) -> Vec<&Rule> {
        self.0.index.candidates(head).into_iter().filter_map(|place| self.0.rules.get(place)).collect()
    }

    /// The rules that `record` matches, in config order, and with which of its elements.
    #[must_use]
    pub fn matching(&self, record: &Record, known: Known<'_>) -> Vec<Match<'_>> {
        let head = Head {
            dialect: record.dialect,
            operation: record.operation.as_deref().map(Cow::Borrowed),
            activity: record.activity.as_deref().map(Cow::Borrowed),
        };
        self.candidates(&head).into_iter().flat_map(|rule| rule.matches(record, known)).collect()
    }
}

impl<'a> IntoIterator for &'a Rules {
    type Item = &'a Rule;
    type IntoIter = std::slice::Iter<'a, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
