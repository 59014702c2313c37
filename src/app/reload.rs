//! Owns the reload: the new configuration is built whole, then takes over in one step; at any fault the old one stays.
//! Positions are never touched, and intake reads on throughout.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::parts::{self, Parts};
use super::revision::{Known, Revision};
use super::{App, dispatch};
use crate::clock::Timestamp;
use crate::config::{self, Config, Fault};
use crate::store::{Store, StoreError};
use crate::{logging, metrics};

/// Reading and building may take so long: a people file of a million rows takes seconds, a network disk more.
pub const LIMIT: Duration = Duration::from_mins(1);
/// The note in the store that says what came of the last reload.
const NOTE: &str = "reload";

/// What came of a reload, for whoever asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When it began, in milliseconds.
    pub began: i64,
    /// The revision that runs now: the new one, or the one that stays.
    pub revision: i64,
    /// Every fault, with place and remedy; none: the new configuration runs.
    pub faults: Vec<String>,
}

impl Outcome {
    /// The last one of the daemon on `store`.
    pub async fn last(store: &Store) -> Result<Option<Self>, StoreError> {
        let note = store.noted(NOTE).await?;
        // What cannot be read is of another version of ours: as good as none.
        Ok(note.and_then(|note| serde_json::from_slice(&note).ok()))
    }
}

impl App {
    /// Reads the configuration again and takes it over, or says what is wrong with it.
    pub(super) async fn reload(&mut self) {
        let began = self.clock.now();
        let next = timeout(LIMIT, self.successor()).await;
        let late = || vec![format!("reading and building took longer than {} s: is a disk slow?", LIMIT.as_secs())];
        let faults = match next.unwrap_or_else(|_| Err(late())) {
            Ok(next) => {
                self.take_over(next);
                Vec::new()
            }
            Err(faults) => {
                metrics::config_last_reload_successful().set(0.0);
                faults
            }
        };
        let revision = self.current.load().basis.revision;
        for fault in &faults {
            tracing::error!(revision, "the configuration is not taken over, the old one stays: {fault}");
        }
        let outcome = Outcome { began: began.as_millis(), revision, faults };
        let note = serde_json::to_vec(&outcome).unwrap_or_default();
        let in_vain = "what came of the reload could not be noted; who asked for it waits in vain";
        match timeout(LIMIT, self.store.note(NOTE, note)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "{in_vain}"),
            Err(_) => tracing::warn!("{in_vain}: the store does not answer"),
        }
    }

    /// The next revision, whole; or every fault, in lines for the operator.
    async fn successor(&self) -> Result<Revision, Vec<String>> {
        let (before, logins) = (self.current.load_full(), self.logins.clone());
        let make = move || {
            let config = config::load(&before.config.path)?;
            let mut faults = need_restart(&before.config, &config);
            match parts::build(&config, &before.channels, &logins) {
                Ok(parts) if faults.is_empty() => Ok((config, parts)),
                Ok(_) => Err(faults),
                Err(more) => {
                    faults.extend(more);
                    Err(faults)
                }
            }
        };
        let built = tokio::task::spawn_blocking(make).await;
        let built = built.map_err(|_| vec!["building the configuration panicked; this is a bug".to_owned()])?;
        let lines = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (config, Parts { people, composer, channels }) = built.map_err(lines)?;
        let known = known(&self.store, &config, self.clock.now(), self.clock.now()).await;
        let known =
            known.map_err(|error| vec![format!("the store does not take the new revision: {error}; try again")])?;
        let parts = self.current.load().lanes.parts.clone();
        let parts =
            dispatch::Parts { people, composer, dialects: config.dialects.clone(), rules: config.rule_ids(), ..parts };
        Ok(Revision::new(config, channels, known, parts))
    }

    /// The one step: from here on intake and maintenance see the new revision, and its lanes claim.
    fn take_over(&mut self, next: Revision) {
        let next = Arc::new(next);
        let before = self.current.swap(next.clone());
        before.retire(&next);
        self.spawn_lanes(&next.lanes);
        if let Err(error) = logging::set_level(&next.config.log) {
            tracing::error!("the log's level stays: {error:#}");
        }
        next.announce(self.clock.now(), Some(&before));
        tracing::info!(revision = next.basis.revision, "the configuration was taken over");
    }
}

/// What the store knows of `config`; it learns what is new: the revision, and that rules are active `since`.
pub async fn known(store: &Store, config: &Config, now: Timestamp, since: Timestamp) -> Result<Known, StoreError> {
    let number = store.config_revision(config.hash, now).await?;
    let ids: Vec<Arc<str>> = config.rule_ids().iter().cloned().collect();
    // Last, so that no rule counts as active that is not taken over.
    let rules_seen = store.rules_seen(&ids, since).await?.into_iter().collect();
    let last_matches = store.last_matches().await?.into_iter().collect();
    Ok(Known { number, rules_seen, last_matches })
}

/// What of `next` cannot take the place of `before` while the process runs.
fn need_restart(before: &Config, next: &Config) -> Vec<Fault> {
    let names: BTreeSet<_> = before.sources.iter().chain(&next.sources).map(|source| &source.name).collect();
    let of = |config: &Config, name: &Arc<str>| config.sources.iter().find(|source| source.name == *name).cloned();
    let changed = names.into_iter().filter(|name| of(before, name) != of(next, name));
    let mut changed: Vec<String> = changed.map(|name| format!("source.{name}")).collect();
    changed.extend((before.store != next.store).then(|| "store".to_owned()));
    changed.extend((before.http != next.http).then(|| "http".to_owned()));
    changed.extend((before.log.json != next.log.json).then(|| "log.format".to_owned()));
    let fault = |key: &String| next.fault(key, "has changed, which needs a restart: restart the daemon, or undo it");
    changed.iter().map(fault).collect()
}
