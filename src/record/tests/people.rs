//! Whom a record means, where its producer says it in a way that names nobody, somebody else, or one person twice.

use super::*;

const EMPTY: &str = "00000000-0000-0000-0000-000000000000";

/// The targets' kinds, ids and principal names.
fn targets(record: &Value) -> Vec<String> {
    let word = |target: &Target| {
        let or = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".into());
        format!("{} {} {}", target.kind.as_str(), or(&target.id), or(&target.upn))
    };
    read(record).targets.iter().map(word).collect()
}

/// The actor in the same words.
fn actor(record: &Value) -> Option<String> {
    let Actor { kind, id, upn, .. } = read(record).actor?;
    Some(format!("{} {} {}", kind.as_str(), id.unwrap_or_else(|| "-".into()), upn.unwrap_or_else(|| "-".into())))
}

#[test]
fn an_empty_id_is_nobodys() {
    let users = ["alice", "bob"]
        .map(|name| json!({"id": EMPTY, "type": "User", "userPrincipalName": format!("{name}@example.com")}));
    let both = properties("targetResources", json!(users));
    assert_eq!(targets(&both), ["user - alice@example.com", "user - bob@example.com"], "two people are not one");
    let apart = [("id", EMPTY), ("correlationId", EMPTY)].map(|(name, value)| read(&properties(name, json!(value))));
    assert!(apart[0].id.starts_with("sha256:"), "{}: one id for every record of a service", apart[0].id);
    assert_eq!(apart[1].correlation_id.as_deref(), Some("outer"), "acts that share nothing are not one act");
}

#[test]
fn whoever_was_deleted_is_not_whoever_has_the_principal_name_now() {
    let id = "0C6D8CDF-1a2b-4e5f-8a9b-0c1d2e3f4a5b";
    let digits = id.replace('-', "").to_lowercase();
    let named = |id: Value, upn: &str| {
        let user = json!([{"id": id, "type": "User", "userPrincipalName": upn}]);
        let target = read(&properties("targetResources", user)).targets[0].clone();
        (target.upn, target.name)
    };
    let deleted = named(json!(id), &format!("{digits}alice@example.com"));
    assert_eq!(deleted, (None, Some("alice@example.com".into())));
    for (what, id, upn) in [
        ("another's digits", json!(EMPTY.replace('0', "1")), format!("{digits}alice@example.com")),
        ("nobody's", Value::Null, format!("{digits}alice@example.com")),
        ("nothing behind them", json!(id), digits.clone()),
        ("an id that is none of the directory's", json!("a"), "alice@example.com".to_owned()),
        ("letters that are no ASCII", json!(id), "äääääääääääääääää@example.com".to_owned()),
    ] {
        assert_eq!(named(id, &upn), (Some(upn), None), "{what}");
    }
    let risky = json!({"category": "RiskyUsers", "properties": {"id": id, "userPrincipalName": format!("{digits}alice@example.com")}});
    assert_eq!(targets(&risky), [format!("user {id} -")]);
}

#[test]
fn a_user_of_nothing_does_not_hide_the_application() {
    let empty = json!({"id": null, "displayName": null, "userPrincipalName": "", "ipAddress": "<null>", "roles": []});
    let app = json!({"displayName": "Provisioning", "servicePrincipalId": "s-1"});
    let both = properties("initiatedBy", json!({"user": empty, "app": app}));
    assert_eq!(actor(&both).as_deref(), Some("app s-1 -"));
    let alone = properties("initiatedBy", json!({"user": {"roles": [], "ipAddress": "192.0.2.1"}}));
    assert_eq!(actor(&alone).as_deref(), Some("system - -"));
}

#[test]
fn a_name_that_is_not_told_is_no_name_and_its_owner_no_application() {
    let sign_in = |category: &str, properties: Value| json!({"category": category, "operationName": "Sign-in activity", "resultType": "50034", "identity": "{PII Removed}", "properties": properties});
    let unknown = json!({"id": "s", "userId": EMPTY, "userPrincipalName": "{PII Removed}", "userDisplayName": "{PII Removed}", "appId": "a", "appDisplayName": "Portal", "ipAddress": "192.0.2.1"});
    for category in ["SignInLogs", "NonInteractiveUserSignInLogs", "ADFSSignInLogs"] {
        let record = sign_in(category, unknown.clone());
        assert_eq!(actor(&record).as_deref(), Some("user - -"), "{category}");
        assert_eq!(seen(&record, "/actor/ip"), "192.0.2.1", "{category}");
        assert!(targets(&record).is_empty(), "nobody is there to be told");
    }
    let app = json!({"id": "s", "userId": "", "userPrincipalName": "", "servicePrincipalId": "p", "appId": "a"});
    assert_eq!(actor(&sign_in("ServicePrincipalSignInLogs", app)).as_deref(), Some("app p -"));
    let console = json!({
        "eventVersion": "1.08", "eventTime": "2026-01-22T18:15:02Z", "eventSource": "signin.amazonaws.com", "eventName": "ConsoleLogin", "eventID": "e",
        "userIdentity": {"type": "IAMUser", "accountId": "1", "userName": "HIDDEN_DUE_TO_SECURITY_REASONS"}, "responseElements": {"ConsoleLogin": "Failure"},
    });
    assert_eq!((actor(&console).as_deref(), targets(&console).len()), (Some("user - -"), 0));
}

