//! Owns the forms in which producers write a moment, and their reading. Pure; truncated to milliseconds, never rounded.

use serde_json::Value;

use crate::clock::Timestamp;

/// The moment in a JSON value: text in any form of [`parse`], or a number of seconds to nanoseconds since the epoch.
pub(super) fn of(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => parse(text),
        Value::Number(number) => number.as_i64().and_then(epoch).or_else(|| parse(&number.to_string())),
        _ => None,
    }
}

/// The revision that `parts` make, in one spelling: a moment in each is written as we write it, or two services that write it
/// with another number of decimals would have two.
pub(super) fn revision(parts: impl IntoIterator<Item = Option<String>>) -> String {
    let spelt = |part: String| written(&part).map_or(part, |at| at.to_string());
    parts.into_iter().flatten().map(spelt).collect::<Vec<_>>().join(" ")
}

/// The moment that a part of a revision is. Digits alone are none: they may be a version's number.
pub(super) fn written(part: &str) -> Option<Timestamp> {
    parse(part).filter(|_| part.contains([':', '/']))
}

/// Reads ISO 8601 (`T` or a space, one-digit hours, any number of decimals, `Z`, an offset or none), the American form
/// of risk logs (`8/22/2022 6:11:52 PM`, with or without AM/PM and offset), and digits alone as time since the epoch, also
/// with decimals, or as .NET writes it (`/Date(1769105702387)/`).
/// No zone means UTC: every producer that leaves it out writes UTC.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let text = text.strip_prefix("/Date(").and_then(|inside| inside.strip_suffix(")/")).unwrap_or(text);
    let mut scan = Scan(text);
    if text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return since_epoch(text);
    }
    let date = scan.date()?;
    let (hour, minute, second, milli) = scan.time()?;
    let hour = scan.meridiem(hour)?;
    let offset = scan.offset()?;
    // .NET's `DateTime.MinValue` stands for "no value" in Defender and Sentinel records, and so does the year that the file
    // times of Windows count from.
    if [1, 1601].contains(&date.0) || !scan.0.is_empty() {
        return None;
    }
    // A leap second has no millisecond of its own here.
    let second = second.min(59);
    let civil = jiff::civil::DateTime::new(date.0, date.1, date.2, hour, minute, second, 0).ok()?;
    let utc = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
    Some(Timestamp::from_millis(utc + milli - offset))
}

/// Digits, perhaps with decimals, of which only those of seconds can tell more than milliseconds.
fn since_epoch(text: &str) -> Option<Timestamp> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let at = epoch(number)?;
    let of_seconds = if SECONDS.contains(&number) { format!("{decimals:0<3.3}").parse().ok()? } else { 0 };
    Some(Timestamp::from_millis(at.as_millis() + of_seconds))
}

/// From 1973 to 2286 seconds have 9 or 10 digits.
const SECONDS: std::ops::RangeInclusive<i64> = 100_000_000..=9_999_999_999;

/// Each finer unit has three digits more. What lies between is none of them: `20260122181502` is a date, and no moment of
/// 1970.
fn epoch(number: i64) -> Option<Timestamp> {
    let millis = match number {
        _ if SECONDS.contains(&number) => number * 1_000,
        100_000_000_000..=9_999_999_999_999 => number,
        100_000_000_000_000..=9_999_999_999_999_999 => number / 1_000,
        100_000_000_000_000_000..=i64::MAX => number / 1_000_000,
        _ => return None,
    };
    Some(Timestamp::from_millis(millis))
}

/// What is left to read.
struct Scan<'a>(&'a str);

