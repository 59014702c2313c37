//! Conditions as a table, and the promise of the index.

use std::collections::BTreeMap;

use super::parse::tests::{lookups, read};
use super::*;
use crate::clock::Timestamp;
use crate::record::{Actor, Change, EntityKind, Flag, Position, Severity, Target};

mod elements;
mod implied;
mod index;
mod language;
mod reasons;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_769_105_762_387);

/// A record with every field set: an administrator resets Alice's password.
pub(crate) fn record() -> Record {
    Record {
        position: Position { source: "-".into(), topic: None, partition: None, offset: None, index: 0 },
        dialect: Dialect::EntraAudit,
        id: "Directory_1".into(),
        revision: String::new(),
        time: Some(Timestamp::from_millis(1_769_105_702_387)),
        operation: Some("Reset user password".into()),
        result: Some("success".into()),
        state: Some("atRisk".into()),
        severity: Some(Severity::High),
        category: Some("UserManagement".into()),
        service: Some("Core Directory".into()),
        tenant: Some("0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0".into()),
        subscription: Some("sub-1".into()),
        resource: Some("/tenants/x".into()),
        correlation_id: Some("c-1".into()),
        actor: Some(Actor {
            kind: EntityKind::User,
            id: Some("00000000-0000-0000-0000-0000000000dd".into()),
            upn: Some("helpdesk@example.com".into()),
            name: Some("Help Desk".into()),
            ip: Some("192.0.2.7".into()),
            app: Some("Azure Portal".into()),
        }),
        targets: vec![
            Target {
                kind: EntityKind::User,
                id: Some("00000000-0000-0000-0000-0000000000aa".into()),
                upn: Some("alice@example.com".into()),
                name: Some("Alice".into()),
            },
            Target { kind: EntityKind::Group, id: Some("g-1".into()), upn: None, name: Some("Staff".into()) },
        ],
        changes: vec![Change { target: 0, name: "PasswordPolicies".into(), old: "a".into(), new: "b".into() }],
        flags: vec![Flag::Incident],
        problems: Vec::new(),
        activity: Some("Reset password (by admin)".into()),
        details: BTreeMap::from([
            ("userAgent".into(), "Mozilla".into()),
            ("code".into(), "50053".into()),
            ("k.dot".into(), "dotted".into()),
        ]),
        tactics: vec!["CredentialAccess".into()],
        by_self: Some(false),
        raw: serde_json::json!({
            "properties": {
                "initiatedBy": {"user": {"userPrincipalName": "helpdesk@example.com"}},
                "targetResources": [
                    {"type": "User", "modifiedProperties": [{"displayName": "Role", "newValue": "\"Owner\""}]},
                    {"type": "Group", "modifiedProperties": []},
                ],
                "additionalDetails": [{"key": "userAgent", "value": "Mozilla"}, {"key": "k.dot", "value": "pair"}],
                "k.dot": "raw",
                "requestbody": "{\"properties\":{\"principalId\":\"p-1\"}}",
                "count": 7, "score": 21.0, "empty": "", "nothing": null, "word": "<null>",
            },
        }),
    }
}

/// A rule with these keys, the rest being the least there can be.
pub(crate) fn rule(text: &str) -> Rule {
    let least = "id = 'r'\non = 'any'\nto = 'target'\nchannels = 'email'\ntemplate = 'password-reset'";
    let given = |line: &&str| text.lines().any(|own| own.split('=').next() == line.split('=').next());
    let least: Vec<_> = least.lines().filter(|line| !given(line)).collect();
    read(&format!("{}\n{text}", least.join("\n"))).unwrap()
}

fn values(subject: &Subject, record: &Record) -> Vec<String> {
    let lookups = lookups();
    let known = Known { now: NOW, lookups: &lookups };
    subject.of(record, None, known)
}

/// The one decision of a rule without `each`.
fn decide(rule: &Rule, record: &Record) -> Decision {
    let lookups = lookups();
    let mut decisions = rule.evaluate(record, Known { now: NOW, lookups: &lookups });
    assert_eq!(decisions.len(), 1);
    decisions.remove(0)
}

fn matches(rule: &Rule, record: &Record) -> bool {
    rule.concerns(record.dialect) && decide(rule, record).matched
}

fn matching<'a>(rules: &'a Rules, record: &Record) -> Vec<&'a Rule> {
    let lookups = lookups();
    rules.matching(record, Known { now: NOW, lookups: &lookups }).into_iter().map(|one| one.rule).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table, a few lines of logic")]
