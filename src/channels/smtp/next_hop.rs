//! Owns one relay of a channel: its breaker, its sessions (kept for the next message, opened one at a time), and how many of
//! them may be open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Limits;
use super::session::{At, Route, Session};
use super::streak::Streak;
use super::verdict::{CLOSING, End, Event, Phase, Scope};
use crate::channels::breaker::{Breaker, Failure, Pass};
use crate::channels::doubt::{Blame, Doubts, Who};
use crate::channels::outcome::Outcome;
use crate::channels::past::LOGIN_REST;
use crate::channels::{Gate, jitter};
use crate::clock::{Clock, Timestamp};

/// How long a route is left alone that says 421 to everybody.
const CLOSED: Duration = Duration::from_mins(1);
/// So many messages must be answered before one more connection is allowed again after a failure.
const EARNS_ONE: usize = 8;

/// One relay.
pub(super) struct NextHop {
    route: Arc<Route>,
    /// One connection is opened at a time: a refused login is then tried once, not once per connection, and a relay that
    /// comes back is not met by all at once.
    opening: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    /// Sessions that wait for a message; the last was used last.
    parked: Vec<Parked>,
    breaker: Breaker,
    streak: Streak,
    /// Of the mails.
    doubts: Doubts,
    /// Most connections now: halved by one that fails, one more for each [`EARNS_ONE`] answered messages.
    allowance: usize,
    answered: usize,
    /// Whether a task waits to close what is parked too long.
    reaping: bool,
    closed: bool,
}

struct Parked {
    session: Session,
    since: Instant,
}

/// What an end makes of a mail, and whom it concerns.
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    scope: Scope,
    /// How much longer than until the relay may be tried again the mail waits, if it is held.
    pub(super) wait: Duration,
}

impl Judged {
    fn of((outcome, scope): (Outcome, Scope)) -> Self {
        Self { outcome, scope, wait: Duration::ZERO }
    }
}

impl State {
    /// What `end` makes of the mail `who`, after all that was said to others.
    fn judge(&mut self, end: &End, who: Who<'_>, now: Timestamp) -> Judged {
        let (outcome, scope) = self.streak.judge(end, who.to.unwrap_or_default());
        if end.is_doubtful() {
            let broken = self.breaker.broken().is_some();
            return match self.doubts.told(who, CLOSING, broken, now) {
                Blame::Itself => Judged::of((Outcome::Later, scope)),
                Blame::Way(wait) => Judged { outcome, scope: Scope::Route, wait },
                Blame::Nobody(wait) => Judged { outcome, scope, wait },
            };
        }
        if end.phase > Phase::Mail && scope != Scope::Route && matches!(outcome, Outcome::Sent | Outcome::Never(_)) {
            self.doubts.answered(who, now);
        }
        Judged::of((outcome, scope))
    }
}

/// Why there is no session.
pub(super) enum NoSession {
    /// Another connection has failed meanwhile.
    Void,
    /// Opening one failed; the breaker knows.
    Failed(End),
}

impl NextHop {
    pub(super) fn new(route: Route) -> Self {
        let state = State {
            parked: Vec::new(),
            breaker: Breaker::default(),
            streak: Streak::default(),
            doubts: Doubts::default(),
            allowance: route.settings.connections.max(1),
            answered: 0,
            reaping: false,
            closed: false,
        };
        Self { route: Arc::new(route), opening: tokio::sync::Mutex::default(), state: Mutex::new(state) }
    }

    /// The name of the relay.
    pub(super) fn host(&self) -> &str {
        &self.route.relay.host
    }

    pub(super) fn gate(&self, now: Timestamp) -> Gate {
        let mut state = self.state();
        state.doubts.forget(now);
        state.breaker.gate(now)
    }

