//! Owns the acting half of intake: a batch to the store, again until it holds, and what is counted then.

use std::sync::Arc;
use std::time::Duration;

use super::positions::BAD_LIMIT;
use super::read::{Basis, Tally};
use crate::clock::{Clock, Timestamp};
use crate::shutdown::Shutdown;
use crate::source::{Command, Commands};
use crate::store::{AcceptError, Accepted, Batch, Fence, Store, StoreError, Trip};
use crate::{crash, metrics};

/// The first pause after a failure; it doubles up to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MOST: Duration = Duration::from_secs(10);
/// A failure that is gone after so many tries was a hiccup; only a longer one holds the source.
const TRIES_BEFORE_HOLD: u32 = 5;
/// How often we look whether an operator has released a held source.
const OPERATOR: Duration = Duration::from_secs(2);

/// What became of a batch.
pub(super) enum Outcome {
    /// It is in the store, and the positions are at the fences' ends.
    Accepted { fences: Vec<Fence> },
    /// Somebody else moved a position; nothing of the batch was written, so all its partitions are read again.
    Fenced { fences: Vec<Fence> },
    /// An operator has looked at the bad messages of this partition.
    Released { topic: Arc<str>, partition: i32 },
    /// We are stopping; nothing was written.
    Stopped,
}

/// Cheap to clone; one future owns one.
#[derive(Clone)]
pub(super) struct Accepter {
    source: Arc<str>,
    store: Store,
    clock: Clock,
    shutdown: Shutdown,
}

impl Accepter {
    pub fn new(source: Arc<str>, store: Store, clock: Clock, shutdown: Shutdown) -> Self {
        Self { source, store, clock, shutdown }
    }

    /// Offers `batch`, decided by `basis`, to the store until it holds. While it does not, the source is held and says
    /// why. `commands`: to the source; our own records have none, they wait in the store itself.
    pub async fn accept(self, batch: Batch, tally: Tally, basis: Arc<Basis>, commands: Option<Commands>) -> Outcome {
        let mut held = Held::new(commands);
        let mut pause = PAUSE;
        let mut tries = 0;
        let outcome = loop {
            crash::at("before_accept");
            let at = self.clock.now();
            let error = match self.store.accept(batch.clone(), at).await {
                Ok(accepted) => {
                    self.count(&batch, &tally, &basis, accepted, at);
                    break Outcome::Accepted { fences: batch.fences };
                }
                Err(AcceptError::Fenced { topic, partition, .. }) => {
                    tracing::warn!(%topic, partition, "the position was moved by somebody else; reading it again");
                    break Outcome::Fenced { fences: batch.fences };
                }
                Err(error) => error,
            };
            tries += 1;
            let reason = match &error {
                AcceptError::Store(StoreError::Damaged(message)) => {
                    self.shutdown.fail(74, message.clone());
                    break Outcome::Stopped;
                }
                AcceptError::DeadLettersFull => Some("dead-letters-full"),
                AcceptError::DiskLow { .. } => Some("disk-low"),
                _ => (tries >= TRIES_BEFORE_HOLD).then_some("store"),
            };
            held.because(reason).await;
            tracing::warn!(source = %self.source, %error, "a batch was not accepted; trying again");
            if self.shutdown.soft().run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break Outcome::Stopped;
            }
            pause = (pause * 2).min(PAUSE_MOST);
        };
        held.because(None).await;
        outcome
    }

    /// Holds the source until an operator has discarded or replayed the dead letters, or set the position: both write 0
    /// to `position.bad`.
    pub async fn operator(self, (topic, partition): (Arc<str>, i32), commands: Commands) -> Outcome {
        let mut held = Held::new(Some(commands));
        held.because(Some("bad-messages")).await;
        tracing::error!(
            source = %self.source, %topic, partition,
            "{BAD_LIMIT} messages in a row could not be read; held until `auditbell dead-letters discard`"
        );
        let outcome = loop {
            if self.shutdown.soft().run_until_cancelled(tokio::time::sleep(OPERATOR)).await.is_none() {
                break Outcome::Stopped;
            }
            match self.store.positions(&self.source).await {
                Ok(rows) => {
                    let row = rows.iter().find(|row| row.topic == topic && row.partition == partition);
                    if row.is_none_or(|row| row.bad < BAD_LIMIT) {
                        break Outcome::Released { topic, partition };
                    }
                }
                Err(error) => tracing::warn!(%error, "positions could not be read; trying again"),
            }
        };
        held.because(None).await;
        outcome
    }

    /// Counts what is in the store since `at`, and wakes the channels that have work.
    #[expect(clippy::cast_precision_loss, reason = "a time in seconds is exact enough in f64")]
    fn count(&self, batch: &Batch, tally: &Tally, basis: &Basis, accepted: Accepted, at: Timestamp) {
        let source = &self.source;
        let now = self.clock.now();
        metrics::envelopes(source.clone()).increment(tally.messages);
        for (dialect, count) in &tally.records {
            metrics::records(source.clone(), *dialect).increment(*count);
        }
        if tally.too_old > 0 {
            metrics::records_refused(source.clone(), "too_old").increment(tally.too_old);
        }
        for rule in &tally.matches {
            metrics::rule_matches(rule.clone()).increment(1);
            metrics::rule_last_match(rule.clone()).set(at.as_millis() as f64 / 1_000.0);
        }
        for record in &batch.records {
            metrics::record_age(source.clone()).record(now.since(record.at).as_secs_f64());
        }
        for dead in &batch.dead_letters {
            metrics::dead_letters(source.clone(), dead.error).increment(1);
            tracing::warn!(
                %source, topic = %dead.topic, partition = dead.partition, offset = dead.offset, item = dead.item,
                reason = dead.error, "put into the dead letters"
            );
        }
        for (rule, channel) in accepted.duplicates {
            metrics::notifications(rule, channel, "duplicate", "").increment(1);
        }
        for (rule, channel, verdict, reason) in accepted.ended {
            metrics::notifications(rule, channel, verdict.as_str(), reason).increment(1);
        }
        for (rule, channel, count) in accepted.held {
            metrics::messages_held(rule, channel).increment(count);
        }
        for Trip { rule, channel, throttle } in accepted.trips {
            tracing::error!(
                %rule, %channel, max = throttle.max, per = ?throttle.per,
                "the brake holds messages; `auditbell messages list --state held`, then release or discard"
            );
        }
        for channel in accepted.channels {
            if let Some(wake) = basis.wakes.get(&channel) {
                wake.notify_one();
            }
        }
    }
}

/// Why the source is held, if it is; at most one reason at a time.
struct Held {
    commands: Option<Commands>,
    reason: Option<&'static str>,
}

impl Held {
    fn new(commands: Option<Commands>) -> Self {
        Self { commands, reason: None }
    }

    async fn because(&mut self, reason: Option<&'static str>) {
        if self.reason == reason {
            return;
        }
        let over = self.reason.take().map(|reason| Command::Resume { reason });
        let begun = reason.map(|reason| Command::Hold { reason });
        self.reason = reason;
        let Some(commands) = &self.commands else { return };
        for command in over.into_iter().chain(begun) {
            // A source that has ended needs no holding.
            let _ = commands.send(command).await;
        }
    }
}