fn conditions_hold_or_fail_as_decided() {
    let cases = [
        ("dialect", "when = { dialect = 'entra.audit' }", true),
        ("dialect, another", "when = { dialect = 'other' }", false),
        ("id", "when = { id = 'directory_1' }", true),
        ("operation", "when = { operation = 'Reset user password' }", true),
        ("operation matches the activity too", "when = { operation = 'Reset password (by admin)' }", true),
        ("activity", "when = { activity = 'Reset password (by admin)' }", true),
        ("activity is not the operation", "when = { activity = 'Reset user password' }", false),
        ("result", "when = { result = 'success' }", true),
        ("result, another", "when = { result = 'failure' }", false),
        ("state", "when = { state = 'atRisk' }", true),
        ("severity", "when = { severity = 'high' }", true),
        ("severity is no threshold", "when = { severity = 'medium' }", false),
        ("category", "when = { category = 'UserManagement' }", true),
        ("service", "when = { service = 'Core Directory' }", true),
        ("tenant", "when = { tenant = '0F1E2D3C-4B5A-4968-8776-95A4B3C2D1E0' }", true),
        ("subscription", "when = { subscription = 'SUB-1' }", true),
        ("resource", "when = { resource = '/tenants/x' }", true),
        ("correlation_id", "when = { correlation_id = 'c-1' }", true),
        ("a word anywhere in the record", "when = { raw = { contains = 'HELPDESK@' } }", true),
        (
            "a name of a field is there, too",
            "when = { raw = { contains = ['nowhere', '\"modifiedProperties\":'] } }",
            true,
        ),
        ("a word that is nowhere", "when = { raw = { contains = 'nowhere' } }", false),
        (
            "all words, each somewhere",
            "when = { all = [{ raw = { contains = 'group' } }, { raw = { contains = 'Mozilla' } }] }",
            true,
        ),
        ("a pattern anywhere", "when = { raw = { matches = 'p-\\d' } }", true),
        ("actor.type", "when = { actor.type = 'user' }", true),
        ("actor.id", "when = { actor.id = '00000000-0000-0000-0000-0000000000DD' }", true),
        ("actor.upn", "when = { actor.upn = 'helpdesk@example.com' }", true),
        ("actor.name", "when = { actor.name = 'Help Desk' }", true),
        ("actor.ip", "when = { actor.ip = '192.0.2.7' }", true),
        ("actor.app", "when = { actor.app = 'Azure Portal' }", true),
        ("target.type", "when = { target.type = 'user' }", true),
        ("target.type, any element", "when = { target.type = 'group' }", true),
        ("target.id", "when = { target.id = 'g-1' }", true),
        ("target.upn", "when = { target.upn = 'alice@example.com' }", true),
        ("target.upn of somebody else", "when = { target.upn = 'bob@example.com' }", false),
        ("target.name", "when = { target.name = 'Staff' }", true),
        ("changes.name", "when = { changes.name = 'PasswordPolicies' }", true),
        ("flags", "when = { flags = 'incident' }", true),
        ("tactics", "when = { tactics = 'credentialaccess' }", true),
        ("by_self, a boolean", "when = { by_self = false }", true),
        ("by_self, the other", "when = { by_self = true }", false),
        ("details by key", "when = { details.userAgent = 'Mozilla' }", true),
        ("details by the producer's own key", "when = { details.\"User-Agent\" = 'Mozilla' }", true),
        ("details by key in any case", "when = { details.useragent = 'Mozilla' }", true),
        ("details, a number equals its text", "when = { details.code = 50053 }", true),
        ("a number is one however the record writes it", "when = { raw.properties.score = 21 }", true),
        ("and however the rule does", "when = { raw.properties.score = 2.1e1 }", true),
        ("a number with decimals for a whole one", "when = { raw.properties.count = 7.0 }", true),
        ("another number", "when = { raw.properties.score = 21.5 }", false),
        ("details, a key with a dot", "when = { details.\"k.dot\" = 'dotted' }", true),
        ("details, such a key within quotes of TOML", "when = { 'details.\"k.dot\"' = 'dotted' }", true),
        ("details, such a key without its own quotes", "when = { 'details.k.dot' = 'dotted' }", true),
        ("details, such a key in another table", "when = { details = { \"k.dot\" = 'dotted' } }", true),
        ("raw, a name with a dot", "when = { 'raw.properties.\"k.dot\"' = 'raw' }", true),
        ("raw, such a name as a key of TOML", "when = { raw.properties.\"k.dot\" = 'raw' }", true),
        (
            "raw, such a name in a list of pairs",
            "when = { 'raw.properties.additionalDetails.\"k.dot\"' = 'pair' }",
            true,
        ),
        ("details, absent", "when = { details.nothing = 'x' }", false),
        ("a short name in any case", "when = { Actor.UPN = 'helpdesk@example.com' }", true),
        ("case is folded", "when = { operation = 'RESET USER PASSWORD' }", true),
        ("dashes and a final dot are folded", "when = { operation = 'Reset user password.' }", true),
        ("runs of spaces are folded", "when = { operation = ' Reset  user   password' }", true),
        ("a part is not the whole", "when = { operation = 'Reset user' }", false),
        ("OR inside a list", "when = { result = ['failure', 'success'] }", true),
        ("OR inside a list, none", "when = { result = ['failure', 'timeout'] }", false),
        ("AND between keys", "when = { result = 'success', actor.type = 'user' }", true),
        ("AND between keys, one fails", "when = { result = 'success', actor.type = 'app' }", false),
        ("nothing asked", "", true),
        ("unless holds", "unless = { by_self = false }", false),
        ("unless does not hold", "unless = { by_self = true }", true),
        ("unless holds in one of two keys", "unless = { by_self = false, result = 'failure' }", true),
        ("unless on an absent field", "unless = { details.nothing = 'x' }", true),
        ("in", "when = { result = { in = ['success', 'timeout'] } }", true),
        ("not, one value", "when = { result = { not = 'failure' } }", true),
        ("not, a list", "when = { result = { not = ['failure', 'success'] } }", false),
        ("not is true where no element matches", "when = { target.name = { not = 'Bob' } }", true),
        ("not is false where an element matches", "when = { target.name = { not = 'Staff' } }", false),
        ("not is true on an absent field", "when = { details.nothing = { not = 'x' } }", true),
        ("not of an operator", "when = { actor.upn = { not = { ends_with = '@example.com' } } }", false),
        ("contains folds case", "when = { service = { contains = 'DIRECTORY' } }", true),
        ("contains, a list", "when = { service = { contains = ['x', 'core'] } }", true),
        ("starts_with", "when = { operation = { starts_with = 'reset' } }", true),
        ("starts_with, not in the middle", "when = { service = { starts_with = 'directory' } }", false),
        ("ends_with", "when = { actor.upn = { ends_with = '@EXAMPLE.com' } }", true),
        ("two operators are both meant", "when = { actor.upn = { contains = 'desk', ends_with = '.org' } }", false),
        ("matches in any case", "when = { operation = { matches = '^reset .* \\(by' } }", true),
        ("matches in its own case if it says so", "when = { operation = { matches = '(?-i)^reset' } }", false),
        ("exists", "when = { correlation_id = { exists = true } }", true),
        ("exists, absent", "when = { details.nothing = { exists = true } }", false),
        ("exists false, absent", "when = { details.nothing = { exists = false } }", true),
        ("exists is false on null", "when = { raw.properties.nothing = { exists = true } }", false),
        ("exists is false on empty text", "when = { raw.properties.empty = { exists = true } }", false),
        ("exists is false on a word for nothing", "when = { raw.properties.word = { exists = true } }", false),
        ("gt", "when = { raw.properties.count = { gt = 6 } }", true),
        ("gt, equal", "when = { raw.properties.count = { gt = 7 } }", false),
        ("gte and lt", "when = { raw.properties.count = { gte = 7, lt = 8 } }", true),
        ("lte", "when = { raw.properties.count = { lte = 6.5 } }", false),
        ("a number of what is none", "when = { result = { gt = 0 } }", false),
        ("at_least", "when = { severity = { at_least = 'medium' } }", true),
        ("at_least, more than there is", "when = { severity = { at_least = 'critical' } }", false),
        ("at_least is false on an unknown severity", "when = { result = { at_least = 'low' } }", false),
        ("cidr", "when = { actor.ip = { cidr = ['198.51.100.0/24', '192.0.2.0/24'] } }", true),
        ("not cidr", "when = { actor.ip = { not = { cidr = '192.0.2.0/24' } } }", false),
        ("in_list", "when = { actor.upn = { in_list = 'soc' } }", false),
        ("not in_list", "when = { actor.upn = { not = { in_list = 'soc' } } }", true),
        ("same_as", "when = { actor.upn = { same_as = 'target.upn' } }", false),
        (
            "same_as, raw and view",
            "when = { raw.properties.initiatedBy.user.userPrincipalName = { same_as = 'actor.upn' } }",
            true,
        ),
        ("same_domain_as", "when = { target.upn = { same_domain_as = 'actor.upn' } }", true),
        ("changed", "when = { changes = { changed = 'passwordpolicies' } }", true),
        ("changed, a pattern", "when = { changes = { changed = 'Password*' } }", true),
        ("changed from and to", "when = { changes = { changed = 'Password*', from = 'a', to = 'b' } }", true),
        ("from another value", "when = { changes = { from = 'b' } }", false),
        ("to takes operators", "when = { changes = { to = { starts_with = 'B' } } }", true),
        ("to anything but", "when = { changes = { changed = 'Password*', to = { not = 'a' } } }", true),
        ("from one of", "when = { changes = { from = { in = ['a', 'z'] } } }", true),
        ("from something", "when = { changes = { changed = 'Password*', from = { exists = true } } }", true),
        ("a pattern copied with its dash", "when = { activity = { matches = 'A\u{2013}B|\\(by admin\\)' } }", true),
        ("raw, any element", "when = { raw.properties.targetResources.type = 'group' }", true),
        ("raw in any case", "when = { 'RAW.Properties.TargetResources.Type' = 'user' }", true),
        ("raw, a pair by its key", "when = { raw.properties.additionalDetails.useragent = 'mozilla' }", true),
        (
            "raw, such a key as others write it",
            "when = { raw.properties.additionalDetails.User-Agent = 'mozilla' }",
            true,
        ),
        ("raw, on into a text of JSON", "when = { raw.properties.requestbody.properties.principalId = 'p-1' }", true),
        (
            "raw, a text of JSON as it came",
            "when = { raw.properties.requestbody = { contains = 'principalId' } }",
            true,
        ),
        ("any", "when = { any = [{ result = 'failure' }, { actor.type = 'user' }] }", true),
        ("any, none", "when = { any = [{ result = 'failure' }, { actor.type = 'app' }] }", false),
        ("all", "when = { all = [{ result = 'success' }, { actor.type = 'app' }] }", false),
        ("not of a condition", "when = { not = { result = 'failure', actor.type = 'user' } }", true),
        ("some, one and the same element", "when = { some = { targets = { type = 'user', name = 'Alice' } } }", true),
        ("some, two elements", "when = { some = { targets = { type = 'group', name = 'Alice' } } }", false),
        ("every", "when = { every = { targets = { id = { exists = true } } } }", true),
        ("every, one not", "when = { every = { targets = { type = 'user' } } }", false),
        (
            "every is false on none",
            "when = { every = { 'raw.properties.nothing' = { id = { exists = false } } } }",
            false,
        ),
        (
            "a quantifier in a quantifier",
            "when = { some = { 'raw.properties.targetResources' = { type = 'User', some = { modifiedProperties = { displayName = 'Role' } } } } }",
            true,
        ),
        (
            "an element beside the record",
            "when = { some = { targets = { type = 'user', upn = { same_domain_as = 'actor.upn' } } } }",
            true,
        ),
        ("now, in a window", "when = { now = { during = 'early' } }", false),
        ("now, not in a window", "when = { now = { not = { during = 'early' } } }", true),
        ("time, in any of two", "when = { time = { during = ['early'] } }", false),
        ("time, by its text", "when = { time = { starts_with = '2026-01-22T18:15' } }", true),
        ("a lookup by the short name", "when = { lookup.owners.tier = 'GOLD' }", true),
        ("a lookup in any case", "when = { 'lookup.owners.mail' = { contains = 'ANN@' } }", true),
        ("a lookup that has another value", "when = { lookup.owners.tier = 'iron' }", false),
        ("there is such a row", "when = { lookup.owners.mail = { exists = true } }", true),
        ("a lookup beside a field", "when = { lookup.owners.tier = { same_as = 'actor.app' } }", false),
        ("numbers by their text, either way", "when = { details.code = '50053', raw.properties.count = '7' }", true),
        ("a boolean by its text", "when = { by_self = 'false' }", true),
        ("patterns fold dashes", "when = { operation = { matches = 'reset . ?user' } }", false),
        ("not on an absent raw path", "when = { raw.a.b = { not = ['x', 'y'] } }", true),
        ("not exists on an absent field", "when = { details.nothing = { not = { exists = true } } }", true),
        ("at_least on an absent field", "when = { details.nothing = { at_least = 'low' } }", false),
        ("cidr on what is no address", "when = { actor.app = { cidr = '0.0.0.0/0' } }", false),
        ("not cidr on what is no address", "when = { actor.app = { not = { cidr = '0.0.0.0/0' } } }", true),
        ("a resource below a prefix in any case", "when = { resource = { starts_with = '/TENANTS/' } }", true),
        (
            "a pair by its name",
            "when = { raw.properties.targetResources.modifiedProperties.displayName = 'role' }",
            true,
        ),
        (
            "every over elements that all fulfil two keys",
            "when = { every = { targets = { id = { exists = true }, name = { not = 'Bob' } } } }",
            true,
        ),
        (
            "some is false on none",
            "when = { some = { 'raw.properties.nothing' = { id = { exists = false } } } }",
            false,
        ),
        ("in_list takes any text", "when = { target.upn = { in_list = ['soc', 'vip'] } }", true),
        ("in_list does not ask for the hour", "when = { target.upn = { in_list = 'shift' } }", false),
        ("changed to another value", "when = { changes = { changed = 'PasswordPolicies', to = ['c', 'd'] } }", false),
        ("another property", "when = { changes = { changed = 'Password' } }", false),
        (
            "when holds and unless holds",
            "when = { result = 'success' }\nunless = { actor.app = 'azure portal' }",
            false,
        ),
    ];
    for (what, text, expected) in cases {
        let rule = rule(text);
        let decision = decide(&rule, &record());
        assert_eq!(decision.matched, expected, "{what}: {decision:?}");
        assert_eq!(decision.failed.is_empty(), expected, "{what}: {decision:?}");
    }
}

