//! Any bytes as a message: no panic; the quick way gives what the exact one gives; every record is a JSON object that is
//! read; what is dead is in the message; and a good record on a line of its own before the bytes is found whatever they are.
#![no_main]

use auditbell::record::envelope::{Item, Raw, decode, decode_exactly};
use auditbell::record::{Dialects, Glance, Position};
use libfuzzer_sys::fuzz_target;

const GOOD: &[u8] = b"{\"time\":\"2026-01-22T18:15:02Z\",\"id\":\"the good one\"}\n";

fuzz_target!(|bytes: &[u8]| {
    let position = Position { source: "-".into(), topic: None, partition: None, offset: None, index: 0 };
    let dialects = Dialects::shipped();
    let (items, exact) = (decode(Some(bytes)), decode_exactly(Some(bytes)));
    assert_eq!(items.len(), exact.len());
    for (item, exact) in items.into_iter().zip(exact) {
        match (&item, &exact) {
            (Item::Record(raw), Item::Record(exact)) => {
                let all = |raw: &Raw<'_>| (raw.json.to_string(), raw.problems.clone(), format!("{:?}", raw.glance(&dialects)));
                assert_eq!(all(raw), all(exact));
            }
            _ => assert_eq!(item, exact),
        }
        match item {
            Item::Record(raw) => {
                assert!(raw.json.starts_with('{'));
                let record = raw.clone().read(&dialects, position.clone(), None);
                assert!(record.raw.is_object());
                let glance = raw.glance(&dialects);
                assert!(glance.dialect().is_none_or(|dialect| dialect == record.dialect));
                if let Glance::Head(head) = &glance {
                    assert_eq!(head.operation.as_deref(), record.operation.as_deref());
                }
                let again = raw.read(&dialects, position.clone(), None);
                assert_eq!(again.identity(), record.identity());
                assert!(serde_json::to_string(&record).is_ok());
            }
            Item::Dead(dead) => assert!(dead.bytes.len() <= bytes.len()),
        }
    }
    let message = [GOOD, bytes].concat();
    let first = decode(Some(&message)).into_iter().next();
    assert!(matches!(first, Some(Item::Record(raw)) if raw.json.contains("the good one")));
});
