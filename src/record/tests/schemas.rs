//! The families of records as they were observed: every odd spelling and type that producers were seen to use, by family.

use super::*;

/// [`reset`] with one outer field.
fn outer(name: &str, value: Value) -> Value {
    with(&format!("/{name}"), value)
}

/// An interactive sign-in.
fn sign_in() -> Value {
    json!({
        "time": "2026-01-22T18:16:42Z", "category": "SignInLogs", "operationName": "Sign-in activity", "resultType": "0",
        "tenantId": "T", "location": "DE", "Level": "4", "callerIpAddress": "192.0.2.7", "identity": "Alice",
        "properties": {
            "id": "s-1", "createdDateTime": "2026-01-22T13:15:02.387-05:00", "userId": "a-1", "userPrincipalName": "alice@example.com",
            "userDisplayName": "Alice", "appDisplayName": "Mail", "ipAddress": "192.0.2.7", "riskLevelDuringSignIn": "hidden",
            "location": {"city": "Potsdam", "countryOrRegion": "DE"}, "deviceDetail": {}, "autonomousSystemNumber": 64500,
            "status": {"errorCode": 0},
        },
    })
}

fn sign_in_with(pointer: &str, value: Value) -> Value {
    let mut record = sign_in();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    record.pointer_mut(parent).unwrap()[key] = value;
    record
}

#[test]
fn audit_fields_that_say_nothing_change_nothing() {
    let plain = read(&reset());
    for (what, record) in [
        ("Level as a number, or as text", outer("Level", json!("4"))),
        ("in words, in lower case too", outer("level", json!("Informational"))),
        ("durationMs as text", outer("durationMs", json!("-1"))),
        ("resultSignature", outer("resultSignature", json!("None"))),
        ("resultType", outer("resultType", json!("Update"))),
        ("operationVersion as a number", outer("operationVersion", json!(1))),
        ("an agent that is null", properties("userAgent", Value::Null)),
        ("fields of 2025, all empty", properties("tenantGeo", json!(""))),
    ] {
        let read = read(&record);
        assert_eq!(
            (&read.result, &read.severity, &read.actor),
            (&plain.result, &plain.severity, &plain.actor),
            "{what}"
        );
        assert_eq!((read.identity(), &read.problems), (plain.identity(), &plain.problems), "{what}");
    }
}

#[test]
fn audit_targets_are_of_the_kinds_that_were_seen() {
    for (word, kind) in [
        ("User", "user"),
        ("ServicePrincipal", "app"),
        ("Application", "app"),
        ("Policy", "policy"),
        ("Directory", "directory"),
        ("Device", "device"),
        ("Group", "group"),
        ("Role", "role"),
        ("Domain", "domain"),
        ("Request", "other"),
        ("Other", "other"),
        ("Contact", "other"),
        ("unknownFutureValue", "other"),
    ] {
        let target = json!([{"type": word, "id": "1"}]);
        assert_eq!(seen(&properties("targetResources", target), "/targets/0/type"), json!(kind), "{word}");
    }
}

#[test]
fn audit_parties_come_in_every_shape() {
    holds([
        (
            "the portal's form",
            properties("initiatedBy", json!({"user": null, "app": {"displayName": "x"}})),
            "/actor/type",
            json!("app"),
        ),
        ("an empty one", properties("initiatedBy", json!({})), "/actor", Value::Null),
        ("roles as a list or text", user(&json!({"id": "h", "roles": "x"})), "/actor/id", json!("h")),
        (
            "Graph's fields besides",
            user(&json!({"@odata.type": "x", "id": "h", "userType": "Guest"})),
            "/actor/id",
            json!("h"),
        ),
        ("a name that is no address", user(&json!({"userPrincipalName": "UserName"})), "/actor/upn", json!("UserName")),
        (
            "a service as a user",
            user(&json!({"displayName": "Microsoft Teams Services"})),
            "/actor/type",
            json!("system"),
        ),
        ("an address with a mask", with("/callerIpAddress", json!("XX.XX.XX.XX")), "/actor/ip", json!("XX.XX.XX.XX")),
        ("a range", with("/callerIpAddress", json!("127.0.0.0/8")), "/actor/ip", json!("127.0.0.0/8")),
        (
            "the user's own, where the caller's is missing",
            {
                let mut record = user(&json!({"id": "h", "ipAddress": "198.51.100.1"}));
                record.as_object_mut().unwrap().remove("callerIpAddress");
                record
            },
            "/actor/ip",
            json!("198.51.100.1"),
        ),
        ("no targets at all", without("/properties/targetResources"), "/targets", json!([])),
    ]);
}

