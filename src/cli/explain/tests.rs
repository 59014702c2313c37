//! `explain` and the live path never disagree: of generated records and rules, what is explained is what intake would store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::intake::{self, Basis};
use crate::people::People;
use crate::plan::{Fate, Intent};
use crate::store::Planned;
use crate::store::operate::{DeadLetterRow, Reread};

const AROUND: &str = include_str!("../../../tests/configs/explain/around.toml");

/// One of each family, and what may stand at some of its places instead.
const RECORDS: &[&str] = &[
    include_str!("../../../tests/workflows/records/activity.json"),
    include_str!("../../../tests/workflows/records/alert.json"),
    include_str!("../../../tests/workflows/records/assessment.json"),
    include_str!("../../../tests/workflows/records/audit.json"),
    include_str!("../../../tests/workflows/records/compliance.json"),
    include_str!("../../../tests/workflows/records/elastic.json"),
    include_str!("../../../tests/workflows/records/risk.json"),
    include_str!("../../../tests/workflows/records/signin.json"),
    FINDING,
    MAPPED,
    OTHER,
];

const FINDING: &str = r#"{
    "Type": "Microsoft.Security/assessments/subAssessments", "TenantId": "0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0", "Name": "f1",
    "Id": "/subscriptions/5ab5c81b-0000-4000-8000-00000000000a/resourceGroups/rg-a/providers/Microsoft.Compute/virtualMachines/vm1/providers/Microsoft.Security/assessments/a2/subassessments/f1",
    "securityEventDataEnrichment": {"action": "Insert", "isSnapshot": false},
    "Properties": {
        "Id": "f1", "DisplayName": "Ensure DCCP is disabled", "Status": {"Code": "Unhealthy", "Severity": "High"},
        "TimeGenerated": "2026-03-02T09:58:32.26Z",
        "ResourceDetails": {"Source": "Azure", "Id": "/subscriptions/5ab5c81b-0000-4000-8000-00000000000a/resourceGroups/rg-a/providers/Microsoft.Compute/virtualMachines/vm1"}
    }
}"#;
/// Okta's, which a table of ours reads.
const MAPPED: &str = r#"{
    "uuid": "5f6a8f0e-0001-11f1-9c3e-0123456789a1", "published": "2026-03-02T10:15:02.387Z", "version": "0",
    "eventType": "user.mfa.factor.deactivate", "displayMessage": "Reset factor for user", "severity": "WARN",
    "outcome": {"result": "SUCCESS"}, "client": {"ipAddress": "192.0.2.31"},
    "actor": {"id": "00u1", "type": "User", "alternateId": "carol@example.com", "displayName": "Carol"},
    "target": [{"id": "00u2", "type": "User", "alternateId": "bob@example.com", "displayName": "Bob"}]
}"#;
const OTHER: &str = r#"{
    "time": "2026-03-02T10:00:00Z", "category": "GatewayAccess", "operationName": "Read", "tenantId": "t-1",
    "resourceId": "/subscriptions/5ab5c81b-0000-4000-8000-00000000000a/x", "properties": {"result": "success"}
}"#;

