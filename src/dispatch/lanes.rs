//! Owns all lanes of one revision of the configuration, and who speaks for a channel that is none of theirs.

use std::sync::Arc;

use super::state::Policy;
use super::{Lane, Parts};

/// The lanes of one revision of the configuration.
pub struct Lanes {
    /// What they share.
    pub parts: Parts,
    /// In config order; at least one.
    pub all: Vec<Arc<Lane>>,
}

impl Lanes {
    /// Who tells of what channels leave that are there no more: a personal channel if there is any, for it tells the fallback
    /// list. A room tells nobody.
    pub(super) fn teller(&self) -> Option<&Arc<Lane>> {
        self.all.iter().find(|lane| lane.sender.is_some()).or(self.all.first())
    }

    /// How the messages of `channel` are treated, also if it is there no more.
    pub(super) fn policy(&self, channel: &str) -> Option<Arc<Policy>> {
        if let Some(lane) = self.all.iter().find(|lane| **lane.name() == *channel) {
            return Some(lane.policy());
        }
        let teller = self.teller()?.policy();
        let fallback = teller.stand_ins.clone();
        Some(Arc::new(Policy { fallback, ..(*teller).clone() }))
    }
}