    pub(super) fn broken(&self) -> Option<&'static str> {
        let state = self.state();
        state.breaker.broken().or_else(|| state.doubts.stuck())
    }

    /// Leave to use this relay now.
    pub(super) fn enter(&self, now: Timestamp) -> Option<Pass> {
        self.state().breaker.enter(now).ok()
    }

    /// Most connections now, and how many are open and idle.
    pub(super) fn room(&self) -> (usize, usize) {
        let state = self.state();
        (state.allowance, state.parked.len())
    }

    /// A session outside of the count, which nothing is sent on.
    pub(super) async fn probe(&self) -> anyhow::Result<()> {
        match Session::open(&self.route, &|| Clock::system().now()).await {
            Ok(session) => {
                session.quit().await;
                Ok(())
            }
            Err(end @ End { event: Event::Reply(_), .. }) => anyhow::bail!("{}: {end}", end.phase.name()),
            Err(end) => anyhow::bail!("{end}"),
        }
    }

    /// A session that is ready, and whether it has been used before.
    pub(super) async fn session(&self, pass: Pass, at: At<'_>) -> Result<(Session, bool), NoSession> {
        while let Some(mut session) = self.take() {
            let must_reset = session.was_refused();
            if session.is_ready().await {
                return Ok((session, true));
            }
            // A relay that does not take back what it refused would let each of them wait for the same answer.
            if must_reset {
                self.state().parked.retain(|parked| !parked.session.was_refused());
            }
        }
        Ok((self.open(pass, at).await?, false))
    }

    /// A parked session that may still be used. Those that may not are dropped, which closes them.
    fn take(&self) -> Option<Session> {
        let mut state = self.state();
        while let Some(parked) = state.parked.pop() {
            if parked.since.elapsed() < self.limits().idle && parked.session.opened.elapsed() < self.limits().age {
                return Some(parked.session);
            }
        }
        None
    }

    /// A new session, if the pass still counts when its turn has come. A failure is judged before the next one's turn.
    pub(super) async fn open(&self, pass: Pass, at: At<'_>) -> Result<Session, NoSession> {
        let _alone = self.opening.lock().await;
        if !self.state().breaker.is_valid(pass) {
            return Err(NoSession::Void);
        }
        match Session::open(&self.route, at).await {
            Ok(session) => Ok(session),
            Err(end) => {
                if end.is_resting() {
                    self.state().breaker.rest(LOGIN_REST, end.phase.name(), at());
                } else {
                    self.judge(pass, &end, None, at());
                }
                Err(NoSession::Failed(end))
            }
        }
    }

    /// Parks a session for the next message, or ends it.
    pub(super) fn put_back(self: &Arc<Self>, session: Session, slots: &Arc<Semaphore>, slot: OwnedSemaphorePermit) {
        if !session.is_usable() {
            return;
        }
        let worn = session.transactions >= self.limits().messages || session.opened.elapsed() >= self.limits().age;
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
            tokio::spawn(reap(Arc::downgrade(self), slots.clone()));
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

    /// What `end` makes of the mail `who`, and of this relay. The opening of a session is nobody's: `who` is `None`.
    pub(super) fn judge(&self, pass: Pass, end: &End, who: Option<Who<'_>>, now: Timestamp) -> Judged {
        let mut state = self.state();
        let broken = state.breaker.broken().is_some();
        let Judged { outcome, scope, wait } = match who {
            Some(who) => state.judge(end, who, now),
            None => Judged::of(end.judge()),
        };
        let judged = Judged { outcome, scope, wait };
        let trouble = match (scope, outcome) {
            (Scope::Route, Outcome::Hold(why)) => Some(why),
            (Scope::Route, _) => Some(CLOSING),
            // It came as far as a recipient, and nobody else says that the relay does not work: let others see.
            (Scope::Message | Scope::Recipient, Outcome::Hold(_)) if broken && end.is_doubtful() => None,
            // Whether the relay works is not known.
            (Scope::Message | Scope::Recipient, Outcome::Hold(_)) => return judged,
            // The session broke in the middle of a message.
            (Scope::Message | Scope::Recipient, _) if end.code().is_none() => Some(end.phase.name()),
            (Scope::Message | Scope::Recipient, _) => None,
        };
        if let Some(why) = trouble {
            if end.phase < Phase::Mail {
                state.allowance = (state.allowance / 2).max(1);
                state.answered = 0;
            }
            let failure = failure(end, why);
            if state.breaker.failed(pass, failure, why, now, jitter()) {
                drop(state);
                self.say_broken(why, end);
            }
            return judged;
        }
        drop(state);
        self.answered(pass, now);
        judged
    }

    /// The relay is there: it answered a mail, or it opened a session and announced that this one is not for it, or we took it
    /// back. A probe that were not judged would keep the breaker open while the relay works.
    pub(super) fn answered(&self, pass: Pass, now: Timestamp) {
        let mut state = self.state();
        state.answered += 1;
        if state.answered.is_multiple_of(EARNS_ONE) {
            state.allowance = (state.allowance + 1).min(self.route.settings.connections.max(1));
        }
        if state.breaker.succeeded(pass, now) {
            tracing::info!(channel = %self.route.name, relay = %self.route.relay.host, "the relay works again");
        }
    }

    /// Said once, not once per message.
    fn say_broken(&self, why: &'static str, end: &End) {
        // A reply may echo a user's name or an address: only its code is logged.
        let what = match &end.event {
            Event::Reply(reply) => format!("{}: {}", end.phase.name(), reply.code),
            _ => end.to_string(),
        };
        tracing::warn!(
            channel = %self.route.name,
            relay = %self.route.relay.host,
            why,
            what,
            "the relay does not work; messages wait, or go by the next one"
        );
    }

    fn limits(&self) -> Limits {
        self.route.settings.limits
    }

    /// The state behind its lock; every change of it is a single step, so a panic elsewhere leaves it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `end`, held because of `why`, says about the next attempt.
fn failure(end: &End, why: &'static str) -> Failure {
    match (why, &end.event) {
        ("auth" | "sender" | "policy", _) | (_, Event::Unfit(_)) => Failure::Lasting,
        (CLOSING, _) => Failure::Asked(CLOSED),
        (_, Event::Reply(reply)) if reply.code == 421 => Failure::Asked(CLOSED),
        _ => Failure::Passing,
    }
}

/// Closes sessions that have been parked too long, politely; ends when none is parked.
async fn reap(hop: Weak<NextHop>, slots: Arc<Semaphore>) {
    while let Some(due) = hop.upgrade().and_then(|hop| {
        let mut state = hop.state();
        let due = state.parked.first().map(|parked| parked.since + hop.limits().idle);
        state.reaping = due.is_some();
        due
    }) {
        sleep_until(due).await;
        let Ok(_slot) = slots.clone().acquire_owned().await else { return };
        let old = hop.upgrade().and_then(|hop| {
            let mut state = hop.state();
            let old = state.parked.first().is_some_and(|parked| parked.since.elapsed() >= hop.limits().idle);
            old.then(|| state.parked.remove(0))
        });
        if let Some(old) = old {
            old.session.quit().await;
        }
    }
}
