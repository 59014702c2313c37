//! Owns the reader threads: loads, lists and checkpoints, so that the writer only writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::mpsc;

/// Reads that may wait; senders wait when it is full.
pub(super) const QUEUE: usize = 64;
/// Threads, each with its connection.
pub(super) const THREADS: usize = 2;

/// One read; it answers its caller itself.
pub(super) type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Starts one reader on `conn`; it ends when every sender is gone.
pub(super) fn spawn(conn: Connection, queue: Arc<Mutex<mpsc::Receiver<Read>>>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("store-reader".into()).spawn(move || {
        loop {
            // Whoever waits holds the lock; the other reader is then working, or waits for the lock.
            let read = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
            match read {
                Some(read) => read(&conn),
                None => return,
            }
        }
    })
}

/// Copies the WAL back as far as nobody still reads it.
pub(super) fn checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
