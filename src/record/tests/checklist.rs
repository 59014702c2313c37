//! What a reader of such records must do, item by item: framings, damage, trees, look-up, names, placeholders, times, people.

use super::path::{self, Path};
use super::*;
use crate::record::envelope::{Item, decode};
use crate::record::fold::fold;

/// In a word each: a record's id, or why it is dead.
fn items(message: &[u8]) -> Vec<String> {
    let word = |item: Item<'_>| match item {
        Item::Record(raw) => raw.read(&Dialects::shipped(), position(), None).id,
        Item::Dead(dead) => dead.reason.as_str().to_owned(),
    };
    decode(Some(message)).into_iter().map(word).collect()
}

/// Item 1.
#[test]
fn every_form_of_a_message_is_taken_apart() {
    for (what, message, expected) in [
        ("an envelope", r#"{"records":[{"id":"a"},{"id":"b"}]}"#, &["a", "b"][..]),
        (
            "with a capital, further keys and any white space",
            "{\n \"Records\" : [\n{\"id\":\"a\"} ],\"PartitionId\":1}",
            &["a"],
        ),
        ("a byte order mark", "\u{FEFF}{\"records\":[{\"id\":\"a\"}]}", &["a"]),
        ("a bare object", r#"{"id":"a","SystemAlertId":null}"#, &["a"]),
        ("a list", r#"[{"id":"a"},{"id":"b"}]"#, &["a", "b"]),
        ("a list of envelopes", r#"[{"records":[{"id":"a"}]},{"records":[{"id":"b"}]}]"#, &["a", "b"]),
        ("lines", "{\"id\":\"a\"}\r\n{\"records\":[{\"id\":\"b\"}]}\n", &["a", "b"]),
        ("documents without anything between them", r#"{"id":"a"}{"records":[{"id":"b"}]}"#, &["a", "b"]),
        ("a text with JSON inside", r#""{\"records\":[{\"id\":\"a\"}]}""#, &["a"]),
        ("no records", r#"{"records":[]}"#, &[]),
        ("null for them", r#"{"records":null}"#, &[]),
        ("what is no record among them", r#"{"records":[null,{"id":"a"},7]}"#, &["not-a-record", "a", "not-a-record"]),
        ("a number", "7", &["not-a-record"]),
        ("no JSON", "what is this", &["not-json"]),
        ("nothing", "", &["empty"]),
    ] {
        assert_eq!(items(message.as_bytes()), expected, "{what}");
    }
}

/// Item 2.
#[test]
fn damage_is_mended_or_dead_by_itself_with_its_own_bytes() {
    let message = |bad: &str| format!(r#"{{"records":[{{"id":"a","time":1}},{bad},{{"id":"b","time":1}}]}}"#);
    for (what, bad, expected) in [
        ("single quotes", r#"{"id":"x","time":1,"properties":{'a':'b'}}"#, "x"),
        ("a raw line break in a text", "{\"id\":\"x\",\"time\":1,\"t\":\"a\nb\"}", "x"),
        ("what cannot be mended", r#"{"id":"x","properties":[ 227 B blob data ]}"#, "not-json"),
    ] {
        assert_eq!(items(message(bad).as_bytes()), ["a", expected, "b"], "{what}");
    }
    let bad = r#"{"id":"x","properties":[ 227 B blob data ]}"#;
    let whole = message(bad);
    let dead: Vec<_> = decode(Some(whole.as_bytes()))
        .into_iter()
        .filter_map(|item| if let Item::Dead(dead) = item { Some(dead.bytes.into_owned()) } else { None })
        .collect();
    assert_eq!(dead, [bad.as_bytes()], "as they came, and nothing of a neighbour");
}

/// Item 3.
#[test]
fn a_record_is_a_tree_and_no_field_is_too_much_or_too_often() {
    let raw = r#"{"Level":5,"level":"Informational","operationName":"a","operationName":"b","never seen":{"x":[1]},
        "category":"AuditLogs","durationMs":"-1","properties":{"id":"1","loggedByService":"x","new in 2031":true}}"#;
    let record = Record::read(raw, position(), None);
    assert_eq!((record.id.as_str(), record.operation.as_deref(), record.severity), ("1", Some("b"), None));
    assert_eq!(record.raw["Level"], 5);
    assert_eq!(record.raw["level"], "Informational");
    assert_eq!(record.raw["never seen"], json!({"x": [1]}));
    assert_eq!(record.problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [ProblemCode::TimeMissing]);
}

/// Item 4.
#[test]
fn a_field_is_found_however_it_is_written() {
    let record = json!({
        "Properties": {"TargetResources": [{"Type": "User", "id": 1}, {"type": "Group", "ID": 2}]},
        "host.name": "h", "identity": {"claims": {"http://x/y.z": "upn"}}, "text": "{\"inner\":{\"code\":50126}}", "code": 50126,
    });
    for (path, expected) in [
        ("properties.targetresources.id", &["1", "2"][..]),
        ("host.name", &["h"]),
        ("identity.claims.\"http://x/y.z\"", &["upn"]),
        ("text.inner.code", &["50126"]),
        ("code", &["50126"]),
    ] {
        let path = Path::parse(path).unwrap();
        let found: Vec<_> = path.values(&record).into_iter().filter_map(path::text).collect();
        assert_eq!(found, expected);
    }
}

/// Item 5.
#[test]
fn names_are_compared_without_what_differs_by_accident() {
    for (one, other) in [
        ("Update user.", "Update user"),
        (
            "Update application – Certificates and secrets management ",
            "Update application - Certificates and secrets management",
        ),
        ("Add  member\tto role", "add member to role"),
        ("Add Conditional Access policy", "Add conditional access policy"),
    ] {
        assert_eq!(fold(one), fold(other));
    }
}

/// Item 6.
#[test]
fn what_stands_for_nothing_is_nothing() {
    for nothing in [json!("<null>"), json!(""), json!("null"), json!("None"), Value::Null] {
        holds([
            (
                "a name",
                properties("targetResources", json!([{"type": "User", "id": "a", "displayName": nothing}])),
                "/targets/0/name",
                Value::Null,
            ),
            (
                "a principal name",
                properties("targetResources", json!([{"type": "User", "id": "a", "userPrincipalName": nothing}])),
                "/targets/0/upn",
                Value::Null,
            ),
            ("an address", with("/callerIpAddress", nothing.clone()), "/actor/ip", Value::Null),
            ("an id", properties("correlationId", nothing), "/correlation_id", json!("outer")),
        ]);
    }
}

/// Item 7.
#[test]
fn no_record_is_dropped_for_its_time() {
    for (text, expected) in [
        ("1/9/2007 9:41:00 AM", "2007-01-09T09:41:00.000Z"),
        ("1/9/2007 10:41:00 AM +01:00", "2007-01-09T09:41:00.000Z"),
        ("2007-01-09T11:41:00+02:00", "2007-01-09T09:41:00.000Z"),
        ("2024-12-10 14:33:09.049661100", "2024-12-10T14:33:09.049Z"),
        ("2022-09-09T9:59:27.958Z", "2022-09-09T09:59:27.958Z"),
    ] {
        holds([("in each form", properties("activityDateTime", json!(text)), "/time", json!(expected))]);
    }
    let mut record = properties("activityDateTime", json!("soon"));
    record["time"] = json!("");
    let read = Record::read(&record.to_string(), position(), Some(Timestamp::from_millis(5_000)));
    assert_eq!((read.time, read.own_time()), (Some(Timestamp::from_millis(5_000)), None));
    assert_eq!(read.problems[0].code, ProblemCode::TimeFromBroker);
}

/// Item 8. That nobody but these is mailed, guests at no made-up address and nobody at the fallback, is proved where it is decided.
#[test]
fn the_people_concerned_are_found_by_what_they_are_not_by_their_place() {
    let people = |record: &Value| -> Vec<String> {
        let users = read(record).targets.into_iter().filter(|target| target.kind == EntityKind::User);
        users.map(|user| user.upn.or(user.id).unwrap_or_default()).collect()
    };
    let pim = json!([
        {"type": "Role", "id": "r"}, {"type": "Request", "id": "q"}, {"type": "User", "id": "a-1", "displayName": "Alice"},
        {"type": "Directory", "id": "d"}, {"type": "Other"},
    ]);
    assert_eq!(people(&properties("targetResources", pim)), ["a-1"], "the third of five, by id alone");
    let both = json!([{"type": "User", "userPrincipalName": "a@example.com"}, {"type": "Group", "id": "g"}, {"type": "User", "userPrincipalName": "b@example.com"}]);
    assert_eq!(people(&properties("targetResources", both)), ["a@example.com", "b@example.com"]);
    assert_eq!(
        people(&properties("targetResources", json!([{"displayName": "example.com"}]))),
        [""; 0],
        "no type, no name"
    );
    let risk = json!({"category": "RiskyUsers", "properties": {"id": "u", "userPrincipalName": "a@example.com"}});
    assert_eq!(people(&risk), ["a@example.com"]);
    let alert = json!({
        "SystemAlertId": "1", "CompromisedEntity": "vm-7",
        "Entities": [{"$id": "5", "Type": "host", "HostName": "vm-7"}, {"$id": "5", "Type": "account", "Name": "a", "UPNSuffix": "example.com"}, {"$ref": "5"}],
    });
    assert_eq!(people(&alert), ["a@example.com"]);
    let guest = json!([{"type": "User", "userPrincipalName": "g_example.net#EXT#@example.onmicrosoft.com"}]);
    assert_eq!(
        people(&properties("targetResources", guest)),
        ["g_example.net#EXT#@example.onmicrosoft.com"],
        "as it came"
    );
}