#[test]
fn what_somebody_does_with_the_own_account_of_aws_concerns_them() {
    let event = |name: &str, response: Value| {
        json!({
            "eventVersion": "1.08", "eventTime": "2026-01-22T18:15:02Z", "eventSource": "iam.amazonaws.com", "eventName": name, "eventID": "e",
            "userIdentity": {"type": "IAMUser", "accountId": "1", "userName": "alice"}, "requestParameters": null, "responseElements": response,
        })
    };
    let key = json!({"accessKey": {"userName": "alice", "accessKeyId": "AKIA"}});
    for (name, response) in [("CreateAccessKey", key), ("ChangePassword", Value::Null)] {
        let record = event(name, response);
        assert_eq!((targets(&record), read(&record).by_self), (vec!["user alice -".to_owned()], Some(true)), "{name}");
    }
    assert!(targets(&event("ListUsers", Value::Null)).is_empty());
}

#[test]
fn by_a_role_that_a_group_has_nobody_is_known() {
    let with = |kind: &str| {
        json!({
            "category": "Administrative", "operationName": "MICROSOFT.WEB/SITES/WRITE", "resourceId": "/SUBSCRIPTIONS/A/RESOURCEGROUPS/B",
            "identity": {"authorization": {"evidence": {"role": "Owner", "principalId": "68f6ba4a9f4f40ef91e0ee64ff4b2c8d", "principalType": kind}}},
        })
    };
    assert_eq!(actor(&with("Group")), None);
    let id = "68f6ba4a-9f4f-40ef-91e0-ee64ff4b2c8d";
    assert_eq!(actor(&with("User")), Some(format!("user {id} -")));
    assert_eq!(actor(&with("ServicePrincipal")), Some(format!("app {id} -")));
}

#[test]
fn a_principal_name_with_its_suffix_beside_it_is_not_joined_again() {
    for (what, account, expected) in [
        ("whole", json!({"Name": "alice@example.com", "UPNSuffix": "example.com"}), "alice@example.com"),
        ("in two parts", json!({"Name": "alice", "UPNSuffix": "example.com"}), "alice@example.com"),
        (
            "and a third time",
            json!({"Name": "a@b.example", "UserPrincipalName": "alice@example.com"}),
            "alice@example.com",
        ),
    ] {
        let mut account = account;
        account["Type"] = json!("account");
        let alert = json!({"SystemAlertId": "a", "AlertType": "t", "Entities": [account]});
        assert_eq!(targets(&alert), [format!("user - {expected}")], "{what}");
    }
}

#[test]
fn somebodys_account_in_an_application_is_no_other_person() {
    let account = json!({"id": "0ua7", "type": "AppUser", "alternateId": "alice@example.com"});
    let app = json!({"id": "0oa", "type": "AppInstance", "alternateId": "Wiki"});
    let event = |target: Value| {
        json!({
            "uuid": "o", "published": "2026-01-22T18:15:02Z", "eventType": "x", "outcome": {"result": "SUCCESS"}, "target": target,
            "actor": {"id": "00u7", "type": "User", "alternateId": "alice@example.com"},
        })
    };
    assert_eq!(targets(&event(json!([account, app]))), ["user - alice@example.com", "app 0oa -"]);
    assert_eq!(read(&event(json!([account, app]))).by_self, Some(true));
}

#[test]
fn words_in_the_place_of_an_id_are_nobodys() {
    let unknown =
        json!({"id": "unknown", "type": "User", "alternateId": "typed@example.com", "displayName": "unknown"});
    let event = json!({
        "uuid": "o", "published": "2026-01-22T18:15:02Z", "eventType": "user.session.start", "outcome": {"result": "FAILURE"},
        "actor": unknown, "target": [unknown],
    });
    assert_eq!(actor(&event).as_deref(), Some("user - typed@example.com"));
    assert_eq!(targets(&event), ["user - typed@example.com"], "two who are unknown are not one");
    let evidence = |sid: &str| json!({"category": "AdvancedHunting-AlertEvidence", "properties": {"AccountName": "x", "AccountSid": sid, "AlertId": "a"}});
    assert_eq!(targets(&evidence("S-1-5-18")), ["user - -"], "a service");
    assert_eq!(targets(&evidence("S-1-5-21-1-2-3-4")), ["user S-1-5-21-1-2-3-4 -"]);
    for (user, expected) in [
        ("app@sharepoint", "app - -"),
        ("webapp@sharepoint.example.com", "user - webapp@sharepoint.example.com"),
        ("app@sharepoint.example.com", "user - app@sharepoint.example.com"),
        ("i:0i.t|00000003-0000-0ff1-ce00-000000000000|app@sharepoint", "app - -"),
        ("urn:spo:guest#dana@partner.example", "user - dana@partner.example"),
        ("urn:spo:anon#7a6b", "user - -"),
        ("dana_partner.example#ext#@example.com", "user - dana_partner.example#ext#@example.com"),
    ] {
        let record = json!({"Id": "o", "CreationTime": "2026-01-22T18:15:02", "Operation": "FileAccessed", "RecordType": 6, "Workload": "SharePoint", "UserType": 0, "UserId": user});
        assert_eq!(actor(&record).as_deref(), Some(expected), "{user}");
    }
}

