//! Owns how much may go out in a span of time: `rate = ["30/m", "10000/d"]`. Pure: `now` is an argument.
//!
//! A bucket counts what went in the last span, so no window of that length ever holds more than the rate, wherever it
//! begins (a bucket that only refills allows twice as much around a pause). All buckets of a ration hold at once. The last
//! quarter of each is for urgent messages.

use std::collections::VecDeque;
use std::time::Duration;

use super::Gate;
use crate::clock::Timestamp;

/// A span is counted in so many slices. What went in a slice counts until the whole slice is out of the span, so the real
/// rate is lower than the configured one by a sixtieth at most.
const SLICES: u32 = 60;
/// Urgent messages have this part of each bucket for themselves, rounded down: 0 below 4.
const URGENT_SHARE: u32 = 4;

/// One of `rate`: at most `count` in any `span`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    /// At least a second.
    pub span: Duration,
}

/// What went out lately, and the rates that it must not exceed. Without rates it lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Ration(Vec<Bucket>);

#[derive(Clone, Debug)]
struct Bucket {
    rate: Rate,
    /// Milliseconds.
    slice: i64,
    /// Number of the slice and what went in it, the oldest first; none is 0.
    slices: VecDeque<(i64, u32)>,
}

impl Ration {
    /// Nothing has gone out yet.
    #[must_use]
    pub fn new(rates: &[Rate]) -> Self {
        Self(rates.iter().map(|rate| Bucket::new(*rate)).collect())
    }

    /// Whether it was made of `rates`.
    #[must_use]
    pub fn is_of(&self, rates: &[Rate]) -> bool {
        self.0.iter().map(|bucket| &bucket.rate).eq(rates)
    }

    /// How many may go now; `None`: there is no limit.
    pub fn left(&mut self, urgent: bool, now: Timestamp) -> Option<u32> {
        self.0.iter_mut().map(|bucket| bucket.left(urgent, now)).min()
    }

    /// What is worth claiming by a way that would let through what `way` says. The ration first: while it is used up the best
    /// way is of no use.
    pub fn gate(&mut self, urgent: bool, now: Timestamp, way: impl FnOnce() -> Gate) -> Gate {
        let left = self.left(urgent, now);
        if left == Some(0) {
            return Gate::Shut { until: self.free_at(urgent, now), why: "rate" };
        }
        match (way(), left) {
            (Gate::Open, Some(left)) => Gate::Few(usize::try_from(left).unwrap_or(usize::MAX)),
            (gate, _) => gate,
        }
    }

    /// When at least one may go.
    pub fn free_at(&mut self, urgent: bool, now: Timestamp) -> Timestamp {
        self.0.iter_mut().map(|bucket| bucket.free_at(urgent, now)).max().unwrap_or(now)
    }

