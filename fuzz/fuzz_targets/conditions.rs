//! Any rule held against any record: no panic; it matches exactly where there is no reason why not; the index, the full scan
//! and the explanation agree. The input is the rule's own part in TOML, a line of `---`, and a record.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use auditbell::clock::Timestamp;
use auditbell::lookup::Lookups;
use auditbell::record::{Position, Record};
use auditbell::rules::{Group, Known, ListEntry, Policy, Rules, parse};
use libfuzzer_sys::fuzz_target;
use toml::de::DeTable;

/// What a rule needs beside its conditions.
const AROUND: &str = "id = 'r'\non = 'any'\nto = ['target', 'x@example.com']\nchannels = ['e']\ntemplate = 't'\n";

static SCOPE: LazyLock<parse::Scope> = LazyLock::new(|| {
    let group = Group { policy: "p".into(), by: vec!["correlation_id".into()], wait: Duration::from_secs(20) };
    parse::Scope {
        lists: [("l".into(), vec![ListEntry { text: "alice@example.com".into(), during: None }])].into(),
        policies: [("p".into(), Policy { group: Some(group), throttle: None })].into(),
        channels: vec!["e".into()],
        ..parse::Scope::default()
    }
});

fuzz_target!(|text: &str| {
    let Some((conditions, record)) = text.split_once("\n---\n") else { return };
    let text = format!("{AROUND}{conditions}\n");
    let Ok(table) = DeTable::parse(&text) else { return };
    let Some(rule) = parse::rule(table.get_ref(), 0..text.len(), &SCOPE, &mut |_, _, _| {}) else { return };
    let position = Position { source: Arc::from("-"), topic: None, partition: None, offset: None, index: 0 };
    let record = Record::read(record, position, None);
    let lookups = Lookups::default();
    let known = Known { now: Timestamp::from_millis(1_769_105_762_387), lookups: &lookups };
    if !rule.concerns(record.dialect) {
        return;
    }
    let decisions = rule.evaluate(&record, known);
    for decision in &decisions {
        assert_eq!(decision.matched, decision.failed.is_empty(), "{decision:?}");
    }
    let matched = decisions.iter().filter(|decision| decision.matched).count();
    assert_eq!(rule.matches(&record, known).count(), matched);
    assert_eq!(Rules::new(vec![rule]).matching(&record, known).len(), matched);
});
