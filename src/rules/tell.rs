//! Owns `Tell`: whom a rule tells and how, apart from what it watches for; and the routes, which choose between several.

use std::sync::Arc;
use std::time::Duration;

use crate::record::Severity;

use super::{Condition, ListEntry, Subject};

/// Whom to tell and how.
#[derive(Clone, Debug, Default)]
pub struct Tell {
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
    /// `group` of the policy.
    pub group: Option<Group>,
    /// `throttle` of the policy.
    pub throttle: Option<Throttle>,
}

impl Tell {
    /// Every channel that is told through, rooms last.
    pub fn ways(&self) -> impl Iterator<Item = &Arc<str>> {
        self.channels.iter().chain(&self.rooms)
    }

    /// Whether it tells nobody: it names no channel, or personal ones and nobody to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty() && (self.channels.is_empty() || self.to.is_empty())
    }

    /// Every entry of `to`, those inside `first_of` instead of it.
    pub fn named(&self) -> impl Iterator<Item = &To> {
        self.to.iter().flat_map(To::leaves)
    }
}

/// One `[[rule.route]]`: what is told of the records for which it is the first that holds.
#[derive(Clone, Debug)]
pub struct Route {
    /// Must hold.
    pub when: Condition,
    /// Must not hold.
    pub unless: Condition,
    /// Complete: what the route does not say is the rule's.
    pub tell: Tell,
    /// Nobody is told; what would have been has the verdict `muted`.
    pub mute: bool,
}

/// One entry of `to` or `except`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Each affected user.
    Target,
    /// Who did it.
    Actor,
    /// The manager of each affected user, as the directory knows at the time of sending.
    TargetManager,
    /// The manager of who did it.
    ActorManager,
    /// The other addresses of each affected user, as the directory knows them.
    TargetAlternates,
    /// The addresses that each affected user had before a change of mail or UPN.
    TargetPrevious,
    /// `list:NAME`, expanded.
    List(Arc<str>, Vec<ListEntry>),
    /// `lookup:NAME.COLUMN` or `field:PATH`: what stands there, as written and as it is read.
    Reference(Arc<str>, Subject),
    /// A literal address.
    Address(Arc<str>),
    /// The first of these that names somebody.
    FirstOf(Vec<Self>),
}

impl To {
    /// Itself, or what stands in a `first_of`, which holds no other.
    #[must_use]
    pub fn leaves(&self) -> &[Self] {
        match self {
            Self::FirstOf(entries) => entries,
            other => std::slice::from_ref(other),
        }
    }

    /// Whether people whom a record names are told by it, so that one may have no address.
    #[must_use]
    pub fn is_of_record(&self) -> bool {
        match self {
            Self::List(..) | Self::Address(_) => false,
            Self::FirstOf(entries) => entries.iter().any(Self::is_of_record),
            _ => true,
        }
    }
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
    /// View fields whose values make the key; each one of [`super::GROUP_BY`].
    pub by: Vec<Arc<str>>,
    /// How long the first waits for the others.
    pub wait: Duration,
}
