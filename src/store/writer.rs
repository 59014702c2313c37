//! Owns the writer thread: the only one that writes. It takes everything that is queued, runs each command in a
//! savepoint of one transaction, commits once, and only then answers. It waits for more only where nobody waits for it: a
//! verdict of a message that is over has a moment ([`COMPANY`]) to find company, which ends with the first other command. Else
//! the batch follows the load.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::claim::Drain;
use super::disk::Disk;
use super::purge::{self, Purge};
use super::readers::Read;
use super::{StoreError, sql};
use crate::clock::Timestamp;
use crate::{crash, metrics};

/// Commands that may wait; senders wait when it is full.
pub(super) const QUEUE: usize = 256;
/// Pages of 4 KiB in the WAL from which a reader copies them back: 16 MiB.
const CHECKPOINT_PAGES: i32 = 4_096;
/// Pages from which the writer does it itself: a reader cannot finish while the writer goes on, and the WAL would grow.
const FORCED_CHECKPOINT_PAGES: i32 = 4 * CHECKPOINT_PAGES;

/// How long verdicts alone wait for others before they are committed. The message has left, and its slot is free; what is
/// late by this is only the next one's leave to go once [`crate::channels::MAX_UNSETTLED`] are not on disk, so it is a small
/// part of the time in which a connection sends as many.
const COMPANY: Duration = Duration::from_millis(1);

/// What a command is, for the crash points and the idle purge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Accept,
    Settle,
    Other,
}

/// One command. It gets the writer inside an open transaction, or the error that kept it from being opened. What it
/// returns is called after COMMIT, with the error if the transaction was lost.
pub(super) struct Command {
    pub mark: Mark,
    pub work: Work,
}

/// See [`Command`].
pub(super) type Work = Box<dyn FnOnce(Result<&mut Writer, StoreError>) -> Answer + Send>;

/// How a command ended.
pub(super) struct Answer {
    /// Keep its writes; else they are rolled back alone.
    pub keep: bool,
    /// Tells the caller.
    pub tell: Box<dyn FnOnce(Option<StoreError>) + Send>,
}

/// Rows and bytes in the dead-letter table.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    pub rows: i64,
    pub bytes: i64,
}

/// The connection and what the writer remembers so that the hot statements need not ask.
pub(super) struct Writer {
    pub conn: Connection,
    pub disk: Disk,
    pub next_record: i64,
    pub next_message: i64,
    pub dead_letters: Usage,
    /// Per channel and lane: no free row is due earlier. Reset at maintenance and on any foreign change.
    pub bounds: HashMap<Arc<str>, [i64; 2]>,
    /// Messages claimed through this store and not yet settled.
    pub in_hand: HashSet<i64>,
    /// The suspect message in hand: nothing else is claimed beside it.
    pub suspect: Option<i64>,
    /// The channel whose suspects have waited so long that nobody claims until one of them got its turn, or it stops asking.
    pub drained_for: Option<Drain>,
    /// The worker of this very process, once it has registered.
    pub worker: Option<i64>,
    /// The last time a claim named.
    pub now: Timestamp,
    pub purge: Purge,
    version: Option<i64>,
    readers: mpsc::WeakSender<Read>,
    wal_pages: Arc<AtomicI32>,
}

