//! Owns `Rule` and the operation index: which rules a record matches, and why not.

use std::sync::Arc;
use std::time::Duration;

use crate::record::{Dialect, Severity};

/// One `[[rule]]`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique.
    pub id: Arc<str>,
    /// For people; also the title on the message row.
    pub description: Arc<str>,
    /// Dialects; empty = `"any"`.
    pub on: Vec<Dialect>,
    /// Whom to tell.
    pub to: Vec<To>,
    /// Whom not.
    pub except: Vec<To>,
    /// Channel names.
    pub channels: Vec<Arc<str>>,
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

/// `policy.NAME.group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The policy's name; part of the key.
    pub policy: Arc<str>,
    /// View fields whose values make the key.
    pub by: Vec<Arc<str>>,
    /// How long the first waits for the others.
    pub wait: Duration,
}
