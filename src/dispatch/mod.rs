//! Owns loop 2, one [`Lane`] per channel: claim a window of due messages, and for each resolve, compose, attempt, settle.
//!
//! Everything that is slow or can fail happens here, per message, so that one dead recipient delays nobody. Dispatch knows
//! nothing of rules: the template's name and the wording's kind stand on the message row.

mod delivery;
mod lanes;
mod opened;
pub mod outage;
mod pauses;
pub mod schedule;
mod slots;
pub mod state;
pub mod worker;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::lanes::Lanes;
pub use self::opened::Opened;
use self::outage::{Change, Outage};
use self::pauses::Pauses;
use self::slots::{Place, Slots};
use crate::channels::{Channel, Gate, Permission};
use crate::clock::{Clock, Timestamp};
use crate::compose::{Composer, Sender};
use crate::crash;
use crate::people::People;
use crate::record::Dialects;
use crate::record::own::Own;
use crate::shutdown::Shutdown;
use crate::store::{Claim, Loaded, Room, Store, StoreError};

/// How often the store is looked at although nothing woke us: a command on the command line may have made work.
const LOOK: Duration = Duration::from_secs(2);
/// The least time between two looks that nobody asked for.
const AGAIN: Duration = Duration::from_millis(50);
/// Claimed messages of a lane per connection, and the least of them.
const WINDOW: usize = 32;
const LEAST_WINDOW: usize = 64;
/// Pause after the store failed us.
const PAUSE: Duration = Duration::from_secs(1);

/// What every lane shares.
#[derive(Clone)]
pub struct Parts {
    /// Where the messages are.
    pub store: Store,
    /// Who a recipient is.
    pub people: Arc<People>,
    /// The wording.
    pub composer: Arc<Composer>,
    /// How a stored record is read again.
    pub dialects: Dialects,
    /// Ids of the rules there are: what another one left behind goes out with the built-in wording.
    pub rules: Arc<HashSet<Arc<str>>>,
    /// The time.
    pub clock: Clock,
    /// This process, as the store knows it.
    pub worker: i64,
    /// Whether we may still begin to deliver.
    pub permission: watch::Receiver<Permission>,
    /// The order to stop.
    pub shutdown: Shutdown,
    /// An outcome was given up at the stop. Its claim must not go back as though nothing had been tried: the next start finds
    /// the worker's row, and holds what it claimed for suspect.
    pub unrecorded: Arc<AtomicBool>,
}

/// One channel and how its messages are treated: by one revision of the configuration. After a reload another lane takes
/// over, and this one ends with what it has begun.
pub struct Lane {
    parts: Parts,
    name: Arc<str>,
    channel: Arc<dyn Channel>,
    sender: Option<Sender>,
    /// After a reload that of the revision that runs: who is told of what is given up must still be there.
    policy: Mutex<Arc<state::Policy>>,
    slots: Arc<Slots>,
    outage: Arc<Mutex<Outage>>,
    pauses: Arc<Mutex<Pauses>>,
    wake: Arc<Notify>,
    turned_at: AtomicI64,
    /// Whether the last message that was claimed alone was urgent.
    urgent_alone: AtomicBool,
    retired: CancellationToken,
    /// Another lane goes on with the channel.
    inherited: AtomicBool,
}

impl Lane {
    /// The lane that sends over `opened`.
    pub fn new(parts: Parts, opened: Opened, sender: Option<Sender>, policy: state::Policy) -> Self {
        let Opened { name, channel, wake, slots, outage, pauses } = opened;
        let turned_at = AtomicI64::new(parts.clock.now().as_millis());
        let (retired, inherited) = (CancellationToken::new(), AtomicBool::new(false));
        let urgent_alone = AtomicBool::new(false);
        let policy = Mutex::new(Arc::new(policy));
        Self {
            parts,
            name,
            channel,
            sender,
            policy,
            slots,
            outage,
            pauses,
            wake,
            turned_at,
            urgent_alone,
            retired,
            inherited,
        }
    }