impl Writer {
    /// Takes the connection over; nothing is read before the first command.
    pub(super) fn new(mut conn: Connection, path: &Path, readers: mpsc::WeakSender<Read>) -> Result<Self, StoreError> {
        let wal_pages = Arc::new(AtomicI32::new(0));
        let seen = wal_pages.clone();
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self {
            conn,
            disk: Disk::new(path),
            next_record: 1,
            next_message: 1,
            dead_letters: Usage::default(),
            bounds: HashMap::new(),
            in_hand: HashSet::new(),
            suspect: None,
            drained_for: None,
            worker: None,
            now: Timestamp::default(),
            purge: Purge::default(),
            version: None,
            readers,
            wal_pages,
        })
    }

    /// Runs until every sender is gone; the daemon, who holds the `lock`, then copies the WAL back, unless the store is
    /// `abandoned`.
    pub(super) fn serve(mut self, mut commands: mpsc::Receiver<Command>, lock: Option<File>, abandoned: &AtomicBool) {
        let mut queue = Vec::with_capacity(QUEUE);
        while let Some(command) = self.next(&mut commands) {
            queue.push(command);
            take_waiting(&mut queue, &mut commands);
            find_company(&mut queue, &mut commands, COMPANY);
            self.commit(&mut queue);
            self.checkpoint();
        }
        // A command beside a daemon leaves the WAL to the daemon.
        if lock.is_some()
            && !abandoned.load(Ordering::Relaxed)
            && let Err(error) = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            tracing::warn!(%error, "the last checkpoint failed; the WAL stays beside the store");
        }
        drop(self);
        drop(lock);
    }

    /// The next command; purges in slices while there is none.
    fn next(&mut self, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        loop {
            match commands.try_recv() {
                Ok(command) => return Some(command),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) if self.purge.is_done() => return commands.blocking_recv(),
                Err(mpsc::error::TryRecvError::Empty) => {
                    let mut slice = vec![purge::slice()];
                    self.commit(&mut slice);
                }
            }
        }
    }

    /// Runs everything in `queue` in one transaction, or in more when SQLite gives one up.
    fn commit(&mut self, queue: &mut Vec<Command>) {
        self.disk.refresh();
        let mut waiting = std::mem::take(queue).into_iter().peekable();
        while waiting.peek().is_some() {
            let started = Instant::now();
            metrics::store_batch_rows().record(f64::from(u32::try_from(waiting.len()).unwrap_or(u32::MAX)));
            let mut answers = Vec::with_capacity(waiting.len());
            let lost = self.transaction(&mut waiting, &mut answers).err();
            if let Some(error) = &lost {
                tracing::error!(%error, "the store's transaction failed");
                self.forget();
            }
            metrics::store_commit().record(started.elapsed().as_secs_f64());
            for answer in answers {
                (answer.tell)(lost.as_ref().map(StoreError::from));
            }
        }
        *queue = Vec::with_capacity(QUEUE);
    }

    /// BEGIN, each command in its savepoint, COMMIT. Stops early when an error made SQLite roll the whole transaction
    /// back (disk full, I/O error): what ran so far is lost, the rest is tried in a transaction of its own.
    fn transaction(
        &mut self,
        waiting: &mut impl Iterator<Item = Command>,
        answers: &mut Vec<Answer>,
    ) -> rusqlite::Result<()> {
        if let Err(error) = self.begin() {
            answers.extend(waiting.map(|command| (command.work)(Err(StoreError::from(&error)))));
            return Err(error);
        }
        let mut marks = (false, false);
        for command in waiting {
            marks.0 |= command.mark == Mark::Accept;
            marks.1 |= command.mark == Mark::Settle;
            sql::run(&self.conn, "SAVEPOINT command", &[])?;
            let answer = (command.work)(Ok(self));
            let keep = answer.keep;
            answers.push(answer);
            if self.conn.is_autocommit() {
                return Err(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK),
                    Some("rolled back by another command's error".into()),
                ));
            }
            if !keep {
                sql::run(&self.conn, "ROLLBACK TO command", &[])?;
            }
            sql::run(&self.conn, "RELEASE command", &[])?;
        }
        self.end(marks)
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        sql::run(&self.conn, "BEGIN IMMEDIATE", &[])?;
        let version = sql::first(&self.conn, "PRAGMA data_version", &[])?;
        if version != self.version {
            self.reload()?;
            self.version = version;
        }
        Ok(())
    }

    fn end(&mut self, (accept, settle): (bool, bool)) -> rusqlite::Result<()> {
        if accept {
            crash::at("accept_before_commit");
        }
        if settle {
            crash::at("settle_before_commit");
        }
        let committed = sql::run(&self.conn, "COMMIT", &[]);
        if committed.is_err() && !self.conn.is_autocommit() {
            sql::run(&self.conn, "ROLLBACK", &[])?;
        }
        committed?;
        if accept {
            crash::at("accept_after_commit");
        }
        if settle {
            crash::at("settle_after_commit");
        }
        Ok(())
    }

    /// Everything remembered may be wrong: read it again before the next command.
    fn forget(&mut self) {
        self.version = None;
        if !self.conn.is_autocommit()
            && let Err(error) = sql::run(&self.conn, "ROLLBACK", &[])
        {
            tracing::error!(%error, "cannot roll back");
        }
    }

    /// Reads what the writer remembers. Inside the transaction, so nobody can change it any more.
    fn reload(&mut self) -> rusqlite::Result<()> {
        let next = |text| -> rusqlite::Result<i64> { Ok(sql::first::<i64>(&self.conn, text, &[])?.unwrap_or(0) + 1) };
        let (record, message) = purge::tide(&self.conn)?;
        self.next_record = next(sql::LAST_RECORD)?.max(record);
        self.next_message = next(sql::LAST_MESSAGE)?.max(message);
        self.dead_letters = usage(&self.conn)?;
        let owned = sql::rows(&self.conn, sql::OWNED, &[], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        self.suspect = owned.iter().find(|(_, suspect)| *suspect > 0).map(|(message, _)| *message);
        self.in_hand = owned.into_iter().map(|(message, _)| message).collect();
        self.bounds.clear();
        Ok(())
    }

    /// A claim ended, however it did.
    pub(super) fn out_of_hand(&mut self, message: i64) {
        self.in_hand.remove(&message);
        if self.suspect == Some(message) {
            self.suspect = None;
        }
    }

    /// A free row became due at `due_at`: claims must look there again.
    pub(super) fn lower_bound(&mut self, channel: &str, lane: i64, due_at: Timestamp) {
        if let Some(bounds) = self.bounds.get_mut(channel)
            && let Some(bound) = usize::try_from(lane).ok().and_then(|lane| bounds.get_mut(lane))
        {
            *bound = (*bound).min(due_at.as_millis());
        }
    }

    /// Has the WAL copied back when it is long enough to matter.
    fn checkpoint(&mut self) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        if pages >= FORCED_CHECKPOINT_PAGES {
            if let Err(error) = super::readers::checkpoint(&self.conn) {
                tracing::warn!(%error, "checkpoint failed");
            }
            self.wal_pages.store(0, Ordering::Relaxed);
        } else if pages >= CHECKPOINT_PAGES
            && let Some(readers) = self.readers.upgrade()
            && let Ok(slot) = readers.try_reserve()
        {
            slot.send(Box::new(|conn| {
                if let Err(error) = super::readers::checkpoint(conn) {
                    tracing::warn!(%error, "checkpoint failed");
                }
            }));
        }
    }
}

