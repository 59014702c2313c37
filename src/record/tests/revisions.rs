//! What comes, goes and comes again is told again by `once_per = ["id", "revision"]`, in every dialect of things.

use super::*;

/// `record` with `value` at each pointer.
fn changed(record: &Value, changes: &[(&str, Value)]) -> Value {
    let mut record = record.clone();
    for (pointer, value) in changes {
        *record.pointer_mut(pointer).unwrap() = value.clone();
    }
    record
}

#[test]
#[expect(clippy::too_many_lines, reason = "a story of each dialect")]
fn a_thing_that_fails_for_the_second_time_is_another_revision_and_a_second_delivery_is_not() {
    let assessment = json!({"type": "Microsoft.Security/assessments", "id": "a", "properties": {"status": {"code": "Unhealthy", "statusChangeDate": "2026-01-01T00:00:00Z"}}});
    let finding = json!({"type": "Microsoft.Security/assessments/subAssessments", "id": "f", "properties": {"status": {"code": "Unhealthy"}, "timeGenerated": "2026-01-01T00:00:00Z"}});
    let standard =
        "Microsoft.Security/regulatoryComplianceStandards/regulatoryComplianceControls/regulatoryComplianceAssessments";
    let control = json!({"type": standard, "id": "c", "properties": {"state": "Failed", "passedResources": 9, "failedResources": 1, "skippedResources": 0}});
    let dated = json!({"type": standard, "id": "c", "time": "2026-01-01T00:00:00Z", "properties": {"state": "Failed", "failedResources": 1}});
    let user = json!({"category": "RiskyUsers", "properties": {"id": "u", "riskState": "atRisk", "riskLastUpdatedDateTime": "2026-01-01T00:00:00Z"}});
    let detection = json!({"category": "UserRiskEvents", "properties": {"id": "d", "riskState": "atRisk", "activityDateTime": "2026-01-01T00:00:00Z", "lastUpdatedDateTime": "2026-01-01T00:00:00Z"}});
    let alert = json!({"kibana.alert.uuid": "e", "kibana.alert.status": "active", "kibana.alert.start": "2026-01-01T00:00:00Z", "kibana.alert.end": null});
    let worked = json!({"kibana.alert.uuid": "e", "kibana.alert.status": "active", "kibana.alert.workflow_status": "open", "kibana.alert.workflow_status_updated_at": "2026-01-01T00:00:00Z"});
    let score = json!({"type": "Microsoft.Security/secureScores", "id": "s", "time": "2026-01-01T00:00:00Z", "properties": {"score": {"current": 40}}});
    let path = json!({"type": "microsoft.security/attackpaths", "id": "p", "properties": {"riskLevel": "High", "numberOfAffectedResources": 3}});
    let act = json!({"time": "2026-01-01T00:00:00Z", "category": "Security", "operationName": "Microsoft.Security/locations/alerts/activate/action", "resultType": "Active", "resourceId": "/subscriptions/5ab/providers/Microsoft.Security/locations/x/alerts/a"});
    let later = json!("2026-01-02T00:00:00Z");
    let last = json!("2026-01-03T00:00:00Z");
    for (what, first, between, again) in [
        (
            "an assessment",
            &assessment,
            vec![("/properties/status/code", json!("Healthy")), ("/properties/status/statusChangeDate", later.clone())],
            vec![("/properties/status/statusChangeDate", last.clone())],
        ),
        (
            "a finding",
            &finding,
            vec![("/properties/status/code", json!("Healthy")), ("/properties/timeGenerated", later.clone())],
            vec![("/properties/timeGenerated", last.clone())],
        ),
        (
            "a control, by its numbers",
            &control,
            vec![("/properties/state", json!("Passed")), ("/properties/failedResources", json!(0))],
            vec![("/properties/failedResources", json!(2))],
        ),
        (
            "a control with a time",
            &dated,
            vec![("/properties/state", json!("Passed")), ("/time", later.clone())],
            vec![("/time", last.clone())],
        ),
        (
            "a risky user",
            &user,
            vec![
                ("/properties/riskState", json!("remediated")),
                ("/properties/riskLastUpdatedDateTime", later.clone()),
            ],
            vec![("/properties/riskLastUpdatedDateTime", last.clone())],
        ),
        (
            "a risk detection",
            &detection,
            vec![("/properties/riskState", json!("dismissed")), ("/properties/lastUpdatedDateTime", later.clone())],
            vec![("/properties/lastUpdatedDateTime", last.clone())],
        ),
        (
            "an alert that comes and goes",
            &alert,
            vec![("/kibana.alert.status", json!("recovered")), ("/kibana.alert.end", later.clone())],
            vec![("/kibana.alert.start", last.clone())],
        ),
        (
            "an alert that is closed and opened",
            &worked,
            vec![
                ("/kibana.alert.workflow_status", json!("closed")),
                ("/kibana.alert.workflow_status_updated_at", later.clone()),
            ],
            vec![("/kibana.alert.workflow_status_updated_at", last.clone())],
        ),
        (
            "an alert in the Activity log",
            &act,
            vec![
                ("/operationName", json!("Microsoft.Security/locations/alerts/resolve/action")),
                ("/resultType", json!("Resolved")),
                ("/time", later.clone()),
            ],
            vec![("/time", last.clone())],
        ),
        (
            "a secure score",
            &score,
            vec![("/properties/score/current", json!(45)), ("/time", later.clone())],
            vec![("/time", last.clone())],
        ),
        (
            "an attack path",
            &path,
            vec![("/properties/numberOfAffectedResources", json!(0))],
            vec![("/properties/numberOfAffectedResources", json!(2))],
        ),
    ] {
        let identities =
            [first.clone(), changed(first, &between), changed(first, &again)].map(|record| read(&record).identity());
        assert!(identities[0] != identities[1] && identities[1] != identities[2], "{what}: between");
        assert_ne!(identities[0], identities[2], "{what}: again");
        assert_eq!(identities[0], read(&changed(first, &[])).identity(), "{what}: delivered twice");
    }
}

