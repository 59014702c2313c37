//! Owns the choice of the relay: the first one whose breaker lets a message through, within the ration and within
//! `connections`; and the step from what happened to an attempt's verdict.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::body;
use super::next_hop::{Judged, NextHop, NoSession};
use super::session::{At, Ending, Mail};
use super::verdict::{CLOSING, End, Event, Phase};
use crate::channels::breaker::Pass;
use crate::channels::doubt::Who;
use crate::channels::outcome::Outcome;
use crate::channels::ration::Ration;
use crate::channels::{Attempt, Gate, MAX_UNSETTLED, Outgoing, Permission, UNSETTLED_PAUSE, UNSETTLED_WAIT, Verdict};
use crate::clock::Timestamp;

/// So many messages may wait for each connection before another one is opened.
const WAIT_PER_CONNECTION: usize = 8;

pub(super) struct Pool {
    /// In the order of `relay`; at least one.
    hops: Vec<Arc<NextHop>>,
    /// One permit per connection, held by whoever uses, opens or closes it.
    slots: Arc<Semaphore>,
    most: usize,
    /// Index of the one that was last taken.
    in_use: AtomicUsize,
    ration: Arc<Mutex<Ration>>,
    /// One permit for each `Sent` that is not on disk yet, and for each attempt.
    unsettled: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(hops: Vec<NextHop>, most: usize, ration: Arc<Mutex<Ration>>) -> Self {
        let most = most.max(1);
        Self {
            hops: hops.into_iter().map(Arc::new).collect(),
            slots: Arc::new(Semaphore::new(most)),
            most,
            in_use: AtomicUsize::new(0),
            ration,
            unsettled: Arc::new(Semaphore::new(MAX_UNSETTLED * most)),
        }
    }

    /// One for each eight that wait, but all that are open anyway and no more than the relay in use is allowed.
    pub(super) fn connections(&self, waiting: usize) -> usize {
        let in_use = self.hops.get(self.in_use.load(Ordering::Relaxed));
        let (allowance, idle) = in_use.map_or((1, 0), |hop| hop.room());
        let open = idle + self.most.saturating_sub(self.slots.available_permits());
        waiting.div_ceil(WAIT_PER_CONNECTION).max(open).clamp(1, allowance)
    }

    /// Whether an attempt has a chance.
    pub(super) fn gate(&self, urgent: bool, now: Timestamp) -> Gate {
        self.ration().gate(urgent, now, || gate_of(&self.hops, now))
    }

