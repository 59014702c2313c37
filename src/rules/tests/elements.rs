//! `each` and routes: what a rule is held against, and by which route it is told.

use proptest::prelude::*;

use super::super::parse::tests::lookups;
use super::*;

/// Each decision as `place matched route`.
fn decisions(rule: &Rule, record: &Record) -> Vec<String> {
    let lookups = lookups();
    let decisions = rule.evaluate(record, Known { now: NOW, lookups: &lookups });
    let line = |one: &Decision| {
        let place = one.element.as_ref().map_or("-", |element| &element.place);
        format!("{place} {} {:?}", one.matched, one.route)
    };
    decisions.iter().map(line).collect()
}

fn person(id: &str, name: &str) -> Target {
    Target { kind: EntityKind::User, id: Some(id.into()), upn: None, name: Some(name.into()) }
}

#[test]
fn an_element_is_the_same_however_its_numbers_are_written() {
    let identity = |list: List, record: &Record| elements(&list, record)[0].identity.clone();
    let of = |json: &str| {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let change = Change { target: 0, name: "Mail".into(), old: serde_json::Value::Null, new: value.clone() };
        Record { raw: serde_json::json!({"list": [value]}), changes: vec![change], ..record() }
    };
    let (long, short) = (of(r#"{"b":5.0,"a":1e1}"#), of(r#"{"a":10,"b":5}"#));
    let path = || List::Raw(Path::parse("list").unwrap());
    assert_eq!(identity(path(), &long), identity(path(), &short));
    assert_eq!(identity(List::Changes, &long), identity(List::Changes, &short));
}

#[test]
fn a_rule_with_each_is_held_against_every_element_by_itself() {
    let change = |target, name: &str| Change { target, name: name.into(), old: "a".into(), new: "b".into() };
    let record = Record {
        targets: vec![person("A", "Alice"), person("b", "Bob"), person("a", "Alice again")],
        changes: vec![change(0, "Mail"), change(1, "Role"), change(1, "Role")],
        ..record()
    };
    for (what, text, expected) in [
        (
            "each target, equal ones once",
            "each = 'targets'\nwhen = { target.name = 'Alice' }",
            vec!["targets[0] true None", "targets[1] false None"],
        ),
        (
            "the changes of other targets are not seen",
            "each = 'targets'\nwhen = { changes = { changed = 'Role' } }",
            vec!["targets[0] false None", "targets[1] true None"],
        ),
        (
            "each change with its own target, equal ones once",
            "each = 'changes'\nwhen = { target.name = 'Bob', changes.name = 'Role' }",
            vec!["changes[0] false None", "changes[1] true None"],
        ),
        (
            "each element of a path",
            "each = 'raw.properties.targetResources'\nto = 'actor'\nwhen = { element.type = 'user' }",
            vec!["raw.properties.targetResources[0] true None", "raw.properties.targetResources[1] false None"],
        ),
        (
            "a quantifier inside an element",
            "each = 'raw.properties.targetResources'\nto = 'actor'\nwhen = { element.modifiedProperties.displayName = 'Role' }",
            vec!["raw.properties.targetResources[0] true None", "raw.properties.targetResources[1] false None"],
        ),
        (
            "a lookup by a field of the element",
            "each = 'raw.properties.targetResources'\nto = 'actor'\nwhen = { lookup.kinds.sort = 'thing' }",
            vec!["raw.properties.targetResources[0] false None", "raw.properties.targetResources[1] true None"],
        ),
        ("no element, no match", "each = 'raw.properties.nothing'\nto = 'actor'", vec!["- false None"]),
    ] {
        assert_eq!(decisions(&rule(text), &record), expected, "{what}");
    }
    let nothing = rule("each = 'raw.properties.nothing'\nto = 'actor'");
    let lookups = lookups();
    let failed = &nothing.evaluate(&record, Known { now: NOW, lookups: &lookups })[0].failed;
    let leaf = serde_json::to_string(failed).unwrap();
    assert_eq!(
        leaf,
        r#"[{"where":"each","key":"raw.properties.nothing","op":"exists","want":["true"],"got":[],"negated":false}]"#
    );
}

/// `by_self` of an element is about that one: an administrator who resets two people, one of them himself.
#[test]
fn an_element_is_by_self_or_not_for_itself() {
    let me = record().actor.unwrap().id.unwrap();
    let record = Record { targets: vec![person(&me, "Help Desk"), person("b", "Bob")], ..record() };
    let rule = rule("each = 'targets'\nunless = { by_self = true }");
    assert_eq!(decisions(&rule, &record), ["targets[0] false None", "targets[1] true None"]);
}

#[test]
fn the_first_route_that_holds_is_taken() {
    let routes = "route = [{ when = { severity = { at_least = 'critical' } }, to = 'actor' }, \
                  { when = { severity = { at_least = 'high' } }, mute = true }, \
                  { when = { target.type = 'user' }, unless = { by_self = true }, to = 'list:soc' }]";
    for (what, own, severity, expected) in [
        ("the record's severity", "", Some(Severity::Critical), Some(0)),
        ("the second, though the third holds too", "", Some(Severity::High), Some(1)),
        ("the third", "", Some(Severity::Low), Some(2)),
        ("the rule's severity stands above the record's", "severity = 'critical'\n", Some(Severity::Low), Some(0)),
        ("no severity at all is medium", "", None, Some(2)),
    ] {
        let record = Record { severity, ..record() };
        assert_eq!(decide(&rule(&format!("{own}{routes}")), &record).route, expected, "{what}");
    }
    let by_self = Record { severity: None, by_self: Some(true), ..record() };
    assert_eq!(decide(&rule(routes), &by_self).route, None, "no route holds: as the rule says");
    let medium = rule("route = [{ when = { severity = 'medium' }, mute = true }]");
    assert_eq!(decide(&medium, &Record { severity: None, ..record() }).route, Some(0), "medium, where nobody says");
}

#[test]
fn a_rule_that_is_over_matches_nothing_and_says_so() {
    let over = rule("expires = 2026-01-21");
    let decision = decide(&over, &record());
    assert!(!decision.matched);
    assert_eq!(decision.failed[0].key, "now");
    assert!(decide(&rule("expires = 2026-01-22"), &record()).matched, "its last day is one of its days");
}

fn people() -> impl Strategy<Value = Vec<Target>> {
    prop::collection::vec((prop::sample::select(vec!["a", "A", "b", "c"]), any::<bool>()), 0..6)
        .prop_map(|all| all.into_iter().map(|(id, named)| person(id, if named { "Alice" } else { "Bob" })).collect())
}

proptest! {
    /// The live path and `explain` ask one function; and where nothing matches, `explain` always has a reason.
    #[test]
    fn what_is_explained_is_what_happens(
        targets in people(),
        text in prop::sample::select(vec![
            "each = 'targets'\nwhen = { target.name = 'Alice' }",
            "each = 'targets'\nunless = { not = { target.id = 'a' } }",
            "when = { some = { targets = { name = 'Alice' } } }\nroute = [{ when = { target.id = 'a' }, mute = true }]",
            "when = { not = { every = { targets = { name = 'Alice' } } } }",
            "unless = { any = [{ target.id = 'b' }, { target.name = 'Bob' }] }",
        ]),
    ) {
        let record = Record { targets, ..record() };
        let rule = rule(text);
        let lookups = lookups();
        let known = Known { now: NOW, lookups: &lookups };
        let explained = rule.evaluate(&record, known);
        for decision in &explained {
            prop_assert_eq!(decision.matched, decision.failed.is_empty(), "{:?}", decision);
        }
        let told: Vec<_> = explained.into_iter().filter_map(|one| rule.matched(one)).map(|one| (one.element, one.route)).collect();
        let live: Vec<_> = rule.matches(&record, known).map(|one| (one.element, one.route)).collect();
        prop_assert_eq!(told, live);
    }
}
