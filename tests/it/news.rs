//! What is news, through the doors: a thing that is written again and again is told once, or once for each revision, and a
//! weekly snapshot never.

use std::time::Duration;

use auditbell::clock::Clock;
use serde_json::{Value, json};

use crate::harness::{Bench, envelope};

const NOTIFICATIONS: &str = "auditbell_notifications_total";
const PARENT: &str =
    "/subscriptions/5ab5c81b-0000-4000-8000-00000000000a/providers/Microsoft.Security/assessments/a55e55";

/// Hours ago.
fn ago(hours: u64) -> String {
    Clock::system().now().minus(Duration::from_hours(hours)).to_string()
}

/// A recommendation that stands so since `hours` ago.
fn assessment(code: &str, hours: u64, snapshot: bool) -> Value {
    json!({
        "assessmentEventDataEnrichment": {"action": "Write", "isSnapshot": snapshot},
        "securityEventDataEnrichment": {"action": "Write", "isSnapshot": snapshot},
        "tenantId": "0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0", "type": "Microsoft.Security/assessments",
        "id": PARENT, "name": "a55e55",
        "properties": {
            "resourceDetails": {"source": "Azure", "id": "/subscriptions/5ab5c81b-0000-4000-8000-00000000000a"},
            "displayName": "Accounts should have MFA",
            "status": {"code": code, "statusChangeDate": ago(hours), "severity": "High"},
        },
    })
}

fn finding(hours: u64, snapshot: bool) -> Value {
    json!({
        "subAssessmentEventDataEnrichment": {"action": "Write", "isSnapshot": snapshot},
        "securityEventDataEnrichment": {"action": "Write", "isSnapshot": snapshot},
        "tenantId": "0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0", "type": "Microsoft.Security/assessments/subAssessments",
        "id": format!("{PARENT}/subAssessments/f1"), "name": "f1",
        "properties": {
            "displayName": "CVE-2026-0001", "id": "f1", "timeGenerated": ago(hours),
            "status": {"code": "Unhealthy", "severity": "High"},
            "resourceDetails": {"source": "Azure", "id": "/subscriptions/5ab5c81b-0000-4000-8000-00000000000a"},
        },
    })
}

fn control(state: &str, control: &str) -> Value {
    let standard = "/subscriptions/5ab5c81b-0000-4000-8000-00000000000a/providers/Microsoft.Security/regulatoryComplianceStandards/PCI-DSS";
    json!({
        "securityEventDataEnrichment": {"action": "Write", "isSnapshot": false},
        "tenantId": "0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0",
        "type": "Microsoft.Security/regulatoryComplianceStandards/regulatoryComplianceControls/regulatoryComplianceAssessments",
        "id": format!("{standard}/regulatoryComplianceControls/{control}/regulatoryComplianceAssessments/c1"), "name": "c1",
        "time": ago(1),
        "properties": {"description": "A control", "state": state},
    })
}

/// Runs a rule with these lines over `records`, each a message of its own; how many mails came and how many matched.
async fn told(lines: &str, records: &[Value]) -> (usize, u64) {
    let mut bench = Bench::new().await;
    bench.rules = format!(
        "[[rule]]\nid = \"posture\"\ndescription = \"Posture\"\nto = [\"soc@example.com\"]\nchannels = [\"email\"]\ntemplate = \"password-reset\"\n{lines}\n"
    );
    bench.start().await;
    for record in records {
        bench.publish(envelope(std::slice::from_ref(record))).await;
    }
    bench.accepted_to(records.len()).await;
    let matched = bench.metric("auditbell_rule_matches_total", &[]);
    let duplicates = bench.metric(NOTIFICATIONS, &["verdict=\"duplicate\""]);
    bench.relay.wait_for(usize::try_from(matched - duplicates).unwrap()).await;
    assert!(bench.stop().await.success());
    bench.books_balance();
    (bench.relay.accepted().len(), matched)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_a_change_of_its_parent_and_a_snapshot_are_one_notification() {
    let records = [finding(5, false), assessment("Unhealthy", 4, false), finding(1, true)];
    assert_eq!(told("on = \"defender.finding\"\nwhen = { state = \"Unhealthy\" }", &records).await, (1, 1));
    let parents =
        [assessment("Unhealthy", 5, false), assessment("Unhealthy", 5, false), assessment("Unhealthy", 4, true)];
    let lines = "on = \"defender.assessment\"\nwhen = { state = \"Unhealthy\" }";
    assert_eq!(told(lines, &parents).await, (1, 2), "a snapshot does not even match");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thing_that_is_unhealthy_again_is_told_again_where_the_revision_counts() {
    // Over two days, so that it is not the day that tells them apart, or fails to.
    let records =
        [assessment("Unhealthy", 60, false), assessment("Healthy", 40, false), assessment("Unhealthy", 2, false)];
    let lines = "on = \"defender.assessment\"\nwhen = { state = \"Unhealthy\" }";
    assert_eq!(told(&format!("{lines}\nonce_per = [\"id\", \"revision\"]"), &records).await, (2, 2));
    assert_eq!(told(lines, &records).await, (1, 2), "by its id it is one");
}

/// A10.
#[tokio::test(flavor = "multi_thread")]
async fn of_three_states_the_one_asked_for_is_told() {
    let records =
        [assessment("Healthy", 3, false), assessment("Unhealthy", 2, false), assessment("NotApplicable", 1, false)];
    assert_eq!(told("on = \"defender.assessment\"\nwhen = { state = \"Healthy\" }", &records).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_that_fails_is_found_by_standard_and_control() {
    let records = [control("Passed", "8.1"), control("Failed", "8.2"), control("Failed", "8.1")];
    let lines = "on = \"defender.compliance\"\nwhen = { state = \"Failed\", details.standard = \"pci-dss\", details.control = \"8.1\" }";
    assert_eq!(told(lines, &records).await, (1, 1));
}