/// Waits up to `limit` for more while there are only verdicts. Whoever sends anything else unparks this thread.
fn find_company(queue: &mut Vec<Command>, commands: &mut mpsc::Receiver<Command>, limit: Duration) {
    // The first takes back a call that was not waited for: it was meant for a wait that is over.
    for wait in [Duration::ZERO, limit] {
        if queue.iter().any(|command| command.mark != Mark::Settle) {
            return;
        }
        std::thread::park_timeout(wait);
        take_waiting(queue, commands);
    }
}

/// Adds what waits already.
fn take_waiting(queue: &mut Vec<Command>, commands: &mut mpsc::Receiver<Command>) {
    while queue.len() < QUEUE
        && let Ok(command) = commands.try_recv()
    {
        queue.push(command);
    }
}

/// Counts the dead letters; lengths are known without reading the bodies.
pub(super) fn usage(conn: &Connection) -> rusqlite::Result<Usage> {
    let usage = sql::rows(conn, "SELECT count(*), coalesce(sum(length(body)),0) FROM dead_letter", &[], |row| {
        Ok(Usage { rows: row.get(0)?, bytes: row.get(1)? })
    })?;
    Ok(usage.into_iter().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough that a wait to its end fails the test.
    const LONG: Duration = Duration::from_mins(1);

    fn command(mark: Mark) -> Command {
        Command { mark, work: Box::new(|_| Answer { keep: true, tell: Box::new(drop) }) }
    }

    #[test]
    fn a_verdict_that_waits_for_others_holds_up_no_other_command() {
        let (sender, mut commands) = mpsc::channel(QUEUE);
        let began = Instant::now();
        // A call for an earlier wait, which must not end this one: then the command would not be found.
        std::thread::current().unpark();
        let writer = std::thread::current();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            sender.try_send(command(Mark::Settle)).map_err(drop).unwrap();
            sender.try_send(command(Mark::Other)).map_err(drop).unwrap();
            writer.unpark();
        });
        let mut queue = vec![command(Mark::Settle)];
        find_company(&mut queue, &mut commands, LONG);
        other.join().unwrap();
        assert_eq!(queue.len(), 3);
        assert!(began.elapsed() < LONG / 2);
    }

    #[test]
    fn verdicts_alone_wait_for_each_other_and_not_for_ever() {
        let (_sender, mut commands) = mpsc::channel(QUEUE);
        let mut queue = vec![command(Mark::Settle)];
        let began = Instant::now();
        find_company(&mut queue, &mut commands, Duration::from_millis(20));
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert_eq!(queue.len(), 1);
    }
}
