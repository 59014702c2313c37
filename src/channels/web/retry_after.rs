//! Owns `Retry-After` (RFC 9110 10.2.3): seconds, or a date in one of three forms (5.6.7). Pure.

use std::time::Duration;

use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// As soon as the first retry of a webhook's own schedule. What is held pays no attempt, so by "1" all that wait would be posted
/// every second until the breaker slows them down.
pub const SHORTEST: Duration = Duration::from_secs(5);
/// Nobody may shut a channel for longer by one header: a clock may be wrong, and asking again costs little.
pub const LONGEST: Duration = Duration::from_hours(1);

/// The form that is sent today, and the two old ones that "a recipient MUST accept". Two digits are a year from 1969 to 2068.
const DATES: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// When to ask again: at least [`SHORTEST`] and at most [`LONGEST`] after `now`. `None`: `text` is neither a number nor a date.
#[must_use]
pub fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim_matches([' ', '\t']);
    let (earliest, latest) = (now.plus(SHORTEST), now.plus(LONGEST));
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds is longer than the longest.
        let seconds = text.parse().unwrap_or(u64::MAX).min(LONGEST.as_secs());
        return Some(now.plus(Duration::from_secs(seconds)).clamp(earliest, latest));
    }
    let date = DATES.iter().find_map(|form| strtime::parse(form, text).ok()?.to_datetime().ok())?;
    // The last day of the year 9999 is beyond what our clock can say.
    let zoned = date.to_zoned(TimeZone::UTC).ok();
    let at = zoned.map_or(latest, |zoned| Timestamp::from_millis(zoned.timestamp().as_millisecond()));
    Some(at.clamp(earliest, latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T07:28:00Z, a Saturday.
    const NOW: Timestamp = Timestamp::from_millis(1_795_246_080_000);

    fn seconds(text: &str) -> Option<u64> {
        parse(text, NOW).map(|at| at.since(NOW).as_secs())
    }

    #[test]
    fn it_is_a_number_of_seconds_or_one_of_three_dates() {
        for (why, text, expected) in [
            ("seconds", "120", Some(120)),
            ("white space around it", " 120\t", Some(120)),
            ("zeros before it", "0007", Some(7)),
            ("at once is five seconds", "0", Some(5)),
            ("and so is a second", "1", Some(5)),
            ("more than that is what it is", "6", Some(6)),
            ("a day is an hour", "86400", Some(3_600)),
            ("more digits than a number holds", "99999999999999999999999", Some(3_600)),
            ("the form of today", "Sat, 21 Nov 2026 07:30:00 GMT", Some(120)),
            ("RFC 850", "Saturday, 21-Nov-26 07:30:00 GMT", Some(120)),
            ("asctime", "Sat Nov 21 07:30:00 2026", Some(120)),
            ("asctime before the tenth", "Sun Dec  6 07:30:00 2026", Some(3_600)),
            ("the past is five seconds", "Sun, 06 Nov 1994 08:49:37 GMT", Some(5)),
            ("the past in two digits", "Sunday, 06-Nov-94 08:49:37 GMT", Some(5)),
            ("the far future is an hour", "Fri, 31 Dec 9999 23:59:59 GMT", Some(3_600)),
            ("nothing", "", None),
            ("a sign", "-1", None),
            ("a fraction", "1.5", None),
            ("a unit", "120s", None),
            ("another zone", "Sat, 21 Nov 2026 07:30:00 CET", None),
            ("a weekday that it was not", "Mon, 21 Nov 2026 07:30:00 GMT", None),
            ("a day that there is not", "Sat, 31 Feb 2026 07:30:00 GMT", None),
            ("RFC 3339", "2026-11-21T07:30:00Z", None),
            ("digits that are none of ASCII", "١٢٠", None),
            ("text behind it", "120, 130", None),
        ] {
            assert_eq!(seconds(text), expected, "{why}: {text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_it_says_it_is_from_five_seconds_to_an_hour_away(text in ".{0,40}", now in 0_i64..4_102_444_800_000) {
            let now = Timestamp::from_millis(now);
            if let Some(at) = parse(&text, now) {
                proptest::prop_assert!((SHORTEST..=LONGEST).contains(&at.since(now)));
            }
        }

        #[test]
        fn every_whole_second_of_the_next_hour_is_read_back(away in SHORTEST.as_secs()..3_600) {
            let at = NOW.plus(Duration::from_secs(away));
            let date = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap().to_zoned(TimeZone::UTC);
            for form in DATES {
                proptest::prop_assert_eq!(parse(&date.strftime(form).to_string(), NOW), Some(at));
            }
            proptest::prop_assert_eq!(parse(&away.to_string(), NOW), Some(at));
        }
    }
}
