//! Owns the daemon as a whole: builds the parts from a `Config`, starts loops and listener, stops them in order.
//!
//! The order of a stop: nothing new is claimed and what was not started is released; intake finishes its batch and leaves
//! the group; sessions before the final dot turn back, those after it are waited for until the hard order; outcomes are
//! recorded; the worker's row goes; the store is checkpointed and closed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::channels::{self, Permission};
use crate::clock::{Clock, Timestamp};
use crate::compose::Composer;
use crate::config::{ChannelSettings, Config};
use crate::dispatch::schedule::Schedule;
use crate::dispatch::{self, Lane, state, worker};
use crate::http::{Ops, Readiness};
use crate::intake::{Intake, Reader};
use crate::metrics;
use crate::people::People;
use crate::plan::Recipient;
use crate::shutdown::{DRAIN, Ending, Shutdown};
use crate::source;
use crate::store::{Store, StoreError};

/// A lane that has not turned for so long is stuck; it turns every two seconds.
const STUCK: Duration = Duration::from_secs(30);
/// What is refused as `too_old` is a day younger than what the ledger forgets: the margin for clocks and purges.
const FORGETTING_MARGIN: Duration = Duration::from_hours(24);
/// After the hard order outcomes are written; a store that does not take them now is left behind.
const LAST_WRITES: Duration = Duration::from_secs(2);
/// Then the upkeep ends and the store is closed. With [`DRAIN`] and the last second of the runtime 25 s in all.
const CLOSING: Duration = Duration::from_secs(2);

/// A daemon that runs.
pub struct App {
    store: Store,
    worker: i64,
    http: SocketAddr,
    /// The lanes and the intakes: all of them run until the order to stop.
    loops: JoinSet<()>,
    /// Heartbeat, metrics upkeep, listener: they run until everything else has ended.
    rest: JoinSet<()>,
    rest_done: CancellationToken,
    shutdown: Shutdown,
}

impl App {
    /// Builds and starts everything. An error is the exit code and what the operator should do.
    pub async fn start(config: Config, shutdown: Shutdown) -> Result<Self, Ending> {
        let clock = Clock::system();
        let recorder = metrics::install().map_err(|error| ending(1, &error))?;
        let ops = Ops::bind(config.http).await.map_err(|error| bind_failed(config.http, &error))?;
        // What a file is at fault for is found before anything is made on disk.
        let people = Arc::new(People::load(config.people.clone()).map_err(|error| ending(78, &error))?);
        let composer = Composer::load(config.templates.as_deref(), &config.brand).map_err(|faults| {
            let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
            Ending { exit: 78, message: lines.join("\n") }
        })?;
        for settings in &config.sources {
            source::examine(settings).map_err(|refusal| Ending { exit: 78, message: refusal.to_string() })?;
        }
        let store = open(&config).await?;
        let now = clock.now();
        let failed = |error: StoreError| store_failed(&error);
        let revision = store.config_revision(config.hash, now).await.map_err(failed)?;
        let store_empty = store.is_empty().await.map_err(failed)?; // before this process accounts for anything
        let rules_seen = rules_seen(&store, store_empty, &config, now).await?;
        let worker = store.register(&host(), now).await.map_err(failed)?;
        say_what_runs(&config);

        let (permission, permitted) = watch::channel(Permission::Go);
        let parts = dispatch::Parts {
            store: store.clone(),
            people: people.clone(),
            composer: Arc::new(composer),
            clock: clock.clone(),
            worker,
            permission: permitted.clone(),
            shutdown: shutdown.clone(),
        };
        let (lanes, wakes) = lanes(&config, &parts)?;
        let intakes = intakes(&config, &parts, (revision, store_empty), &rules_seen, &wakes)?;

        let mut loops = JoinSet::new();
        for lane in &lanes {
            loops.spawn(lane.clone().run());
        }
        for (intake, handle) in intakes {
            loops.spawn(intake.run(handle));
        }
        let (mut rest, rest_done) = (JoinSet::new(), CancellationToken::new());
        let http = ops.address();
        let readiness = readiness(lanes.clone(), permitted, clock.clone(), shutdown.clone());
        rest.spawn(ops.serve(recorder.clone(), readiness, rest_done.clone()));
        rest.spawn(metrics::upkeep(recorder, rest_done.clone()));
        let beat = (store.clone(), clock.clone(), shutdown.clone(), rest_done.clone());
        rest.spawn(worker::heartbeat(beat.0, worker, beat.1, permission, beat.2, beat.3));
        rest.spawn(worker::maintenance(parts, lanes));
        tracing::info!(%http, revision, "running");
        Ok(Self { store, worker, http, loops, rest, rest_done, shutdown })
    }

