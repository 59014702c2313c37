//! `status`: how things stand. The store tells most of it, the brokers tell the lag, and what only the daemon knows (holds,
//! open channels, the configuration that runs) is read from its `/metrics`. Whoever does not answer is said to, and the rest is
//! told all the same.

mod live;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::store::with;
use super::{Options, Output, out};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::source::{self, Extent};
use crate::store;
use crate::store::operate::{Queue, Revision, Standing};
use live::{Held, Live, Paused};

/// How long the brokers of one source may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Arguments of `status`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
}

/// How things stand.
#[derive(Serialize)]
struct Status {
    daemon: Daemon,
    config: Configuration,
    partitions: Vec<Followed>,
    /// Sources that are held; null: the daemon did not tell.
    held: Option<Vec<Held>>,
    channels: Vec<ChannelStanding>,
    dead_letters: i64,
    store: Space,
}

#[derive(Serialize)]
struct Daemon {
    /// Its process id; null: none runs.
    process: Option<i32>,
    worker: Option<String>,
    seen_at: Option<Timestamp>,
    /// Since the worker's last heartbeat.
    age_seconds: Option<u64>,
    /// Why it did not tell what only it knows; null: it did.
    silent: Option<String>,
}

#[derive(Serialize)]
struct Configuration {
    /// Of the file; null: no daemon has run it.
    revision: Option<i64>,
    /// When it was first taken over.
    at: Option<Timestamp>,
    /// Is it what the daemon runs? Null: the daemon did not tell.
    runs: Option<bool>,
}

#[derive(Serialize)]
struct Followed {
    source: Arc<str>,
    topic: Arc<str>,
    partition: i32,
    next: i64,
    /// Messages between our position and the end; null: the broker did not answer.
    lag: Option<i64>,
    /// Bad messages in a row.
    bad: u32,
    accepted_at: Timestamp,
}

#[derive(Serialize)]
struct ChannelStanding {
    channel: Arc<str>,
    configured: bool,
    /// Why nothing is sent; null: it is, or nobody tells.
    open: Option<String>,
    /// Until when nothing is begun (of `rate`: nothing that is not urgent), and why; null: no pause, or nobody tells.
    paused: Option<Paused>,
    queues: Vec<Queue>,
}

#[derive(Serialize)]
struct Space {
    bytes: u64,
    free_bytes: u64,
}

/// Prints how things stand; with a daemon and without one.
pub(crate) fn run(args: &Args) -> ExitCode {
    status(&args.options).unwrap_or_else(|code| code)
}

fn status(options: &Options) -> Result<ExitCode, ExitCode> {
    let config = options.file.load()?;
    let hash = config.hash;
    let standing = with(&config, |store| async move { store.standing(hash).await })?;
    let process = store::holder(&config.store).unwrap_or_else(|error| {
        eprintln!("{error}");
        None
    });
    let live = match process {
        Some(_) => live::ask(config.http),
        None => Err("no daemon runs".to_owned()),
    };
    let status = Status::new(&config, standing, process, live);
    match options.output {
        Output::Json => out::json(&status),
        Output::Text => status.print(),
    }
    Ok(ExitCode::SUCCESS)
}

impl Status {
    fn new(config: &Config, standing: Standing, process: Option<i32>, live: Result<Live, String>) -> Self {
        let Standing { positions, queues, dead_letters, workers, revision, bytes, free_bytes } = standing;
        let worker = workers.into_iter().next();
        let now = Clock::system().now();
        let (live, silent) = match live {
            Ok(live) => (Some(live), None),
            Err(why) => (None, Some(why)),
        };
        let daemon = Daemon {
            process,
            age_seconds: worker.as_ref().map(|worker| now.since(worker.seen_at).as_secs()),
            seen_at: worker.as_ref().map(|worker| worker.seen_at),
            worker: worker.map(|worker| worker.name),
            silent,
        };
        let (revision, at) = revision.map(|Revision { revision, at }| (revision, at)).unzip();
        Self {
            daemon,
            config: Configuration { revision, at, runs: live.as_ref().map(|live| live.runs(config.hash)) },
            partitions: partitions(config, positions),
            held: live.as_ref().map(|live| live.held.clone()),
            channels: channels(config, queues, live.as_ref()),
            dead_letters,
            store: Space { bytes, free_bytes },
        }
    }

