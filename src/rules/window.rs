//! Owns `Window`: hours of the week as a clock on the wall of some place shows them, and what is listed with such hours.

use std::str::FromStr;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// `[window.NAME]`. Held against what the wall clock of its zone shows, so that an hour which a change of summer time
/// skips is in no window, and one which it repeats is in its windows twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    name: Arc<str>,
    days: Days,
    from: Minute,
    to: Minute,
    zone: Zone,
}

impl Window {
    /// From `from` until just before `to` on each of `days`; where `to` is not after `from`, on the day after.
    pub fn new(name: Arc<str>, days: Days, from: Minute, to: Minute, zone: Zone) -> Result<Self, String> {
        // 24:00 is the 00:00 of the day after, but not as a beginning.
        if from == to || from.0 == Minute::END.0 {
            return Err("begins and ends at one minute: for whole days leave `from` and `to` out".into());
        }
        Ok(Self { name, days, from, to, zone })
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether `at` is in it. A night belongs to the day on which it begins.
    #[must_use]
    pub fn holds(&self, at: Timestamp) -> bool {
        let Ok(at) = jiff::Timestamp::from_millisecond(at.as_millis()) else { return false };
        let shown = self.zone.0.to_datetime(at);
        let minute = u16::from(shown.hour().unsigned_abs()) * 60 + u16::from(shown.minute().unsigned_abs());
        let today = self.days.holds(shown.weekday());
        let (from, to) = (self.from.0, self.to.0);
        if from < to {
            return today && (from..to).contains(&minute);
        }
        (today && minute >= from) || (self.days.holds(shown.weekday().previous()) && minute < to)
    }
}

/// Days of the week: `mon-fri`, `sat,sun`, `fri-mon`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days([bool; 7]);

const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Days {
    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|day| self.0[day] || other.0[day]))
    }

    fn holds(self, day: jiff::civil::Weekday) -> bool {
        usize::try_from(day.to_monday_zero_offset()).ok().and_then(|day| self.0.get(day)).is_some_and(|set| *set)
    }
}

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = |word: &str| WEEK.iter().position(|day| word.trim().eq_ignore_ascii_case(day));
        let mut days = Self::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Some(first), Some(last)) = (place(first), place(last)) else {
                return Err(format!("must be days of {}, e.g. \"mon-fri\" or \"sat,sun\"", WEEK.join(", ")));
            };
            let count = (last + 7 - first) % 7 + 1;
            (first..first + count).for_each(|day| days.0[day % 7] = true);
        }
        Ok(days)
    }
}

/// A minute of a day: `08:00`; `24:00` is its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minute(u16);

impl Minute {
    const END: Self = Self(24 * 60);
}

impl FromStr for Minute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse::<u16>().ok()).flatten()
        };
        let parts = text.split_once(':').and_then(|(hour, minute)| Some((number(hour)?, number(minute)?)));
        match parts {
            Some((hour, minute)) if minute < 60 && hour * 60 + minute <= Self::END.0 => Ok(Self(hour * 60 + minute)),
            _ => Err("must be an hour and a minute, from \"00:00\" to \"24:00\"".into()),
        }
    }
}

/// A time zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        TimeZone::get(text).map(Self).map_err(|_| {
            "must be a time zone that this system knows by its IANA name, e.g. \"Europe/Berlin\" or \"UTC\"".into()
        })
    }
}