/// Conditions of every operator, written so that generated records fulfil them about as often as not.
const CONDITIONS: &[&str] = &[
    "operation = [\"Update user\", \"Sign-in activity\", \"Add member to group\"]",
    "operation = { contains = \"e\" }",
    "operation = { matches = \"(?-i)^[A-Z]\" }",
    "result = { in = [\"success\", \"accepted\"] }",
    "result = { not = [\"failure\"] }",
    "state = { exists = true }",
    "severity = { at_least = \"medium\" }",
    "actor.ip = { cidr = [\"192.0.2.0/24\", \"2001:db8::/32\"] }",
    "actor.upn = { starts_with = \"carol\" }",
    "actor.type = \"user\"",
    "target.type = \"user\"",
    "target.upn = { ends_with = \"@example.com\" }",
    "target.upn = { same_as = \"actor.upn\" }",
    "target.upn = { same_domain_as = \"actor.upn\" }",
    "target.upn = { in_list = \"people\" }",
    "actor.ip = { not = { cidr = { in_list = \"nets\" } } }",
    "some = { \"raw.properties.targetResources.userPrincipalName\" = { element = { ends_with = \"@example.com\" } } }",
    "every = { \"raw.properties.targetResources.type\" = { not = { element = \"Group\" } } }",
    "changes = { changed = { in_list = \"properties\" }, to = { contains = \"t\" } }",
    "by_self = false",
    "flags = { exists = false }",
    "category = { not = { contains = \"Admin\" } }",
    "details.errorCode = { gte = 100, lt = 60000 }",
    "details.riskLevelDuringSignIn = { gt = -1 }",
    "changes = { changed = \"*Name\", to = { contains = \"t\" } }",
    "changes = { changed = \"UserType\", from = \"Guest\" }",
    "\"raw.properties.additionalDetails.userAgent\" = { exists = true }",
    "\"raw.properties.targetResources.type\" = [\"User\", \"Group\"]",
    "some = { targets = { type = \"user\", upn = { exists = true } } }",
    "every = { targets = { type = [\"user\", \"group\"] } }",
    "some = { \"raw.properties.targetResources\" = { type = \"Group\" } }",
    "some = { \"raw.properties.targetResources\" = { type = \"User\", some = { modifiedProperties = { displayName = \"Mail\" } } } }",
    "every = { \"raw.properties.targetResources\" = { every = { modifiedProperties = { newValue = { exists = true } } } } }",
    "raw = { contains = \"\\\"isSnapshot\\\":false\" }",
    "raw = { contains = \"carol@example.com\" }",
    "raw = { matches = \"Group|Unhealthy\" }",
    "resource = { starts_with = \"/subscriptions/5ab5c81b-0000-4000-8000-00000000000a/resourceGroups/rg-a/\" }",
    "dialect = [\"okta.system\", \"other\", \"defender.finding\", \"defender.compliance\"]",
    "lookup.owners.mail = { exists = true }",
    "target.upn = { same_as = \"lookup.friends.of\" }",
    "time = { during = \"office\" }",
    "now = { during = \"office\" }",
];

/// Of the element of a rule with `each = "raw.…"`.
const OF_ELEMENT: &[&str] = &[
    "element.type = [\"User\", \"Group\"]",
    "element.userPrincipalName = { same_as = \"actor.upn\" }",
    "element.modifiedProperties.displayName = { not = \"Mail\" }",
];

const EACH: &[&str] =
    &["", "each = \"targets\"\n", "each = \"changes\"\n", "each = \"raw.properties.targetResources\"\n"];
const ONCE_PER: &[&str] = &[
    "",
    "once_per = [\"id\", \"revision\"]\n",
    "once_per = [\"correlation_id\"]\n",
    "once_per = [\"actor.upn\", \"result\"]\n",
];
const TO: &[&str] = &[
    "\"target\"",
    "\"actor\"",
    "\"target\", \"actor\"",
    "\"target.manager\"",
    "\"actor.manager\", \"list:people\"",
    "\"target.alternates\"",
    "\"target.previous\", \"target\"",
    "\"lookup:owners.mail\"",
    "\"field:raw.properties.owner\"",
    "{ first_of = [\"lookup:owners.mail\", \"actor\"] }",
    "\"list:oncall\", \"x@example.com\"",
];
const EXCEPT: &[&str] = &["", "except = [\"actor\"]\n", "except = [\"list:people\"]\n", "except = [\"target\"]\n"];
const HOW: &[&str] = &[
    "channels = [\"email\"]\n",
    "channels = [\"email\", \"chat\"]\n",
    "channels = [\"chat\"]\npolicy = \"together\"\n",
    "channels = [\"email\"]\npolicy = \"together\"\nseverity = \"high\"\n",
];
const MORE: &[&str] = &["", "mode = \"shadow\"\n", "max_age = \"1h\"\n", "severity = \"low\"\n"];

