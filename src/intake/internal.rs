//! Owns the intake of our own records: what settling and the channels wrote into the store, planned by the rules of now. The
//! fence is the deletion of the rows, so a restart between the writing and the planning loses nothing and tells nothing
//! twice.

use std::time::Duration;

use super::Current;
use super::accept::{Accepter, Outcome};
use super::read::{self, Tally};
use crate::clock::Clock;
use crate::crash;
use crate::record::own;
use crate::shutdown::Shutdown;
use crate::store::{Batch, Store};

/// Most records of one transaction.
const ROWS: usize = 256;
/// How often the store is looked at although nothing woke us: a command on the command line may have written one.
const LOOK: Duration = Duration::from_secs(2);

/// The loop of source `auditbell`.
pub struct Internal {
    store: Store,
    clock: Clock,
    shutdown: Shutdown,
    accepter: Accepter,
    current: Current,
}

impl Internal {
    /// The one loop of a daemon.
    pub fn new(current: Current, store: Store, clock: Clock, shutdown: Shutdown) -> Self {
        let accepter = Accepter::new(own::SOURCE.into(), store.clone(), clock.clone(), shutdown.clone());
        Self { store, clock, shutdown, accepter, current }
    }

    /// Runs until the order to stop.
    pub async fn run(self) {
        let soft = self.shutdown.soft().clone();
        while !soft.is_cancelled() {
            if !self.turn().await {
                tokio::select! {
                    () = soft.cancelled() => {}
                    () = self.store.told_more() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        }
    }

    /// Accounts for the oldest rows; `false`: there was nothing to do, or it could not be done now.
    async fn turn(&self) -> bool {
        let rows = match self.store.told(ROWS).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "our own records could not be read; trying again");
                return false;
            }
        };
        if rows.is_empty() {
            return false;
        }
        crash::at("before_internal");
        let (now, basis) = (self.clock.now(), (self.current)());
        let internal = rows.iter().map(|(id, _)| *id).collect();
        let mut batch = Batch { internal, config: basis.revision, ..Batch::default() };
        let mut tally = Tally::default();
        for (id, body) in &rows {
            let message = read::own(&basis, *id, body, now);
            batch.records.extend(message.planned);
            tally.add(message.tally);
        }
        matches!(self.accepter.clone().accept(batch, tally, basis, None).await, Outcome::Accepted { .. })
    }
}
