//! Owns the start: from a configuration to a daemon that runs, or to the exit code that says why not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::parts::{self, Parts};
use super::revision::Revision;
use super::{App, Ended, reload};
use crate::channels::Permission;
use crate::channels::past::Logins;
use crate::clock::{BUILT, Clock, Timestamp};
use crate::config::{Config, Fault};
use crate::dispatch;
use crate::http::Ops;
use crate::intake::{Intake, Internal, Reader};
use crate::metrics;
use crate::shutdown::{Ending, Shutdown};
use crate::source;
use crate::store::{Lost, Store, StoreError};

/// What is refused as `too_old` is a day younger than what the ledger forgets: the margin for clocks and purges.
const FORGETTING_MARGIN: Duration = Duration::from_hours(24);

impl App {
    /// Builds and starts everything; whoever notifies `wanted` wants a reload. An error is the exit code and what the
    /// operator should do.
    pub async fn start(config: Config, shutdown: Shutdown, wanted: Arc<Notify>) -> Result<Self, Ending> {
        let clock = Clock::system();
        let recorder = metrics::install().map_err(|error| ending(1, &error))?;
        // What a file is at fault for is found before anything is made on disk.
        let logins = Logins::default();
        let Parts { people, composer, channels } =
            parts::build(&config, &[], &logins).map_err(|faults| at_fault(&faults))?;
        // The store's lock comes before the port: a second daemon of the same configuration is told whose store it is.
        let store = open(&config).await?;
        let ops = Ops::bind(config.http).await.map_err(|error| bind_failed(config.http, &error))?;
        let now = clock.now();
        let failed = |error: StoreError| store_failed(&error);
        let lost = store.lost().await.map_err(failed)?;
        // Before this process accounts for anything: the rows of one source must not make the store look used to another.
        for source in config.sources.iter().filter(|source| lost.concerns(&source.name)) {
            store.note_lost(&source.name).await.map_err(failed)?;
        }
        let since = rules_active_since(&config, &lost, now);
        let known = reload::known(&store, &config, now, since).await.map_err(failed)?;
        let worker = store.register(&host(), now).await.map_err(failed)?;
        // What a channel was left alone for is known no more: whatever was held for it is tried now.
        for channel in &config.channels {
            store.held_are_due(&channel.name, now).await.map_err(failed)?;
        }
        let (permission, permitted) = watch::channel(Permission::Go);
        let parts = dispatch::Parts {
            store: store.clone(),
            people,
            composer,
            dialects: config.dialects.clone(),
            rules: config.rule_ids(),
            clock: clock.clone(),
            worker,
            permission: permitted.clone(),
            shutdown: shutdown.clone(),
            unrecorded: Arc::default(),
        };
        metrics::build_info(env!("CARGO_PKG_VERSION")).set(1.0);
        let revision = Arc::new(Revision::new(config, channels, known, parts));
        revision.announce(now, None);
        let current = Arc::new(ArcSwap::new(revision.clone()));
        let instance = store.instance().await.map_err(failed)?;
        let intakes = intakes(&current, &lost, &instance)?;

        let (rest, rest_done) = (JoinSet::new(), CancellationToken::new());
        let (http, loops) = (ops.address(), JoinSet::new());
        let mut app = Self { store, clock, worker, logins, current, wanted, loops, rest, rest_done, shutdown };
        app.spawn_lanes(&revision.lanes);
        for (intake, handle) in intakes {
            let run = intake.run(handle);
            app.loops.spawn(async move {
                run.await;
                Ended::AtTheStop
            });
        }
        let internal = internal(&app.current);
        app.loops.spawn(async move {
            internal.run().await;
            Ended::AtTheStop
        });
        app.spawn_rest((ops, recorder), (permission, permitted));
        tracing::info!(%http, revision = revision.basis.revision, "running");
        Ok(app)
    }
}

