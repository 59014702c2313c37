//! Whom and what an alert concerns, however its entities are written.

use super::*;

/// An alert with these entities.
fn alert(entities: &Value) -> Value {
    json!({"SystemAlertId": "1", "AlertType": "x", "Entities": entities})
}

/// Each target in a word: what it is, and the first of its names.
fn concerned(record: &Value) -> Vec<String> {
    let word = |target: &Target| {
        let name = target.upn.as_deref().or(target.id.as_deref()).or(target.name.as_deref()).unwrap_or("-");
        format!("{} {name}", target.kind.as_str())
    };
    read(record).targets.iter().map(word).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn who_stands_inside_of_another_entity_is_concerned_too() {
    let bob = json!({"$id": "5", "Type": "account", "Name": "bob", "UPNSuffix": "example.com"});
    let machine = json!({"$id": "9", "Type": "host", "HostName": "vm9"});
    let process = |more: Value| json!({"$id": "4", "Type": "process", "CommandLine": "x", "Account": bob, "Host": machine, "more": more});
    let listed = json!([process(Value::Null), {"$ref": "5"}, {"$ref": "9"}]);
    for (what, entities, expected) in [
        ("whole inside, then by number", listed.clone(), &["process x", "user bob@example.com", "host vm9"][..]),
        ("the same as text", json!(listed.to_string()), &["process x", "user bob@example.com", "host vm9"]),
        (
            "in the order of the list",
            json!([process(Value::Null), {"$ref": "9"}, {"$ref": "5"}]),
            &["process x", "host vm9", "user bob@example.com"],
        ),
        (
            "only inside: after everything that is listed",
            json!([process(Value::Null), {"Type": "ip", "Address": "192.0.2.7"}]),
            &["process x", "ip 192.0.2.7", "user bob@example.com", "host vm9"],
        ),
        (
            "deep inside",
            json!([{"Type": "file", "Name": "f", "Streams": [{"LogonSession": {"Account": bob}}]}]),
            &["file f", "user bob@example.com"],
        ),
        (
            "who ran the parent alone is not",
            json!([{"Type": "process", "CommandLine": "x", "ParentProcess": {"Type": "process", "Account": bob, "Inner": {"Host": machine}}}]),
            &["process x"],
        ),
        (
            "an account that is known better by what is listed, and one of another domain",
            json!([
                {"Type": "account", "Name": "asmith", "UPNSuffix": "example.com", "NTDomain": "Example"},
                {"Type": "process", "CommandLine": "x", "Account": {"Name": "asmith", "NTDomain": "EXAMPLE"}},
                {"Type": "process", "CommandLine": "y", "Account": {"Name": "asmith", "NTDomain": "EU"}},
            ]),
            &["user asmith@example.com", "process x", "process y", "user EU\\asmith"],
        ),
        (
            "who ran both is, though it stands whole in the parent",
            json!([{"Type": "process", "CommandLine": "x", "ParentProcess": {"Type": "process", "Account": bob, "Host": machine}, "Account": {"$ref": "5"}}]),
            &["process x", "user bob@example.com"],
        ),
        (
            "a number in the place of an account that means something else by now",
            json!([{"Type": "process", "CommandLine": "x", "ParentProcess": {"Account": bob, "File": {"$id": "5", "Type": "file", "Name": "f"}}, "Account": {"$ref": "5"}}]),
            &["process x"],
        ),
        (
            "without a type, where the place says it",
            json!([{"Type": "file", "Name": "f", "Host": {"HostName": "vm9"}}]),
            &["file f", "host vm9"],
        ),
        (
            "a number before the entity that it means",
            json!([{"Type": "process", "CommandLine": "x", "Account": {"$ref": "5"}}, bob]),
            &["process x", "user bob@example.com"],
        ),
        (
            "a file inside is one if the list names it",
            json!([process(json!({"$id": "7", "Type": "file", "Name": "a.exe"})), {"$ref": "7"}]),
            &["process x", "file a.exe", "user bob@example.com", "host vm9"],
        ),
        (
            "and none if not",
            json!([{"Type": "process", "CommandLine": "x", "ImageFile": {"$id": "7", "Type": "file", "Name": "a.exe"}}]),
            &["process x"],
        ),
        (
            "of one number for several entities the last counts",
            json!([{"$id": "5", "Type": "ip", "Address": "192.0.2.7"}, process(Value::Null), {"$ref": "5"}]),
            &["ip 192.0.2.7", "process x", "user bob@example.com", "host vm9"],
        ),
        ("a number that means nothing", json!([{"$ref": "77"}]), &[]),
        (
            "a message is a mailbox's",
            json!([{"Type": "mailMessage", "Recipient": "carol@example.com", "Sender": "x@example.net"}]),
            &["mailbox carol@example.com"],
        ),
        (
            "a machine that is listed with more than is inside",
            json!([{"Type": "host", "HostName": "VM9", "AzureID": "/x"}, process(Value::Null)]),
            &["host /x", "process x", "user bob@example.com"],
        ),
        (
            "a service inside is nobody",
            json!([{"Type": "process", "CommandLine": "x", "Account": {"Name": "SYSTEM", "NTDomain": "NT AUTHORITY", "Sid": "S-1-5-18"}}]),
            &["process x"],
        ),
    ] {
        assert_eq!(concerned(&alert(&entities)), expected, "{what}");
    }
}

#[test]
fn an_account_of_a_domain_is_known_by_what_the_people_file_may_have() {
    let account = |more: &Value| {
        let mut account = json!({"Type": "account", "Name": "alice"});
        account.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let record = read(&alert(&json!([account])));
        let said = record.problems.iter().filter(|problem| problem.code == ProblemCode::TargetWithoutIdentity);
        (record.targets[0].id.clone().unwrap_or_default(), said.count())
    };
    for (what, more, expected) in [
        ("the SID", json!({"NTDomain": "EXAMPLE", "Sid": "S-1-5-21-7"}), ("S-1-5-21-7", 0)),
        ("else domain and name", json!({"NTDomain": "EXAMPLE", "Sid": ""}), ("EXAMPLE\\alice", 0)),
        ("neither beside a principal name", json!({"NTDomain": "EXAMPLE", "UPNSuffix": "example.com"}), ("", 0)),
        ("a service's SID is nobody's", json!({"NTDomain": "NT SERVICE", "Sid": "S-1-5-80-7"}), ("", 1)),
        (
            "nor is the machine's own account anybody's",
            json!({"NTDomain": "VM1", "Host": {"HostName": "vm1"}}),
            ("", 1),
        ),
        ("a name alone is no identity", json!({}), ("", 1)),
    ] {
        assert_eq!(account(&more), (expected.0.to_owned(), expected.1), "{what}");
    }
}

#[test]
fn an_account_in_the_details_is_a_target_however_it_is_called() {
    let activity = |details: Value| json!({"category": "Security", "operationName": "Microsoft.Security/locations/alerts/activate/action", "resourceId": "/SUBSCRIPTIONS/A", "properties": details});
    for (what, details, expected) in [
        ("as it stands in alerts", json!({"User name": "bob@example.com"}), &["user bob@example.com"][..]),
        ("and in the Activity log", json!({"userName": "bob@example.com"}), &["user bob@example.com"]),
        ("in any case", json!({"username": "bob@example.com"}), &["user bob@example.com"]),
        (
            "several",
            json!({"userName": "bob@example.com", "compromisedEntity": "eve@example.com"}),
            &["user eve@example.com", "user bob@example.com"],
        ),
        ("of a domain", json!({"userName": "EXAMPLE\\bob"}), &["user EXAMPLE\\bob"]),
        (
            "with the SID of that account",
            json!({"userName": "EXAMPLE\\bob", "UserSID": "S-1-5-21-7"}),
            &["user S-1-5-21-7"],
        ),
        (
            "which is the same as the principal name's",
            json!({"userName": "bob@example.com", "UserSID": "S-1-5-21-7"}),
            &["user bob@example.com"],
        ),
        ("no service", json!({"userName": "NT AUTHORITY\\SYSTEM", "UserSID": "S-1-5-18"}), &[]),
        ("nobody of the machine alone", json!({"userName": "VM1\\root", "compromisedEntity": "vm1.example.com"}), &[]),
        ("no machine", json!({"userName": "EXAMPLE\\VM1$"}), &[]),
        ("no path", json!({"userName": "C:\\Users\\bob"}), &[]),
        ("no word", json!({"userName": "masterclient"}), &[]),
    ] {
        assert_eq!(concerned(&activity(details)), expected, "{what}");
    }
}

#[test]
fn evidence_of_graph_names_mailboxes_and_who_was_logged_on() {
    let graph = |evidence: Value| json!({"providerAlertId": "1", "id": "1", "evidence": [evidence]});
    for (what, evidence, expected) in [
        ("a message", json!({"recipientEmailAddress": "carol@example.com"}), &["mailbox carol@example.com"][..]),
        (
            "a machine",
            json!({"deviceDnsName": "ws1", "loggedOnUsers": [{"accountName": "dave", "domainName": "EXAMPLE"}, {"accountName": "system"}]}),
            &["host ws1", "user EXAMPLE\\dave"],
        ),
        (
            "an account of a domain",
            json!({"userAccount": {"accountName": "dave", "domainName": "EXAMPLE", "userSid": "S-1-5-21-7"}}),
            &["user S-1-5-21-7"],
        ),
        (
            "a service",
            json!({"userAccount": {"accountName": "SYSTEM", "domainName": "NT AUTHORITY", "userSid": "S-1-5-18"}}),
            &["user SYSTEM"],
        ),
    ] {
        assert_eq!(concerned(&graph(evidence)), expected, "{what}");
    }
    let machine = json!({"deviceDnsName": "ws1", "loggedOnUsers": [{"accountName": "Dave", "domainName": "AzureAD"}, {"accountName": "eve", "domainName": "EXAMPLE"}]});
    for (what, known, is_one) in [
        ("somebody who is called so", json!({"displayName": "eve", "userPrincipalName": "dave@example.com"}), false),
        ("the same account", json!({"accountName": "EVE", "domainName": "example", "azureAdUserId": "7"}), true),
        (
            "of another domain",
            json!({"accountName": "eve", "domainName": "EU", "userPrincipalName": "eve@eu.example"}),
            false,
        ),
    ] {
        let record = json!({"providerAlertId": "1", "evidence": [machine, {"userAccount": known}]});
        let there = concerned(&record).contains(&"user EXAMPLE\\eve".to_owned());
        assert_eq!(there, !is_one, "{what}: {:?}", concerned(&record));
    }
    for known in [
        json!({"accountName": "dave", "userSid": "S-1-12-1-7"}),
        json!({"displayName": "Dave Okafor", "userPrincipalName": "dave@example.com"}),
    ] {
        let record = json!({"providerAlertId": "1", "evidence": [machine, {"userAccount": known}]});
        let seen = concerned(&record);
        assert_eq!(seen[..2], ["host ws1", "user EXAMPLE\\eve"], "one account is one person: {known}");
        assert_eq!(seen.len(), 3, "{seen:?}");
    }
}

#[test]
fn an_object_of_graph_is_known_by_its_type_where_other_fields_were_left_out() {
    for (kind, flags) in [("alert", json!([])), ("incident", json!(["incident"]))] {
        let record = json!({"@odata.type": format!("#microsoft.graph.security.{kind}"), "id": "1", "title": "T", "severity": "high"});
        holds([
            (kind, record.clone(), "/dialect", json!("defender.alert")),
            (kind, record.clone(), "/id", json!("1")),
            (kind, record, "/flags", flags),
        ]);
    }
    let other = json!({"@odata.type": "#microsoft.graph.security.alertEvidence", "id": "1"});
    assert_eq!(read(&other).dialect, Dialect::Other);
}

/// The record of the Activity log that says what became of an alert.
fn streamed(act: &str, state: &str, time: &str) -> Value {
    json!({
        "time": time, "category": "Security", "operationName": format!("Microsoft.Security/locations/alerts/{act}/action"), "resultType": state,
        "resourceId": "/SUBSCRIPTIONS/5AB/PROVIDERS/MICROSOFT.SECURITY/LOCATIONS/X/ALERTS/2518_E7313E05", "properties": {"eventName": "T"},
    })
}

#[test]
fn an_alert_in_the_activity_log_is_the_alert_and_not_the_event() {
    let (raised, closed) = (
        streamed("activate", "Active", "2026-01-22T18:15:02Z"),
        streamed("resolve", "Resolved", "2026-01-22T19:15:02Z"),
    );
    let mut rest = raised.clone();
    rest["resourceId"] = json!("/subscriptions/5ab/providers/Microsoft.Security/locations/x/alerts/2518_e7313e05");
    rest["eventDataId"] = json!("of the event");
    let exported = json!({"SystemAlertId": "2518_e7313e05"});
    for record in [&raised, &closed, &rest, &exported] {
        assert_eq!(read(record).id, "2518_e7313e05", "{record}");
        assert_eq!(read(record).problems.iter().find(|problem| problem.code == ProblemCode::IdMissing), None);
        assert_eq!(read(record).identity_apart(), read(&raised).identity_apart(), "told once: {record}");
    }
    assert_ne!(read(&closed).identity(), read(&raised).identity(), "that it was closed is another revision");
}
