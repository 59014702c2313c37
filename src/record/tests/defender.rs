//! Defender's alerts where their fields stand elsewhere: as resources of Resource Manager, and with nothing but resource
//! identifiers to say where they belong.

use super::*;

const WORKSPACE: &str = "3e1a0000-0000-4000-8000-0000000000aa";

/// As Resource Manager has it.
fn resource() -> Value {
    json!({
        "id": "/subscriptions/5AB/resourceGroups/rg-a/providers/Microsoft.Security/locations/westeurope/alerts/2517_a",
        "name": "2517_a", "type": "Microsoft.Security/Locations/alerts",
        "properties": {
            "systemAlertId": "2517_a", "alertType": "VM_x", "alertDisplayName": "Login", "severity": "High", "status": "Active",
            "startTimeUtc": "2026-01-22T18:15:02Z", "endTimeUtc": "2026-01-22T18:16:02Z", "intent": "Execution",
            "productName": "Microsoft Defender for Cloud", "entities": [{"type": "account", "name": "alice", "upnSuffix": "example.com"}],
            "extendedProperties": {"Alert Id": "x"},
        },
    })
}

/// An exported alert that is about whatever `identifiers` name.
fn identified(identifiers: &Value) -> Value {
    json!({"SystemAlertId": "2517_a", "AlertType": "VM_x", "ResourceIdentifiers": identifiers})
}

#[test]
fn an_alert_of_resource_manager_says_what_the_exported_one_says() {
    let mut exported = resource()["properties"].clone();
    exported["AzureResourceSubscriptionId"] = json!("5AB");
    let (of_resource, of_export) = (read(&resource()), read(&exported));
    let same = Record { raw: of_export.raw.clone(), ..of_resource.clone() };
    assert_eq!(same, of_export);
    assert_eq!(of_resource.identity(), of_export.identity(), "both ways it is told once");
    assert_eq!((of_resource.dialect, of_resource.id.as_str()), (Dialect::DefenderAlert, "2517_a"));
    assert_eq!(of_resource.problems, []);
    assert_eq!(of_resource.operation.as_deref(), Some("Login"));
    assert_eq!(glance(&resource().to_string()).dialect(), Some(Dialect::DefenderAlert), "the rule index finds it");
    let mut as_text = resource();
    as_text["properties"] = Value::String(as_text["properties"].to_string());
    assert_eq!(read(&as_text).targets, of_export.targets, "properties as text");
    holds([
        ("of any type", with_type("Microsoft.SecurityInsights/Entities"), "/dialect", json!("defender.alert")),
        ("an older type", with_type("microsoft.security/alerts"), "/dialect", json!("defender.alert")),
        (
            "a rule about alerts is none",
            json!({"type": "Microsoft.Security/alertsSuppressionRules", "properties": {}}),
            "/dialect",
            json!("other"),
        ),
        (
            "older fields",
            json!({"type": "Microsoft.Security/alerts", "name": "n", "properties": {"alertName": "Guess", "reportedSeverity": "Low", "state": "Active"}}),
            "/severity",
            json!("low"),
        ),
        (
            "without an id of the alert, the resource's",
            json!({"type": "Microsoft.Security/alerts", "name": "n", "properties": {"alertName": "Guess"}}),
            "/id",
            json!("n"),
        ),
    ]);
}

fn with_type(kind: &str) -> Value {
    let mut record = resource();
    record["type"] = json!(kind);
    record
}

#[test]
fn an_alert_belongs_to_what_its_resource_identifiers_name() {
    let vm = "/subscriptions/5AB/resourceGroups/rg/providers/x/vm1";
    let azure = json!({"$id": "1", "Type": "AzureResource", "AzureResourceId": vm, "AzureResourceTenantId": "ABC"});
    let aad = json!({"$id": "2", "Type": "AAD", "AadTenantId": "DEF"});
    let agent = json!({"$id": "3", "Type": "LogAnalytics", "WorkspaceSubscriptionId": WORKSPACE});
    let mut own = identified(&json!([azure]));
    own["AzureResourceId"] = json!("/subscriptions/7/x");
    holds([
        ("the resource, wherever it stands", identified(&json!([aad, agent, azure])), "/resource", json!(vm)),
        ("its subscription, not the workspace's", identified(&json!([agent, azure])), "/subscription", json!("5AB")),
        ("its tenant", identified(&json!([azure])), "/tenant", json!("abc")),
        ("a list as text", identified(&json!(json!([azure]).to_string())), "/resource", json!(vm)),
        ("every key in lower case", forms::lower(&identified(&json!([azure]))), "/subscription", json!("5AB")),
        ("the alert's own resource before it", own, "/resource", json!("/subscriptions/7/x")),
        ("a machine outside of Azure has none", identified(&json!([agent])), "/resource", Value::Null),
        ("and is shown where it reports to", identified(&json!([agent])), "/subscription", json!(WORKSPACE)),
        ("an alert about a directory", identified(&json!([aad])), "/tenant", json!("def")),
        ("belongs to no subscription", identified(&json!([aad])), "/subscription", Value::Null),
        ("none at all", identified(&json!([])), "/resource", Value::Null),
        (
            "in the Activity log",
            json!({"category": "Security", "operationName": "Microsoft.Security/locations/alerts/activate/action", "resourceId": "/subscriptions/9/x", "properties": {"systemAlertId": "1", "resourceIdentifiers": [azure]}}),
            "/subscription",
            json!("9"),
        ),
    ]);
}