/// One entry of a `[list]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// Any text; of a recipient an address.
    pub text: Arc<str>,
    /// When it counts as a recipient; `None`: always. `in_list` does not ask.
    pub during: Option<Arc<Window>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &str, from: &str, to: &str, zone: &str) -> Window {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Window::new("w".into(), days.parse().unwrap(), from, to, zone.parse().unwrap()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    /// 2026-03-27 is a Friday. Summer time begins in Berlin on Sunday the 29th at 01:00Z (02:00 becomes 03:00) and ends on
    /// Sunday 2026-10-25 at 01:00Z (03:00 becomes 02:00).
    #[test]
    fn a_window_is_what_the_clock_on_the_wall_shows() {
        let office = window("mon-fri", "08:00", "18:00", "Europe/Berlin");
        let night = window("fri", "22:00", "06:00", "Europe/Berlin");
        let early = window("mon-sun", "02:30", "02:45", "Europe/Berlin");
        let small = window("sun", "01:00", "04:00", "Europe/Berlin");
        let day = window("sat,sun", "00:00", "24:00", "Europe/Berlin");
        let week_end = window("sat-sun", "12:00", "11:00", "UTC");
        let around = window("fri-mon", "00:00", "24:00", "UTC");
        for (what, window, moment, expected) in [
            ("it begins with its first minute", &office, "2026-03-27T07:00:00Z", true),
            ("not a moment before", &office, "2026-03-27T06:59:59.999Z", false),
            ("its end is not in it", &office, "2026-03-27T17:00:00Z", false),
            ("its last moment is", &office, "2026-03-27T16:59:59.999Z", true),
            ("Saturday is no working day", &office, "2026-03-28T10:00:00Z", false),
            ("after the clocks went forward 08:00 is 06:00Z", &office, "2026-03-30T06:00:00Z", true),
            ("and 18:00 is 16:00Z", &office, "2026-03-30T16:00:00Z", false),
            ("after they went back 08:00 is 07:00Z again", &office, "2026-10-26T06:30:00Z", false),
            ("a night begins on its day", &night, "2026-03-27T21:00:00Z", true),
            ("and goes on after midnight", &night, "2026-03-28T04:59:00Z", true),
            ("until its end", &night, "2026-03-28T05:00:00Z", false),
            ("the next evening is another day's", &night, "2026-03-28T21:00:00Z", false),
            ("the morning of its day is the night before's", &night, "2026-03-27T03:00:00Z", false),
            ("an hour that is skipped is in no window", &early, "2026-03-29T01:30:00Z", false),
            ("on the day before it is there", &early, "2026-03-28T01:30:00Z", true),
            ("an hour that is repeated is in its windows the first time", &early, "2026-10-25T00:30:00Z", true),
            ("and the second", &early, "2026-10-25T01:30:00Z", true),
            ("a window over the skipped hour is an hour shorter", &small, "2026-03-29T02:00:00Z", false),
            ("of which the last minute is 03:59", &small, "2026-03-29T01:59:00Z", true),
            ("a window over the repeated hour is an hour longer", &small, "2026-10-25T02:59:00Z", true),
            ("a whole day begins at midnight there", &day, "2026-03-27T23:00:00Z", true),
            ("and ends at midnight there, an hour earlier in summer", &day, "2026-03-29T22:00:00Z", false),
            ("Saturday's night ends on Sunday", &week_end, "2026-03-29T10:59:00Z", true),
            ("Sunday's on Monday", &week_end, "2026-03-30T10:59:00Z", true),
            ("with an hour's gap between them", &week_end, "2026-03-29T11:30:00Z", false),
            ("a span of days goes over the week's end", &around, "2026-03-30T12:00:00Z", true),
            ("and leaves out the rest", &around, "2026-03-31T12:00:00Z", false),
        ] {
            assert_eq!(window.holds(at(moment)), expected, "{what}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in ["", "mon-", "monday", "mon,,tue", "1-5", "mon–fri"] {
            assert!(text.parse::<Days>().is_err(), "{text}");
        }
        for text in ["", "8:00", "08:60", "24:01", "25:00", "08:00:00", "-1:00", "+8:00", "08.00"] {
            assert!(text.parse::<Minute>().is_err(), "{text}");
        }
        for text in ["", "Mitteleuropa", "../../etc/passwd", "CEST+1"] {
            assert!(text.parse::<Zone>().is_err(), "{text}");
        }
        let refused = |from: &str, to: &str| {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            Window::new("w".into(), Days([true; 7]), from, to, Zone(TimeZone::UTC)).is_err()
        };
        assert!(refused("08:00", "08:00") && refused("24:00", "06:00") && !refused("22:00", "00:00"));
    }

    #[test]
    fn a_list_of_days_is_all_of_them() {
        let both = "mon".parse::<Days>().unwrap().and("wed-thu".parse().unwrap());
        assert_eq!(both, "Mon, wed ,thu".parse().unwrap());
    }
}