#[test]
fn every_short_name_is_absent_from_an_empty_record() {
    let empty = Record {
        id: String::new(),
        time: None,
        operation: None,
        result: None,
        state: None,
        severity: None,
        category: None,
        service: None,
        tenant: None,
        subscription: None,
        resource: None,
        correlation_id: None,
        actor: None,
        targets: Vec::new(),
        changes: Vec::new(),
        flags: Vec::new(),
        activity: None,
        details: BTreeMap::new(),
        tactics: Vec::new(),
        by_self: None,
        ..record()
    };
    let always = ["dialect", "id"];
    for field in FIELDS.iter().filter(|field| !always.contains(&field.name)) {
        let subject = Subject::named(field.name).unwrap();
        assert!(values(&subject, &empty).is_empty(), "{}", field.name);
        assert!(!values(&subject, &record()).is_empty(), "{}: the table's record lacks it", field.name);
    }
}

#[test]
fn what_a_policy_may_group_by_has_one_value() {
    for name in GROUP_BY {
        let subject = Subject::named(name).unwrap();
        assert_eq!(values(&subject, &record()).len(), 1, "{name}");
    }
}

#[test]
fn a_sample_is_seen_only_by_a_rule_that_names_flags() {
    let sample = Record { flags: vec![Flag::Sample], ..record() };
    let snapshot = Record { flags: vec![Flag::Snapshot, Flag::Incident], ..record() };
    assert!(!matches(&rule(""), &sample) && !matches(&rule(""), &snapshot));
    assert!(matches(&rule("when = { flags = 'sample' }"), &sample));
    assert!(matches(&rule("when = { flags = ['incident', 'sample'] }"), &snapshot));
    let block = Record { flags: vec![Flag::BuildingBlock], ..record() };
    assert!(!matches(&rule(""), &block) && matches(&rule("when = { flags = 'building-block' }"), &block));
    assert!(!matches(&rule("unless = { flags = 'incident' }"), &sample), "unless does not name flags for when");
}

