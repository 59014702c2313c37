//! One record of each dialect from the topic to the mailbox: those of our own, those of the shipped mapping tables, one of a
//! table in the configuration, and bare objects of Graph and of Resource Manager, which belong to the dialects of our own.

use auditbell::record::{Dialect, Dialects};

use crate::harness::{Bench, fixture, recipients, text};

/// Dialect, fixture, what the rule's `when` says, whom it tells, who is told.
const CASES: &[(&str, &str, &str, &str, &str)] = &[
    ("entra.risk", "risk.json", "operation = \"passwordSpray\"", "target", "bob@example.com"),
    ("entra.signin", "signin-people.json", "result = \"failure\"", "target", "alice@example.com"),
    (
        "azure.activity",
        "activity-log.json",
        "operation = \"Microsoft.Authorization/roleAssignments/write\"",
        "actor",
        "alice@example.com",
    ),
    ("defender.alert", "defender-export.ndjson", "state = \"New\"", "alert@example.com", "alert@example.com"),
    ("defender.assessment", "defender-export.ndjson", "state = \"Unhealthy\"", "web@example.com", "web@example.com"),
    ("defender.finding", "defender-export.ndjson", "state = \"Unhealthy\"", "vm@example.com", "vm@example.com"),
    ("defender.compliance", "defender-export.ndjson", "state = \"Failed\"", "grc@example.com", "grc@example.com"),
    ("elastic.alert", "elastic.ndjson", "operation = \"Credential Dumping\"", "target", "alice@example.com"),
    ("sentinel.incident", "sentinel-incident.ndjson", "state = \"Active\"", "target", "dana@example.com"),
    (
        "defender.xdr",
        "defender-xdr.json",
        "operation = \"AlertEvidence\", \"target.type\" = \"user\"",
        "target",
        "alice@example.com",
    ),
    ("intune.audit", "intune-audit.ndjson", "operation = \"Wipe ManagedDevice\"", "target", "alice@example.com"),
    ("o365.audit", "o365-audit.ndjson", "operation = \"Add member to role.\"", "target", "bob@example.com"),
    ("okta.system", "okta-system.ndjson", "operation = \"user.mfa.factor.deactivate\"", "target", "alice@example.com"),
    ("github.audit", "github-audit.ndjson", "operation = \"repo.access\"", "actor", "admin@example.com"),
    (
        "aws.cloudtrail",
        "aws-cloudtrail.json",
        "operation = \"AttachUserPolicy\", result = \"failure\"",
        "actor",
        "bob@example.com",
    ),
    ("other", "activity-log.json", "\"raw.category\" = \"StorageRead\"", "storage@example.com", "storage@example.com"),
    ("acme.doors", "", "operation = \"forced\"", "target", "carol@example.com"),
];

/// Objects that name no dialect, as [`CASES`].
const BARE: &[(&str, &str, &str, &str, &str)] = &[
    (
        "defender.alert",
        "graph-security.ndjson",
        "operation = \"Suspicious command line\"",
        "target",
        "alice@example.com",
    ),
    ("defender.alert", "graph-security.ndjson", "flags = \"incident\"", "field:details.assignedTo", "gil@example.com"),
    ("entra.signin", "graph-security.ndjson", "result = \"failure\"", "target", "alice@example.com"),
    ("entra.risk", "graph-identity.ndjson", "operation = \"leakedCredentials\"", "target", "alice@example.com"),
    ("entra.audit", "graph-identity.ndjson", "operation = \"Reset user password\"", "target", "bob@example.com"),
    ("defender.alert", "defender-resources.ndjson", "operation = \"VM_EICAR\"", "target", "alice@example.com"),
    (
        "defender.alert",
        "defender-resources.ndjson",
        "resource = { ends_with = \"/databases/db1\" }, subscription = \"5AB5C81B-0000-4000-8000-00000000000A\"",
        "dba@example.com",
        "dba@example.com",
    ),
    ("defender.assessment", "defender-resources.ndjson", "state = \"Unhealthy\"", "vm@example.com", "vm@example.com"),
    ("defender.finding", "defender-resources.ndjson", "severity = \"high\"", "vm@example.com", "vm@example.com"),
];

/// Alerts that name people in more than one way, as [`CASES`]; who is told stands in the test.
const PEOPLE: &[(&str, &str, &str, &str, &str)] = &[
    ("defender.alert", "defender-people.ndjson", "operation = \"Encoded command line\"", "target", ""),
    ("defender.alert", "defender-people.ndjson", "operation = \"Brute force against RDP\"", "target", ""),
    ("elastic.alert", "elastic-people.ndjson", "operation = \"One address, many accounts\"", "target", ""),
];