    /// The channel's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// When the loop last turned; it does at least every two seconds.
    pub fn turned_at(&self) -> Timestamp {
        Timestamp::from_millis(self.turned_at.load(Ordering::Relaxed))
    }

    /// `successors` take over: nothing more is claimed, and what has not begun is given back. With `inherited` another
    /// lane goes on with the channel, else it is closed at the end. What has begun ends by the policy of now.
    pub fn retire(&self, inherited: bool, successors: &Lanes) {
        if let Some(policy) = successors.policy(&self.name) {
            *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
        }
        self.inherited.store(inherited, Ordering::Relaxed);
        self.retired.cancel();
    }

    /// How its messages are treated now.
    pub(super) fn policy(&self) -> Arc<state::Policy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it was told to end.
    pub fn is_retired(&self) -> bool {
        self.retired.is_cancelled()
    }

    /// Runs until the order to stop or the retirement, then until what has begun is settled. A message is a task; tasks wait
    /// for their turn. Urgent and ordinary messages each have a window of claimed ones, which feeds group commit; what waits
    /// in one keeps nothing from being claimed into the other. Before a claim the channel is asked whether an attempt has a
    /// chance: while it has none, nothing is claimed, rendered or written, however many are due.
    pub async fn run(self: Arc<Self>) {
        self.resume().await;
        let mut permission = self.parts.permission.clone();
        let mut tasks = JoinSet::new();
        let in_hand = InHand::default();
        let mut look = ByLane { urgent: true, ordinary: true };
        while *permission.borrow_and_update() != Permission::Stopping && !self.is_retired() {
            self.turned_at.store(self.parts.clock.now().as_millis(), Ordering::Relaxed);
            let woken = self.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable(); // before the store is asked, so that nothing is missed in between
            self.watch().await;
            let room = self.room(look, in_hand.count());
            let may_claim = *permission.borrow() == Permission::Go;
            if may_claim && room.most > 0 && room.urgent + room.ordinary > 0 {
                let messages = self.refill(room).await;
                let urgent = messages.iter().filter(|message| message.claim.is_urgent()).count();
                // Less than there was room for: the lane is empty until something wakes us.
                look.urgent &= urgent >= room.urgent;
                look.ordinary &= messages.len() - urgent >= room.ordinary.min(room.most - urgent);
                if room.most == 1 && !messages.is_empty() {
                    self.urgent_alone.store(urgent == 1, Ordering::Relaxed);
                }
                for message in messages {
                    let hand = in_hand.take(message.claim.is_urgent());
                    // In the order of the claims, whichever task is the first to run.
                    let place = self.slots.enter(message.claim.is_urgent());
                    let guarded = self.clone().guard(message, place);
                    tasks.spawn(async move {
                        guarded.await;
                        drop(hand);
                    });
                }
            }
            let next = self.next_look(look).await;
            tokio::select! {
                // Nobody beats any more: the process is ending, and nothing more may be claimed.
                changed = permission.changed() => if changed.is_err() { break },
                () = self.retired.cancelled() => break,
                Some(done) = tasks.join_next() => {
                    report(done);
                    // A suspect message is only given to idle hands.
                    look = ByLane { urgent: look.urgent || tasks.is_empty(), ordinary: look.ordinary || tasks.is_empty() };
                }
                () = &mut woken => look = ByLane { urgent: true, ordinary: true },
                () = self.parts.clock.sleep_until(next) => look = ByLane { urgent: true, ordinary: true },
            }
        }
        if self.is_retired() {
            self.let_go().await;
        }
        while let Some(done) = tasks.join_next().await {
            report(done);
        }
        if self.is_retired() {
            self.let_go().await; // what our last attempts have put off
        }
        if !self.inherited.load(Ordering::Relaxed) {
            self.channel.close().await;
        }
    }

