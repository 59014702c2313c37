//! Owns the pause of a route that is out of order: how long, and why. Pure. (The breaker with probes comes with the
//! delivery issue.)

use std::time::Duration;

use crate::clock::Timestamp;

/// The first pause; doubled with each failure in a row.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_mins(1);
/// The first pause after a refused login: relays lock accounts, so a password is tried at most twice a minute.
const FIRST_LOGIN: Duration = Duration::from_secs(30);
/// The longest pause after a refused login.
const LONGEST_LOGIN: Duration = Duration::from_mins(5);

/// A route's troubles in a row.
#[derive(Debug, Default)]
pub(super) struct Pause {
    failures: u32,
    until: Timestamp,
    why: &'static str,
}

impl Pause {
    /// While the pause stands: until when, and why. One that would last longer than the longest began before the clock
    /// went back, and is over.
    pub(super) fn standing(&self, now: Timestamp) -> Option<(Timestamp, &'static str)> {
        let stands = self.failures > 0 && now < self.until && self.until.since(now) <= LONGEST_LOGIN;
        stands.then_some((self.until, self.why))
    }

    /// The route failed because of `why`. Gives the end of the pause, and whether this trouble is new. Failures while a
    /// pause stands are the same trouble seen on other connections and do not lengthen it.
    pub(super) fn failed(&mut self, why: &'static str, now: Timestamp) -> (Timestamp, bool) {
        if let Some((until, _)) = self.standing(now) {
            return (until, false);
        }
        let new = self.failures == 0 || self.why != why;
        let (first, longest) = if why == "auth" { (FIRST_LOGIN, LONGEST_LOGIN) } else { (FIRST, LONGEST) };
        self.until = now.plus(first.saturating_mul(1 << self.failures.min(16)).min(longest));
        self.failures = self.failures.saturating_add(1);
        self.why = why;
        (self.until, new)
    }

    /// The route works. Whether it did not before.
    pub(super) fn recovered(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_end_with_the_first_success() {
        let mut pause = Pause::default();
        let mut now = at(1_000);
        assert_eq!(pause.standing(now), None);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let (until, _) = pause.failed("connect", now);
            assert_eq!(until.since(now).as_secs(), seconds);
            assert_eq!(pause.standing(now), Some((until, "connect")));
            now = until;
            assert_eq!(pause.standing(now), None, "at its end the pause is over");
        }
        assert!(pause.recovered());
        assert!(!pause.recovered());
        assert_eq!(pause.failed("connect", now).0.since(now).as_secs(), 1);
    }

    #[test]
    fn a_refused_login_is_tried_at_most_twice_a_minute() {
        let mut pause = Pause::default();
        let mut now = at(0);
        for seconds in [30, 60, 120, 240, 300, 300] {
            let (until, _) = pause.failed("auth", now);
            assert_eq!(until.since(now).as_secs(), seconds);
            now = until;
        }
    }

    #[test]
    fn a_clock_that_went_back_does_not_prolong_a_pause() {
        let mut pause = Pause::default();
        let (until, _) = pause.failed("connect", at(90_000));
        assert_eq!(pause.standing(at(90_000)), Some((until, "connect")));
        assert_eq!(pause.standing(at(0)), None, "a day earlier");
    }

    #[test]
    fn five_connections_that_fail_together_are_one_trouble_told_once() {
        let mut pause = Pause::default();
        let (until, new) = pause.failed("closing", at(10));
        assert!(new);
        for _ in 0..4 {
            assert_eq!(pause.failed("closing", at(10)), (until, false));
        }
        assert_eq!(pause.failed("closing", at(11)), (at(13), false), "the same trouble, longer");
        assert!(pause.failed("tls", at(13)).1, "another trouble is told");
    }
}