#[test]
fn audit_changes_are_decoded_whatever_is_packed_into_them() {
    let change = |old: Value, new: Value| {
        let target = json!([{"type": "User", "id": "a", "modifiedProperties": [{"displayName": "p", "oldValue": old, "newValue": new}]}]);
        seen(&properties("targetResources", target), "/changes")
    };
    for (old, new, expected) in [
        (json!("[true]"), json!("[false]"), json!({"target": 0, "name": "p", "old": [true], "new": [false]})),
        (json!("\"Guest\""), json!("\"Member\""), json!({"target": 0, "name": "p", "old": "Guest", "new": "Member"})),
        (json!(""), json!("\"\\\"[1]\\\"\""), json!({"target": 0, "name": "p", "old": null, "new": [1]})),
        (
            Value::Null,
            json!("[\"[KeyIdentifier=7]\"]"),
            json!({"target": 0, "name": "p", "old": null, "new": ["[KeyIdentifier=7]"]}),
        ),
        (Value::Null, json!("\"A, B\""), json!({"target": 0, "name": "p", "old": null, "new": "A, B"})),
    ] {
        assert_eq!(change(old, new), json!([expected]));
    }
}

#[test]
fn sign_ins_are_read_in_every_category_and_type() {
    for category in entra::signin::CATEGORIES {
        assert_eq!(read(&sign_in_with("/category", json!(category))).dialect, Dialect::EntraSignIn, "{category}");
    }
    holds([
        ("when it happened, in UTC", sign_in(), "/time", json!("2026-01-22T18:15:02.387Z")),
        ("success is the text 0", sign_in(), "/result", json!("success")),
        ("a number elsewhere", sign_in_with("/properties/status/errorCode", json!(50126)), "/result", json!("failure")),
        ("or its text", sign_in_with("/properties/status", json!({"errorCode": "50126"})), "/result", json!("failure")),
        (
            "a code outside that the status inside does not know of",
            {
                let mut record = sign_in_with("/properties/status", json!({"errorCode": 0}));
                record["resultType"] = json!("50126");
                record
            },
            "/result",
            json!("failure"),
        ),
        (
            "a code inside that the result outside does not know of",
            {
                let mut record = sign_in_with("/properties/status", json!({"errorCode": 50126}));
                record["resultType"] = json!("0");
                record
            },
            "/result",
            json!("failure"),
        ),
        ("an interrupt", sign_in_with("/properties/status/errorCode", json!(50074)), "/result", json!("interrupted")),
        (
            "a word",
            {
                let mut record = sign_in_with("/resultType", json!("Success"));
                record["properties"]["status"] = Value::Null;
                record
            },
            "/result",
            json!("success"),
        ),
        ("the code only where it failed", sign_in(), "/details/errorCode", Value::Null),
        ("the place is an object inside, and the country outside", sign_in(), "/details/city", json!("Potsdam")),
        ("or an empty one", sign_in_with("/properties/location", json!({})), "/details/city", Value::Null),
        ("a number as text", sign_in(), "/details/autonomousSystemNumber", json!("64500")),
        ("who signed in is the target too", sign_in(), "/targets/0/upn", json!("alice@example.com")),
        ("and did it herself", sign_in(), "/by_self", json!(true)),
        (
            "a service principal has no user",
            {
                let mut record = sign_in_with("/properties/userId", Value::Null);
                record["properties"]["userPrincipalName"] = Value::Null;
                record["properties"]["servicePrincipalId"] = json!("sp-1");
                record
            },
            "/actor/type",
            json!("app"),
        ),
        (
            "columns in capitals, without an outer time",
            json!({"Category": "SignInLogs", "CreatedDateTime": "2026-01-22T18:15:02Z", "CorrelationId": "c", "DurationMs": 0}),
            "/time",
            json!("2026-01-22T18:15:02.000Z"),
        ),
        ("every key in lower case", forms::lower(&sign_in()), "/actor/upn", json!("alice@example.com")),
    ]);
}

