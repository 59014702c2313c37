//! Our own records, as they are read back.

use super::*;

/// One of each sort, as it is written.
fn own_records() -> Vec<own::Own> {
    let given_up = own::GivenUp {
        message: "00004f3e".into(),
        state: "failed",
        reason: "recipient-refused",
        channel: "email".into(),
        rule: "password-reset".into(),
        kind: "normal",
        severity: Severity::High,
        recipient: "user:alice@example.com".into(),
        attempts: 3,
        code: Some(550),
    };
    vec![
        own::Own::GivenUp(given_up),
        own::Own::Stopped { channel: "email".into(), reason: "connect" },
        own::Own::Works { channel: "email".into() },
        own::Own::Held { channel: "email".into(), rule: "password-reset".into() },
    ]
}

#[test]
fn our_own_records_are_read_back_from_our_own_place_and_from_nowhere_else() {
    let at = Timestamp::from_millis(1_769_105_702_387);
    let mut lines = Vec::new();
    for (own, operation) in own_records().into_iter().zip(own::OPERATIONS) {
        let written = own.json(at);
        let text = std::str::from_utf8(&written).unwrap();
        let record = Record::read(text, own::position(7), None);
        assert_eq!((record.dialect, record.time), (Dialect::AuditbellDelivery, Some(at)));
        assert_eq!(record.operation.as_deref(), Some(*operation));
        let words = [
            &record.result,
            &record.state,
            &record.category,
            &record.resource,
            &record.severity.map(|s| s.as_str().to_owned()),
        ];
        let words: Vec<_> = words.iter().map(|word| word.as_deref().unwrap_or("-")).collect();
        let target = record.targets.first().map(|target| format!("{:?} {:?} {:?}", target.kind, target.id, target.upn));
        lines.push(format!("{operation}: {} {:?} {:?}", words.join(" "), target, record.details));
        // A producer who writes the very same tells nobody that a channel works.
        for place in [
            position(),
            Position { source: "entra".into(), ..own::position(7) },
            Position { topic: None, ..own::position(7) },
        ] {
            assert_eq!(Record::read(text, place, None).dialect, Dialect::Other);
        }
        assert_eq!(glance(text).dialect(), Some(Dialect::Other));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    Message given up: failure failed Message email high Some("User None Some(\"alice@example.com\")") {"attempts": "3", "channel": "email", "code": "550", "kind": "normal", "message": "00004f3e", "reason": "recipient-refused", "rule": "password-reset"}
    Channel stopped: failure stopped Channel email high None {"channel": "email", "reason": "connect"}
    Channel works again: success working Channel email informational None {"channel": "email"}
    Messages held: failure held Channel email high None {"channel": "email", "rule": "password-reset"}
    "#);
}

#[test]
fn two_of_our_own_records_are_never_one() {
    let at = Timestamp::from_millis(1_769_105_702_387);
    let read = |own: &own::Own, at| Record::read(std::str::from_utf8(&own.json(at)).unwrap(), own::position(7), None);
    let identities: Vec<_> = own_records()
        .iter()
        .flat_map(|own| [read(own, at), read(own, at.plus(std::time::Duration::from_millis(1)))])
        .map(|record| record.identity().0)
        .collect();
    let different: std::collections::BTreeSet<_> = identities.iter().collect();
    assert_eq!(different.len(), identities.len(), "a channel that stops a second time is told a second time");
}