    /// One goes, if it may; else when it may.
    pub fn take(&mut self, urgent: bool, now: Timestamp) -> Result<(), Timestamp> {
        if self.left(urgent, now) == Some(0) {
            return Err(self.free_at(urgent, now));
        }
        self.0.iter_mut().for_each(|bucket| bucket.count(now));
        Ok(())
    }
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        let slice = i64::try_from((rate.span / SLICES).as_millis()).unwrap_or(i64::MAX).max(1);
        Self { rate, slice, slices: VecDeque::new() }
    }

    fn limit(&self, urgent: bool) -> u32 {
        if urgent { self.rate.count } else { self.rate.count - self.rate.count / URGENT_SHARE }
    }

    fn gone(&self) -> u32 {
        self.slices.iter().map(|(_, count)| count).sum()
    }

    fn left(&mut self, urgent: bool, now: Timestamp) -> u32 {
        self.forget(now);
        self.limit(urgent).saturating_sub(self.gone())
    }

    fn free_at(&mut self, urgent: bool, now: Timestamp) -> Timestamp {
        self.forget(now);
        let mut over = (self.gone() + 1).saturating_sub(self.limit(urgent));
        for (slice, count) in &self.slices {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(*count);
            if over == 0 {
                return self.end(*slice);
            }
        }
        now
    }

    fn count(&mut self, now: Timestamp) {
        let slice = now.as_millis().div_euclid(self.slice);
        match self.slices.back_mut() {
            Some((last, count)) if *last == slice => *count += 1,
            _ => self.slices.push_back((slice, 1)),
        }
    }

    /// When nothing that went in `slice` is within the span any more.
    fn end(&self, slice: i64) -> Timestamp {
        Timestamp::from_millis(slice.saturating_add(1).saturating_mul(self.slice)).plus(self.rate.span)
    }

    fn forget(&mut self, now: Timestamp) {
        let current = now.as_millis().div_euclid(self.slice);
        if self.slices.back().is_some_and(|(last, _)| *last > current) {
            // The clock went back. When it really was, nobody knows: it counts as just now.
            let gone = self.gone();
            self.slices.clear();
            self.slices.push_back((current, gone));
        }
        while self.slices.front().is_some_and(|(slice, _)| self.end(*slice) <= now) {
            self.slices.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn per(count: u32, seconds: u64) -> Rate {
        Rate { count, span: Duration::from_secs(seconds) }
    }

    /// Takes as many as there are.
    fn exhaust(ration: &mut Ration, urgent: bool, now: Timestamp) -> u32 {
        (0..u32::MAX).find(|_| ration.take(urgent, now).is_err()).unwrap()
    }

    #[test]
    fn a_ration_table() {
        for (what, rates, urgent, expected, next) in [
            ("a whole minute's worth goes at once", vec![per(30, 60)], true, 30, 61),
            ("the last quarter is for the urgent", vec![per(30, 60)], false, 23, 61),
            ("of three nobody has a share", vec![per(3, 60)], false, 3, 61),
            ("the tightest bucket holds", vec![per(30, 60), per(10, 3_600)], true, 10, 3_660),
            ("also when it comes first", vec![per(10, 3_600), per(30, 60)], true, 10, 3_660),
        ] {
            let mut ration = Ration::new(&rates);
            assert_eq!(exhaust(&mut ration, urgent, at(0)), expected, "{what}");
            assert_eq!(ration.take(urgent, at(0)), Err(at(next)), "{what}");
            assert_eq!(ration.take(urgent, at(next)), Ok(()), "{what}");
        }
    }

    #[test]
    fn without_a_rate_everything_goes() {
        let mut ration = Ration::new(&[]);
        assert_eq!((ration.left(false, at(0)), ration.free_at(false, at(0))), (None, at(0)));
        assert!((0..100_000).all(|_| ration.take(false, at(0)).is_ok()));
    }

    #[test]
    fn urgent_ones_go_after_the_ordinary_have_used_up_theirs() {
        let mut ration = Ration::new(&[per(8, 60)]);
        assert_eq!(exhaust(&mut ration, false, at(0)), 6);
        assert_eq!((ration.left(false, at(1)), ration.left(true, at(1))), (Some(0), Some(2)));
        assert_eq!(exhaust(&mut ration, true, at(1)), 2);
        assert_eq!(ration.free_at(true, at(1)), at(61), "an urgent one when any one is free again");
        assert_eq!(ration.free_at(false, at(1)), at(61), "an ordinary one when three are");
    }

    #[test]
    fn a_clock_that_went_back_lets_no_more_through_and_blocks_no_longer_than_a_span() {
        let mut ration = Ration::new(&[per(4, 60)]);
        assert_eq!(exhaust(&mut ration, true, at(90_000)), 4);
        assert_eq!(ration.take(true, at(0)), Err(at(61)));
        assert_eq!(ration.take(true, at(61)), Ok(()));
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_in_any_window_and_never_stuck(
            rates in proptest::collection::vec((1_u32..40, 1_u64..200).prop_map(|(count, span)| per(count, span)), 1..4),
            steps in proptest::collection::vec((0_i64..20_000, any::<bool>()), 1..300),
        ) {
            let mut ration = Ration::new(&rates);
            let mut gone: Vec<(Timestamp, bool)> = Vec::new();
            let mut now = at(0);
            for (pause, urgent) in steps {
                now = now.plus(Duration::from_millis(pause.unsigned_abs()));
                match ration.take(urgent, now) {
                    Ok(()) => gone.push((now, urgent)),
                    Err(next) => {
                        prop_assert!(next > now);
                        prop_assert!(ration.clone().left(urgent, next) > Some(0), "free when it says");
                    }
                }
                for rate in &rates {
                    let within = gone.iter().filter(|(at, _)| now.since(*at) < rate.span).count();
                    prop_assert!(within <= rate.count as usize, "{within} in {:?}", rate.span);
                }
            }
        }
    }
}
