//! Owns when a message is tried again. Pure: the attempt number and the jitter are arguments.

use std::time::Duration;

/// The first wait after an ambiguous outcome; it doubles with every attempt up to [`AMBIGUOUS_MOST`].
const AMBIGUOUS_FIRST: Duration = Duration::from_mins(1);
/// As long as the last step of the usual schedule.
const AMBIGUOUS_MOST: Duration = Duration::from_hours(1);

/// The wait before each retry; after the last entry the last one again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Schedule {
    /// From `[channel.NAME] retry`. An empty list is a minute for ever.
    #[must_use]
    pub fn new(waits: Vec<Duration>) -> Self {
        Self(if waits.is_empty() { vec![AMBIGUOUS_FIRST] } else { waits })
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

    #[test]
    fn an_ambiguous_outcome_waits_a_minute_and_doubles_up_to_an_hour() {
        let waits: Vec<_> = [1, 2, 3, 7, u32::MAX].map(|attempt| after_ambiguous(attempt).as_secs()).to_vec();
        assert_eq!(waits, [60, 120, 240, 3_600, 3_600]);
    }
}