#[test]
fn whose_account_it_was_done_to_is_concerned_by_an_alert_of_elastic() {
    for (what, alert) in [
        (
            "names with dots",
            json!({"kibana.alert.uuid": "e", "user.name": "admin@example.com", "user.target.name": "alice", "user.target.email": "alice@example.com"}),
        ),
        (
            "objects",
            json!({"kibana.alert.uuid": "e", "user": {"name": "admin@example.com", "target": {"name": "alice", "email": "alice@example.com"}}}),
        ),
    ] {
        assert_eq!(targets(&alert), ["user - admin@example.com", "user - alice@example.com"], "{what}");
    }
}

#[test]
fn a_list_of_one_may_have_lost_its_brackets() {
    let target = json!({
        "id": "a-1", "type": "User", "userPrincipalName": "alice@example.com",
        "modifiedProperties": {"displayName": "AccountEnabled", "oldValue": "[true]", "newValue": "[false]"},
    });
    let record = properties("targetResources", target);
    assert_eq!(targets(&record), ["user a-1 alice@example.com"]);
    assert_eq!(seen(&record, "/changes/0/new"), json!([false]));
    let details = properties("additionalDetails", json!({"key": "Reason", "value": "left"}));
    assert_eq!(seen(&details, "/details/Reason"), "left");
}

#[test]
fn an_alert_of_defender_for_endpoints_interface_names_its_people_and_its_machine() {
    let mut alert = json!({
        "id": "da1_2", "severity": "Medium", "status": "New", "detectorId": "d-1", "detectionSource": "WindowsDefenderAtp", "title": "Suspicious file",
        "category": "Execution", "alertCreationTime": "2026-01-22T18:17:00Z", "firstEventTime": "2026-01-22T18:15:02.9562661Z",
        "lastUpdateTime": "2026-01-22T18:18:00Z", "computerDnsName": "laptop7.example.com", "aadTenantId": "T", "mitreTechniques": ["T1064"],
        "relatedUser": {"userName": "erin", "domainName": "EXAMPLE"}, "loggedOnUsers": [{"accountName": "dave", "domainName": "EXAMPLE"}],
        "evidence": [
            {"entityType": "User", "accountName": "alice", "domainName": "EXAMPLE", "userSid": "S-1-5-21-1-2-3-4", "aadUserId": "a-1", "userPrincipalName": "alice@example.com"},
            {"entityType": "User", "accountName": "bob", "domainName": "EXAMPLE", "userSid": "S-1-5-21-1-2-3-5"},
            {"entityType": "Process", "processCommandLine": "x.exe", "accountName": "SYSTEM", "domainName": "NT AUTHORITY"},
            {"entityType": "File", "fileName": "x.dll"},
        ],
    });
    let people = [
        "user a-1 alice@example.com",
        "user S-1-5-21-1-2-3-5 -",
        "process - -",
        "file - -",
        "host - -",
        "user EXAMPLE\\dave -",
        "user EXAMPLE\\erin -",
    ];
    assert_eq!(targets(&alert), people);
    holds([
        ("its title", alert.clone(), "/operation", json!("Suspicious file")),
        ("what found it", alert.clone(), "/activity", json!("d-1")),
        ("when it happened", alert.clone(), "/time", json!("2026-01-22T18:15:02.956Z")),
        ("how it stands", alert.clone(), "/revision", json!("New 2026-01-22T18:18:00.000Z")),
        ("who says so", alert.clone(), "/service", json!("WindowsDefenderAtp")),
        ("what it is of", alert.clone(), "/tactics", json!(["Execution"])),
        ("the directory's tenant", alert.clone(), "/tenant", json!("t")),
    ]);
    let before = read(&alert);
    alert["lastUpdateTime"] = json!("2026-01-22T19:00:00Z");
    assert_eq!(read(&alert).identity_apart(), before.identity_apart());
    assert_ne!(read(&alert).identity(), before.identity(), "somebody worked on it");
}
