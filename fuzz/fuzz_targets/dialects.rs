//! Any JSON as a record of any dialect: the first byte says which dialect's marks are put around it, so that every reader meets
//! every shape. No panic; the head, the skim of a whole message and the tree name it alike; reading it again makes the same record;
//! what is printed can be read; and the marks make the dialect that they stand for, unless the text has marks of its own.
#![no_main]

use auditbell::record::envelope::{Item, decode};
use auditbell::record::{Dialects, Glance, Position, Record};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// Marks of each dialect, as one JSON object that the text is merged into.
const MARKS: &[(&str, &str)] = &[
    ("entra.audit", r#"{"category":"AuditLogs","operationName":"x","properties":{"loggedByService":"Core Directory"}}"#),
    ("entra.signin", r#"{"category":"SignInLogs","properties":{}}"#),
    ("entra.risk", r#"{"category":"RiskyUsers","properties":{}}"#),
    ("azure.activity", r#"{"category":"Administrative","resourceId":"/SUBSCRIPTIONS/A","operationName":"X/WRITE"}"#),
    ("defender.alert", r#"{"SystemAlertId":"1","AlertType":"t"}"#),
    ("defender.assessment", r#"{"type":"Microsoft.Security/assessments","properties":{}}"#),
    ("defender.finding", r#"{"type":"Microsoft.Security/assessments/subAssessments","properties":{}}"#),
    ("defender.compliance", r#"{"type":"Microsoft.Security/regulatoryComplianceStandards/x","properties":{}}"#),
    ("elastic.alert", r#"{"kibana.alert.uuid":"1","kibana.alert.rule.name":"r"}"#),
    ("sentinel.incident", r#"{"Type":"SecurityIncident","Title":"t"}"#),
    ("defender.xdr", r#"{"category":"AdvancedHunting-AlertInfo","properties":{"Title":"t"}}"#),
    ("intune.audit", r#"{"Type":"IntuneAuditLogs","operationName":"x"}"#),
    ("o365.audit", r#"{"Workload":"w","Operation":"o","RecordType":1,"CreationTime":"2026-01-22T18:15:02"}"#),
    ("okta.system", r#"{"eventType":"e","published":"2026-01-22T18:15:02Z","uuid":"u","outcome":{"result":"SUCCESS"}}"#),
    ("github.audit", r#"{"action":"a","@timestamp":1769105702387,"_document_id":"d"}"#),
    ("aws.cloudtrail", r#"{"eventVersion":"1","eventSource":"s","eventName":"n","eventTime":"2026-01-22T18:15:02Z"}"#),
    // Defender for Endpoint's, last: a seed begins with its place here.
    ("defender.alert", r#"{"alertCreationTime":"2026-02-05T10:59:27.7220239Z","title":"t","status":"New"}"#),
];

fn position() -> Position {
    Position { source: "-".into(), topic: None, partition: None, offset: None, index: 0 }
}

/// `more` into `map`: objects are merged, a mark is never taken away.
fn merge(map: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        match (map.get_mut(&key), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => merge(inner, more),
            (Some(_), _) => {}
            (None, value) => drop(map.insert(key, value)),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((which, text)) = bytes.split_first() else { return };
    let Ok(Value::Object(more)) = serde_json::from_slice(text) else { return };
    let (dialect, marks) = MARKS[usize::from(*which) % MARKS.len()];
    let Ok(Value::Object(mut record)) = serde_json::from_str(marks) else { unreachable!("marks are JSON") };
    let plain = more.is_empty();
    merge(&mut record, more);
    let raw = Value::Object(record).to_string();
    let dialects = Dialects::shipped();
    let read = dialects.read(&raw, position(), None);
    if plain {
        assert_eq!(read.dialect.as_str(), dialect);
    }
    assert_eq!(Record::read(&raw, position(), None), read);
    let printed = serde_json::to_string(&read).expect("a view can be printed");
    assert!(serde_json::from_str::<Value>(&printed).is_ok());
    let message = format!("{{\"records\":[{raw}]}}");
    for item in decode(Some(message.as_bytes())) {
        let Item::Record(raw) = item else { return }; // nested deeper than a record may be
        match raw.glance(&dialects) {
            Glance::Head(head) => assert_eq!(
                (head.dialect, head.operation.as_deref(), head.activity.as_deref()),
                (read.dialect, read.operation.as_deref(), read.activity.as_deref()),
                "as the skim names it"
            ),
            Glance::Dialect(dialect) => assert_eq!(dialect, read.dialect),
            Glance::Nothing => {}
        }
        assert_eq!(raw.read(&dialects, position(), None).identity(), read.identity());
    }
});
