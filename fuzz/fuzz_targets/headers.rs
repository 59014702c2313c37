//! Any texts in every field of a record that somebody else may choose, and in the sender's name: the mail has the headers of
//! one with harmless texts, in their order, each with its value but the subject's; and any relay can take it.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use auditbell::lookup::Lookups;
use auditbell::channels::smtp::body::on_the_wire;
use auditbell::clock::Timestamp;
use auditbell::compose::{Brand, Composer, Draft, Kind, Sender};
use auditbell::people::{People, Person, Settings};
use auditbell::record::{Position, Record, Severity};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

static COMPOSER: LazyLock<Composer> = LazyLock::new(|| {
    let brand = Brand {
        name: Some("Example".into()),
        security_contact: Some("security@example.com".into()),
        ..Brand::default()
    };
    Composer::load(None, &brand, &Lookups::default()).expect("the shipped templates are good")
});

static PEOPLE: LazyLock<People> = LazyLock::new(|| {
    let settings = Settings {
        allow_domains: vec!["example.com".into()],
        csv: None,
        fallback: Vec::new(),
        wait: Duration::ZERO,
        max_rows: 1,
    };
    People::load(settings).expect("there is no file to read")
});

fn record(text: &str) -> Record {
    let raw = json!({
        "time": "2026-01-22T18:15:02Z", "category": "AuditLogs", "operationName": text, "correlationId": text,
        "tenantId": "0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0",
        "properties": {
            "id": "1", "correlationId": text, "activityDisplayName": text, "activityDateTime": "2026-01-22T18:15:02Z",
            "result": "success", "resultReason": text,
            "initiatedBy": { "user": { "id": text, "displayName": text, "userPrincipalName": text, "ipAddress": text } },
            "targetResources": [{
                "id": "a11ce000-0000-4000-8000-000000000001", "type": "User", "displayName": text,
                "userPrincipalName": "alice@example.com",
                "modifiedProperties": [{ "displayName": text, "oldValue": text, "newValue": text }],
            }],
            "additionalDetails": [{ "key": "userAgent", "value": text }],
        },
    });
    let position = Position { source: Arc::from("-"), topic: None, partition: None, offset: None, index: 0 };
    Record::read(&raw.to_string(), position, None)
}

/// The header block of the mail, unfolded, a line for each field. `None`: nothing can be composed, and nothing is sent.
fn headers(name: &str, title: &str, text: &str) -> Option<Vec<String>> {
    let records = [record(text)];
    let recipient = PEOPLE.canonical(None, Some("alice@example.com")).expect("a user");
    let person = Person { address: "alice@example.com".into(), name: None, locale: None, time_zone: None };
    let draft = Draft {
        key: "00004f3e0123456789abcdef01234567",
        template: "password-reset",
        fallback: false,
        kind: Kind::Normal,
        rule: "r",
        title,
        severity: Severity::High,
        created_at: Timestamp::from_millis(1_769_105_722_000),
        late: false,
        recipient: &recipient,
        person: Some(&person),
        people: &PEOPLE,
        about: None,
        records: &records,
    };
    let from = format!("{name} <security@example.com>");
    let mail = COMPOSER.compose(&Sender { from, reply_to: None, redirect_to: None }, &draft).ok()?;
    assert!(on_the_wire(&mail.bytes, false).is_ok());
    let text = String::from_utf8(mail.bytes.to_vec()).expect("a mail is ASCII");
    let (block, _) = text.split_once("\r\n\r\n").expect("a mail has a body");
    Some(block.replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n").map(str::to_owned).collect())
}

fuzz_target!(|input: (&str, &str, &str)| {
    let (name, title, text) = input;
    let Some(found) = headers(name, title, text) else { return };
    let harmless = headers("Name", "title", "text").expect("harmless texts make a mail");
    let field = |line: &String| line.split(':').next().unwrap_or_default().to_owned();
    assert_eq!(found.iter().map(field).collect::<Vec<_>>(), harmless.iter().map(field).collect::<Vec<_>>());
    for (found, harmless) in found.iter().zip(&harmless) {
        let free = found.starts_with("Subject:") || found.starts_with("From:");
        assert!(free || found == harmless, "{found:?}");
        let ours = found == "From: security@example.com" || found.ends_with(" <security@example.com>");
        assert!(!found.starts_with("From:") || ours, "{found:?}");
    }
});