    fn print(&self) {
        let Self { daemon, config, .. } = self;
        match (daemon.process, &daemon.worker, daemon.age_seconds) {
            (None, _, _) => outln!("daemon: none runs on this store"),
            (Some(pid), Some(worker), Some(age)) => outln!("daemon: process {pid}, worker {worker} seen {age} s ago"),
            (Some(pid), _, _) => outln!("daemon: process {pid}, no worker yet"),
        }
        if let (Some(_), Some(why)) = (daemon.process, &daemon.silent) {
            outln!("  it does not tell holds and open channels: {why}");
        }
        match (config.revision, config.at) {
            (Some(revision), Some(at)) => outln!("config: revision {revision}, first taken over {at}"),
            _ => outln!("config: no daemon has run it yet"),
        }
        if config.runs == Some(false) {
            outln!("  the daemon runs another one: `auditbell reload`");
        }
        for Followed { source, topic, partition, next, lag, bad, accepted_at } in &self.partitions {
            let lag = lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
            outln!("{source}:{topic}:{partition} next={next} lag={lag} bad={bad} accepted_at={accepted_at}");
        }
        for Held { source, reason } in self.held.iter().flatten() {
            outln!("held: source {source}: {reason}");
        }
        for ChannelStanding { channel, configured, open, paused, queues } in &self.channels {
            let gone = if *configured { "" } else { " (not in the configuration: `messages move`)" };
            outln!("channel {channel}{gone}");
            if let Some(why) = open {
                outln!("  does not work: {why}");
            }
            if let Some(Paused { until, reason }) = paused {
                outln!("  pauses until {until}: {reason}");
            }
            for Queue { state, messages, oldest, .. } in queues {
                let oldest = oldest.map_or_else(|| "-".to_owned(), |oldest| oldest.to_string());
                outln!("  {state}: {messages}, oldest {oldest}");
            }
        }
        outln!("dead letters: {}", self.dead_letters);
        outln!("store: {} bytes, {} bytes free", self.store.bytes, self.store.free_bytes);
    }
}

/// By source and partition.
type Extents = BTreeMap<(Arc<str>, (Arc<str>, i32)), Extent>;

/// Every partition with its lag, as far as its source is configured and its brokers answer.
fn partitions(config: &Config, positions: Vec<store::PositionRow>) -> Vec<Followed> {
    let mut extents: Extents = BTreeMap::new();
    for settings in &config.sources {
        let of_it = positions.iter().filter(|row| row.source == settings.name);
        let keys: Vec<(Arc<str>, i32)> = of_it.map(|row| (row.topic.clone(), row.partition)).collect();
        if keys.is_empty() {
            continue;
        }
        match source::extents(settings, &keys, LIMIT) {
            Ok(found) => extents.extend(found.into_iter().map(|(key, extent)| ((settings.name.clone(), key), extent))),
            Err(error) => eprintln!("lag of [source.{}]: {error:#}", settings.name),
        }
    }
    let partition = |row: store::PositionRow| {
        let extent = extents.get(&(row.source.clone(), (row.topic.clone(), row.partition)));
        Followed {
            lag: extent.map(|extent| (extent.high - row.next).max(0)),
            source: row.source,
            topic: row.topic,
            partition: row.partition,
            next: row.next,
            bad: row.bad,
            accepted_at: row.at,
        }
    };
    positions.into_iter().map(partition).collect()
}

/// Those of the configuration in its order, then those that are gone and still have messages.
fn channels(config: &Config, queues: Vec<Queue>, live: Option<&Live>) -> Vec<ChannelStanding> {
    let mut by_channel: BTreeMap<Arc<str>, Vec<Queue>> = BTreeMap::new();
    for queue in queues {
        by_channel.entry(queue.channel.clone()).or_default().push(queue);
    }
    let mut all = Vec::new();
    for name in config.channels.iter().map(|channel| channel.name.clone()) {
        let queues = by_channel.remove(&name).unwrap_or_default();
        let open = live.and_then(|live| live.open.get(&*name).cloned());
        let paused = live.and_then(|live| live.paused.get(&*name).cloned());
        all.push(ChannelStanding { channel: name, configured: true, open, paused, queues });
    }
    let gone = |(channel, queues)| ChannelStanding { channel, configured: false, open: None, paused: None, queues };
    all.extend(by_channel.into_iter().map(gone));
    all
}
