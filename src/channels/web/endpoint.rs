//! Owns one channel's way to its HTTP endpoint: the client, the breaker, and the step from what was said to an attempt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::failure::{Failure, Standing};
use super::{Answer, Client};
use crate::channels::breaker::{Breaker, Failure as Trouble, Pass, Shut};
use crate::channels::doubt::{Blame, Doubts, Who};
use crate::channels::outcome::Outcome;
use crate::channels::ration::{Rate, Ration};
use crate::channels::streak::{MANY, Row, Streak};
use crate::channels::{Attempt, Gate, MAX_UNSETTLED, Outgoing, UNSETTLED_PAUSE, UNSETTLED_WAIT, Verdict, jitter};
use crate::clock::Timestamp;

/// How soon a message is tried again that nothing else holds.
const AGAIN: Duration = Duration::from_secs(1);
/// How much longer than the others one waits that was refused as everybody seems to be: more than a lane's two seconds
/// between two looks.
const REFUSED: Duration = Duration::from_secs(5);

pub(in crate::channels) struct Endpoint {
    pub client: Client,
    name: Arc<str>,
    state: Mutex<State>,
    ration: Arc<Mutex<Ration>>,
    /// One permit for each `Sent` that is not on disk yet, and for each request.
    unsettled: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    breaker: Breaker,
    /// Of the messages.
    doubts: Doubts,
    /// Of refusals with the same status and reason.
    streak: Streak<(Option<u16>, &'static str)>,
}

/// Leave to try once. What comes of it counts from its end: a request may take as long as the pause after it.
pub(in crate::channels) struct Leave {
    pass: Pass,
    receipt: OwnedSemaphorePermit,
    given: (Timestamp, Instant),
}

impl Leave {
    /// The time.
    pub fn now(&self) -> Timestamp {
        let (at, began) = self.given;
        at.plus(began.elapsed())
    }
}

/// What an attempt came to, and why.
pub(in crate::channels) struct Judged {
    pub outcome: Outcome,
    pub standing: Standing,
    /// Not before, if the other side says so: `Retry-After`.
    pub until: Option<Timestamp>,
    pub code: Option<u16>,
    /// For the store; see [`Attempt::reply`].
    pub reply: String,
    /// For the log, in words of ours.
    pub told: String,
}

impl Judged {
    /// Of an answer. `Retry-After` says until when what is held waits, and how long a trouble of the endpoint may last. What
    /// is tried later waits so long too, but by the schedule at the least, and pays its attempt: nothing else would end it.
    pub fn answer(answer: &Answer, (outcome, standing): (Outcome, Standing), now: Timestamp, told: String) -> Self {
        let until = answer.retry_after;
        let standing = match (standing, until) {
            (Standing::Fails(Trouble::Passing), Some(until)) => Standing::Fails(Trouble::Asked(until.since(now))),
            _ => standing,
        };
        Self { outcome, standing, until, code: Some(answer.status), reply: answer.kept(), told }
    }

    /// After the refusals before it: one that everybody gets, here from the tenth in a row on, is the endpoint's (`who`: of whom
    /// it was said). What is no answer to a message neither continues nor ends a row.
    fn in_a_row(self, who: &str, state: &mut State) -> Self {
        match (self.standing, self.outcome) {
            // How large a message is, is its own affair.
            (Standing::Works, Outcome::Never(reason)) if reason != "too-big" => {
                match state.streak.refused((self.code, reason), who, MANY) {
                    Row::Everybody => {
                        let (outcome, standing) = (Outcome::Hold("policy"), Standing::Fails(Trouble::Lasting));
                        Self { outcome, standing, ..self }
                    }
                    Row::First | Row::Further => self,
                }
            }
            (Standing::Works, _) => {
                state.streak.end();
                self
            }
            _ => self,
        }
    }

    /// After all that was said of other messages; how much longer than until the endpoint may be asked again what is held
    /// waits. Who asks for time by `Retry-After` gets it, from every message, until it is known to mean this one alone.
    fn in_doubt(self, key: &str, state: &mut State, now: Timestamp) -> (Self, Duration) {
        let why = match (self.standing, self.outcome) {
            (Standing::Doubtful | Standing::Refuses, Outcome::Hold(why)) => why,
            // Everybody is refused, as it seems: whoever has not been asked yet is the next to show whether it is so.
            (_, Outcome::Hold("policy")) => return (self, REFUSED),
            _ => return (self, Duration::ZERO),
        };
        let broken = state.breaker.broken().is_some();
        let blame = state.doubts.told(Who { key, to: None }, why, broken, now);
        match (blame, self.until) {
            (Blame::Way(wait) | Blame::Nobody(wait), _) if self.standing == Standing::Refuses => {
                (Self { standing: Standing::Fails(Trouble::Lasting), ..self }, wait)
            }
            (Blame::Itself, _) => (Self { outcome: Outcome::Later, standing: Standing::Works, ..self }, Duration::ZERO),
            (Blame::Way(_) | Blame::Nobody(_), Some(until)) => {
                (Self { standing: Standing::Fails(Trouble::Asked(until.since(now))), ..self }, AGAIN)
            }
            (Blame::Way(wait), None) => (Self { standing: Standing::Fails(Trouble::Passing), ..self }, wait),
            (Blame::Nobody(wait), None) => {
                let standing = if broken { Standing::Works } else { Standing::Untold };
                (Self { standing, until: Some(now), ..self }, wait)
            }
        }
    }