const DOORS: &str = r#"
[dialect.acme.doors]
detect = { badge = true, "event.kind" = true }
id = "event.id"
time = "event.at"
operation = "event.kind"
targets = { type = "user", upn = "holder.mail", name = "holder.name" }
actor = { type = "system", name = "door" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_every_dialect_is_told_from_the_topic_to_the_mailbox() {
    let mut bench = begun(CASES, DOORS).await;
    let now = auditbell::clock::Clock::system().now();
    let door = serde_json::json!({
        "badge": 7, "event": {"id": "e-1", "at": now.to_string(), "kind": "forced"}, "door": "Back gate",
        "holder": {"mail": "carol@example.com", "name": "Carol of the doors"},
    });
    bench.publish(door.to_string()).await;
    let mails = bench.relay.wait_for(CASES.len()).await;
    let mut expected: Vec<_> = CASES.iter().map(|(_, _, _, _, told)| (*told).to_owned()).collect();
    expected.sort();
    assert_eq!(recipients(&mails), expected, "{}", bench.log());
    for (dialect, ..) in CASES {
        let label = format!("dialect=\"{dialect}\"");
        assert!(bench.metric("auditbell_records_total", &[&label]) > 0, "{dialect}");
    }
    // What stands in the mail was read by the table of the configuration again.
    let carol = mails.iter().find(|mail| mail.to == ["carol@example.com"]).unwrap();
    assert!(text(carol).contains("forced"), "{}", text(carol));
    assert!(bench.stop().await.success());
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_object_is_told_from_the_topic_to_the_mailbox() {
    let mut bench = begun(BARE, "").await;
    let mails = bench.relay.wait_for(BARE.len()).await;
    let mut expected: Vec<_> = BARE.iter().map(|(_, _, _, _, told)| (*told).to_owned()).collect();
    expected.sort();
    assert_eq!(recipients(&mails), expected, "{}", bench.log());
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// An account that stands inside of another entity, an alert that was raised and closed, and several users of one alert.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_whom_an_alert_names_is_told_once() {
    let mut bench = begun(PEOPLE, "").await;
    // Inside of a process: bob (listed by number) and dana (not listed). Raised and closed: carol. Three users of two alerts.
    let expected = ["alice", "bob", "bob", "carol", "carol", "dana"].map(|name| format!("{name}@example.com"));
    let mails = bench.relay.wait_for(expected.len()).await;
    assert!(bench.stop().await.success());
    assert_eq!(recipients(&mails), expected, "{}", bench.log());
    bench.books_balance();
}

/// A daemon with a rule for each case, and every fixture of theirs published.
async fn begun(cases: &[(&str, &str, &str, &str, &str)], rules: &str) -> Bench {
    let mut bench = Bench::new().await;
    bench.rules = rules.to_owned();
    // Some fixtures are of a day that `fixture` does not move.
    bench.replace("[store]", "[store]\nledger = \"1000d\"");
    for (place, (dialect, _, when, to, _)) in cases.iter().enumerate() {
        let rule = format!(
            "[[rule]]\nid = \"{}-{place}\"\non = \"{dialect}\"\nwhen = {{ {when} }}\nto = [\"{to}\"]\nchannels = [\"email\"]\n\
             template = \"suspicious-activity\"\nmax_age = \"999d\"\n",
            dialect.replace('.', "-")
        );
        bench.rules.push_str(&rule);
    }
    bench.start().await;
    let mut files: Vec<&str> = cases.iter().map(|(_, file, ..)| *file).filter(|file| !file.is_empty()).collect();
    files.sort_unstable();
    files.dedup();
    let now = auditbell::clock::Clock::system().now();
    for file in files {
        // GitHub's times are numbers.
        let message = String::from_utf8(fixture(file)).unwrap().replace("1769105702387", &now.as_millis().to_string());
        bench.publish(message).await;
    }
    bench
}

#[test]
fn every_dialect_has_a_case() {
    let shipped = Dialects::shipped();
    let all = Dialect::BUILT_IN.iter().copied().chain(shipped.iter());
    // The audit log has all the other tests, and our own records have theirs.
    for dialect in all.filter(|dialect| !dialect.is_own() && *dialect != Dialect::EntraAudit) {
        assert!(CASES.iter().any(|(name, ..)| *name == dialect.as_str()), "{}", dialect.as_str());
    }
}
