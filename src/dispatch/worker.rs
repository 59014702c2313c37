//! Owns this process's standing with the store: its heartbeat, the permission to deliver that follows from it, and the
//! maintenance round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{Lanes, Parts};
use crate::channels::Permission;
use crate::clock::{Clock, SET_BACK};
use crate::metrics;
use crate::people::People;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError, Upkeep};

/// Between two heartbeats, and between two maintenance rounds.
const BEAT: Duration = Duration::from_secs(5);
/// How long the store may take for one: shorter than the beat, so that lateness is noticed at the next one.
const PATIENCE: Duration = Duration::from_secs(4);
/// Others may free our claims 30 s after our last heartbeat; half of that is left for what is under way.
const LATE: Duration = Duration::from_secs(15);
/// Expired messages of shut and removed channels that one round ends.
const EXPIRED: usize = 100;
/// The people file is looked at every third round: 15 s, and read at the second look that finds the same change, so within the
/// promised 60 s.
const PEOPLE_ROUNDS: u32 = 3;

/// Beats until `done`, and keeps `permission` up to date: `Lost` while the last heartbeat on disk is older than 15 s,
/// `Stopping` from the order to stop on.
pub async fn heartbeat(
    store: Store,
    worker: i64,
    clock: Clock,
    permission: watch::Sender<Permission>,
    shutdown: Shutdown,
    done: CancellationToken,
) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut set_back = false;
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            () = shutdown.soft().cancelled(), if *permission.borrow() != Permission::Stopping => {
                permission.send_replace(Permission::Stopping);
                continue;
            }
            _ = ticks.tick() => {}
        }
        let now = clock.now();
        if clock.stepped_back() > SET_BACK {
            tracing::error!("the system's clock was set back by more than a minute; retries are pulled forward");
            set_back = true;
        }
        if set_back {
            match timeout(PATIENCE, store.clock_stepped_back(now)).await {
                Ok(Ok(())) => set_back = false,
                Ok(Err(error)) => tracing::warn!(%error, "the retries are not pulled forward yet; trying again"),
                Err(_) => tracing::warn!("the store did not pull the retries forward in time; trying again"),
            }
        }
        match timeout(PATIENCE, store.heartbeat(worker, now)).await {
            Ok(Ok(true)) => last = Instant::now(),
            Ok(Ok(false)) => {
                shutdown.fail(75, "another process declared this one dead: its worker row is gone; start again");
            }
            Ok(Err(StoreError::Damaged(message))) => shutdown.fail(74, message),
            Ok(Err(error)) => tracing::warn!(%error, "the heartbeat could not be written"),
            Err(_) => tracing::warn!("the store did not take the heartbeat in time"),
        }
        if !store.is_alive() {
            shutdown.fail(1, "a thread of the store died; this is a bug, the supervisor should start us again");
        }
        let standing = if last.elapsed() >= LATE { Permission::Lost } else { Permission::Go };
        permission.send_if_modified(|permission| {
            let changed = *permission != Permission::Stopping && *permission != standing;
            if changed {
                *permission = standing;
            }
            changed
        });
    }
}

/// Every 5 s until the soft order: frees what dead workers held, purges a slice, reads the gauges, ends what waits for a
/// channel without a lane, re-reads the people file. `current` are the lanes of now: one set for a whole round.
pub async fn maintenance(current: impl Fn() -> Arc<Lanes>) {
    let Parts { store, clock, shutdown, .. } = current().parts.clone();
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gauges = Gauges::default();
    let mut round = 0_u32;
    while shutdown.soft().run_until_cancelled(ticks.tick()).await.is_some() {
        let lanes = current();
        let run: Vec<Arc<str>> = lanes.all.iter().map(|lane| lane.name().clone()).collect();
        match store.maintain(clock.now()).await {
            Ok(upkeep) => gauges.set(&upkeep, &run),
            Err(StoreError::Damaged(message)) => shutdown.fail(74, message),
            Err(error) => tracing::warn!(%error, "a maintenance round failed; the next one tries again"),
        }
        end_expired(&lanes).await;
        round = round.wrapping_add(1);
        if round.is_multiple_of(PEOPLE_ROUNDS) {
            refresh(lanes.parts.people.clone()).await;
        }
    }
}

