//! The view of a record, and what its identity hangs on.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn position() -> Position {
    Position { source: "-".into(), topic: None, partition: None, offset: None, index: 0 }
}

fn read(record: &Value) -> Record {
    Record::read(&record.to_string(), position(), None)
}

/// A reset as Core Directory writes it.
fn reset() -> Value {
    json!({
        "time": "2026-01-22T18:15:02.9Z", "resourceId": "/tenants/ABC/providers/Microsoft.aadiam", "tenantId": "ABC",
        "operationName": "Reset user password", "category": "AuditLogs", "callerIpAddress": "192.0.2.7",
        "correlationId": "outer", "identity": "Help", "Level": 4,
        "properties": {
            "id": "Directory_1", "category": "UserManagement", "correlationId": "c-1", "result": "success",
            "activityDisplayName": "Reset user password", "activityDateTime": "2026-01-22T18:15:02.3875429+00:00",
            "loggedByService": "Core Directory",
            "initiatedBy": {"user": {"id": "h-1", "userPrincipalName": "help@example.com", "displayName": null}},
            "targetResources": [{"id": "a-1", "type": "User", "userPrincipalName": "alice@example.com"}],
            "additionalDetails": [{"key": "User-Agent", "value": "Edge"}],
        },
    })
}

/// [`reset`] with `value` at `pointer`.
fn with(pointer: &str, value: Value) -> Value {
    let mut record = reset();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    record.pointer_mut(parent).unwrap()[key] = value;
    record
}

fn without(pointer: &str) -> Value {
    let mut record = reset();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    record.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    record
}

/// The printed view's value at `pointer`.
fn seen(record: &Value, pointer: &str) -> Value {
    serde_json::to_value(read(record)).unwrap().pointer(pointer).unwrap().clone()
}

/// One inner field replaced.
fn properties(name: &str, value: Value) -> Value {
    with(&format!("/properties/{name}"), value)
}

/// The user who did it replaced.
fn user(value: &Value) -> Value {
    properties("initiatedBy", json!({ "user": value }))
}

/// Each: a sentence, a record, a place in its view, what stands there.
fn holds<const N: usize>(cases: [(&str, Value, &str, Value); N]) {
    for (what, record, pointer, expected) in cases {
        assert_eq!(seen(&record, pointer), expected, "{what}");
    }
}

#[test]
fn time_tenant_and_result_have_their_rules() {
    holds([
        ("the activity's time, not the record's", reset(), "/time", json!("2026-01-22T18:15:02.387Z")),
        ("else the record's", without("/properties/activityDateTime"), "/time", json!("2026-01-22T18:15:02.900Z")),
        (
            "also where it cannot be read",
            properties("activityDateTime", json!("soon")),
            "/time",
            json!("2026-01-22T18:15:02.900Z"),
        ),
        ("the inner category", reset(), "/category", json!("UserManagement")),
        ("else the outer", without("/properties/category"), "/category", json!("AuditLogs")),
        ("the inner correlation", reset(), "/correlation_id", json!("c-1")),
        ("else the outer", properties("correlationId", Value::Null), "/correlation_id", json!("outer")),
        ("the tenant in lower case", reset(), "/tenant", json!("abc")),
        ("else out of the resource", without("/tenantId"), "/tenant", json!("abc")),
        ("Level is no severity", reset(), "/severity", Value::Null),
        ("the tenant's pseudo-resource is none", reset(), "/resource", Value::Null),
        ("a result in any case", properties("result", json!("Success")), "/result", json!("success")),
        ("a number of 2018", properties("result", json!(0)), "/result", json!("success")),
        ("failed is failure", properties("result", json!("failed")), "/result", json!("failure")),
        ("a word we do not know", properties("result", json!("Odd")), "/result", json!("odd")),
        ("is a problem", properties("result", json!("Odd")), "/problems/0/code", json!("result-unknown")),
    ]);
}

