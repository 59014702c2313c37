//! Any bytes from a relay, in any portions: no panic, no reply beyond its bytes, and what a part of them decided, the rest
//! does not change.
#![no_main]

use auditbell::channels::smtp::reply::{self, MAX_REPLY, printable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let whole = reply::parse(bytes);
    match reply::parse(&bytes[..usize::from(cut).min(bytes.len())]) {
        Ok(None) => {}
        Ok(some) => assert_eq!(whole, Ok(some)),
        Err(_) => assert!(whole.is_err()),
    }
    match whole {
        Ok(Some((reply, taken))) => {
            assert!(taken <= bytes.len() && taken <= MAX_REPLY);
            assert!((100..600).contains(&reply.code));
            let line = reply.to_string();
            assert!(line.len() <= 512 && !line.chars().any(char::is_control));
            if let Some(enhanced) = reply.enhanced() {
                assert_eq!(u16::from(enhanced.0), reply.code / 100);
            }
            let _ = reply.queue_id();
        }
        Ok(None) => assert!(bytes.len() <= MAX_REPLY),
        Err(what) => assert_eq!(printable(&what.to_string()), what.to_string()),
    }
});
