//! Owns what must survive a crash: positions, the ledger of notifications, messages and what is due.
//!
//! One writer thread commits in groups, two readers load and list. A [`Store`] is a handle to them; every method answers
//! after the commit. The tables are in `migrations/`, the promises in `docs/store.md`.

mod accept;
mod batch;
mod brake;
pub mod check;
mod claim;
mod disk;
mod internal;
mod ledger;
mod load;
mod lock;
mod lost;
mod message;
mod meta;
pub mod operate;
mod origin;
mod position;
mod purge;
mod readers;
mod refused;
mod settle;
mod sql;
mod sqlite;
mod upkeep;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Notify, mpsc, oneshot};

pub use batch::{AcceptError, Accepted, Batch, DeadLetter, Fence, Planned, Trip};
pub use claim::Room;
pub use lock::holder;
pub use lost::Lost;
pub use message::{Claim, Escalation, FinalState, Loaded, LoadedRecord, RECORDS, Settle, Settled, State};
pub use position::{Placement, PositionRow};
pub use upkeep::Upkeep;

use crate::clock::Timestamp;
use readers::Read;
use writer::{Answer, Command, Mark, Writer};

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The SQLite file.
    pub path: PathBuf,
    /// How long ids and verdicts are kept.
    pub ledger: Duration,
    /// How long record and message bodies are kept.
    pub content: Duration,
}

/// What can go wrong with the store itself.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Damaged or its disk fails: stop, exit 74.
    #[error("{0}")]
    Damaged(String),
    /// Locked by another daemon, exit 75.
    #[error("{0}")]
    Busy(String),
    /// Not ours, newer, too old a SQLite, a network file system: exit 78.
    #[error("{0}")]
    Refused(String),
    /// Anything else; the same call may work later.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// The store: a handle to the writer and reader threads. Cheap to clone; dropping the last clone ends the threads and
/// waits for them.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    /// Taken out when the store is closed: the threads end when they have done what is queued.
    senders: Mutex<Option<(mpsc::Sender<Command>, mpsc::Sender<Read>)>>,
    expired: Mutex<upkeep::Cursor>,
    /// A record of ours was written.
    told: Notify,
    refused: refused::Suspects,
    writer: Thread,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The WAL is not to be copied back at the end.
    abandoned: Arc<AtomicBool>,
}

impl Shared {
    /// Ends the threads. Blocks while they finish what is queued.
    fn end(&self) {
        drop(self.senders.lock().unwrap_or_else(PoisonError::into_inner).take());
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.end();
    }
}

impl Store {
    /// What [`Self::open`] would refuse before it makes anything: no directory, a network disk, another program's file.
    pub fn examine(settings: &Settings) -> Result<(), StoreError> {
        sqlite::examine(&settings.path)
    }

