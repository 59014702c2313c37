//! Owns making a sample new: its times become now, its correlation ids become ones that nobody has seen. It works on the
//! text, because a sample may be broken JSON on purpose.

use crate::clock::Timestamp;

/// `2026-01-22T18:15:02`, as far as a second.
const STAMP: usize = 19;
/// A GUID's length in characters.
const GUID: usize = 36;

/// `message` with its latest time at `now`, the others as far before it as they were, and fresh correlation ids made
/// from `round`.
pub(super) fn fresh(message: &str, now: Timestamp, round: u64) -> String {
    let stamps: Vec<_> = (0..message.len()).filter_map(|at| Some((at, stamp(message.get(at..at + STAMP)?)?))).collect();
    let shift = stamps.iter().map(|(_, at)| *at).max().map_or(0, |latest| now.as_millis() / 1_000 - latest);
    let mut text = message.to_owned();
    for (at, second) in stamps {
        let moved = Timestamp::from_millis((second + shift) * 1_000).to_string();
        text.replace_range(at..at + STAMP, &moved[..STAMP]);
    }
    for old in correlation_ids(message) {
        text = text.replace(&old, &guid(&old, round));
    }
    text
}

/// Seconds since the epoch, if `text` is a date and time in ISO form.
fn stamp(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes[10] != b'T' || bytes[4] != b'-' || bytes[13] != b':' {
        return None;
    }
    let time: jiff::civil::DateTime = text.parse().ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

fn correlation_ids(message: &str) -> Vec<String> {
    let mut ids: Vec<String> = message
        .match_indices("\"correlationId\"")
        .filter_map(|(at, key)| {
            let value = message[at + key.len()..].trim_start_matches([':', ' ', '"']);
            value.get(..GUID).filter(|id| !id.contains('"')).map(str::to_owned)
        })
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

fn guid(old: &str, round: u64) -> String {
    let hex = blake3::hash(format!("{old} {round}").as_bytes()).to_hex();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"{"time":"2026-01-22T18:15:02.3875429Z","correlationId": "0b7d0000-0000-4000-8000-000000000001",
        "id":"Directory_0b7d0000-0000-4000-8000-000000000001_X","start":"2026-01-22T18:14:02Z"}"#;

    #[test]
    fn the_latest_time_becomes_now_and_the_others_keep_their_distance() {
        let text = fresh(MESSAGE, Timestamp::from_millis(1_780_000_000_000), 1);
        assert!(text.contains("2026-05-28T20:26:40.3875429Z"), "{text}");
        assert!(text.contains("2026-05-28T20:25:40Z"), "{text}");
    }

    #[test]
    fn a_correlation_id_is_replaced_wherever_it_stands_and_differs_by_round() {
        let (one, two) = (fresh(MESSAGE, Timestamp::from_millis(0), 1), fresh(MESSAGE, Timestamp::from_millis(0), 2));
        assert!(!one.contains("0b7d0000"), "{one}");
        assert_ne!(one, two);
        assert_eq!(one.matches(&correlation_ids(&one)[0]).count(), 2);
    }
}