impl Scan<'_> {
    fn eat(&mut self, wanted: &[char]) -> Option<char> {
        let first = self.0.chars().next().filter(|first| wanted.contains(first))?;
        self.0 = &self.0[first.len_utf8()..];
        Some(first)
    }

    /// One to `most` digits.
    fn number(&mut self, most: usize) -> Option<i16> {
        let digits = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let number = self.0[..digits].parse().ok()?;
        self.0 = &self.0[digits..];
        Some(number)
    }

    fn small(&mut self) -> Option<i8> {
        self.number(2).and_then(|number| i8::try_from(number).ok())
    }

    /// Year, month, day.
    fn date(&mut self) -> Option<(i16, i8, i8)> {
        if self.0.as_bytes().get(4) == Some(&b'-') {
            let year = self.number(4)?;
            self.eat(&['-'])?;
            let month = self.small()?;
            self.eat(&['-'])?;
            return Some((year, month, self.small()?));
        }
        let month = self.small()?;
        self.eat(&['/'])?;
        let day = self.small()?;
        self.eat(&['/'])?;
        Some((self.number(4)?, month, day))
    }

    /// Hour, minute, second, millisecond.
    fn time(&mut self) -> Option<(i8, i8, i8, i64)> {
        self.eat(&['T', 't', ' '])?;
        let hour = self.small()?;
        self.eat(&[':'])?;
        let minute = self.small()?;
        let second = if self.eat(&[':']).is_some() { self.small()? } else { 0 };
        let mut milli = 0;
        if self.eat(&['.', ',']).is_some() {
            let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
            milli = format!("{:0<3.3}", &self.0[..digits]).parse().ok()?;
            self.0 = &self.0[digits..];
        }
        (second <= 60).then_some((hour, minute, second, milli))
    }

    /// The hour of the day, from an hour that AM or PM may follow.
    fn meridiem(&mut self, hour: i8) -> Option<i8> {
        self.0 = self.0.trim_start();
        let afternoon = match self.0.get(..2) {
            Some(half) if half.eq_ignore_ascii_case("am") => 0,
            Some(half) if half.eq_ignore_ascii_case("pm") => 12,
            _ => return Some(hour),
        };
        self.0 = self.0[2..].trim_start();
        (1..=12).contains(&hour).then_some(hour % 12 + afternoon)
    }

    /// Milliseconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        self.0 = self.0.strip_suffix("UTC").unwrap_or(self.0).trim_end();
        let sign = match self.eat(&['Z', 'z', '+', '-']) {
            Some('+') => 1,
            Some('-') => -1,
            _ => return Some(0),
        };
        let hours = self.small()?;
        let minutes = if self.eat(&[':']).is_some() || !self.0.is_empty() { self.small()? } else { 0 };
        (hours <= 18 && minutes < 60).then_some(sign * (i64::from(hours) * 60 + i64::from(minutes)) * 60_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_was_seen_is_read() {
        let nine_forty_one = "2007-01-09T09:41:00.000Z";
        for (text, expected) in [
            // The forms in which Entra's audit time was seen.
            ("01/09/2007 09:41:00", nine_forty_one),
            ("1/9/2007 09:41:00", nine_forty_one),
            ("01/09/2007 09:41:00 AM", nine_forty_one),
            ("1/9/2007 9:41:00 AM", nine_forty_one),
            ("1/9/2007 10:41:00 AM +01:00", nine_forty_one),
            ("2007-01-09T09:41:00", nine_forty_one),
            ("2007-01-09T11:41:00+02:00", nine_forty_one),
            ("2007-01-09T04:41:00-0500", nine_forty_one),
            ("2007-01-09T10:41:00+01", nine_forty_one),
            // Decimals are cut off, not rounded.
            ("2007-01-09T09:41:00.22Z", "2007-01-09T09:41:00.220Z"),
            ("2007-01-09T09:41:00.6816663Z", "2007-01-09T09:41:00.681Z"),
            ("2007-01-09T09:41:00.5359999999Z", "2007-01-09T09:41:00.535Z"),
            ("2007-01-09T09:41:00.992099+00:00", "2007-01-09T09:41:00.992Z"),
            ("2024-12-10 14:33:09.049661100", "2024-12-10T14:33:09.049Z"),
            ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
            // Risk logs: American, noon and midnight, and a one-digit hour inside ISO.
            ("8/22/2022 6:11:52 PM", "2022-08-22T18:11:52.000Z"),
            ("12/13/2024 12:34:03 PM", "2024-12-13T12:34:03.000Z"),
            ("12/13/2024 12:34:03 am", "2024-12-13T00:34:03.000Z"),
            ("2022-08-22T9:59:27.958Z", "2022-08-22T09:59:27.958Z"),
            // Since the epoch: seconds, milli-, micro-, nanoseconds.
            ("1769105702", "2026-01-22T18:15:02.000Z"),
            ("1769105702387", "2026-01-22T18:15:02.387Z"),
            ("1769105702387999", "2026-01-22T18:15:02.387Z"),
            ("1769105702387999999", "2026-01-22T18:15:02.387Z"),
            // With decimals, as scripts write it, and as .NET once did.
            ("1769105702.3879", "2026-01-22T18:15:02.387Z"),
            ("1769105702.3", "2026-01-22T18:15:02.300Z"),
            ("1769105702387.9", "2026-01-22T18:15:02.387Z"),
            ("/Date(1769105702387)/", "2026-01-22T18:15:02.387Z"),
            // The zone as a word.
            ("2026-01-22 18:15:02.387 UTC", "2026-01-22T18:15:02.387Z"),
            // A leap second, space around.
            (" 2016-12-31T23:59:60Z ", "2016-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(parse(text).map(|at| at.to_string()).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "None",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-01-01T25:00:00Z",
            "2026-01-01",
            "13/13/2024 1:00:00 PM",
            "1/1/2024 13:00:00 PM",
            "0001-01-01T00:00:00Z",
            "1601-01-01T00:00:00Z",
            "20260122181502",
            "1769105702.387.1",
            "2026-01-22 18:15:02 CET",
            "2026-01-01T00:00:00Z trailing",
            "2026-01-01T00:00:61Z",
            "12345",
            "99999999999999999999999",
            "2026-01-01T00:00:00+25:00",
            "２０２６-01-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", digits in "[0-9TZ:./+ APM-]{0,40}") {
            parse(&text);
            parse(&digits);
        }
    }
}