/// JSON pointers into records and what may stand there.
const CHANGES: &[(&str, &str)] = &[
    ("/operationName", "\"Add member to group\""),
    ("/properties/activityDisplayName", "\"Add member to group\""),
    ("/properties/result", "\"failure\""),
    ("/properties/status/errorCode", "50126"),
    ("/properties/initiatedBy/user/userPrincipalName", "\"bob@example.com\""),
    ("/properties/initiatedBy", "{\"app\":{\"displayName\":\"Sync\"}}"),
    ("/properties/userPrincipalName", "\"carol@example.com\""),
    ("/properties/targetResources/1", "{\"type\":\"User\",\"id\":\"a11ce000-0000-4000-8000-000000000001\"}"),
    ("/properties/targetResources/1", "{\"type\":\"Group\",\"id\":\"64000000\",\"displayName\":\"Team\"}"),
    ("/properties/targetResources/0/userPrincipalName", "\"carol@example.com\""),
    ("/properties/targetResources/0", "{\"type\":\"User\",\"displayName\":\"Nobody\"}"),
    (
        "/properties/targetResources/0/modifiedProperties",
        "[{\"displayName\":\"Mail\",\"oldValue\":\"[\\\"old@example.com\\\"]\",\"newValue\":\"[\\\"new@example.com\\\"]\"},\
         {\"displayName\":\"UserType\",\"oldValue\":\"Guest\",\"newValue\":\"Member\"},\
         {\"displayName\":\"Group.DisplayName\",\"newValue\":\"\\\"Team\\\"\"}]",
    ),
    ("/properties/additionalDetails", "[{\"key\":\"userAgent\",\"value\":\"x\"}]"),
    ("/properties/owner", "\"dana@example.com; erik@example.com\""),
    ("/properties/ipAddress", "\"203.0.113.9\""),
    ("/callerIpAddress", "\"[2001:db8::1]:443\""),
    ("/Severity", "\"High\""),
    ("/Severity", "\"Frightful\""),
    ("/Status", "\"Dismissed\""),
    ("/AlertDisplayName", "\"[SAMPLE ALERT] x\""),
    ("/securityEventDataEnrichment/isSnapshot", "true"),
    ("/Entities/0/Name", "\"bob\""),
    ("/time", "\"\""),
];

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(texts)
}

/// That the record is this one, as a whole.
fn whole() -> impl Strategy<Value = String> {
    prop::sample::select(RECORDS).prop_map(|text| {
        let record: Value = serde_json::from_str(text).unwrap();
        format!("raw = {{ in = ['''{record}'''] }}")
    })
}

fn condition() -> impl Strategy<Value = String> {
    tree(prop_oneof![30 => one_of(CONDITIONS).prop_map(str::to_owned), 2 => whole()])
}

/// As [`condition`], in a rule that is held against the elements at a path.
fn of_element() -> impl Strategy<Value = String> {
    tree(prop_oneof![one_of(CONDITIONS), one_of(OF_ELEMENT)].prop_map(str::to_owned))
}

fn tree(leaf: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    let leaf = leaf.prop_map(|text| format!("{{ {text} }}"));
    leaf.prop_recursive(3, 8, 3, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| parts.join(", "));
        prop_oneof![
            2 => list.clone().prop_map(|parts| format!("{{ any = [{parts}] }}")),
            1 => list.prop_map(|parts| format!("{{ all = [{parts}] }}")),
            1 => inner.prop_map(|part| format!("{{ not = {part} }}")),
        ]
    })
}

fn route() -> impl Strategy<Value = String> {
    let own = (prop::option::of(one_of(TO)), prop::option::of(one_of(HOW)), any::<bool>());
    (condition(), own).prop_map(|(when, (to, how, mute))| {
        let mut text = format!("[[rule.route]]\nwhen = {when}\n");
        if mute {
            return text + "mute = true\n";
        }
        let _ = to.map(|to| writeln!(text, "to = [{to}]"));
        text + how.unwrap_or_default()
    })
}

fn rule() -> impl Strategy<Value = String> {
    let each = prop_oneof![
        3 => (one_of(EACH), prop::option::of(condition()), prop::option::weighted(0.3, condition())),
        1 => (Just(EACH[EACH.len() - 1]), prop::option::of(of_element()), prop::option::weighted(0.3, of_element())),
    ];
    let what = (each, one_of(ONCE_PER));
    let how = (one_of(TO), one_of(EXCEPT), one_of(HOW), one_of(MORE), prop::collection::vec(route(), 0..3));
    (what, how).prop_map(|(((each, when, unless), once_per), (to, except, how, more, routes))| {
        let mut text = "on = \"any\"\ntemplate = \"suspicious-activity\"\n".to_owned();
        for (key, condition) in [("when", when), ("unless", unless)] {
            let _ = condition.map(|condition| writeln!(text, "{key} = {condition}"));
        }
        let more = if how.contains("severity") && more.contains("severity") { "" } else { more };
        let _ = writeln!(text, "to = [{to}]");
        let text = text + each + once_per + except + how + more + &routes.concat();
        // The element at a path has no target.
        if each.contains("raw.") { without_targets(&text) } else { text }
    })
}