#[test]
fn the_actor_has_its_rules() {
    holds([
        ("a name from outside", reset(), "/actor/name", json!("Help")),
        ("the caller's address", reset(), "/actor/ip", json!("192.0.2.7")),
        ("a placeholder for it", with("/callerIpAddress", json!("<null>")), "/actor/ip", Value::Null),
        ("is a problem", with("/callerIpAddress", json!("<null>")), "/problems/0/code", json!("address-placeholder")),
        ("nothing for it is none", with("/callerIpAddress", json!("")), "/problems", json!([])),
        ("a mask is kept", with("/callerIpAddress", json!("XX.XX.XX.XX")), "/actor/ip", json!("XX.XX.XX.XX")),
        ("no address is corrected", with("/callerIpAddress", json!("::2a02:1")), "/actor/ip", json!("::2a02:1")),
        ("nobody", properties("initiatedBy", json!({})), "/actor", Value::Null),
        ("an empty user", user(&json!({"id": "", "userPrincipalName": "<null>"})), "/actor", Value::Null),
        (
            "a user with nothing but a name is a service",
            user(&json!({"displayName": "Teams"})),
            "/actor/type",
            json!("system"),
        ),
        (
            "an app",
            properties("initiatedBy", json!({"user": null, "app": {"displayName": "Sync", "servicePrincipalId": "s"}})),
            "/actor/type",
            json!("app"),
        ),
        ("a party as text", properties("initiatedBy", json!("{\"user\":{\"id\":\"x\"}}")), "/actor/id", json!("x")),
    ]);
}

#[test]
fn details_and_targets_have_their_rules() {
    holds([
        ("the browser", reset(), "/details/userAgent", json!("Edge")),
        ("the reason", properties("resultReason", json!("Why")), "/details/reason", json!("Why")),
        ("else the description outside", with("/resultDescription", json!("Why")), "/details/reason", json!("Why")),
        (
            "the first that is not null of a key",
            properties(
                "additionalDetails",
                json!([{"key": "k", "value": null}, {"key": "k", "value": "1"}, {"key": "k", "value": "2"}]),
            ),
            "/details/k",
            json!("1"),
        ),
        ("no targets", properties("targetResources", Value::Null), "/targets", json!([])),
        (
            "a target that is none keeps its place",
            properties("targetResources", json!([null, {"type": "Group"}])),
            "/targets/1/type",
            json!("group"),
        ),
        (
            "a user without a name",
            properties("targetResources", json!([{"type": "User"}])),
            "/problems/0/code",
            json!("target-without-identity"),
        ),
        (
            "a type left out",
            properties("targetResources", json!([{"displayName": "mail.example.com"}])),
            "/targets/0/type",
            json!("other"),
        ),
        (
            "an application",
            properties("targetResources", json!([{"type": "ServicePrincipal"}])),
            "/targets/0/type",
            json!("app"),
        ),
    ]);
}

#[test]
fn names_of_the_act_and_by_self_have_their_rules() {
    holds([
        ("the name inside differs", with("/operationName", json!(" Reset (UI) ")), "/operation", json!("Reset (UI)")),
        ("and is the activity", with("/operationName", json!("Reset (UI)")), "/activity", json!("Reset user password")),
        (
            "a name as an object",
            with("/operationName", json!({"value": "Reset", "localizedValue": "Zurück"})),
            "/operation",
            json!("Reset"),
        ),
        ("only the name inside", without("/operationName"), "/operation", json!("Reset user password")),
        ("the same name is no activity", reset(), "/activity", Value::Null),
        ("by somebody else", reset(), "/by_self", json!(false)),
        ("by herself", user(&json!({"id": "A-1"})), "/by_self", json!(true)),
        ("by herself, by name only", user(&json!({"userPrincipalName": "Alice@example.com"})), "/by_self", json!(true)),
        (
            "names of different kinds",
            properties("targetResources", json!([{"type": "User", "id": "z"}])),
            "/by_self",
            json!(false),
        ),
        (
            "no user among the targets",
            properties("targetResources", json!([{"type": "Group", "id": "z"}])),
            "/by_self",
            Value::Null,
        ),
        (
            "properties as text",
            with("/properties", json!(reset()["properties"].to_string())),
            "/id",
            json!("Directory_1"),
        ),
        (
            "no time at all",
            json!({"category": "AuditLogs", "resourceId": "/tenants/a/providers/microsoft.aadiam", "id": "1"}),
            "/problems/0/code",
            json!("time-missing"),
        ),
    ]);
}

