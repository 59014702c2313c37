//! The view of an audit record: each field by its rule.

use super::*;

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
