//! Owns a revision: everything that a configuration decides while the daemon runs. A reload replaces it whole.

use std::collections::HashMap;
use std::sync::Arc;

use super::parts::Kept;
use crate::clock::Timestamp;
use crate::config::{ChannelSettings, Config, Instead};
use crate::dispatch::schedule::Schedule;
use crate::dispatch::{self, Lane, Lanes, Opened, state};
use crate::intake::Basis;
use crate::metrics;
use crate::plan::Recipient;

/// Everything that a configuration decides.
pub(super) struct Revision {
    pub config: Config,
    /// One per channel, in config order.
    pub channels: Vec<Kept>,
    /// What intake decides by.
    pub basis: Arc<Basis>,
    /// What dispatch sends by.
    pub lanes: Arc<Lanes>,
    /// When each rule that ever matched did so last, as of when this was built.
    last_matches: HashMap<Arc<str>, Timestamp>,
}

/// What the store knows of a configuration.
pub struct Known {
    /// The number of its revision.
    pub number: i64,
    /// When each rule was first active.
    pub rules_seen: HashMap<Arc<str>, Timestamp>,
    /// When each rule that ever matched did so last.
    pub last_matches: HashMap<Arc<str>, Timestamp>,
}

impl Revision {
    /// Puts together what was made of `config`. `parts` are what its lanes share.
    pub fn new(config: Config, channels: Vec<Kept>, known: Known, parts: dispatch::Parts) -> Self {
        let basis = Basis {
            lookups: config.lookups.clone(),
            revision: known.number,
            dialects: config.dialects.clone(),
            rules: config.rules.clone(),
            people: parts.people.clone(),
            rules_seen: known.rules_seen,
            wakes: channels.iter().map(|kept| (kept.opened.name.clone(), kept.opened.wake.clone())).collect(),
        };
        let lane = |(channel, kept): (&ChannelSettings, &Kept)| {
            let policy = policy(channel, &config);
            Arc::new(Lane::new(parts.clone(), kept.opened.clone(), channel.sender.clone(), policy))
        };
        let all = config.channels.iter().zip(&channels).map(lane).collect();
        Self {
            basis: Arc::new(basis),
            lanes: Arc::new(Lanes { parts, all }),
            channels,
            config,
            last_matches: known.last_matches,
        }
    }

    /// Tells the lanes of a revision that is over to end. A channel that `successor` has too goes on there.
    pub fn retire(&self, successor: &Self) {
        for (lane, kept) in self.lanes.all.iter().zip(&self.channels) {
            let Opened { name, channel, .. } = &kept.opened;
            if !successor.channels.iter().any(|other| other.opened.name == *name) {
                kept.opened.removed();
            }
            let inherited = successor.channels.iter().any(|other| Arc::ptr_eq(&other.opened.channel, channel));
            lane.retire(inherited, &successor.lanes);
        }
    }

    /// What an operator should see at once in the log, and the metrics that exist from the start. `before`: what ran until
    /// now; the metrics of its rules are already there and newer.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds fit in an f64")]
    pub fn announce(&self, now: Timestamp, before: Option<&Self>) {
        let Self { config, .. } = self;
        let redirects =
            |channel: &&ChannelSettings| channel.sender.as_ref().is_some_and(|sender| sender.redirect_to.is_some());
        for channel in config.channels.iter().filter(redirects) {
            tracing::warn!(
                channel = %channel.name,
                "redirect_to is set: every mail goes to that address instead of its recipient, who stands in the subject"
            );
        }
        metrics::config_hash().set(metrics::shortened(config.hash));
        metrics::config_last_reload_successful().set(1.0);
        metrics::config_last_reload_success().set(now.as_millis() as f64 / 1_000.0);
        let ran = |id: &str| before.is_some_and(|before| before.config.rules.get(id).is_some());
        for rule in config.rules.iter().filter(|rule| !ran(&rule.id)) {
            let last = self.last_matches.get(&rule.id).copied().unwrap_or_default();
            metrics::rule_last_match(rule.id.clone()).set(last.as_millis() as f64 / 1_000.0);
        }
        metrics::start_at_zero(config.rules.iter().flat_map(|rule| {
            rule.ways().into_iter().map(|channel| (rule.id.clone(), channel.clone())).collect::<Vec<_>>()
        }));
    }
}

fn policy(channel: &ChannelSettings, config: &Config) -> state::Policy {
    let through = |address| Instead { channel: channel.name.clone(), address };
    let people = &config.people.fallback;
    let stand_ins: Vec<Instead> = match channel.sender {
        None => Vec::new(),
        Some(_) => people.iter().cloned().map(|address| through(Some(address))).collect(),
    };
    state::Policy {
        schedule: Schedule::new(channel.retry.clone()),
        wait: config.people.wait,
        stand_ins: stand_ins.into_iter().map(stand_in).collect(),
        fallback: channel.fallback.iter().cloned().map(stand_in).collect(),
    }
}

fn stand_in(Instead { channel, address }: Instead) -> state::StandIn {
    let recipient = address.map_or_else(|| Recipient::Room(channel.clone()), Recipient::Address);
    state::StandIn { channel, recipient }
}