    /// Leaves the messages to the lane that takes over. With the channel goes what it held them for; one that is handed on
    /// holds them still.
    async fn let_go(&self) {
        if !self.inherited.load(Ordering::Relaxed)
            && let Err(error) = self.parts.store.held_are_due(&self.name, self.parts.clock.now()).await
        {
            tracing::warn!(channel = %self.name, %error, "what was held for the channel of before waits out its time");
        }
        self.wake.notify_one(); // the successor's: it may just have come to us
    }

    /// Compares what the channel says of itself with the last time, over all lanes that it has been handed through.
    async fn watch(&self) {
        let now = self.parts.clock.now();
        let ordinary = self.channel.gate(false, now);
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner).see(ordinary, now);
        let change = self.outage().see(self.channel.broken());
        self.tell(change).await;
    }

    /// Whether the break that a process before this one told of is over.
    async fn resume(&self) {
        match self.parts.store.is_stopped(&self.name).await {
            Ok(true) => self.outage().resume(),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(channel = %self.name, %error, "what was said of the channel before is not known");
            }
        }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a record of ours of `change`, or of what could not be told before. What the store refuses is told at a later turn.
    async fn tell(&self, change: Option<Change>) {
        let Some(change) = self.outage().to_tell(change) else { return };
        let channel = self.name.clone();
        let told = match change {
            Change::Broke(reason) => Own::Stopped { channel, reason },
            Change::Recovered => Own::Works { channel },
        };
        if let Err(error) = self.parts.store.tell(told, self.parts.clock.now()).await {
            tracing::warn!(channel = %self.name, %error, "no record of the channel's break or its end yet; trying again");
            self.outage().keep(change);
        }
    }

    /// How many may be claimed: what the windows have room for (a window is refilled when half of it is done), and what the
    /// channel lets through. The claimed ones that have not gone yet will use up their part of a ration; what either lane claims
    /// is gone for the other, and an ordinary message goes while there is more left than the urgent ones' share. At a probe the
    /// lanes take turns: urgent messages that are refused for their own sake would else keep out all others.
    fn room(&self, look: ByLane<bool>, in_hand: ByLane<usize>) -> Room {
        let now = self.parts.clock.now();
        let window = (WINDOW * self.channel.connections(usize::MAX)).max(LEAST_WINDOW);
        let all = in_hand.urgent + in_hand.ordinary;
        let (mut most, mut ordinary_first) = (usize::MAX, false);
        let mut of_lane = |urgent, look, held: usize| {
            let free = if look && held <= window / 2 { window - held } else { 0 };
            match self.channel.gate(urgent, now) {
                Gate::Open => free,
                Gate::Few(left) => {
                    let free = free.min(left.saturating_sub(all));
                    if free > 0 {
                        most = most.min(left - all);
                    }
                    free
                }
                Gate::Probe => {
                    // What hangs since before the break counts: failed connections leave few, and it may have the only one.
                    most = 1_usize.saturating_sub(all);
                    ordinary_first = self.urgent_alone.load(Ordering::Relaxed);
                    free.min(1)
                }
                Gate::Shut { .. } => 0,
            }
        };
        let urgent = of_lane(true, look.urgent, in_hand.urgent);
        let ordinary = of_lane(false, look.ordinary, in_hand.ordinary);
        Room { urgent: urgent.min(most), ordinary: ordinary.min(most), most, ordinary_first }
    }

    /// Whether ordinary messages, or none at all, have no chance now: then they are not claimed, and maintenance looks after
    /// those that expire.
    pub(super) fn is_shut(&self) -> bool {
        matches!(self.channel.gate(false, self.parts.clock.now()), Gate::Shut { .. })
    }

    /// Delivers in a task of its own, so that a panic outside of composing ends neither the lane nor leaves a claim that
    /// nobody settles: with one in hand for ever, no suspect message would be given out again.
    async fn guard(self: Arc<Self>, message: Loaded, place: Place) {
        let (key, claim) = (message.key, message.claim.clone());
        if tokio::spawn(self.clone().deliver(message, place)).await.is_ok() {
            return;
        }
        tracing::error!(key = %key, "a delivery panicked; its message is suspect, and tried again alone");
        while let Err(error) = self.parts.store.blame(claim.clone(), self.parts.clock.now()).await {
            self.store_failed("blame", &error).await;
            if self.parts.shutdown.hard().is_cancelled() {
                return; // the next start blames it
            }
        }
    }

    /// When to look again without being woken.
    async fn next_look(&self, look: ByLane<bool>) -> Timestamp {
        let now = self.parts.clock.now();
        let latest = now.plus(LOOK);
        if let Gate::Shut { until, .. } = self.channel.gate(false, now) {
            return until.clamp(now.plus(AGAIN), latest);
        }
        if look.urgent || look.ordinary {
            return latest;
        }
        match self.parts.store.next_due(&self.name).await {
            // What is due and was not given to us just now is not ours to ask for without end. The store may have taken
            // long to answer, and the clock may have been set back meanwhile.
            Ok(due) => {
                let now = self.parts.clock.now();
                let latest = now.plus(LOOK);
                due.map_or(latest, |due| due.clamp(now.plus(AGAIN), latest))
            }
            Err(error) => {
                self.store_failed("next due", &error).await;
                latest
            }
        }
    }

    /// Claims up to `room` due messages and loads them. The claim is the canary: what cannot be claimed on disk is not sent.
    async fn refill(&self, room: Room) -> Vec<Loaded> {
        let Parts { store, clock, worker, .. } = &self.parts;
        let claims = match store.claim(&self.name, *worker, clock.now(), room).await {
            Ok(claims) => claims,
            Err(error) => {
                self.store_failed("claim", &error).await;
                return Vec::new();
            }
        };
        if claims.is_empty() {
            return Vec::new();
        }
        crash::at("after_claim");
        self.load(claims).await
    }

    /// The claimed messages, of whichever channel; claims that cannot be loaded are given back.
    pub(super) async fn load(&self, claims: Vec<Claim>) -> Vec<Loaded> {
        match self.parts.store.load(claims.clone()).await {
            Ok(messages) => messages,
            Err(error) => {
                self.store_failed("load", &error).await;
                self.release(claims).await;
                Vec::new()
            }
        }
    }

    /// Gives claims back, as often as it takes: a claim that nobody holds and nobody gives back is only found at a restart.
    async fn release(&self, claims: Vec<Claim>) {
        while let Err(error) = self.parts.store.release(claims.clone()).await {
            self.store_failed("release", &error).await;
            if self.parts.shutdown.hard().is_cancelled() {
                return; // the next start frees it
            }
        }
    }

    /// Damage ends the process; anything else is said, and tried again by the caller after a pause.
    async fn store_failed(&self, what: &'static str, error: &StoreError) {
        if let StoreError::Damaged(message) = error {
            self.parts.shutdown.fail(74, message.clone());
        } else {
            tracing::warn!(channel = %self.name, %error, "the store did not {what}; trying again");
        }
        self.parts.shutdown.hard().run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

/// A value for each of the two lanes of a channel.
#[derive(Clone, Copy, Debug)]
struct ByLane<T> {
    urgent: T,
    ordinary: T,
}

/// The claimed messages whose task has not ended, by lane: each task holds one of these, however it ends.
#[derive(Default)]
struct InHand {
    urgent: Arc<()>,
    ordinary: Arc<()>,
}

impl InHand {
    fn take(&self, urgent: bool) -> Arc<()> {
        if urgent { self.urgent.clone() } else { self.ordinary.clone() }
    }

    fn count(&self) -> ByLane<usize> {
        let of = |lane| Arc::strong_count(lane) - 1;
        ByLane { urgent: of(&self.urgent), ordinary: of(&self.ordinary) }
    }
}

/// Deliveries are guarded. Should the guard itself panic, it leaves its claim to the next start, which marks it suspect.
fn report(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        tracing::error!("a delivery panicked; its message is tried again after a restart");
    }
}

#[cfg(test)]
mod tests;