fn without_targets(rule: &str) -> String {
    let lines = rule.lines().map(|line| {
        if line.starts_with("to = ") {
            "to = [\"actor\", \"soc@example.com\"]\n".to_owned()
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

fn record() -> impl Strategy<Value = Value> {
    (prop::sample::select(RECORDS), prop::collection::vec(prop::sample::select(CHANGES), 0..6)).prop_map(
        |(text, changes)| {
            let mut record: Value = serde_json::from_str(text).unwrap();
            for (pointer, value) in changes {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                let value: Value = serde_json::from_str(value).unwrap();
                match (record.pointer_mut(parent), name.parse::<usize>()) {
                    (Some(Value::Object(map)), _) => drop(map.insert(name.to_owned(), value)),
                    (Some(Value::Array(list)), Ok(place)) if place < list.len() => list[place] = value,
                    (Some(Value::Array(list)), _) => list.push(value),
                    _ => {}
                }
            }
            record
        },
    )
}

/// One notification: id, rule, element, channel, severity, what becomes of it, when it is due.
type One = (String, String, bool, String, crate::record::Severity, String, Option<Timestamp>);

fn explained(explanation: &Explanation) -> BTreeSet<One> {
    let one = |one: &answer::Notification| {
        let element = one.element.is_some();
        (
            one.id.clone(),
            one.rule.clone(),
            element,
            one.channel.clone().unwrap_or_default(),
            one.severity,
            one.decision.to_owned(),
            one.due,
        )
    };
    explanation.notifications.iter().map(one).collect()
}

fn stored(planned: &[Planned]) -> BTreeSet<One> {
    let one = |intent: &Intent| {
        let (decision, due) = match &intent.fate {
            Fate::Send { due_at, group, .. } => (if group.is_some() { "group" } else { "send" }, Some(*due_at)),
            Fate::Ends { verdict, .. } => (verdict.as_str(), None),
        };
        let (rule, channel) = (intent.rule.to_string(), intent.channel.to_string());
        (intent.id.to_string(), rule, intent.element.is_some(), channel, intent.severity, decision.to_owned(), due)
    };
    planned.iter().flat_map(|planned| &planned.intents).map(one).collect()
}

/// The configuration with these rules.
fn configured(rules: &[String]) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auditbell.toml");
    let mut text = AROUND.to_owned();
    for (number, rule) in rules.iter().enumerate() {
        let _ = write!(text, "\n[[rule]]\nid = \"rule-{number}\"\n{rule}");
    }
    std::fs::write(&path, &text).unwrap();
    std::fs::copy("tests/workflows/people.csv", directory.path().join("people.csv")).unwrap();
    let report = crate::config::examine(&path, &BTreeMap::new());
    let mut config = report.config.unwrap_or_else(|| panic!("{:?}\n{text}", report.faults));
    config.people.csv = Some("tests/workflows/people.csv".into());
    config
}

/// What intake would hand to accept.
fn live(config: &Config, body: &str, now: Timestamp) -> Vec<Planned> {
    let basis = Basis {
        revision: 1,
        dialects: config.dialects.clone(),
        rules: config.rules.clone(),
        lookups: config.lookups.clone(),
        people: std::sync::Arc::new(People::load(config.people.clone()).unwrap()),
        rules_seen: HashMap::new(),
        wakes: HashMap::new(),
    };
    let letter = DeadLetterRow {
        number: 1,
        source: "entra".into(),
        topic: "t".into(),
        partition: 0,
        offset: 0,
        item: None,
        at: now,
        broker_time: None,
        error: String::new(),
        bytes: None,
    };
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    match intake::replay(&letter, body, &basis, Duration::MAX, now).0 {
        Reread::Understood { batch, .. } => batch.records,
        Reread::Dead(error) => panic!("{error}: it is a record"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_explained_is_what_would_be_stored(
        rules in prop::collection::vec(rule(), 1..4),
        record in record(),
        hour in 0..48_i64,
    ) {
        let config = configured(&rules);
        let body = record.to_string();
        let now = Timestamp::from_millis(1_772_441_000_000 + hour * 3_600_000);
        let explainer = Explainer {
            rules: config.rules.clone(),
            lookups: config.lookups.clone(),
            people: People::load(config.people.clone()).unwrap(),
            directory: config.people.clone(),
            fallbacks: HashMap::new(),
            now: Some(now),
        };
        let position = crate::record::Position {
            source: "entra".into(), topic: Some("t".into()), partition: Some(0), offset: Some(0), index: 0,
        };
        let record = Record::read(&body, position, None);
        let explanation = explainer.record(record, None, &|_, _| false);
        prop_assert_eq!(explained(&explanation), stored(&live(&config, &body, now)), "{}\n{}", rules.join("\n"), body);
        for rule in &explanation.rules {
            prop_assert_eq!(rule.matched, rule.failed.is_empty(), "{} {:?}", rule.rule, rule.failed);
            prop_assert!(rule.matched || rule.route.is_none());
        }
    }
}