#[test]
fn risk_is_read_with_its_american_times_and_every_change_of_state() {
    let risky = |updated: &str, state: &str| {
        json!({
            "time": "8/22/2022 6:11:52 PM", "category": "RiskyUsers", "operationName": "Risky user", "correlationId": "a-1", "Level": "Information",
            "properties": {"id": "a-1", "userPrincipalName": "alice@example.com", "riskLastUpdatedDateTime": updated, "riskState": state, "riskLevel": "hidden"},
        })
    };
    let record = risky("2022-08-22T9:59:27.958Z", "atRisk");
    holds([
        ("inner times with one digit", record.clone(), "/time", json!("2022-08-22T09:59:27.958Z")),
        (
            "the outer one else",
            {
                let mut record = record.clone();
                record["properties"]["riskLastUpdatedDateTime"] = Value::Null;
                record
            },
            "/time",
            json!("2022-08-22T18:11:52.000Z"),
        ),
        ("the outer correlation is the user's id", record.clone(), "/correlation_id", Value::Null),
        ("hidden is no severity, and no problem", record.clone(), "/severity", Value::Null),
        ("nor a problem", record.clone(), "/problems", json!([])),
    ]);
    let later = risky("2022-08-23T09:59:27.958Z", "dismissed");
    assert_ne!(read(&record).identity(), read(&later).identity(), "a change of state is news");
    for category in entra::risk::CATEGORIES {
        assert_eq!(
            read(&json!({"category": category, "properties": {"id": "1"}})).dialect,
            Dialect::EntraRisk,
            "{category}"
        );
    }
    let detection = json!({"category": "UserRiskEvents", "properties": {
        "id": "d-1", "riskType": "unlikelyTravel", "userId": "a-1", "location": "{\"city\":\"Potsdam\"}",
        "additionalInfo": "[{\"Key\":\"userAgent\",\"Value\":\"Edge\"},{\"Key\":\"alertUrl\",\"Value\":null},{\"Key\":\"relatedEventTimeInUtc\",\"Value\":[\"x\"]}]",
    }});
    holds([
        ("details as text with JSON inside", detection.clone(), "/details/userAgent", json!("Edge")),
        ("a list among them", detection.clone(), "/details/relatedEventTimeInUtc", json!("[\"x\"]")),
        ("null is none", detection.clone(), "/details/alertUrl", Value::Null),
        ("a place as text", detection.clone(), "/details/city", json!("Potsdam")),
        ("what was detected", detection, "/activity", json!("unlikelyTravel")),
    ]);
}

#[test]
fn defender_alerts_are_read_in_every_spelling() {
    let alert = json!({
        "SystemAlertId": "2517_a", "ProductName": "Microsoft Defender for Cloud", "AlertType": "VM_x", "AlertDisplayName": "Login", "Severity": "High",
        "Status": "New", "StartTimeUtc": "2026-01-22T18:15:02Z", "EndTimeUtc": "2026-01-22T18:16:02Z", "IsIncident": "false",
        "Intent": "InitialAccess, Execution", "AzureResourceId": "/subscriptions/5AB/resourceGroups/rg", "Description": "a <br> <a href=x>b</a>",
        "ExtendedProperties": {"Client principal name": "alice@example.com", "Alert Id": "x"}, "RemediationSteps": ["one", "two"],
    });
    let closed = {
        let mut closed = alert.clone();
        closed["Status"] = json!("Dismissed");
        closed
    };
    holds([
        ("keys with spaces", alert.clone(), "/details/Alert Id", json!("x")),
        ("a principal among them is the target", alert.clone(), "/targets/0/upn", json!("alice@example.com")),
        ("tactics between commas", alert.clone(), "/tactics", json!(["InitialAccess", "Execution"])),
        ("false as text is false", alert.clone(), "/flags", json!([])),
        ("the subscription as written", alert.clone(), "/subscription", json!("5AB")),
        ("text is data", alert.clone(), "/details/description", json!("a <br> <a href=x>b</a>")),
        ("steps as a list", alert.clone(), "/details/remediation", json!("one\ntwo")),
        ("every key in lower case", forms::lower(&alert), "/operation", json!("Login")),
        (
            "a row of Log Analytics",
            json!({"Type": "SecurityAlert", "SystemAlertId": "1", "AlertName": "N", "AlertSeverity": "Low", "TenantId": "workspace", "Entities": "[{\"Type\":\"account\",\"Name\":\"a\",\"UPNSuffix\":\"example.com\"}]"}),
            "/targets/0/upn",
            json!("a@example.com"),
        ),
        (
            "a record of the Activity log, with its severity in either case",
            json!({"category": "Security", "resourceId": "/SUBSCRIPTIONS/A/x", "operationName": "Microsoft.Security/locations/alerts/activate/action", "level": "Informational", "properties": {"severity": "Medium", "intent": "[\"Persistence\"]"}}),
            "/severity",
            json!("medium"),
        ),
        (
            "a sample",
            json!({"SystemAlertId": "1", "AlertDisplayName": "[SAMPLE ALERT] x"}),
            "/flags",
            json!(["sample"]),
        ),
        ("an incident", json!({"SystemAlertId": "1", "IsIncident": true}), "/flags", json!(["incident"])),
    ]);
    assert_ne!(read(&alert).identity(), read(&closed).identity(), "sent again when its status changes");
}