    /// Where the ops listener is bound.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The store, to look into it.
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Waits for the order to stop, or for a loop that dies; stops everything in order. The exit code.
    pub async fn wait(mut self) -> u8 {
        tokio::select! {
            () = self.shutdown.soft().cancelled() => {}
            Some(ended) = self.loops.join_next() => died(&self.shutdown, &ended),
            // Without a heartbeat nobody would notice the order to stop.
            Some(ended) = self.rest.join_next() => died(&self.shutdown, &ended),
        }
        tracing::info!("stopping: nothing new is begun");
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
        tokio::select! {
            () = drained => tracing::info!("stopping: loops have ended"),
            () = limit => tracing::error!("stopping: not everything ended in time"),
        }
        cutter.abort();
        self.rest_done.cancel();
        let deadline = Instant::now() + CLOSING;
        let rest = async { while self.rest.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, rest).await.is_err() {
            tracing::error!("stopping: the store still works for the upkeep; it is left behind");
        }
        let close = async {
            if let Err(error) = self.store.unregister(self.worker).await {
                tracing::warn!(%error, "the worker's row stays; the next start frees its claims");
            }
            self.store.close().await;
        };
        if tokio::time::timeout_at(deadline, close).await.is_err() {
            tracing::error!("stopping: the store did not close in time");
        }
        tracing::info!("stopped");
        self.shutdown.ending().map_or(0, |ending| ending.exit)
    }
}

/// A task that runs until the order to stop has ended before it.
fn died(shutdown: &Shutdown, ended: &Result<(), tokio::task::JoinError>) {
    if !shutdown.soft().is_cancelled() {
        let how = if ended.is_err() { "panicked" } else { "ended by itself" };
        shutdown.fail(1, format!("a loop {how}; this is a bug, the supervisor should start us again"));
    }
}

async fn open(config: &Config) -> Result<Store, Ending> {
    let settings = config.store.clone();
    match tokio::task::spawn_blocking(move || Store::open(&settings, true)).await {
        Ok(store) => store.map_err(|error| store_failed(&error)),
        Err(_) => Err(Ending { exit: 1, message: "opening the store panicked".into() }),
    }
}

/// When each rule was first active. After `on_lost_store` was used to go on without the old store, the time before counts
/// too: the outage is what it is about.
async fn rules_seen(
    store: &Store,
    store_empty: bool,
    config: &Config,
    now: Timestamp,
) -> Result<HashMap<Arc<str>, Timestamp>, Ending> {
    let lost = config.sources.iter().any(|source| source.on_lost_store != source::OnLostStore::Refuse);
    let since = if lost && store_empty { Timestamp::from_millis(0) } else { now };
    let ids: Vec<Arc<str>> = config.rules.iter().map(|rule| rule.id.clone()).collect();
    Ok(store.rules_seen(&ids, since).await.map_err(|error| store_failed(&error))?.into_iter().collect())
}

type Wakes = HashMap<Arc<str>, Arc<Notify>>;

