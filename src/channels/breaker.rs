//! Owns the decision whether a way out (one relay, one HTTP endpoint) is worth trying. Pure: `now` and the jitter are
//! arguments.
//!
//! ```text
//!            5 failures in a row, or half of the last 20 within a minute, or a lasting one
//!   closed ────────────────────────────────────────────────────────────────────────────────▶ open
//!     ▲  a single failure only makes a pause                                                  │ window is over
//!     └──────────────── the probe worked ──────────────── half-open: one probe ◀──────────────┘
//!                                                               └── it did not: open, twice as long
//! ```
//!
//! Invariants, each a test: at most one probe per window; no pass within 30 s of a lasting failure; nothing that began
//! before a break decides about it.

use std::collections::VecDeque;
use std::time::Duration;

use super::Gate;
use crate::clock::Timestamp;

/// So many failures in a row open it.
const ROW: u32 = 5;
/// So many outcomes are remembered; half of them failed, none older than [`RECENT_SPAN`], opens it.
const RECENT: usize = 20;
const RECENT_SPAN: Duration = Duration::from_mins(1);
/// The pause after a single failure; doubled with each in a row: 1, 2, 4, 8 s. A failure costs the message nothing, so
/// without it a dead relay would be asked without end.
const PAUSE: Duration = Duration::from_secs(1);
/// The first window; doubled with each probe that fails.
const FIRST_WINDOW: Duration = Duration::from_secs(30);
/// The longest window, before the jitter.
const LONGEST_WINDOW: Duration = Duration::from_mins(10);
/// The longest pause that the other side may ask for.
const LONGEST_ASKED: Duration = Duration::from_hours(1);
/// How far the clock may seem to go back without having done so: attempts that began at different times meet here.
const CLOCK_STEP: Duration = Duration::from_mins(1);
/// The jitter makes a window longer by up to this part of it, never shorter.
const JITTER: f64 = 0.2;

/// What a failure says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection or the session failed; the next one may not.
    Passing,
    /// Nothing changes until somebody changes a configuration, here or there: a refused login, a refused sender.
    Lasting,
    /// The other side asks for so much time: 421, `Retry-After`. At most an hour counts.
    Asked(Duration),
}

/// Leave to try once. Its result counts only if nothing has failed since it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(u64);

/// Until when nobody may try, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shut {
    from: Timestamp,
    /// Not before.
    pub until: Timestamp,
    /// The reason of the failure.
    pub why: &'static str,
}

/// The breaker of one way out.
#[derive(Debug, Default)]
pub struct Breaker {
    /// The passes that count are of this age; counted up by each failure and each probe.
    age: u64,
    failures_in_row: u32,
    recent: VecDeque<(Timestamp, bool)>,
    shut: Option<Shut>,
    /// `Some`: open or half-open.
    broken: Option<Broken>,
}

#[derive(Clone, Copy, Debug)]
struct Broken {
    why: &'static str,
    /// Without the jitter.
    window: Duration,
}

impl Breaker {
    /// What [`Breaker::enter`] would say.
    #[must_use]
    pub fn gate(&self, now: Timestamp) -> Gate {
        match (self.standing(now), self.broken) {
            (Some(Shut { until, why, .. }), _) => Gate::Shut { until, why },
            (None, Some(_)) => Gate::Probe,
            (None, None) => Gate::Open,
        }
    }

    /// Why it is open or half-open.
    #[must_use]
    pub fn broken(&self) -> Option<&'static str> {
        self.broken.map(|broken| broken.why)
    }

    /// Leave to try now. A probe uses up its window, so one that is never heard of again keeps nobody out for longer.
    pub fn enter(&mut self, now: Timestamp) -> Result<Pass, Shut> {
        if let Some(shut) = self.standing(now) {
            return Err(shut);
        }
        if let Some(Broken { why, window }) = self.broken {
            self.age += 1;
            self.shut = Some(Shut { from: now, until: now.plus(window), why });
        }
        Ok(Pass(self.age))
    }

    /// Whether `pass` still counts. One that does not must not be used to connect.
    #[must_use]
    pub fn is_valid(&self, pass: Pass) -> bool {
        pass.0 == self.age
    }

    /// What was tried with `pass` failed because of `why`. Whether the breaker opens by that.
    pub fn failed(&mut self, pass: Pass, failure: Failure, why: &'static str, now: Timestamp, jitter: f64) -> bool {
        let least = match failure {
            Failure::Asked(span) => span.min(LONGEST_ASKED),
            Failure::Lasting => FIRST_WINDOW,
            Failure::Passing => Duration::ZERO,
        };
        if !self.is_valid(pass) {
            // The same trouble seen on another connection. A lasting one counts whenever it comes: accounts get locked.
            if failure != Failure::Lasting {
                return false;
            }
            if self.broken.is_some() {
                self.age += 1;
                self.shut(now, least, why);
                return false;
            }
        }
        self.age += 1;
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        self.remember(now, true);
        let was_broken = self.broken;
        let opens = failure == Failure::Lasting || self.failures_in_row >= ROW || self.half_failed(now);
        let span = match was_broken {
            Some(Broken { window, .. }) => window.saturating_mul(2).min(LONGEST_WINDOW),
            None if opens => FIRST_WINDOW,
            None => PAUSE.saturating_mul(1 << (self.failures_in_row - 1).min(16)),
        };
        if opens || was_broken.is_some() {
            self.broken = Some(Broken { why, window: span });
            self.shut(now, span.mul_f64(1.0 + JITTER * jitter.clamp(0.0, 1.0)).max(least), why);
        } else {
            self.shut(now, span.max(least), why);
        }
        was_broken.is_none() && opens
    }

    /// What was tried with `pass` was answered, whatever the answer said of the message. Whether it was broken before.
    pub fn succeeded(&mut self, pass: Pass, now: Timestamp) -> bool {
        if !self.is_valid(pass) {
            return false;
        }
        self.failures_in_row = 0;
        self.shut = None;
        let recovered = self.broken.take().is_some();
        if recovered {
            self.recent.clear();
        }
        self.remember(now, false);
        recovered
    }

    /// Shuts it for `span` because of something that is not this way's own failure.
    pub fn rest(&mut self, span: Duration, why: &'static str, now: Timestamp) {
        self.age += 1;
        self.shut(now, span, why);
    }

    /// The standing shut. One that began long after now began before the clock went back, and is over.
    fn standing(&self, now: Timestamp) -> Option<Shut> {
        self.shut.filter(|shut| now < shut.until && shut.from.since(now) <= CLOCK_STEP)
    }

    /// Shuts for `span` from now, or longer if it is shut for longer already.
    fn shut(&mut self, now: Timestamp, span: Duration, why: &'static str) {
        let until = self.standing(now).map_or(now, |shut| shut.until).max(now.plus(span));
        self.shut = Some(Shut { from: now, until, why });
    }

    fn remember(&mut self, now: Timestamp, failed: bool) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((now, failed));
    }

    fn half_failed(&self, now: Timestamp) -> bool {
        let fresh = self.recent.front().is_some_and(|(at, _)| now.since(*at) <= RECENT_SPAN);
        fresh && self.recent.len() == RECENT && self.recent.iter().filter(|(_, failed)| *failed).count() * 2 >= RECENT
    }
}

#[cfg(test)]
mod tests;