/// Ends what has expired where nobody claims: in the channels that are shut, by their own policy, and in those that the
/// configuration no longer has.
async fn end_expired(lanes: &Lanes) {
    let Lanes { parts, all } = lanes;
    let Some(teller) = lanes.teller() else { return };
    let claimed: Vec<Arc<str>> = all.iter().filter(|lane| !lane.is_shut()).map(|lane| lane.name().clone()).collect();
    let claims = match parts.store.expired(parts.worker, &claimed, parts.clock.now(), EXPIRED).await {
        Ok(claims) => claims,
        Err(error) => return tracing::warn!(%error, "the expired of shut channels could not be read; trying again"),
    };
    for message in &teller.load(claims).await {
        match all.iter().find(|lane| *lane.name() == message.claim.channel) {
            Some(own) => own.end_expired(message).await,
            None => teller.end_stranded(message).await,
        }
    }
}

async fn refresh(people: Arc<People>) {
    match tokio::task::spawn_blocking(move || people.refresh()).await {
        Ok(Ok(true)) => tracing::info!("the people file was read again"),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => tracing::error!("the people file is at fault, the old rows stay: {error:#}"),
        Err(_) => tracing::error!("reading the people file panicked; the old rows stay"),
    }
}

/// Sets the gauges, and back to zero what is no longer there.
#[derive(Default)]
struct Gauges {
    states: BTreeSet<(Arc<str>, &'static str)>,
    pending: BTreeSet<Arc<str>>,
}

impl Gauges {
    #[expect(clippy::cast_precision_loss, reason = "gauges are f64; 2^53 bytes and milliseconds are enough")]
    fn set(&mut self, upkeep: &Upkeep, run: &[Arc<str>]) {
        let mut counts: BTreeMap<_, u64> = self.states.iter().map(|known| (known.clone(), 0)).collect();
        for (channel, state, count) in &upkeep.messages {
            // Nobody claims for a channel that the configuration does not have; what an old lane holds it still finishes.
            let state = if !run.contains(channel) && matches!(*state, "free" | "suspect") { "orphaned" } else { state };
            *counts.entry((channel.clone(), state)).or_default() += count;
        }
        for ((channel, state), count) in &counts {
            metrics::messages(channel.clone(), *state).set(*count as f64);
        }
        self.states = counts.into_keys().collect();
        for channel in &self.pending {
            metrics::oldest_pending(channel.clone()).set(0.0);
        }
        for (channel, oldest) in &upkeep.oldest_pending {
            metrics::oldest_pending(channel.clone()).set(oldest.as_millis() as f64 / 1_000.0);
            self.pending.insert(channel.clone());
        }
        metrics::store_bytes().set(upkeep.bytes as f64);
        metrics::store_free_bytes().set(upkeep.free_bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Settings;

    #[tokio::test]
    async fn a_store_whose_threads_are_gone_ends_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let retention = Duration::from_hours(24);
        let settings = Settings { path: directory.path().join("a.db"), ledger: retention, content: retention };
        let store = Store::open(&settings, true).unwrap();
        store.clone().close().await;
        let (shutdown, done) = (Shutdown::default(), CancellationToken::new());
        let (permission, _permitted) = watch::channel(Permission::Go);
        let beating = heartbeat(store, 1, Clock::system(), permission, shutdown.clone(), done);
        tokio::select! {
            () = beating => {}
            () = shutdown.soft().cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(10)) => {}
        }
        assert_eq!(shutdown.ending().map(|ending| ending.exit), Some(1));
    }
}
