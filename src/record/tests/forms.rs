//! The forms that one record comes in, and how the dialect is told.

use super::*;

/// As one product exports it.
pub(super) fn lower(value: &Value) -> Value {
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
        let read = read(&record);
        assert_eq!(read.dialect, expected, "{what}");
        assert!(agrees(&glance(&record.to_string()), &read), "{what}");
    }
}

#[test]
fn a_head_borrows_what_needs_no_unescaping() {
    let raw = reset().to_string();
    let Glance::Head(head) = glance(&raw) else { panic!("an audit record tells its names") };
    assert!(matches!(head.operation, Some(std::borrow::Cow::Borrowed("Reset user password"))));
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
fn flags_are_read_of_alerts_and_of_what_has_no_reader() {
    for (record, expected) in [
        (json!({"SystemAlertId": "1", "AlertDisplayName": "[SAMPLE ALERT] x"}), vec![Flag::Sample]),
        (json!({"SystemAlertId": "1", "Description": "THIS IS A SAMPLE ALERT: x"}), vec![Flag::Sample]),
        (json!({"SystemAlertId": "1", "Description": "No sample alert"}), vec![]),
        (json!({"_index": "i", "kibana.alert.uuid": "1"}), vec![]),
        (
            json!({"_index": "i", "kibana.alert.uuid": "1", "kibana.alert.building_block_type": "default"}),
            vec![Flag::BuildingBlock],
        ),
        (json!({"SystemAlertId": "1", "IsIncident": "true"}), vec![Flag::Incident]),
        (json!({"SystemAlertId": "1", "IsIncident": false}), vec![]),
        (json!({"SecurityEventDataEnrichment": {"IsSnapshot": true}}), vec![Flag::Snapshot]),
    ] {
        assert_eq!(read(&record).flags, expected, "{record}");
    }
}

#[test]
fn every_fixture_is_what_its_head_and_its_dialect_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records");
    let mut seen = std::collections::BTreeSet::new();
    for file in folder.read_dir().unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for item in envelope::decode(Some(&bytes)) {
            let envelope::Item::Record(raw) = item else { continue };
            let record = Record::read(&raw.json, position(), None);
            assert!(agrees(&raw.glance(&Dialects::shipped()), &record), "{}", raw.json);
            // What `check` goes by when it says of a rule that it can tell nobody.
            let user = |kind| kind == EntityKind::User;
            let named = record.targets.iter().any(|target| user(target.kind));
            assert!(!named || record.dialect.may_have_user_targets(), "{}", raw.json);
            let acted = record.actor.as_ref().is_some_and(|actor| user(actor.kind));
            assert!(!acted || record.dialect.may_have_an_actor(), "{}", raw.json);
            seen.insert(record.dialect);
        }
    }
    let own = [Dialect::AuditbellDelivery];
    assert!(Dialect::BUILT_IN.iter().all(|dialect| seen.contains(dialect) || own.contains(dialect)), "{seen:?}");
}