#[test]
fn what_defender_says_of_things_is_told_apart_by_its_type() {
    for (kind, expected) in [
        ("Microsoft.Security/assessments", Dialect::DefenderAssessment),
        ("microsoft.security/ASSESSMENTS/subAssessments", Dialect::DefenderFinding),
        (
            "Microsoft.Security/regulatoryComplianceStandards/regulatoryComplianceControls/regulatoryComplianceAssessments",
            Dialect::DefenderCompliance,
        ),
        ("Microsoft.Security/secureScores", Dialect::Other),
        ("Microsoft.Security/secureScores/secureScoreControls", Dialect::Other),
        ("microsoft.security/attackpaths", Dialect::Other),
    ] {
        for key in ["type", "Type"] {
            let record = read(&json!({key: kind, "id": "1", "properties": {}}));
            assert_eq!(record.dialect, expected, "{kind}");
            assert!(record.problems.iter().all(|problem| problem.code != ProblemCode::DialectUnknown), "{kind}");
        }
    }
}

#[test]
fn a_weekly_snapshot_is_no_news_and_a_change_is() {
    let assessment = |code: &str, since: &str, snapshot: bool| {
        json!({
            "type": "Microsoft.Security/assessments", "id": "/subscriptions/5ab/x/providers/Microsoft.Security/assessments/1", "name": "1",
            "SecurityEventDataEnrichment": {"action": if snapshot { "Insert" } else { "Write" }, "isSnapshot": snapshot},
            "properties": {"displayName": "HTTPS only", "status": {"code": code, "statusChangeDate": since}},
        })
    };
    let (bad, good, again) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z");
    let news = read(&assessment("Unhealthy", bad, false));
    let weekly = read(&assessment("Unhealthy", bad, true));
    assert_eq!((weekly.flags.as_slice(), weekly.identity()), (&[Flag::Snapshot][..], news.identity()));
    let mended = read(&assessment("Healthy", good, false));
    let back = read(&assessment("Unhealthy", again, false));
    assert_ne!(news.identity(), mended.identity());
    assert_ne!(news.identity(), back.identity(), "unhealthy for the second time has another revision");
    let control = |state: &str| {
        json!({
            "type": "Microsoft.Security/regulatoryComplianceStandards/regulatoryComplianceControls/regulatoryComplianceAssessments",
            "id": "/subscriptions/5ab/providers/Microsoft.Security/regulatoryComplianceStandards/PCI-DSS-4/regulatoryComplianceControls/1.1/regulatoryComplianceAssessments/c",
            "name": "c", "properties": {"description": "Firewalls", "state": state},
        })
    };
    holds([
        ("the standard is named by the id alone", control("Failed"), "/details/standard", json!("PCI-DSS-4")),
        ("and the control", control("Failed"), "/details/control", json!("1.1")),
        (
            "a finding in capitals throughout",
            json!({"Type": "Microsoft.Security/assessments/subAssessments", "Id": "f", "Properties": {"$type": "x", "DisplayName": "D", "Status": {"Code": "Unhealthy", "Severity": "High"}}}),
            "/severity",
            json!("high"),
        ),
        (
            "a list of people without addresses",
            json!({"type": "Microsoft.Security/assessments", "id": "i", "properties": {"additionalData": {"usersWithNoMfaObjectIdList": "[\"u-1\",\"u-2\"]"}}}),
            "/targets/1/id",
            json!("u-2"),
        ),
        (
            "a link without a scheme",
            json!({"type": "Microsoft.Security/assessments", "id": "i", "properties": {"links": {"azurePortal": "portal.azure.com/#x"}}}),
            "/details/link",
            json!("https://portal.azure.com/#x"),
        ),
    ]);
    assert_ne!(read(&control("Passed")).identity(), read(&control("Failed")).identity());
}

#[test]
fn graphs_objects_belong_to_the_dialect_whose_fields_they_have() {
    for (what, record, expected) in [
        ("directoryAudit", reset()["properties"].clone(), "entra.audit"),
        (
            "signIn",
            json!({"id": "s", "createdDateTime": "2026-01-22T18:15:02Z", "conditionalAccessStatus": "success", "status": {"errorCode": 0}}),
            "entra.signin",
        ),
        (
            "riskyUser",
            json!({"id": "u", "riskLastUpdatedDateTime": "2026-01-22T18:15:02Z", "riskState": "atRisk"}),
            "entra.risk",
        ),
        (
            "riskDetection",
            json!({"id": "d", "detectionTimingType": "realtime", "riskEventType": "passwordSpray"}),
            "entra.risk",
        ),
        (
            "alert",
            json!({"id": "a", "vendorInformation": {"provider": "x"}, "title": "t", "userStates": [{"userPrincipalName": "a@example.com"}]}),
            "defender.alert",
        ),
        (
            "alert, second version",
            json!({"id": "a", "providerAlertId": "p", "title": "t", "severity": "high"}),
            "defender.alert",
        ),
        (
            "incident",
            json!({"id": "i", "incidentWebUrl": "https://x", "displayName": "d", "alerts": []}),
            "defender.alert",
        ),
    ] {
        let read = read(&record);
        assert_eq!(read.dialect.as_str(), expected, "{what}");
        assert!(agrees(&glance(&record.to_string()), &read), "{what}");
    }
}