#[test]
fn pim_gives_the_persons_address_among_the_details() {
    let mut record = with("/properties/additionalDetails", json!([{"key": "ipaddr", "value": "192.0.2.61"}]));
    assert_eq!(seen(&record, "/actor/ip"), json!("192.0.2.7"));
    record["properties"]["loggedByService"] = json!("PIM");
    assert_eq!(seen(&record, "/actor/ip"), json!("192.0.2.61"));
}

/// As one product exports it.
fn lower(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.to_lowercase(), lower(value))).collect(),
        Value::Array(list) => list.iter().map(lower).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_other_forms_of_the_log_say_the_same() {
    let told = |record: &Value| {
        let record = read(record);
        let actor = record.actor.unwrap();
        let target = record.targets.into_iter().next().unwrap();
        (record.dialect, record.operation.unwrap(), record.result.unwrap(), record.time.unwrap(), actor.upn, target.upn)
    };
    let expected = told(&reset());
    assert_eq!(expected.0, Dialect::EntraAudit);

    let graph = reset()["properties"].clone();
    assert_eq!(told(&graph), expected, "Graph's bare directoryAudit");

    let inner = &graph;
    let columns = json!({
        "Type": "AuditLogs", "TenantId": "workspace", "AADTenantId": "ABC", "OperationName": "Reset user password",
        "Category": "UserManagement", "Id": inner["id"], "Result": "success", "LoggedByService": "Core Directory",
        "ActivityDisplayName": "Reset user password", "ActivityDateTime": inner["activityDateTime"],
        "InitiatedBy": inner["initiatedBy"].to_string(), "TargetResources": inner["targetResources"].to_string(),
    });
    assert_eq!(told(&columns), expected, "Log Analytics, with its objects as text");
    assert_eq!(seen(&columns, "/tenant"), json!("abc"), "not the workspace");

    assert_eq!(told(&lower(&reset())), expected, "every key in lower case");
}

#[test]
fn the_preview_of_2018_is_read() {
    let record = json!({
        "time": "2018-02-22T20:42:58.9184488Z", "operationName": "Reset password (by admin)", "category": "Audit",
        "tenantId": "T", "resultType": "Success", "resultDescription": "None", "durationMs": "-1",
        "callerIpAddress": "192.0.2.9", "identity": "help@example.com", "Level": "Informational",
        "properties": {
            "identityType": "UPN", "additionalDetails": "None", "auditEventCategory": "UserManagement",
            "targetResourceType": "UPN__TenantContextID__PUID__ObjectID__ObjectClass",
            "targetResourceName": "al__ice@example.com__t__1003__a-1__User",
        },
    });
    let view = read(&record);
    assert_eq!((view.dialect, view.result.as_deref()), (Dialect::EntraAudit, Some("success")));
    assert_eq!(view.targets[0].upn.as_deref(), Some("al__ice@example.com"));
    assert_eq!(view.targets[0].id.as_deref(), Some("a-1"));
    assert_eq!(view.actor.unwrap().upn.as_deref(), Some("help@example.com"));
    assert!(view.id.starts_with("sha256:"), "there is no id, and the correlation is none");
}

#[test]
fn the_dialect_is_told_by_content() {
    for (what, record, expected) in [
        (
            "the forwarder put the inner category outside",
            with("/category", json!("UserManagement")),
            Dialect::EntraAudit,
        ),
        (
            "Intune shares the category",
            json!({"category": "AuditLogs", "operationName": "Patch", "properties": {"Actor": {}}}),
            Dialect::Other,
        ),
        (
            "sign-ins share the resource",
            json!({"category": "SignInLogs", "resourceId": "/tenants/a/providers/Microsoft.aadiam", "properties": {"id": "1"}}),
            Dialect::EntraSignIn,
        ),
        ("a table of Log Analytics", json!({"Type": "AADRiskyUsers", "OperationName": "x"}), Dialect::EntraRisk),
        (
            "a resource log has the Activity log's form and a category of its own",
            json!({"category": "StorageRead", "resourceId": "/subscriptions/a", "operationName": "x", "identity": {}}),
            Dialect::Other,
        ),
        (
            "an alert in the Activity log",
            json!({"category": "Security", "resourceId": "/SUBSCRIPTIONS/A", "operationName": "MICROSOFT.SECURITY/LOCATIONS/ALERTS/ACTIVATE/ACTION"}),
            Dialect::DefenderAlert,
        ),
        ("a score of Defender", json!({"type": "Microsoft.Security/secureScores", "id": "1"}), Dialect::Other),
        ("types in any case", json!({"Type": "microsoft.security/ASSESSMENTS"}), Dialect::DefenderAssessment),
        (
            "an alert of Elastic inside an envelope",
            json!({"_source": {"kibana.alert.uuid": "1"}}),
            Dialect::ElasticAlert,
        ),
        (
            "another document of Elasticsearch",
            json!({"_index": "x", "_source": {"kibana": {"version": 1}}}),
            Dialect::Other,
        ),
        (
            "a service that is null",
            json!({"category": "AuditLogs", "properties": {"loggedByService": null}}),
            Dialect::EntraAudit,
        ),
        ("properties that are a list", json!({"category": "x", "properties": [1, 2]}), Dialect::Other),
    ] {
        assert_eq!(head(&record.to_string()).dialect, expected, "{what}");
    }
}

