//! Owns loop 1: envelopes in, one transaction per batch, the position with it. Intake never waits for the outside world,
//! and never names dispatch: they meet in the store, and in a wake-up.
//!
//! One batch is being accepted while the next is being read; they are accepted in order. What the fence starts from is
//! what this reader last saw accepted ([`Positions`]), so nothing is assumed that the store has not said. What it decides by
//! ([`Basis`]) is asked for once per hand-over of the source, so that every batch is decided wholly by one revision.

mod accept;
mod internal;
mod positions;
mod read;
mod replay;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

pub use internal::Internal;
pub use read::{Basis, Reader};
pub use replay::replay;

use crate::clock::Clock;
use crate::shutdown::Shutdown;
use crate::source::{Command, Commands, Event, Handle};
use crate::store::{Batch, Fence, Store};

use accept::{Accepter, Outcome};
use positions::Positions;
use read::{Message, Tally};

/// Dead letters with which a batch is full. What one message may add (65,536, [`crate::record::envelope`]) besides still
/// fits into the empty table of 100,000: a batch that never fits would be offered for ever, whatever is discarded.
const LETTERS: usize = 10_000;

/// What is decided by now; a reload changes the answer.
pub type Current = Arc<dyn Fn() -> Arc<Basis> + Send + Sync>;

/// One source's loop.
pub struct Intake {
    reader: Reader,
    clock: Clock,
    shutdown: Shutdown,
    accepter: Accepter,
    positions: Positions,
    /// Read and not yet handed to the store, in order.
    waiting: VecDeque<Message>,
    current: Current,
    /// What decided of `waiting`.
    basis: Arc<Basis>,
}

/// What is going on with the store: a batch, or the wait for an operator.
type Busy = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Intake {
    /// The loop of the source that `reader` reads.
    pub fn new(reader: Reader, current: Current, store: Store, clock: Clock, shutdown: Shutdown) -> Self {
        let accepter = Accepter::new(reader.source.clone(), store, clock.clone(), shutdown.clone());
        let (positions, waiting, basis) = (Positions::default(), VecDeque::new(), current());
        Self { reader, clock, shutdown, accepter, positions, waiting, current, basis }
    }

    /// Runs until the order to stop or the end of the source; then what is being accepted is finished, what is only read is
    /// left for the next start, and the source leaves its group.
    pub async fn run(mut self, mut source: Handle) {
        let commands = source.commands();
        let mut busy: Option<Busy> = None;
        loop {
            if busy.is_none() {
                busy = self.submit(&commands);
            }
            tokio::select! {
                biased;
                outcome = finished(&mut busy) => {
                    busy = None;
                    if matches!(outcome, Outcome::Stopped) {
                        // Its messages are in hand no more, and the position is before them. Whatever waits behind them must
                        // not be handed over: its fence would begin at that position and pass over what was not written.
                        break;
                    }
                    self.settle(outcome, &commands).await;
                }
                () = self.shutdown.soft().cancelled() => break,
                event = source.events.recv(), if self.waiting.is_empty() => {
                    let Some(event) = event else {
                        self.shutdown.fail(1, format!("the Kafka thread of source {} died", self.reader.source));
                        break;
                    };
                    self.take(event);
                }
            }
        }
        if let Some(last) = busy {
            let outcome = last.await;
            self.settle(outcome, &commands).await;
        }
        source.stop().await;
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Assigned { topic, partition, next, bad } => self.positions.assign(topic, partition, next, bad),
            Event::Revoked { topic, partition } => self.positions.revoke(&topic, partition),
            Event::Envelopes(envelopes) => {
                let now = self.clock.now();
                // Nothing waits here, or nothing would have been taken: what was decided by another basis is on its way.
                self.basis = (self.current)();
                let read = |envelope| self.reader.read(&self.basis, envelope, now);
                self.waiting.extend(envelopes.iter().map(read));
            }
            Event::Fatal { exit, message } => self.shutdown.fail(exit, message),
        }
    }

    /// Hands what waits to the store, up to the message at which a partition's run of bad ones is too long, or all dead
    /// letters together are too many.
    fn submit(&mut self, commands: &Commands) -> Option<Busy> {
        if let Some(blocked) = self.positions.blocked() {
            return Some(Box::pin(self.accepter.clone().operator(blocked, commands.clone())));
        }
        let mut fences = self.positions.fences(&self.reader.source);
        let (mut messages, mut letters) = (Vec::new(), 0);
        while let Some(message) = self.waiting.pop_front() {
            if fences.pass(&message) {
                letters += message.dead_letters.len();
                let full = fences.is_blocked(&message) || letters >= LETTERS;
                messages.push(message);
                if full {
                    break;
                }
            }
        }
        if messages.is_empty() {
            return None;
        }
        let mut batch = Batch { fences: fences.into_moves(), config: self.basis.revision, ..Batch::default() };
        let mut tally = Tally::default();
        for message in messages {
            batch.records.extend(message.planned);
            batch.dead_letters.extend(message.dead_letters);
            tally.add(message.tally);
        }
        Some(Box::pin(self.accepter.clone().accept(batch, tally, self.basis.clone(), Some(commands.clone()))))
    }

    /// Takes over what the store said.
    async fn settle(&mut self, outcome: Outcome, commands: &Commands) {
        let command = |command| async {
            if commands.send(command).await.is_err() {
                tracing::debug!("the source has ended; its command is void");
            }
        };
        match outcome {
            Outcome::Accepted { fences } => {
                for fence in fences {
                    self.positions.moved(&fence);
                    let (topic, partition, next) = (fence.topic, fence.partition, fence.to);
                    command(Command::Accepted { topic, partition, next }).await;
                }
            }
            Outcome::Fenced { fences } => {
                // What is in hand of these goes; the source says where to go on with a new `Assigned`. To keep a partition
                // of a batch that was not written would be to pass over its messages.
                for Fence { topic, partition, .. } in fences {
                    self.positions.revoke(&topic, partition);
                    command(Command::Reseek { topic, partition }).await;
                }
            }
            Outcome::Released { topic, partition } => self.positions.release(&topic, partition),
            Outcome::Stopped => {}
        }
    }
}

/// Waits for what is under way; for ever when nothing is.
async fn finished(busy: &mut Option<Busy>) -> Outcome {
    match busy {
        Some(busy) => busy.await,
        None => std::future::pending().await,
    }
}