    /// Opens (and migrates) the file. With `daemon` it takes the lock that only one daemon may have.
    /// Blocking; call it before the runtime is busy or inside `spawn_blocking`.
    pub fn open(settings: &Settings, daemon: bool) -> Result<Self, StoreError> {
        let path = &settings.path;
        sqlite::examine(path)?;
        let lock = daemon.then(|| lock::take(path)).transpose()?;
        let conn = sqlite::create_or_open(path, daemon)?;
        let (write, commands) = mpsc::channel(writer::QUEUE);
        let (read, reads) = mpsc::channel(readers::QUEUE);
        let refused = refused::Suspects::load(&conn).map_err(StoreError::from)?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let seen = abandoned.clone();
        let writer = Writer::new(conn, path, read.downgrade())?;
        let thread = std::thread::Builder::new().name("store-writer".into());
        let thread = thread.spawn(move || writer.serve(commands, lock, &seen)).map_err(anyhow::Error::from)?;
        let store = Self {
            shared: Arc::new(Shared {
                settings: settings.clone(),
                senders: Mutex::new(Some((write, read))),
                expired: Mutex::default(),
                told: Notify::new(),
                refused,
                writer: thread.thread().clone(),
                threads: Mutex::new(vec![thread]),
                abandoned,
            }),
        };
        let reads = Arc::new(Mutex::new(reads));
        for _ in 0..readers::THREADS {
            let thread = readers::spawn(sqlite::reader(path)?, reads.clone()).map_err(anyhow::Error::from)?;
            store.shared.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(store)
    }

    /// All positions of a source.
    pub async fn positions(&self, source: &str) -> Result<Vec<PositionRow>, StoreError> {
        let source = source.to_owned();
        self.read(move |conn| position::of_source(conn, &source)).await
    }

    /// Writes first rows, or moves rows as the start table decided: compare-and-swap on what it decided from. A row that
    /// somebody else wrote meanwhile stays; read the positions again afterwards.
    pub async fn place(
        &self,
        source: &str,
        cluster: &str,
        rows: &[Placement],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (source, cluster, mut rows) = (source.to_owned(), cluster.to_owned(), rows.to_vec());
        rows.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        self.write(Mark::Other, move |w| position::place(&w.conn, &source, &cluster, &rows, now)).await
    }

    /// First time each rule was active; `since` for rules not yet there, and for all where it is 0: the store was lost, and a
    /// start that was refused for it may have written them. Returns all.
    pub async fn rules_seen(
        &self,
        rules: &[Arc<str>],
        since: Timestamp,
    ) -> Result<Vec<(Arc<str>, Timestamp)>, StoreError> {
        let rules = rules.to_vec();
        self.write(Mark::Other, move |w| position::rules_seen(&w.conn, &rules, since)).await
    }

    /// When each rule that ever matched a record did so last, by acceptance.
    pub async fn last_matches(&self) -> Result<Vec<(Arc<str>, Timestamp)>, StoreError> {
        self.read(position::last_matches).await
    }

    /// The revision of this config hash, a new one where it is new.
    pub async fn config_revision(&self, hash: [u8; 32], now: Timestamp) -> Result<i64, StoreError> {
        self.write(Mark::Other, move |w| position::config_revision(&w.conn, &hash, now)).await
    }

    /// Registers a worker and frees the claims of all others on SQLite (there is one daemon): suspect + 1. Where the last of
    /// them was seen later than `now`, the clock was set back since: [`Self::clock_stepped_back`].
    pub async fn register(&self, name: &str, now: Timestamp) -> Result<i64, StoreError> {
        let name = name.to_owned();
        // 63 random bits; 0 means "nobody".
        let random = getrandom::u64().map_err(anyhow::Error::from)?;
        let worker = i64::try_from(random >> 1).unwrap_or(i64::MAX).max(1);
        self.write(Mark::Other, move |w| claim::register(w, worker, &name, now)).await?;
        Ok(worker)
    }

    /// I am alive. `false`: this worker was declared dead and its claims are void; register again.
    pub async fn heartbeat(&self, worker: i64, now: Timestamp) -> Result<bool, StoreError> {
        self.write(Mark::Other, move |w| claim::heartbeat(w, worker, now)).await
    }

    /// Deletes the worker's row, and keeps when it went. Claims it still holds go back untouched.
    pub async fn unregister(&self, worker: i64, now: Timestamp) -> Result<(), StoreError> {
        self.write(Mark::Other, move |w| claim::unregister(w, worker, now)).await
    }

    /// As many due rows as there is room for, urgent lane first. A suspect row is given out alone, when nothing else is in hand.
    pub async fn claim(
        &self,
        channel: &str,
        worker: i64,
        now: Timestamp,
        room: impl Into<Room>,
    ) -> Result<Vec<Claim>, StoreError> {
        let (channel, room): (Arc<str>, Room) = (channel.into(), room.into());
        self.write(Mark::Other, move |w| claim::claim(w, &channel, worker, now, room)).await
    }

    /// The claimed messages with their records, in the order given; final ones are dropped from `due` and left out.
    pub async fn load(&self, claims: Vec<Claim>) -> Result<Vec<Loaded>, StoreError> {
        let load::Window { loaded, finished } = self.read(move |conn| load::load(conn, claims)).await?;
        if !finished.is_empty() {
            let messages: Vec<i64> = finished.into_iter().map(|claim| claim.message).collect();
            self.write(Mark::Other, move |w| Ok::<_, StoreError>(upkeep::drop_finished(w, &messages)?)).await?;
        }
        Ok(loaded)
    }

    /// When this channel's next row can be claimed. Rows in hand do not count: settling them is the caller's own event.
    pub async fn next_due(&self, channel: &str) -> Result<Option<Timestamp>, StoreError> {
        let channel: Arc<str> = channel.into();
        self.write(Mark::Other, move |w| claim::next_due(w, &channel)).await
    }

    /// Writes one verdict (group commit with whatever waits). `false`: the claim was no longer ours (or, for `Sent`, it
    /// was sent before), nothing was written.
    pub async fn settle(&self, settle: Settle) -> Result<bool, StoreError> {
        let tells = matches!(settle.outcome, Settled::Never { record: Some(_), .. });
        let refused = settle.refused_until.and_then(|_| Some((settle.claim.channel.clone(), settle.address.clone()?)));
        let written = self.write(Mark::Settle, move |w| settle::settle(w, &settle)).await?;
        if let Some((channel, address)) = refused.filter(|_| written) {
            self.shared.refused.add(&channel, &address);
        }
        if tells {
            self.shared.told.notify_one();
        }
        Ok(written)
    }

    /// Gives claims back untouched (attempt − 1, same due time), those that are still ours.
    pub async fn release(&self, claims: Vec<Claim>) -> Result<(), StoreError> {
        self.write(Mark::Other, move |w| claim::release(w, &claims)).await
    }

    /// Frees the claim of a delivery that panicked, and makes its message suspect. `false`: it was no longer ours.
    pub async fn blame(&self, claim: Claim, now: Timestamp) -> Result<bool, StoreError> {
        self.write(Mark::Other, move |w| claim::blame(w, &claim, now)).await
    }

    /// Free rows past their end, claimed for `worker`: load them, and settle each with `Never { state: Expired, … }`. Looks at
    /// a slice of what is due; call it beside `maintain`. Leaves out the channels that are `claimed` from: their rows expire when they
    /// are claimed.
    pub async fn expired(
        &self,
        worker: i64,
        claimed: &[Arc<str>],
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Claim>, StoreError> {
        let claimed = claimed.to_vec();
        let cursor = self.shared.expired.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (found, next) = self.read(move |conn| upkeep::expired(conn, &cursor, &claimed, now, limit)).await?;
        *self.shared.expired.lock().unwrap_or_else(PoisonError::into_inner) = next;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        self.write(Mark::Other, move |w| claim::claim_rows(w, worker, now, &found)).await
    }

    /// Frees claims of workers unseen for 30 s, purges a slice (and goes on when idle), copies the WAL back, reads gauges.
    /// Call it every 5 s, after the heartbeat.
    pub async fn maintain(&self, now: Timestamp) -> Result<Upkeep, StoreError> {
        let is_due = move |w: &mut Writer| {
            claim::void_unseen(w, now)?;
            w.bounds.clear();
            w.disk.keep_reserve();
            purge::work(w)?;
            Ok::<_, StoreError>((w.purge.is_due(now), w.disk.free))
        };
        let (is_due, free_bytes) = self.write(Mark::Other, is_due).await?;
        if is_due {
            let Settings { ledger, content, .. } = self.shared.settings;
            let plan = self.read(move |conn| purge::plan(conn, ledger, content, now)).await?;
            let begin = move |w: &mut Writer| {
                purge::note(w)?;
                w.purge.begin(plan, now);
                Ok::<_, StoreError>(())
            };
            self.write(Mark::Other, begin).await?;
        }
        let mut upkeep = self.read(upkeep::gauges).await?;
        self.read(readers::checkpoint).await?;
        upkeep.free_bytes = free_bytes;
        upkeep.bytes = sqlite::bytes(&self.shared.settings.path);
        Ok(upkeep)
    }

    /// The clock went back by more than a minute: rows that wait for a retry are due a minute from `now`.
    pub async fn clock_stepped_back(&self, now: Timestamp) -> Result<(), StoreError> {
        self.write(Mark::Other, move |w| Ok::<_, StoreError>(upkeep::clock_stepped_back(w, now)?)).await
    }

    /// Are the threads alive? A store without them never answers well again.
    pub fn is_alive(&self) -> bool {
        let senders = self.shared.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.as_ref().is_some_and(|(write, read)| !write.is_closed() && !read.is_closed())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.shared.settings.path
    }

    /// As [`Self::close`], but without a checkpoint: what is damaged is left as it is.
    pub async fn abandon(self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
        self.close().await;
    }

    /// Checkpoint and close; waits for the threads. Other clones get errors from now on.
    pub async fn close(self) {
        if tokio::task::spawn_blocking(move || self.shared.end()).await.is_err() {
            tracing::error!("closing the store panicked");
        }
    }

    /// Runs `work` in the writer's next transaction; answers after COMMIT. An error rolls back what `work` wrote, alone.
    async fn write<T, E, F>(&self, mark: Mark, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Writer) -> Result<T, E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work = move |writer: Result<&mut Writer, StoreError>| {
            let result = writer.map_err(E::from).and_then(work);
            let keep = result.is_ok();
            let tell = move |lost: Option<StoreError>| {
                // A caller that went away does not want the answer.
                let _ = reply.send(match lost {
                    Some(error) => result.and(Err(error.into())),
                    None => result,
                });
            };
            Answer { keep, tell: Box::new(tell) }
        };
        let (senders, _) = self.senders()?;
        senders.send(Command { mark, work: Box::new(work) }).await.map_err(|_| closed())?;
        if mark != Mark::Settle {
            self.shared.writer.unpark(); // it may wait for company
        }
        answer.await.map_err(|_| closed())?
    }

    /// Runs `work` on a reader.
    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read = move |conn: &Connection| {
            // A caller that went away does not want the answer.
            let _ = reply.send(work(conn));
        };
        let (_, senders) = self.senders()?;
        senders.send(Box::new(read)).await.map_err(|_| closed())?;
        Ok(answer.await.map_err(|_| closed())??)
    }

    fn senders(&self) -> Result<(mpsc::Sender<Command>, mpsc::Sender<Read>), StoreError> {
        self.shared.senders.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)
    }
}

fn closed() -> StoreError {
    StoreError::Other(anyhow::anyhow!("the store is closed"))
}
