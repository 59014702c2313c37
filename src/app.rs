//! Owns the daemon as a whole: its loops from the `start` on what `parts` makes of a `Config`, over every `reload`, to the
//! stop in order.
//!
//! What a reload replaces is one value, the `revision`, behind one pointer: intake asks for it once per hand-over of a
//! source, maintenance once per round, and each revision has lanes of its own.
//!
//! The order of a stop: nothing new is claimed and what was not started is released; intake finishes its batch and leaves
//! the group; sessions before the final dot turn back, those after it are waited for until the hard order; outcomes are
//! recorded; the worker's row goes; the store is checkpointed and closed.

mod credentials;
pub mod parts;
pub mod reload;
mod revision;
mod start;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::channels::Permission;
use crate::channels::past::Logins;
use crate::clock::Clock;
use crate::dispatch::{self, Lanes, worker};
use crate::http::{Ops, Readiness};
use crate::shutdown::{DRAIN, Shutdown};
use crate::store::Store;
use crate::{memory, metrics};
use revision::Revision;

pub use start::{refuse_unset_clock, remembered};

/// A lane that has not turned for so long is stuck; it turns every two seconds.
const STUCK: Duration = Duration::from_secs(30);
/// After the hard order outcomes are written; a store that does not take them now is left behind.
const LAST_WRITES: Duration = Duration::from_secs(2);
/// Then the upkeep ends and the store is closed: within what is left, and this at least. With [`DRAIN`] and the last second of
/// the runtime that makes 24 s in all.
const CLOSING: Duration = Duration::from_secs(1);

/// A daemon that runs.
pub struct App {
    store: Store,
    clock: Clock,
    worker: i64,
    /// Which logins were refused lately, whatever channel comes or goes.
    logins: Logins,
    /// What a reload replaces.
    current: Arc<ArcSwap<Revision>>,
    /// Notified by whoever wants a reload; several wishes at once are one.
    wanted: Arc<Notify>,
    /// The lanes and the intakes: all of them run until the order to stop, or to retire.
    loops: JoinSet<Ended>,
    /// Heartbeat, metrics upkeep, listener: they run until everything else has ended.
    rest: JoinSet<()>,
    rest_done: CancellationToken,
    shutdown: Shutdown,
}

impl App {
    /// Starts the loops of a revision's channels.
    fn spawn_lanes(&mut self, lanes: &Lanes) {
        for lane in &lanes.all {
            let lane = lane.clone();
            self.loops.spawn(async move {
                lane.clone().run().await;
                if lane.is_retired() { Ended::Retired } else { Ended::AtTheStop }
            });
        }
    }

    /// Starts what serves the loops.
    fn spawn_rest(
        &mut self,
        (ops, recorder): (Ops, PrometheusHandle),
        (permission, permitted): (watch::Sender<Permission>, watch::Receiver<Permission>),
    ) {
        let Self { store, clock, worker, shutdown, rest_done, .. } = self;
        let current = self.current.clone();
        let lanes = move || current.load().lanes.clone();
        let readiness = readiness(lanes.clone(), permitted, clock.clone(), shutdown.clone());
        self.rest.spawn(ops.serve(recorder.clone(), readiness, rest_done.clone()));
        self.rest.spawn(metrics::upkeep(recorder, rest_done.clone()));
        self.rest.spawn(memory::upkeep(rest_done.clone()));
        let beat = (store.clone(), clock.clone(), shutdown.clone(), rest_done.clone());
        self.rest.spawn(worker::heartbeat(beat.0, *worker, beat.1, permission, beat.2, beat.3));
        self.rest.spawn(worker::maintenance(lanes));
        let (current, clock, done) = (self.current.clone(), self.clock.clone(), self.rest_done.clone());
        self.rest.spawn(credentials::watch(move || current.load_full(), clock, done));
    }