/// Refuses a clock that was never set: every age, every wait and every `Date` would be wrong.
pub fn refuse_unset_clock(now: Timestamp) -> Result<(), String> {
    if now >= BUILT {
        return Ok(());
    }
    Err(format!("the system's clock shows {now}, before this program was built ({BUILT}): set it, then start again"))
}

async fn open(config: &Config) -> Result<Store, Ending> {
    let settings = config.store.clone();
    match tokio::task::spawn_blocking(move || Store::open(&settings, true)).await {
        Ok(store) => store.map_err(|error| store_failed(&error)),
        Err(_) => Err(Ending { exit: 1, message: "opening the store panicked".into() }),
    }
}

/// Since when a rule that is new counts as active. After `on_lost_store` was used to go on without the old store, the time
/// before counts too: the outage is what it is about.
fn rules_active_since(config: &Config, lost: &Lost, now: Timestamp) -> Timestamp {
    let goes_on =
        |source: &source::Settings| source.on_lost_store != source::OnLostStore::Refuse && lost.concerns(&source.name);
    if config.sources.iter().any(goes_on) { Timestamp::from_millis(0) } else { now }
}

/// How old by Kafka's time a record may be: those before are refused, since the ledger may have forgotten that they were
/// told.
#[must_use]
pub fn remembered(config: &Config) -> Duration {
    config.store.ledger.saturating_sub(FORGETTING_MARGIN)
}

/// The loops of the sources, which no reload changes. There is one daemon per store, so the store's name is the member's:
/// one that was killed takes its partitions up again at once, instead of waiting 45 s until the group has missed it.
fn intakes(
    current: &Arc<ArcSwap<Revision>>,
    lost: &Lost,
    instance: &str,
) -> Result<Vec<(Intake, source::Handle)>, Ending> {
    let revision = current.load_full();
    let dispatch::Parts { store, clock, shutdown, .. } = &revision.lanes.parts;
    let mut intakes = Vec::new();
    for mut settings in revision.config.sources.clone() {
        settings.kafka.entry("group.instance.id".to_owned()).or_insert_with(|| format!("auditbell-{instance}"));
        let reader = Reader { source: settings.name.clone(), remembered: remembered(&revision.config) };
        let lost = lost.concerns(&settings.name);
        let handle = source::start(settings, store.clone(), lost, clock.clone(), tokio::runtime::Handle::current())
            .map_err(|error| ending(78, &error))?;
        let current = current.clone();
        let basis = Arc::new(move || current.load().basis.clone());
        intakes.push((Intake::new(reader, basis, store.clone(), clock.clone(), shutdown.clone()), handle));
    }
    Ok(intakes)
}

/// The loop of our own records.
fn internal(current: &Arc<ArcSwap<Revision>>) -> Internal {
    let revision = current.load_full();
    let dispatch::Parts { store, clock, shutdown, .. } = &revision.lanes.parts;
    let current = current.clone();
    let basis = Arc::new(move || current.load().basis.clone());
    Internal::new(basis, store.clone(), clock.clone(), shutdown.clone())
}

/// The worker's name in the store, for people.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{name}:{}", std::process::id())
}

fn ending(exit: u8, error: &anyhow::Error) -> Ending {
    Ending { exit, message: format!("{error:#}") }
}

fn at_fault(faults: &[Fault]) -> Ending {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    Ending { exit: 78, message: lines.join("\n") }
}

fn store_failed(error: &StoreError) -> Ending {
    let exit = match error {
        StoreError::Damaged(_) => 74,
        StoreError::Busy(_) | StoreError::Other(_) => 75,
        StoreError::Refused(_) => 78,
    };
    Ending { exit, message: format!("{error:#}") }
}

/// A port that is taken may be free again soon; an address that cannot be bound is a matter of the configuration.
fn bind_failed(address: SocketAddr, error: &std::io::Error) -> Ending {
    let exit = if error.kind() == std::io::ErrorKind::AddrInUse { 75 } else { 78 };
    let message =
        format!("[http] listen = \"{address}\" cannot be bound: {error}; free the address or choose another one there");
    Ending { exit, message }
}
