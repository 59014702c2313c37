//! Owns reading `expires`: the moment from which a rule is off.

use jiff::civil;
use jiff::tz::TimeZone;
use toml::de::DeValue;

use crate::clock::Timestamp;

use super::Reader;

impl Reader<'_, '_> {
    /// A date, whose last moment in UTC is the rule's, or a date and a time.
    pub(super) fn expires(&mut self) -> Option<Timestamp> {
        let value = self.table.get("expires")?;
        let found = match value.get_ref() {
            DeValue::Datetime(at) => moment(&at.to_string()),
            DeValue::String(text) => moment(text),
            _ => None,
        };
        if found.is_none() {
            let message = "must be a date or a date and a time, e.g. 2027-01-31 or 2027-01-31T18:00:00Z";
            self.fault(value.span(), "expires", message.into());
        }
        found
    }
}

/// A date is its end, a time without an offset is UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let at = if let Ok(at) = text.parse::<jiff::Timestamp>() {
        at
    } else {
        let given = text.parse::<civil::DateTime>().ok()?;
        let is_date = !text.contains(':');
        let until = if is_date { given.tomorrow().ok()? } else { given };
        until.to_zoned(TimeZone::UTC).ok()?.timestamp()
    };
    Some(Timestamp::from_millis(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_ends_with_its_day_or_at_its_moment() {
        for (what, text, expected) in [
            ("a date is over with its last moment", "2027-01-31", Some("2027-02-01T00:00:00.000Z")),
            ("a time in UTC", "2027-01-31T18:00:00Z", Some("2027-01-31T18:00:00.000Z")),
            ("a time with an offset", "2027-01-31T18:00:00+01:00", Some("2027-01-31T17:00:00.000Z")),
            ("a time without one is UTC", "2027-01-31T18:00:00", Some("2027-01-31T18:00:00.000Z")),
            ("with a space, as TOML allows", "2027-01-31 18:00:00", Some("2027-01-31T18:00:00.000Z")),
            ("a time alone is none", "18:00:00", None),
            ("no such day", "2027-02-31", None),
            ("words", "next year", None),
        ] {
            assert_eq!(moment(text).map(|at| at.to_string()).as_deref(), expected, "{what}");
        }
    }
}