    /// Why no relay works.
    pub(super) fn broken(&self) -> Option<&'static str> {
        let troubles: Option<Vec<_>> = self.hops.iter().map(|hop| hop.broken()).collect();
        troubles.and_then(|troubles| troubles.first().copied())
    }

    /// Every relay is tried, also when an earlier one failed.
    pub(super) async fn probe(&self) -> anyhow::Result<()> {
        let mut faults = Vec::new();
        for hop in &self.hops {
            if let Err(fault) = hop.probe().await {
                let several = self.hops.len() > 1;
                faults.push(if several { format!("{}: {fault:#}", hop.host()) } else { format!("{fault:#}") });
            }
        }
        anyhow::ensure!(faults.is_empty(), "{}", faults.join("; "));
        Ok(())
    }

    pub(super) async fn attempt(&self, outgoing: &Outgoing, now: Timestamp) -> Attempt {
        let permission = *outgoing.permission.borrow();
        if permission != Permission::Go {
            return withdrawn(permission, now);
        }
        if let Gate::Shut { until, why } = self.gate(outgoing.urgent, now) {
            return hold(until, why, "the channel pauses after an earlier failure, or its ration is used up");
        }
        let Some(to) = outgoing.to.as_deref().filter(|to| body::fits_a_path(to)) else {
            return never("bad-address", "the recipient's address cannot stand in a command");
        };
        match body::on_the_wire(&outgoing.bytes, !to.is_ascii()) {
            Ok(wire_form) => self.send(&Mail { outgoing, to, body: &wire_form }, now).await,
            Err(bad) => never("bad-bytes", &bad.to_string()),
        }
    }

    /// By the first relay that can be reached and announces what the mail needs. Any other has heard nothing of the mail, or
    /// has gone away before it was written, so the next one may: this is still one attempt. While one that might take it
    /// cannot be reached, the mail waits for it.
    async fn send(&self, mail: &Mail<'_>, now: Timestamp) -> Attempt {
        let began = Instant::now();
        let at = || now.plus(began.elapsed());
        let receipt = timeout(UNSETTLED_WAIT, self.unsettled.clone().acquire_owned()).await;
        let Ok(Ok(receipt)) = receipt else {
            let reply = "eight deliveries of each connection are not on disk yet";
            return hold(at().plus(UNSETTLED_PAUSE), "unsettled", reply);
        };
        let (mut unreached, mut unfit, mut gone, mut rationed) = (None, None, None, false);
        let mut left = Vec::new();
        for (index, hop) in self.hops.iter().enumerate() {
            let Some(pass) = hop.enter(at()) else {
                left.push(hop.clone());
                continue;
            };
            self.in_use.store(index, Ordering::Relaxed);
            match self.send_by(hop, pass, mail, &mut rationed, &at).await {
                Ok(attempt) => {
                    let sent = matches!(attempt.verdict, Verdict::Sent { .. });
                    return Attempt { receipt: sent.then_some(receipt), ..attempt };
                }
                // That it is to blame for itself is not undone by one that does not know it.
                Err(NotSent::Gone(end, judged)) => {
                    if gone.as_ref().is_none_or(|(_, before): &(End, Judged)| before.outcome != Outcome::Later) {
                        gone = Some((end, judged));
                    }
                }
                // A plain, smaller form may still be taken by a relay that found this one too big.
                Err(NotSent::Unfit(reason)) => {
                    unfit = if reason == "too-big" { Some(reason) } else { unfit.or(Some(reason)) }
                }
                Err(NotSent::NoSession(NoSession::Void)) => left.push(hop.clone()),
                Err(NotSent::NoSession(NoSession::Failed(end))) => {
                    left.push(hop.clone());
                    // Why the login rests is the answer that came before.
                    if !end.is_resting() || unreached.is_none() {
                        unreached = Some(end);
                    }
                }
            }
        }
        if let Some((end, judged)) = gone {
            return self.attempt_of(&end, &judged, at());
        }
        if let (Some(reason), []) = (unfit, left.as_slice()) {
            return never(reason, "no relay announces what this message needs");
        }
        let (until, why) = match gate_of(&left, at()) {
            Gate::Shut { until, why } => (until, why),
            _ => (at(), unreached.as_ref().map_or(CLOSING, |end| end.phase.name())),
        };
        let why = unfit.unwrap_or(why);
        let code = unreached.as_ref().and_then(End::code);
        let reply =
            unreached.map_or_else(|| "the channel pauses after an earlier failure".to_owned(), |end| end.to_string());
        Attempt { verdict: Verdict::Hold { until, why }, code, reply, receipt: None }
    }

    /// By this relay. `rationed`: it has its part of the ration, by another relay that went away before it heard anything.
    async fn send_by(
        &self,
        hop: &Arc<NextHop>,
        pass: Pass,
        mail: &Mail<'_>,
        rationed: &mut bool,
        at: At<'_>,
    ) -> Result<Attempt, NotSent> {
        // Every holder of a slot is bound by the deadlines of its phases, so the wait is bounded too.
        let Ok(slot) = self.slots.clone().acquire_owned().await else {
            return Ok(withdrawn(Permission::Stopping, at()));
        };
        let (mut session, reused) = hop.session(pass, at).await?;
        if let Err(reason) = session.takes(mail) {
            hop.answered(pass, at());
            hop.put_back(session, &self.slots, slot);
            return Err(NotSent::Unfit(reason));
        }
        if !*rationed && let Err(until) = self.ration().take(mail.outgoing.urgent, at()) {
            if !reused {
                hop.answered(pass, at());
            }
            hop.put_back(session, &self.slots, slot);
            return Ok(hold(until, "rate", "the ration is used up"));
        }
        *rationed = true;
        let mut ending = session.deliver(mail).await;
        if reused && had_gone(&ending) {
            // The relay had closed the idle connection and we could not know: nothing of this message was heard.
            session = hop.open(pass, at).await?;
            if let Err(reason) = session.takes(mail) {
                hop.answered(pass, at());
                hop.put_back(session, &self.slots, slot);
                return Err(NotSent::Unfit(reason));
            }
            ending = session.deliver(mail).await;
        }
        hop.put_back(session, &self.slots, slot);
        Ok(match ending {
            Ending::Judged(end) => {
                let judged = hop.judge(pass, &end, Some(Who { key: &mail.outgoing.key, to: Some(mail.to) }), at());
                if end.code() == Some(421) && end.phase < Phase::Dot {
                    return Err(NotSent::Gone(end, judged));
                }
                self.attempt_of(&end, &judged, at())
            }
            Ending::Withdrawn(permission) => {
                hop.answered(pass, at()); // 354
                withdrawn(permission, at())
            }
        })
    }

    fn attempt_of(&self, end: &End, judged: &Judged, now: Timestamp) -> Attempt {
        // Until this relay may be tried again, or at once if there is another.
        let until = match gate_of(&self.hops, now) {
            Gate::Shut { until, .. } => until,
            Gate::Open | Gate::Few(_) | Gate::Probe => now,
        };
        let verdict = judged.outcome.verdict(end.queue_id(), until.plus(judged.wait));
        Attempt { verdict, code: end.code(), reply: end.to_string(), receipt: None }
    }

    pub(super) async fn close(&self) {
        for hop in &self.hops {
            hop.close().await;
        }
    }

    fn ration(&self) -> MutexGuard<'_, Ration> {
        self.ration.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a relay surely has nothing of a mail.