    /// Reloads when wanted, until the order to stop or a loop that dies; then stops everything in order. The exit code.
    pub async fn wait(mut self) -> u8 {
        let soft = self.shutdown.soft().clone();
        while !soft.is_cancelled() {
            tokio::select! {
                () = soft.cancelled() => {}
                Some(ended) = self.loops.join_next() => match ended {
                    Ok(Ended::Retired) => {}
                    ended => died(&self.shutdown, ended.is_err()),
                },
                // Without a heartbeat nobody would notice the order to stop.
                Some(ended) = self.rest.join_next() => died(&self.shutdown, ended.is_err()),
                () = self.wanted.notified() => drop(soft.run_until_cancelled(self.reload()).await),
            }
        }
        tracing::info!("stopping: nothing new is begun");
        let loops_end = Instant::now() + DRAIN + LAST_WRITES;
        let cutter = tokio::spawn({
            let shutdown = self.shutdown.clone();
            async move { shutdown.cut_after(DRAIN).await }
        });
        let drained = async { while self.loops.join_next().await.is_some() {} };
        let hard = self.shutdown.hard().clone();
        let limit = async {
            hard.cancelled().await;
            tokio::time::sleep(LAST_WRITES).await;
        };
        let in_order = tokio::select! {
            () = drained => {
                tracing::info!("stopping: loops have ended");
                true
            }
            () = limit => {
                tracing::error!("stopping: not everything ended in time");
                false
            }
        };
        cutter.abort();
        self.rest_done.cancel();
        self.close(loops_end.max(Instant::now()) + CLOSING, in_order).await
    }

    /// Ends the upkeep and closes the store, as far as that succeeds before `deadline`. `in_order`: every loop has ended. The
    /// exit code.
    async fn close(mut self, deadline: Instant, in_order: bool) -> u8 {
        let rest = async { while self.rest.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, rest).await.is_err() {
            tracing::error!("stopping: the store still works for the upkeep; it is left behind");
        }
        let exit = self.shutdown.ending().map_or(0, |ending| ending.exit);
        let close = async {
            if exit == 74 {
                tracing::error!(
                    store = %self.store.path().display(),
                    "the store is damaged or its disk fails: check the disk, run `auditbell store check`, and restore the file from a backup"
                );
                return self.store.abandon().await;
            }
            let unrecorded = self.current.load().lanes.parts.unrecorded.load(Ordering::Relaxed);
            if unrecorded || !in_order {
                tracing::warn!(
                    "the worker's row stays: what it claimed may have left, and is suspect at the next start"
                );
            } else if let Err(error) = self.store.unregister(self.worker, self.clock.now()).await {
                tracing::warn!(%error, "the worker's row stays; the next start frees its claims");
            }
            self.store.close().await;
        };
        if tokio::time::timeout_at(deadline, close).await.is_err() {
            tracing::error!("stopping: the store did not close in time");
        }
        tracing::info!("stopped");
        exit
    }
}

/// Why a loop is over.
enum Ended {
    /// It was told to stop; else it died.
    AtTheStop,
    /// Another one has taken its place.
    Retired,
}

/// A task that runs until the order to stop has ended before it.
fn died(shutdown: &Shutdown, panicked: bool) {
    if !shutdown.soft().is_cancelled() {
        let how = if panicked { "panicked" } else { "ended by itself" };
        shutdown.fail(1, format!("a loop {how}; this is a bug, the supervisor should start us again"));
    }
}

/// Ready: the store takes our heartbeat and every lane turns. Never Kafka, never SMTP.
fn readiness(
    lanes: impl Fn() -> Arc<Lanes> + Send + Sync + 'static,
    permission: watch::Receiver<Permission>,
    clock: Clock,
    shutdown: Shutdown,
) -> Readiness {
    Arc::new(move || {
        if shutdown.soft().is_cancelled() {
            return Err("stopping");
        }
        if *permission.borrow() != Permission::Go {
            return Err("the store does not take our heartbeat");
        }
        if lanes().all.iter().any(|lane| clock.now().since(lane.turned_at()) > STUCK) {
            return Err("a dispatch loop is stuck");
        }
        Ok(())
    })
}
