//! Owns whose turn it is: as many attempts at once as the channel says, urgent messages before ordinary ones.
//!
//! An urgent message overtakes every ordinary one that waits, however long; after eight in a row one ordinary message goes,
//! so that a flood of urgent ones delays the others and does not stop them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::channels::Channel;

/// So many urgent messages in a row go before an ordinary one that waits.
const URGENT_ROW: usize = 8;
/// Who has waited so long gets the channel one more attempt at once, as far as it can: those that run may be stuck for
/// minutes behind a relay that does not answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The turns of one channel.
pub(super) struct Slots {
    channel: Arc<dyn Channel>,
    state: Mutex<State>,
}

struct State {
    running: usize,
    /// Beyond what the channel says for so many waiting; 0 as soon as nobody waits.
    extra: usize,
    extended: Instant,
    urgent: VecDeque<oneshot::Sender<()>>,
    ordinary: VecDeque<oneshot::Sender<()>>,
    urgent_in_row: usize,
}

/// A turn; over when it is dropped.
pub(super) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(super) fn new(channel: Arc<dyn Channel>) -> Self {
        let state = State {
            running: 0,
            extra: 0,
            extended: Instant::now(),
            urgent: VecDeque::new(),
            ordinary: VecDeque::new(),
            urgent_in_row: 0,
        };
        Self { channel, state: Mutex::new(state) }
    }

    /// Waits for a turn. Dropping the future gives the place in the queue up.
    pub(super) async fn acquire(&self, urgent: bool) -> Slot<'_> {
        let (tell, told) = oneshot::channel();
        let mut waiting = Waiting { slots: self, told };
        {
            let mut state = self.state();
            let queue = if urgent { &mut state.urgent } else { &mut state.ordinary };
            queue.push_back(tell);
            self.give_turns(&mut state);
        }
        // The sender lives in the queue until it tells.
        while timeout(PATIENCE, &mut waiting.told).await.is_err() {
            self.extend();
        }
        Slot(self)
    }

    /// One more at once, at most every second.
    fn extend(&self) {
        let mut state = self.state();
        if state.extended.elapsed() >= PATIENCE {
            state.extended = Instant::now();
            state.extra += 1;
            self.give_turns(&mut state);
        }
    }

    fn give_back(&self) {
        let mut state = self.state();
        state.running -= 1;
        self.give_turns(&mut state);
    }

    fn give_turns(&self, state: &mut State) {
        loop {
            let waiting = state.urgent.len() + state.ordinary.len();
            if waiting == 0 {
                state.extra = 0;
                return;
            }
            // Those that run are no longer waiting, and yet warrant their connection.
            let warranted = self.channel.connections(waiting) + state.extra;
            if state.running >= warranted.min(self.channel.connections(usize::MAX)).max(1) {
                return;
            }
            if let Some(next) = state.next()
                && next.send(()).is_ok()
            {
                state.running += 1;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<()>> {
        if self.ordinary.is_empty() {
            self.urgent_in_row = 0;
        }
        if !self.urgent.is_empty() && self.urgent_in_row < URGENT_ROW {
            self.urgent_in_row += 1;
            return self.urgent.pop_front();
        }
        self.urgent_in_row = 0;
        self.ordinary.pop_front()
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// A place in the queue. Dropped before its turn was used, it gives a turn that had just come back.
struct Waiting<'a> {
    slots: &'a Slots,
    told: oneshot::Receiver<()>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.told.close();
        if self.told.try_recv().is_ok() {
            self.slots.give_back();
        }
    }
}

#[cfg(test)]
mod tests;