enum NotSent {
    /// It said 421 before the mail was written.
    Gone(End, Judged),
    NoSession(NoSession),
    /// It announced that it cannot take this: the reason of a `Never`.
    Unfit(&'static str),
}

impl From<NoSession> for NotSent {
    fn from(none: NoSession) -> Self {
        Self::NoSession(none)
    }
}

/// Open if one of `hops` is, else a probe if one is due, else shut until the first of them may be tried.
fn gate_of(hops: &[Arc<NextHop>], now: Timestamp) -> Gate {
    let order = |gate: &Gate| match gate {
        Gate::Open | Gate::Few(_) => (0, now),
        Gate::Probe => (1, now),
        Gate::Shut { until, .. } => (2, *until),
    };
    hops.iter().map(|hop| hop.gate(now)).min_by_key(order).unwrap_or(Gate::Open)
}

/// Whether a transaction failed because the connection had ended before it began.
fn had_gone(ending: &Ending) -> bool {
    let Ending::Judged(End { phase: Phase::Mail, event }) = ending else { return false };
    match event {
        Event::Closed | Event::Io(_) => true,
        Event::Reply(reply) => reply.code == 421,
        _ => false,
    }
}

fn hold(until: Timestamp, why: &'static str, reply: &str) -> Attempt {
    Attempt { verdict: Verdict::Hold { until, why }, code: None, reply: reply.to_owned(), receipt: None }
}

fn never(reason: &'static str, reply: &str) -> Attempt {
    Attempt { verdict: Verdict::Never { reason }, code: None, reply: reply.to_owned(), receipt: None }
}

fn withdrawn(permission: Permission, now: Timestamp) -> Attempt {
    let why = if permission == Permission::Lost { "lost" } else { "stopping" };
    hold(now, why, "taken back before the final dot")
}
