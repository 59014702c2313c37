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

/// A place in the queue. Dropped before its turn was used, it gives a turn that had just come back.
pub(super) struct Place {
    slots: Arc<Slots>,
    told: oneshot::Receiver<()>,
}

/// A turn; over when it is dropped.
pub(super) struct Slot(Arc<Slots>);

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

    /// Goes to the end of the queue of its kind: whoever enters first goes first.
    pub(super) fn enter(self: &Arc<Self>, urgent: bool) -> Place {
        let (tell, told) = oneshot::channel();
        let mut state = self.state();
        let queue = if urgent { &mut state.urgent } else { &mut state.ordinary };
        queue.push_back(tell);
        self.give_turns(&mut state);
        drop(state);
        Place { slots: self.clone(), told }
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

impl Place {
    /// Waits for the turn. Dropping the future gives the place up.
    pub(super) async fn turn(mut self) -> Slot {
        // The sender lives in the queue until it tells.
        while timeout(PATIENCE, &mut self.told).await.is_err() {
            self.slots.extend();
        }
        Slot(self.slots.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.told.close();
        if self.told.try_recv().is_ok() {
            self.slots.give_back();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests;
