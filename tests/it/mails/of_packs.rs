//! The templates that only the packs use, each with a fixture of its pack.

use std::path::Path;

use auditbell::compose::{Draft, Mail};
use auditbell::plan::Recipient;
use auditbell::record::envelope::{self, Item};
use auditbell::record::{Position, Record, Severity};

use super::{COMPOSER, draft, people, person, recipient, sender};

/// To the person concerned, and to the security team, which sees the whole record.
pub fn mails() -> Vec<(&'static str, Mail)> {
    let (safety, admin, alerts) = ("entra-user-safety", "entra-admin", "defender-alerts");
    vec![
        ("password-change-required", to_alice("password-change-required", &records(safety, "force-change.json"))),
        ("password-reset-blocked", to_alice("password-reset-blocked", &records(safety, "reset-blocked.json"))),
        ("device-registered", to_alice("device-registered", &records(safety, "device-registered.json"))),
        ("account-at-risk", to_alice("account-at-risk", &records(alerts, "alert-high.json"))),
        ("admin-change", to_soc("admin-change", "A directory role was given", &records(admin, "role-assigned.json"))),
        (
            "admin-change-consent",
            to_soc("admin-change", "An application was given access for everybody", &records(admin, "consent.json")),
        ),
        ("alert", to_soc("alert", "Defender: an alert of high severity", &records(alerts, "alert-high.json"))),
        ("alert-risk", to_soc("alert", "A person is at high risk", &records(alerts, "risk-high.json"))),
    ]
}

fn records(pack: &str, fixture: &str) -> Vec<Record> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/packs").join(pack).join("fixtures").join(fixture);
    let bytes = std::fs::read(path).unwrap();
    let items = (0..).zip(envelope::decode(Some(&bytes)));
    let read = |(index, item)| {
        let position = Position { source: "entra".into(), topic: None, partition: None, offset: None, index };
        let Item::Record(raw) = item else { panic!("{fixture} holds what is no record") };
        Record::read(&raw.json, position, None)
    };
    items.map(read).collect()
}

fn to_alice(template: &'static str, records: &[Record]) -> Mail {
    let (people, alice) = (people(), person("alice@example.com"));
    let recipient = match &records[0].actor {
        Some(actor) if records[0].targets.iter().all(|target| target.upn.is_none()) => {
            people.canonical(actor.id.as_deref(), actor.upn.as_deref()).unwrap()
        }
        _ => recipient(&people, "alice@example.com", records),
    };
    COMPOSER.compose(&sender(), &draft(template, &recipient, &alice, &people, records)).unwrap()
}

fn to_soc(template: &'static str, title: &'static str, records: &[Record]) -> Mail {
    let (people, soc) = (people(), person("soc@example.com"));
    let recipient = Recipient::Address("soc@example.com".into());
    let draft = Draft { title, severity: Severity::High, ..draft(template, &recipient, &soc, &people, records) };
    COMPOSER.compose(&sender(), &draft).unwrap()
}
