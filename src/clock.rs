//! Owns time: `Timestamp`, the only two clocks there are, and when a step of the system's clock is believed. Nothing else in
//! this crate asks the system for the time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use tokio::sync::watch;

/// A moment, in whole milliseconds since 1970-01-01T00:00:00Z. The form the store keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole days since the epoch, rounded down; the day in a notification's id.
    #[must_use]
    pub const fn day(self) -> i64 {
        self.0.div_euclid(86_400_000)
    }

    /// `self + span`, held at the ends of the range instead of wrapping.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// `self - span`, held at the ends of the range instead of wrapping.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// A span as people write it in the configuration: a whole number and a unit, `ms`, `s`, `m`, `h` or `d`: `20s`, `3d`.
/// The error names the form.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)) {
        Some(span) if millis > 0 => Ok(Duration::from_millis(span)),
        _ => Err("is not a duration: write a whole number and ms, s, m, h or d, e.g. \"20s\" or \"3d\"".into()),
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-01-22T18:15:02.387Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// No clock that is right shows less: a day before this program was built (`build.rs`).
pub const BUILT: Timestamp = Timestamp(match i64::from_str_radix(env!("AUDITBELL_BUILT"), 10) {
    Ok(seconds) => (seconds - 86_400) * 1_000,
    Err(_) => 0,
});

/// A clock that was set back by more than this is worth a word; less is what the time service does.
pub const SET_BACK: Duration = Duration::from_mins(1);

/// A larger step than this, either way, is more likely a mistake than the time.
const STEP: Duration = Duration::from_hours(24);
/// After so long it is believed all the same: the machine may have slept.
const DOUBT: Duration = Duration::from_mins(10);

/// What this process takes for the time. A clock that jumps by years would expire all that waits, purge the ledger and refuse
/// every record as too old, and none of that can be taken back; so time goes on by the monotonic clock for a while.
struct Belief {
    /// The time at `at`.
    time: Timestamp,
    at: Instant,
    /// Since when the system's clock shows something else.
    doubted: Option<Instant>,
    /// The latest time that was told since [`Clock::stepped_back`] was last asked.
    latest: Timestamp,
}

/// The process has one wall clock. `None` until it is first asked.
static BELIEF: Mutex<Option<Belief>> = Mutex::new(None);

impl Belief {
    /// The time when the system's clock shows `wall` at `now`.
    fn hear(&mut self, wall: Timestamp, now: Instant) -> Timestamp {
        let expected = self.time.plus(now.saturating_duration_since(self.at));
        let step = wall.since(expected).max(expected.since(wall));
        let since = *self.doubted.get_or_insert(now);
        if step <= STEP || (wall >= BUILT && now.saturating_duration_since(since) >= DOUBT) {
            let latest = self.latest.max(wall);
            *self = Self { time: wall, at: now, doubted: None, latest };
            return wall;
        }
        self.latest = self.latest.max(expected);
        expected
    }
}

/// The system's clock, as far as it is believed.
fn system_time() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
    let wall = Timestamp(std::time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis));
    let now = Instant::now();
    let mut belief = BELIEF.lock().unwrap_or_else(PoisonError::into_inner);
    let belief = belief.get_or_insert(Belief { time: wall, at: now, doubted: None, latest: wall });
    let doubted = belief.doubted.is_some();
    let time = belief.hear(wall, now);
    match (doubted, belief.doubted.is_some()) {
        (false, true) => {
            tracing::error!(shown = %wall, "the system's clock has jumped by more than a day and is not believed: set it");
        }
        (true, false) => tracing::warn!(shown = %wall, "the system's clock is believed again"),
        (false, false) | (true, true) => {}
    }
    time
}

/// Where a loop gets the time from: the system, or a test that moves it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<watch::Sender<Hands>>),
}

/// What a manual clock shows.
#[derive(Clone, Copy, Debug)]
struct Hands {
    now: Timestamp,
    /// The latest that it showed since [`Clock::stepped_back`] was last asked.
    latest: Timestamp,
}

