//! Owns the sessions of one channel: at most `connections`, kept for the next message, opened one at a time; and the way
//! from what happened in one to an attempt's verdict.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::body;
use super::pause::Pause;
use super::session::{Ending, Mail, Route, Session};
use super::streak::Streak;
use super::verdict::{End, Event, Outcome, Phase, Scope};
use crate::channels::{Attempt, Gate, Outgoing, Permission, Verdict};
use crate::clock::Timestamp;

/// How soon a message is tried again that could not go because the disk lags.
const UNSETTLED_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Pool {
    route: Arc<Route>,
    /// One permit per connection, held by whoever uses, opens or closes it.
    slots: Arc<Semaphore>,
    /// One connection is opened at a time: a refused login is then tried once, not once per connection, and a relay that
    /// comes back is not met by all at once.
    opening: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Sessions that wait for a message; the last was used last.
    parked: Vec<Parked>,
    pause: Pause,
    streak: Streak,
    /// Whether a task waits to close what is parked too long.
    reaping: bool,
    closed: bool,
}

struct Parked {
    session: Session,
    since: Instant,
}

impl Pool {
    pub(super) fn new(route: Route) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(route.settings.connections.max(1))),
            route: Arc::new(route),
            opening: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.route.settings.connections.max(1)
    }

    pub(super) fn gate(&self, now: Timestamp) -> Gate {
        match self.state().pause.standing(now) {
            Some((until, why)) => Gate::Shut { until, why },
            None => Gate::Open,
        }
    }

    pub(super) async fn probe(&self) -> anyhow::Result<()> {
        match Session::open(&self.route).await {
            Ok(session) => {
                session.quit().await;
                Ok(())
            }
            Err(end @ End { event: Event::Reply(_), .. }) => anyhow::bail!("{}: {end}", end.phase.name()),
            Err(end) => anyhow::bail!("{end}"),
        }
    }

    pub(super) async fn attempt(self: &Arc<Self>, outgoing: &Outgoing, now: Timestamp) -> Attempt {
        let permission = *outgoing.permission.borrow();
        if permission != Permission::Go {
            return withdrawn(permission, now);
        }
        if let Some((until, why)) = self.state().pause.standing(now) {
            return paused(until, why);
        }
        let Some(to) = outgoing.to.as_deref().filter(|to| body::fits_a_path(to)) else {
            return never("bad-address", "the recipient's address cannot stand in a command");
        };
        match body::on_the_wire(&outgoing.bytes, !to.is_ascii()) {
            Ok(wire_form) => {
                let mail = Mail {
                    key: &outgoing.key,
                    to,
                    body: &wire_form,
                    size: outgoing.bytes.len(),
                    handover: &outgoing.handover,
                };
                self.send(&mail, outgoing, now).await
            }
            Err(bad) => never("bad-bytes", &bad.to_string()),
        }
    }

    async fn send(self: &Arc<Self>, mail: &Mail<'_>, outgoing: &Outgoing, now: Timestamp) -> Attempt {
        let started = Instant::now();
        let at = || now.plus(started.elapsed());
        // Every holder of a slot is bound by the deadlines of its phases, so the wait is bounded too.
        let Ok(slot) = self.slots.clone().acquire_owned().await else { return withdrawn(Permission::Stopping, now) };
        let (mut session, reused) = match self.session(at()).await {
            Ok(found) => found,
            Err(attempt) => return attempt,
        };
        let mut ending = session.deliver(mail, &outgoing.permission).await;
        if reused && had_gone(&ending) {
            // The relay had closed the idle connection and we could not know: nothing of this message was heard.
            session = match self.open(at()).await {
                Ok(session) => session,
                Err(attempt) => return attempt,
            };
            ending = session.deliver(mail, &outgoing.permission).await;
        }
        self.put_back(session, slot);
        match ending {
            Ending::Judged(end, receipt) => {
                let judgement = self.state().streak.judge(&end, mail.to);
                self.judged(&end, judgement, Some(receipt), at())
            }
            Ending::Unfit(reason) => never(reason, "the relay does not announce what this message needs"),
            Ending::Withdrawn(permission) => withdrawn(permission, at()),
            Ending::Unsettled => {
                hold(at().plus(UNSETTLED_PAUSE), "unsettled", "eight deliveries of this connection are not on disk yet")
            }
        }
    }

    /// A session that is ready, and whether it has been used before.
    async fn session(&self, now: Timestamp) -> Result<(Session, bool), Attempt> {
        while let Some(mut session) = self.take() {
            if session.is_silent().await {
                return Ok((session, true));
            }
        }
        Ok((self.open(now).await?, false))
    }

    /// A parked session that may still be used. Those that may not are dropped, which closes them.
    fn take(&self) -> Option<Session> {
        let mut state = self.state();
        while let Some(parked) = state.parked.pop() {
            if parked.since.elapsed() < self.route.settings.limits.idle
                && parked.session.opened.elapsed() < self.route.settings.limits.age
            {
                return Some(parked.session);
            }
        }
        None
    }

    /// A new session, unless the route is paused.
    async fn open(&self, now: Timestamp) -> Result<Session, Attempt> {
        let started = Instant::now();
        let _alone = self.opening.lock().await;
        if let Some((until, why)) = self.state().pause.standing(now.plus(started.elapsed())) {
            return Err(paused(until, why));
        }
        Session::open(&self.route)
            .await
            .map_err(|end| self.judged(&end, end.judge(), None, now.plus(started.elapsed())))
    }

    /// Parks a session for the next message, or ends it.
    fn put_back(self: &Arc<Self>, session: Session, slot: OwnedSemaphorePermit) {
        if !session.is_usable() {
            return;
        }
        let worn = session.transactions >= self.route.settings.limits.messages
            || session.opened.elapsed() >= self.route.settings.limits.age;
        let mut state = self.state();
        if worn || state.closed {
            // Not awaited: the verdict is known. The slot is free when the connection is closed.
            tokio::spawn(async move {
                session.quit().await;
                drop(slot);
            });
            return;
        }
        state.parked.push(Parked { session, since: Instant::now() });
        if !state.reaping {
            state.reaping = true;
            tokio::spawn(reap(Arc::downgrade(self)));
        }
    }

    pub(super) async fn close(&self) {
        let parked = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.parked)
        };
        let mut goodbyes: JoinSet<()> = parked.into_iter().map(|parked| parked.session.quit()).collect();
        while goodbyes.join_next().await.is_some() {}
    }

    /// The attempt that `end` makes, and what it says about the route.
    fn judged(
        &self,
        end: &End,
        (outcome, scope): (Outcome, Scope),
        receipt: Option<OwnedSemaphorePermit>,
        now: Timestamp,
    ) -> Attempt {
        let until = match (scope, outcome) {
            (Scope::Route, Outcome::Hold(why)) => self.fails(why, end, now),
            (Scope::Route, _) => self.fails("closing", end, now),
            (Scope::Message | Scope::Recipient, _) => {
                self.works(end);
                now
            }
        };
        let (verdict, receipt) = match outcome {
            Outcome::Sent => (Verdict::Sent { reference: end.queue_id() }, receipt),
            Outcome::Later => (Verdict::Later, None),
            Outcome::Never(reason) => (Verdict::Never { reason }, None),
            Outcome::Ambiguous => (Verdict::Ambiguous, None),
            Outcome::Hold(why) => (Verdict::Hold { until, why }, None),
        };
        Attempt { verdict, code: end.code(), reply: end.to_string(), receipt }
    }

    /// The route is out of order: pauses it, and says so once, not once per message.
    fn fails(&self, why: &'static str, end: &End, now: Timestamp) -> Timestamp {
        let (until, new) = self.state().pause.failed(why, now);
        if new {
            // A reply may echo a user's name or an address: only its code is logged.
            let what = match &end.event {
                Event::Reply(reply) => format!("{}: {}", end.phase.name(), reply.code),
                _ => end.to_string(),
            };
            tracing::warn!(channel = %self.route.name, why, what, %until, "the relay does not work; messages wait");
        }
        until
    }

    /// A parsed reply to a transaction means that the route works, whatever it said of the message.
    fn works(&self, end: &End) {
        if end.code().is_some() && self.state().pause.recovered() {
            tracing::info!(channel = %self.route.name, "the relay works again");
        }
    }

    /// The state behind its lock; every change of it is a single step, so a panic elsewhere leaves it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes sessions that have been parked too long, politely; ends when none is parked.
