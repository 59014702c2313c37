//! Owns when a message is tried again. Pure: the attempt number and the jitter are arguments.

use std::time::Duration;

use crate::clock::Timestamp;

/// The first wait after an ambiguous outcome; it doubles with every attempt up to [`AMBIGUOUS_MOST`].
const AMBIGUOUS_FIRST: Duration = Duration::from_mins(1);
/// As long as the last step of the usual schedule.
const AMBIGUOUS_MOST: Duration = Duration::from_hours(1);

/// A relay that greylists takes a mail from some minutes after the first try on: one try must fall into this span after it,
/// whatever the list of waits says.
const GREYLISTED: (Duration, Duration) = (Duration::from_mins(5), Duration::from_mins(10));

/// The wait before each retry; after the last entry the last one again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Schedule {
    /// From `[channel.NAME] retry`. An empty list is a minute for ever.
    #[must_use]
    pub fn new(waits: Vec<Duration>) -> Self {
        Self(if waits.is_empty() { vec![AMBIGUOUS_FIRST] } else { waits })
    }

    /// When to try again after attempt number `attempt` (from 1) of a message that was first tried at `first_at`.
    #[must_use]
    pub fn next(&self, attempt: u32, first_at: Timestamp, now: Timestamp, jitter: f64) -> Timestamp {
        let due_at = now.plus(self.after(attempt, jitter));
        let (from, to) = (first_at.plus(GREYLISTED.0), first_at.plus(GREYLISTED.1));
        if now < from && to < due_at {
            let span = GREYLISTED.1.saturating_sub(GREYLISTED.0);
            return from.plus(span.mul_f64(0.2 + 0.6 * jitter.clamp(0.0, 1.0)));
        }
        due_at
    }

    /// The wait after attempt number `attempt` (from 1), times a factor of 0.8 to 1.2 as `jitter` goes from 0 to 1, so that
    /// what failed together does not return together.
    #[must_use]
    pub fn after(&self, attempt: u32, jitter: f64) -> Duration {
        let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX).min(self.0.len() - 1);
        self.0[step].mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
    }
}

/// The wait after an ambiguous attempt: the other side has probably got it, so there is no hurry.
#[must_use]
pub fn after_ambiguous(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    (AMBIGUOUS_FIRST * 2_u32.pow(doublings)).min(AMBIGUOUS_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_walked_to_its_end_and_then_repeats_the_last_step() {
        let schedule = Schedule::new(vec![Duration::from_secs(30), Duration::from_mins(1), Duration::from_mins(10)]);
        for (why, attempt, jitter, expected) in [
            ("the first failure waits the first step", 1, 0.5, 30),
            ("the second the second", 2, 0.5, 60),
            ("the third the third", 3, 0.5, 600),
            ("and every later one the last", 40, 0.5, 600),
            ("jitter 0 is a fifth earlier", 3, 0.0, 480),
            ("jitter 1 is a fifth later", 3, 1.0, 720),
            ("jitter outside its range is held at the end", 3, 7.0, 720),
            ("attempt 0 cannot happen and waits the first step", 0, 0.5, 30),
        ] {
            assert_eq!(schedule.after(attempt, jitter), Duration::from_secs(expected), "{why}");
        }
    }

    /// T35: whatever the list, one try falls between five and ten minutes after the first.
    #[test]
    fn a_relay_that_greylists_is_asked_again_between_five_and_ten_minutes_after_the_first_try() {
        let seconds = Duration::from_secs;
        let minutes = |list: &[u64]| Schedule::new(list.iter().map(|wait| Duration::from_mins(*wait)).collect());
        let ours = Schedule::new([30, 60, 120, 300, 600].map(seconds).to_vec());
        let lists = [
            ("ours", ours),
            ("an hour at once", minutes(&[60])),
            ("over the window in one step", minutes(&[1, 3, 60])),
            ("into the window by itself", minutes(&[7, 60])),
            ("a second for ever", Schedule::new(vec![seconds(1)])),
            ("a minute and then a day", minutes(&[1, 1_440])),
        ];
        for (what, schedule) in lists {
            for jitter in [0.0, 0.5, 1.0] {
                let first_at = Timestamp::from_millis(1_769_105_702_387);
                let mut now = first_at;
                let tries = (1..2_000).map(|attempt| {
                    now = schedule.next(attempt, first_at, now, jitter);
                    now.since(first_at)
                });
                let inside = |since: &Duration| (seconds(300)..=seconds(600)).contains(since);
                assert!(
                    tries.take_while(|since| *since <= seconds(600)).any(|since| inside(&since)),
                    "{what} {jitter}"
                );
            }
        }
        let first_at = Timestamp::from_millis(0);
        let usual = minutes(&[60]).next(2, first_at, first_at.plus(seconds(301)), 0.5);
        assert_eq!(usual.since(first_at), seconds(3_901), "after the window the list alone counts");
    }

    #[test]
    fn an_ambiguous_outcome_waits_a_minute_and_doubles_up_to_an_hour() {
        let waits: Vec<_> = [1, 2, 3, 7, u32::MAX].map(|attempt| after_ambiguous(attempt).as_secs()).to_vec();
        assert_eq!(waits, [60, 120, 240, 3_600, 3_600]);
    }
}