    /// Of a request that could not be made: in words of ours, without a secret.
    pub fn ours(why: &'static str, trouble: Trouble, what: String) -> Self {
        let (outcome, standing) = (Outcome::Hold(why), Standing::Fails(trouble));
        Self { outcome, standing, until: None, code: None, reply: what.clone(), told: what }
    }

    /// Of a request that nobody answered.
    pub fn failure(failure: &Failure) -> Self {
        let (outcome, standing) = failure.judge();
        Self { outcome, standing, until: None, code: None, reply: failure.detail.clone(), told: failure.detail.clone() }
    }
}

impl Endpoint {
    /// With at most `connections` requests at once.
    pub fn new(name: Arc<str>, client: Client, connections: usize, rates: &[Rate]) -> Self {
        let unsettled = Arc::new(Semaphore::new(MAX_UNSETTLED * connections.max(1)));
        let ration = Arc::new(Mutex::new(Ration::new(rates)));
        Self { client, name, state: Mutex::default(), ration, unsettled }
    }

    /// Goes on with what is left of the ration.
    pub fn resume(&mut self, ration: Arc<Mutex<Ration>>) {
        self.ration = ration;
    }

    /// Whether an attempt has a chance.
    pub fn gate(&self, urgent: bool, now: Timestamp) -> Gate {
        self.ration().gate(urgent, now, || {
            let mut state = self.state();
            state.doubts.forget(now);
            state.breaker.gate(now)
        })
    }

    /// Why nothing can be sent until somebody or something mends the endpoint.
    pub fn broken(&self) -> Option<&'static str> {
        let state = self.state();
        state.breaker.broken().or_else(|| state.doubts.stuck())
    }

    /// Leave to try, or the attempt that there is none. One that is tried counts in the ration, whatever comes of it.
    pub async fn enter(&self, urgent: bool, now: Timestamp) -> Result<Leave, Attempt> {
        let hold = |until, why, reply: &str| Attempt {
            verdict: Verdict::Hold { until, why },
            code: None,
            reply: reply.into(),
            receipt: None,
        };
        let began = Instant::now();
        let receipt = timeout(UNSETTLED_WAIT, self.unsettled.clone().acquire_owned()).await;
        let now = now.plus(began.elapsed());
        let Ok(Ok(receipt)) = receipt else {
            let reply = "eight deliveries of each connection are not on disk yet";
            return Err(hold(now.plus(UNSETTLED_PAUSE), "unsettled", reply));
        };
        if let Gate::Shut { until, why: "rate" } = self.gate(urgent, now) {
            return Err(hold(until, "rate", "the ration is used up"));
        }
        let shut = |shut: Shut| hold(shut.until, shut.why, "the channel pauses after an earlier failure");
        let pass = self.state().breaker.enter(now).map_err(shut)?;
        let taken = self.ration().take(urgent, now);
        taken.map_err(|until| hold(until, "rate", "the ration is used up"))?;
        Ok(Leave { pass, receipt, given: (now, Instant::now()) })
    }

    /// Tells the breaker what came of `outgoing`, and makes the attempt.
    pub fn conclude(&self, leave: Leave, judged: Judged, outgoing: &Outgoing) -> Attempt {
        let now = leave.now();
        let Leave { pass, receipt, .. } = leave;
        let key = &*outgoing.key;
        let mut state = self.state();
        let judged = judged.in_a_row(outgoing.to.as_deref().unwrap_or(key), &mut state);
        if judged.standing == Standing::Works && judged.outcome != Outcome::Later {
            state.doubts.answered(Who { key, to: None }, now);
        }
        let (judged, wait) = judged.in_doubt(key, &mut state, now);
        let why = match judged.outcome {
            Outcome::Hold(why) => why,
            _ => "unanswered",
        };
        match judged.standing {
            Standing::Fails(trouble) if state.breaker.failed(pass, trouble, why, now, jitter()) => {
                tracing::warn!(channel = %self.name, why, "the other side does not work: {}", judged.told);
            }
            // That it works again is said by the lane.
            Standing::Works => {
                state.breaker.succeeded(pass, now);
            }
            Standing::Fails(_) | Standing::Refuses | Standing::Doubtful | Standing::Untold => {}
        }
        let asked = judged.until.unwrap_or(now.plus(AGAIN));
        let held = match state.breaker.gate(now) {
            Gate::Shut { until, .. } => until.max(asked),
            Gate::Open | Gate::Few(_) | Gate::Probe => asked,
        };
        drop(state);
        let verdict = match judged.outcome {
            Outcome::Later => Verdict::Later { not_before: judged.until },
            outcome => outcome.verdict(None, held.plus(wait)),
        };
        let receipt = (judged.outcome == Outcome::Sent).then_some(receipt);
        Attempt { verdict, code: judged.code, reply: judged.reply, receipt }
    }

    fn ration(&self) -> MutexGuard<'_, Ration> {
        self.ration.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state behind its lock; every change of it is a single step, so a panic elsewhere leaves it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