fn lanes(config: &Config, parts: &dispatch::Parts) -> Result<(Vec<Arc<Lane>>, Wakes), Ending> {
    let fallback: Arc<[Recipient]> = config.people.fallback.iter().cloned().map(Recipient::Address).collect();
    let mut wakes = Wakes::new();
    let mut lanes = Vec::new();
    for ChannelSettings { name, sender, retry, settings } in config.channels.clone() {
        let channel = channels::open(&name, &settings).map_err(|error| ending(78, &error))?;
        let wake = wakes.entry(name.clone()).or_default().clone();
        let policy =
            state::Policy { schedule: Schedule::new(retry), wait: config.people.wait, fallback: fallback.clone() };
        lanes.push(Arc::new(Lane::new(parts.clone(), name, channel, sender, policy, wake)));
    }
    Ok((lanes, wakes))
}

fn intakes(
    config: &Config,
    parts: &dispatch::Parts,
    (revision, store_empty): (i64, bool),
    rules_seen: &HashMap<Arc<str>, Timestamp>,
    wakes: &Wakes,
) -> Result<Vec<(Intake, source::Handle)>, Ending> {
    let dispatch::Parts { store, people, clock, shutdown, .. } = parts;
    let mut intakes = Vec::new();
    for settings in config.sources.clone() {
        let reader = Reader {
            source: settings.name.clone(),
            rules: config.rules.clone(),
            people: people.clone(),
            rules_seen: rules_seen.clone(),
            remembered: config.store.ledger.saturating_sub(FORGETTING_MARGIN),
        };
        let handle =
            source::start(settings, store.clone(), store_empty, clock.clone(), tokio::runtime::Handle::current())
                .map_err(|error| ending(78, &error))?;
        let intake = Intake::new(reader, store.clone(), clock.clone(), shutdown.clone(), wakes.clone(), revision);
        intakes.push((intake, handle));
    }
    Ok(intakes)
}

/// Ready: the store takes our heartbeat and every lane turns. Never Kafka, never SMTP.
fn readiness(
    lanes: Vec<Arc<Lane>>,
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
        if lanes.iter().any(|lane| clock.now().since(lane.turned_at()) > STUCK) {
            return Err("a dispatch loop is stuck");
        }
        Ok(())
    })
}

/// What an operator should see at once in the log, and the metrics that exist from the start.
#[expect(clippy::cast_precision_loss, reason = "48 bits fit in an f64")]
fn say_what_runs(config: &Config) {
    let redirects =
        |channel: &&ChannelSettings| channel.sender.as_ref().is_some_and(|sender| sender.redirect_to.is_some());
    for channel in config.channels.iter().filter(redirects) {
        tracing::warn!(
            channel = %channel.name,
            "redirect_to is set: every mail goes to that address instead of its recipient, who stands in the subject"
        );
    }
    metrics::build_info(env!("CARGO_PKG_VERSION")).set(1.0);
    let hash = config.hash[..6].iter().fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    metrics::config_hash().set(hash as f64);
    metrics::start_at_zero(
        config
            .rules
            .iter()
            .flat_map(|rule| rule.ways().map(|channel| (rule.id.clone(), channel.clone())).collect::<Vec<_>>()),
    );
}

/// The worker's name in the store, for people.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{name}:{}", std::process::id())
}

fn ending(exit: u8, error: &anyhow::Error) -> Ending {
    Ending { exit, message: format!("{error:#}") }
}

fn store_failed(error: &StoreError) -> Ending {
    let exit = match error {
        StoreError::Damaged(_) => 74,
        StoreError::Busy(_) | StoreError::Other(_) => 75,
        StoreError::Refused(_) => 78,
    };
    Ending { exit, message: error.to_string() }
}

/// A port that is taken may be free again soon; an address that cannot be bound is a matter of the configuration.
fn bind_failed(address: SocketAddr, error: &std::io::Error) -> Ending {
    let exit = if error.kind() == std::io::ErrorKind::AddrInUse { 75 } else { 78 };
    let message =
        format!("[http] listen = \"{address}\" cannot be bound: {error}; free the address or choose another one there");
    Ending { exit, message }
}
