//! Any text as `Retry-After`, at any time: no panic, and never sooner than five seconds or later than an hour.
#![no_main]

use auditbell::channels::web::retry_after::{self, LONGEST, SHORTEST};
use auditbell::clock::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, &str)| {
    let (seconds, text) = input;
    let now = Timestamp::from_millis(i64::from(seconds) * 1_000);
    if let Some(at) = retry_after::parse(text, now) {
        assert!((SHORTEST..=LONGEST).contains(&at.since(now)));
        assert_eq!(retry_after::parse(&format!(" {text}\t"), now), Some(at));
    }
});