#[test]
fn a_head_borrows_what_needs_no_unescaping() {
    let raw = reset().to_string();
    assert!(matches!(head(&raw).operation, Some(std::borrow::Cow::Borrowed("Reset user password"))));
}

#[test]
fn what_a_tree_cannot_hold_is_cleaned_and_said() {
    let raw =
        r#"{"operationName":"a\ud800b","n":1e999,"properties":{"loggedByService":"x","id":"1"},"time":1769105702387}"#;
    let record = Record::read(raw, position(), None);
    assert_eq!(record.operation.as_deref(), Some("a\u{FFFD}b"));
    assert_eq!(record.dialect, Dialect::EntraAudit);
    assert_eq!(record.raw["n"], json!("1e999"));
    assert_eq!(record.problems, [Problem::new(ProblemCode::TextCleaned)]);
}

#[test]
fn of_a_repeated_key_the_last_wins() {
    let raw = r#"{"operationName":"a","operationName":"b","properties":{"loggedByService":"x","id":"1","id":"2"}}"#;
    let record = Record::read(raw, position(), None);
    assert_eq!((record.operation.as_deref(), record.id.as_str()), (Some("b"), "2"));
}

#[test]
fn flags_of_alerts_are_read_though_their_dialect_is_not() {
    for (record, expected) in [
        (json!({"SystemAlertId": "1", "AlertDisplayName": "[SAMPLE ALERT] x"}), vec![Flag::Sample]),
        (json!({"SystemAlertId": "1", "IsIncident": "true"}), vec![Flag::Incident]),
        (json!({"SystemAlertId": "1", "IsIncident": false}), vec![]),
        (json!({"SecurityEventDataEnrichment": {"IsSnapshot": true}}), vec![Flag::Snapshot]),
    ] {
        assert_eq!(read(&record).flags, expected, "{record}");
    }
}

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
    let control = |state: &str, failed: u64| {
        let properties = json!({"state": state, "failedResources": failed});
        read(
            &json!({"id": "1", "type": "Microsoft.Security/regulatoryComplianceStandards/x", "properties": properties}),
        )
        .identity()
    };
    assert_eq!(control("Failed", 1), control("Failed", 2), "a count that changed is no news of a thing");
    assert_ne!(control("Failed", 1), control("Passed", 1), "its state is");
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
        assert_eq!(head(text).dialect, Dialect::Other);
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

#[test]
fn the_head_of_every_fixture_names_it_as_its_view_does() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records");
    let mut seen = std::collections::BTreeSet::new();
    for file in folder.read_dir().unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for item in envelope::decode(Some(&bytes)) {
            let envelope::Item::Record(raw) = item else { continue };
            let (head, record) = (head(&raw.json), Record::read(&raw.json, position(), None));
            assert_eq!(
                (head.dialect, head.operation.as_deref(), head.activity.as_deref()),
                (record.dialect, record.operation.as_deref(), record.activity.as_deref()),
                "{}",
                raw.json
            );
            seen.insert(record.dialect);
        }
    }
    let own = [Dialect::AuditbellDelivery];
    assert!(Dialect::BUILT_IN.iter().all(|dialect| seen.contains(dialect) || own.contains(dialect)), "{seen:?}");
}
