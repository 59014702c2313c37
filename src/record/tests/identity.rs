//! What makes a record that record.

use super::*;
use proptest::prelude::*;

#[test]
fn the_brokers_time_is_shown_but_is_no_part_of_the_identity() {
    let raw = json!({"operationName": "x", "category": "y", "id": "1", "time": ""}).to_string();
    let at = |millis| Record::read(&raw, position(), Some(Timestamp::from_millis(millis)));
    let (one, other) = (at(1_000), at(90_000_000));
    assert_eq!(one.time, Some(Timestamp::from_millis(1_000)));
    assert_eq!(one.problems, [Problem::at(ProblemCode::TimeFromBroker, "time", "")]);
    assert_eq!((one.own_time(), one.day(None)), (None, 0));
    assert_eq!(one.identity(), other.identity());
}

#[test]
fn a_day_far_ahead_of_the_broker_is_no_day() {
    let record = read(&reset());
    let own = record.own_time().unwrap();
    let day = u32::try_from(own.day()).unwrap();
    let before = |millis| Some(Timestamp::from_millis(own.as_millis() - millis));
    assert_eq!(record.day(None), day);
    assert_eq!(record.day(before(86_400_000)), day);
    assert_eq!(record.day(before(86_400_001)), 0);
}

#[test]
fn records_that_differ_in_what_counts_have_different_identities() {
    let base = read(&reset()).identity();
    for (what, record) in [
        ("id", with("/properties/id", json!("Directory_2"))),
        ("tenant", with("/tenantId", json!("other"))),
        ("activity", with("/properties/activityDisplayName", json!("Reset"))),
        ("time", with("/properties/activityDateTime", json!("2026-01-22T18:15:02.388Z"))),
        (
            "dialect",
            json!({"id": "Directory_1", "tenantId": "abc", "operationName": "Reset user password", "time": "2026-01-22T18:15:02.387Z"}),
        ),
    ] {
        assert_ne!(read(&record).identity(), base, "{what}");
    }
    for (what, record) in [
        ("a name that was corrected", with("/identity", json!("Helpdesk"))),
        ("when the exporter wrote it", with("/time", json!("2026-01-23T00:00:00Z"))),
        ("the tenant's case", with("/tenantId", json!("abc"))),
    ] {
        assert_eq!(read(&record).identity(), base, "{what}");
    }
    let timeless = |name: &str| read(&json!({"id": "1", "type": "Microsoft.Security/x", "name": name})).identity();
    assert_ne!(timeless("a"), timeless("b"), "without a time the content stands in for it");
    let vault = |by: &str| {
        read(
            &json!({"category": "AuditEvent", "operationName": "SecretGet", "time": "2026-01-22T18:15:02Z", "resourceId": "/SUBSCRIPTIONS/A", "properties": {"id": "https://v.example/secrets/x"}, "callerIpAddress": by}),
        )
    };
    assert_eq!((vault("192.0.2.1").id, vault("192.0.2.1").dialect), (vault("192.0.2.2").id, Dialect::Other));
    assert_ne!(vault("192.0.2.1").identity(), vault("192.0.2.2").identity(), "an id of what it tells of");
    let written = |text: &str| Record::read(text, position(), None).id;
    let (one, other) = (written(r#"{"a":[5.0,{"b":-0.0,"c":2.50}]}"#), written(r#"{"a":[5,{"c":2.5,"b":0}]}"#));
    assert_eq!(one, other, "a script on the way writes numbers in its own way");
    assert_ne!(one, written(r#"{"a":["5",{"b":0,"c":2.5}]}"#), "a text is no number");
    let assessment = |code: &str, since: &str, affected: u64| {
        let properties =
            json!({"status": {"code": code, "statusChangeDate": since}, "additionalData": {"n": affected}});
        read(&json!({"id": "1", "type": "Microsoft.Security/assessments", "properties": properties})).identity()
    };
    let (first, later) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    assert_eq!(assessment("Unhealthy", first, 1), assessment("Unhealthy", first, 2), "a count is no news of a thing");
    assert_ne!(assessment("Unhealthy", first, 1), assessment("Healthy", later, 1), "its state is");
}

#[test]
fn an_id_of_resource_manager_is_one_in_any_case() {
    let assessment = |id: &str| {
        read(
            &json!({"type": "Microsoft.Security/assessments", "id": id, "properties": {"status": {"code": "Healthy"}}}),
        )
    };
    let id = "/subscriptions/5AB/resourceGroups/rg/providers/Microsoft.Security/assessments/a1";
    let (one, other) = (assessment(id), assessment(&id.replace("resourceGroups", "resourcegroups")));
    assert_eq!(one.id, id, "it is shown as it came");
    assert_eq!((one.identity(), one.identity_apart()), (other.identity(), other.identity_apart()));
    assert_ne!(one.identity(), assessment("/subscriptions/5AB/resourceGroups/rh").identity());
    assert_ne!(assessment("a1").identity(), assessment("A1").identity(), "the case of other ids is theirs");
    let alert = "2517184898549829577_7A4c1b3e-0d5f-4c1a-9b1e-0123456789ab";
    assert_eq!(assessment(alert).identity(), assessment(&alert.to_uppercase()).identity(), "a GUID has none");
}

#[test]
fn an_identity_is_what_it_was() {
    // Pinned: a new value would tell every record of the ledger's retention again.
    assert_eq!(read(&reset()).identity().0[..8], 0x33f3_a371_cd6a_aad7_u64.to_be_bytes());
    assert_eq!(read(&json!({"b": [1, "é"], "a": null})).id, "sha256:f8f17faab95c024891d173fa43442b0e");
}

/// `value` as text, with its keys in an order and white space of the generator's choice.
fn scrambled(value: &Value, seed: &mut impl FnMut() -> usize) -> String {
    let space = |seed: &mut dyn FnMut() -> usize| ["", " ", "\n\t"][seed() % 3];
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            for place in (1..fields.len()).rev() {
                fields.swap(place, seed() % (place + 1));
            }
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(key, value)| format!("{}{}:{}", space(seed), Value::from(key.as_str()), scrambled(value, seed)))
                .collect();
            format!("{{{}{}}}", fields.join(","), space(seed))
        }
        Value::Array(list) => {
            let list: Vec<_> = list.iter().map(|value| scrambled(value, seed)).collect();
            format!("[{}{}]", space(seed), list.join(", "))
        }
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn id_and_identity_do_not_change_with_key_order_and_white_space(seeds in prop::collection::vec(any::<usize>(), 64)) {
        for record in [reset(), without("/properties/id")] {
            let mut next = seeds.iter().copied().cycle();
            let text = scrambled(&record, &mut || next.next().unwrap_or(0));
            let (plain, scrambled) = (read(&record), Record::read(&text, position(), None));
            prop_assert_eq!(&plain.id, &scrambled.id);
            prop_assert_eq!(plain.identity(), scrambled.identity());
        }
    }

    #[test]
    fn any_json_object_is_read(text in "[{}\\[\\]:,\"\\\\ud8a1e.-]{0,60}") {
        let _ = Record::read(&text, position(), None);
        let _ = Record::read(&format!("{{\"properties\":{text}}}"), position(), None);
    }
}