async fn reap(pool: Weak<Pool>) {
    while let Some((due, slots)) = pool.upgrade().and_then(|pool| {
        let mut state = pool.state();
        let due = state.parked.first().map(|parked| parked.since + pool.route.settings.limits.idle);
        state.reaping = due.is_some();
        due.map(|due| (due, pool.slots.clone()))
    }) {
        sleep_until(due).await;
        let Ok(_slot) = slots.acquire_owned().await else { return };
        let old = pool.upgrade().and_then(|pool| {
            let mut state = pool.state();
            let old =
                state.parked.first().is_some_and(|parked| parked.since.elapsed() >= pool.route.settings.limits.idle);
            old.then(|| state.parked.remove(0))
        });
        if let Some(old) = old {
            old.session.quit().await;
        }
    }
}

/// Whether a transaction failed because the connection had ended before it began.
fn had_gone(ending: &Ending) -> bool {
    let Ending::Judged(End { phase: Phase::Mail, event }, _) = ending else { return false };
    match event {
        Event::Closed | Event::Io(_) => true,
        Event::Reply(reply) => reply.code == 421,
        _ => false,
    }
}

fn hold(until: Timestamp, why: &'static str, reply: &str) -> Attempt {
    Attempt { verdict: Verdict::Hold { until, why }, code: None, reply: reply.to_owned(), receipt: None }
}

fn paused(until: Timestamp, why: &'static str) -> Attempt {
    hold(until, why, "the channel pauses after an earlier failure")
}

fn never(reason: &'static str, reply: &str) -> Attempt {
    Attempt { verdict: Verdict::Never { reason }, code: None, reply: reply.to_owned(), receipt: None }
}

fn withdrawn(permission: Permission, now: Timestamp) -> Attempt {
    let why = if permission == Permission::Lost { "lost" } else { "stopping" };
    hold(now, why, "taken back before the final dot")
}
