//! Any text as a rule: no panic; a rule or its faults, never both; every fault inside the text; and a rule that is read
//! decides the same by the index as by a full scan.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use auditbell::record::{Position, Record};
use auditbell::clock::Timestamp;
use auditbell::lookup::Lookups;
use auditbell::rules::{Group, Known, ListEntry, Policy, Rules, parse};
use libfuzzer_sys::fuzz_target;
use toml::de::DeTable;

static SCOPE: LazyLock<parse::Scope> = LazyLock::new(|| {
    let group = Group { policy: "p".into(), by: vec!["correlation_id".into()], wait: Duration::from_secs(20) };
    parse::Scope {
        lists: [("l".into(), vec![ListEntry { text: "soc@example.com".into(), during: None }])].into(),
        policies: [("p".into(), Policy { group: Some(group), throttle: None })].into(),
        channels: vec!["e".into()],
        ..parse::Scope::default()
    }
});

static RECORD: LazyLock<Record> = LazyLock::new(|| {
    let position = Position { source: Arc::from("-"), topic: None, partition: None, offset: None, index: 0 };
    let text = include_str!("../../tests/fixtures/records/two-users-in-one-record.json");
    let envelope: serde_json::Value = serde_json::from_str(text).expect("the fixture is JSON");
    Record::read(&envelope["records"][0].to_string(), position, None)
});

fuzz_target!(|text: &str| {
    let Ok(table) = DeTable::parse(text) else { return };
    let mut faults = 0;
    let rule = parse::rule(table.get_ref(), 0..text.len(), &SCOPE, &mut |span, _, message| {
        assert!(span.start <= span.end && text.get(span).is_some(), "a fault outside the text");
        assert!(!message.is_empty() && !message.chars().any(char::is_control), "{message:?}");
        faults += 1;
    });
    assert_eq!(rule.is_none(), faults > 0);
    let Some(rule) = rule else { return };
    let lookups = Lookups::default();
    let known = Known { now: Timestamp::from_millis(1_769_105_762_387), lookups: &lookups };
    let matches = if rule.concerns(RECORD.dialect) { rule.matches(&RECORD, known).count() } else { 0 };
    assert_eq!(Rules::new(vec![rule]).matching(&RECORD, known).len(), matches);
});