#[test]
fn by_its_id_alone_a_thing_is_told_once_however_it_stands() {
    let control = |state: &str, failed: u64| {
        let properties = json!({"state": state, "failedResources": failed});
        read(
            &json!({"id": "1", "type": "Microsoft.Security/regulatoryComplianceStandards/x", "properties": properties}),
        )
    };
    assert_eq!(control("Failed", 1).identity_apart(), control("Passed", 0).identity_apart());
    assert_eq!(control("Failed", 1).revision, "Failed 1");
    assert_eq!(
        read(
            &json!({"type": "Microsoft.Security/assessments", "id": "a", "properties": {"status": {"code": "Healthy"}}})
        )
        .revision,
        "Healthy"
    );
}

#[test]
fn a_revision_is_one_however_its_moment_is_spelt() {
    let records: [fn(&str) -> Value; 6] = [
        |at| json!({"category": "RiskyUsers", "properties": {"id": "u", "riskLastUpdatedDateTime": at}}),
        |at| json!({"type": "Microsoft.Security/assessments", "id": "a", "properties": {"status": {"code": "Healthy", "statusChangeDate": at}}}),
        |at| json!({"type": "Microsoft.Security/regulatoryComplianceStandards/x", "id": "c", "properties": {"state": "Failed", "timeGenerated": at}}),
        |at| json!({"SystemAlertId": "1", "Status": "New", "EndTimeUtc": at}),
        |at| json!({"kibana.alert.uuid": "e", "kibana.alert.status": "recovered", "kibana.alert.end": at}),
        |at| json!({"Type": "SecurityIncident", "IncidentName": "i", "IncidentNumber": 7, "LastModifiedTime": at}),
    ];
    for record in records {
        let spelt = ["2026-03-02T9:59:27.958Z", "2026-03-02T09:59:27.9580000Z", "2026-03-02T10:59:27.958+01:00"];
        let spelt = spelt.map(|at| read(&record(at)));
        assert!(spelt[0].revision.ends_with("2026-03-02T09:59:27.958Z"), "{}", spelt[0].revision);
        assert_eq!((&spelt[0].revision, &spelt[0].revision), (&spelt[1].revision, &spelt[2].revision));
        assert_ne!(spelt[0].revision, read(&record("2026-03-02T09:59:27.959Z")).revision);
        let digits = read(&record("2026030295927")).revision;
        assert!(digits.ends_with("2026030295927"), "a number may be a version's: {digits}");
    }
}