#[test]
fn rules_are_ranked_in_the_order_of_the_configuration() {
    let named = |id: &str| rule(&format!("id = '{id}'"));
    let rules = Rules::new(vec![named("b"), named("a")]);
    let ranks: Vec<_> = matching(&rules, &record()).iter().map(|rule| (rule.id.to_string(), rule.rank)).collect();
    assert_eq!(ranks, [("b".to_owned(), 0), ("a".to_owned(), 1)]);
    assert!(rules.get("a").is_some() && rules.get("c").is_none());
}

#[test]
fn a_scope_holds_of_the_resource_itself_and_of_what_is_below_it() {
    let scope = rule("when = { resource = { starts_with = '/subscriptions/s/resourceGroups/rg-a/' } }");
    for (resource, expected) in [
        ("/SUBSCRIPTIONS/s/resourcegroups/RG-A", true),
        ("/subscriptions/s/resourceGroups/rg-a/providers/x", true),
        ("/subscriptions/s/resourceGroups/rg-ab", false),
        ("/subscriptions/s/resourceGroups/rg-ab/providers/x", false),
        ("/subscriptions/t/resourceGroups/rg-a", false),
    ] {
        let record = Record { resource: Some(resource.to_owned()), ..record() };
        assert_eq!(matches(&scope, &record), expected, "{resource}");
    }
}