impl Clock {
    /// The system's wall clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(watch::Sender::new(Hands { now: start, latest: start }))))
    }

    /// The time now. The system's clock is followed, but not at once where it jumps by more than a day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_time(),
            Source::Manual(hands) => hands.borrow().now,
        }
    }

    /// How far the time now is behind one that was told since this was last asked, however short that lasted; zero where the
    /// clock only went on.
    #[must_use]
    pub fn stepped_back(&self) -> Duration {
        let now = self.now();
        match &self.0 {
            Source::System => {
                let mut belief = BELIEF.lock().unwrap_or_else(PoisonError::into_inner);
                belief.as_mut().map_or(now, |belief| std::mem::replace(&mut belief.latest, now)).since(now)
            }
            Source::Manual(hands) => {
                let mut latest = now;
                hands.send_modify(|hands| latest = std::mem::replace(&mut hands.latest, now));
                latest.since(now)
            }
        }
    }

    /// Waits until `at`; returns at once when it has passed. Cancel-safe.
    pub async fn sleep_until(&self, at: Timestamp) {
        match &self.0 {
            Source::System => tokio::time::sleep(at.since(self.now())).await,
            Source::Manual(hands) => {
                // The sender lives in `self`, so waiting cannot fail.
                let _ = hands.subscribe().wait_for(|hands| hands.now >= at).await;
            }
        }
    }

    /// Moves a manual clock; the system's clock is not ours to move and stays.
    pub fn advance(&self, span: Duration) {
        if let Source::Manual(hands) = &self.0 {
            hands.send_modify(|hands| {
                hands.now = hands.now.plus(span);
                hands.latest = hands.latest.max(hands.now);
            });
        }
    }

    /// Sets a manual clock back.
    pub fn set_back(&self, span: Duration) {
        if let Source::Manual(hands) = &self.0 {
            hands.send_modify(|hands| hands.now = hands.now.minus(span));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_as_rfc_3339_with_milliseconds() {
        assert_eq!(Timestamp::from_millis(1_769_105_702_387).to_string(), "2026-01-22T18:15:02.387Z");
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, millis) in
            [("250ms", 250), ("20s", 20_000), ("15m", 900_000), ("1h", 3_600_000), ("3d", 259_200_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "20", "s", "-1h", "1.5h", "20 s", "1h30m", "1w", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_step_of_more_than_a_day_is_believed_only_after_a_while() {
        const MINUTE: Duration = Duration::from_mins(1);
        let day = 24 * 60 * MINUTE;
        let start = BUILT.plus(10 * day);
        let began = Instant::now();
        for (why, shown, believed_at_once, believed_later) in [
            ("a second later", start.plus(Duration::from_secs(1)), true, true),
            ("an hour ahead", start.plus(60 * MINUTE), true, true),
            ("an hour back", start.minus(60 * MINUTE), true, true),
            ("years ahead: it may be true, after a long sleep", start.plus(4_000 * day), false, true),
            ("two days back", start.minus(2 * day), false, true),
            ("before the program was built: never", start.minus(11 * day), false, false),
        ] {
            let mut belief = Belief { time: start, at: began, doubted: None, latest: start };
            let heard = belief.hear(shown, began);
            assert_eq!(heard, if believed_at_once { shown } else { start }, "{why}");
            assert_eq!(belief.doubted.is_none(), believed_at_once, "{why}");
            let (later, after) = (shown.plus(10 * MINUTE), began + 10 * MINUTE);
            let expected = if believed_later { later } else { start.plus(10 * MINUTE) };
            assert_eq!(belief.hear(later, after), expected, "{why}, ten minutes on");
        }
        let mut belief = Belief { time: start, at: began, doubted: None, latest: start };
        belief.hear(start.plus(900 * day), began);
        assert_eq!(belief.hear(start.plus(MINUTE), began + MINUTE), start.plus(MINUTE), "it was set right");
        assert!(belief.doubted.is_none());
    }

    #[test]
    fn an_hour_ahead_is_remembered_however_short_it_lasted() {
        let (start, began) = (BUILT, Instant::now());
        let mut belief = Belief { time: start, at: began, doubted: None, latest: start };
        let hour = Duration::from_hours(1);
        belief.hear(start.plus(hour), began);
        assert_eq!(belief.hear(start, began), start);
        assert_eq!(belief.latest, start.plus(hour));
    }

    #[test]
    fn a_manual_clock_that_is_set_back_says_so_once() {
        let clock = Clock::manual(BUILT);
        clock.advance(Duration::from_hours(1));
        assert_eq!(clock.stepped_back(), Duration::ZERO);
        clock.set_back(Duration::from_hours(2));
        assert_eq!([clock.stepped_back(), clock.stepped_back()], [Duration::from_hours(2), Duration::ZERO]);
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_when_it_is_moved() {
        let clock = Clock::manual(Timestamp::from_millis(0));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(Timestamp::from_millis(1_000)).await }
        });
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
    }
}
