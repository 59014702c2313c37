//! What `check` claims of two conditions without a record, held against records.

use proptest::prelude::*;

use super::*;

/// A condition of TOML over few fields and values, so that two of them are often about the same.
fn conditions(depth: u32) -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["success", "suc", "high", "low"]);
    let field = prop::sample::select(vec!["result", "target.upn", "severity"]);
    let words = prop::collection::vec(word.clone(), 1..4).prop_map(|words| format!("{words:?}"));
    let operator = prop::sample::select(vec!["in", "in", "in", "not", "not", "contains", "starts_with", "matches"]);
    let test = prop_oneof![
        8 => (field.clone(), operator, words.clone()).prop_map(|(field, how, words)| format!("{field} = {{ {how} = {words} }}")),
        1 => (field, any::<bool>()).prop_map(|(field, there)| format!("{field} = {{ exists = {there} }}")),
        1 => prop::sample::select(vec!["low", "medium", "high"])
            .prop_map(|least| format!("severity = {{ at_least = '{least}' }}")),
        1 => (prop::sample::select(vec!["some", "every"]), words)
            .prop_map(|(how, words)| format!("{how} = {{ targets = {{ upn = {{ not = {words} }} }} }}")),
    ];
    // Severity takes only its own words for values.
    let test = test.prop_filter("a fault", |text| {
        let closed = text.starts_with("severity = { in") || text.starts_with("severity = { not");
        !closed || !text.contains("suc")
    });
    test.prop_recursive(depth, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|all| format!("all = [{{ {} }}]", all.join(" }, { "))),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|any| format!("any = [{{ {} }}]", any.join(" }, { "))),
            inner.prop_map(|not| format!("not = {{ {not} }}")),
        ]
    })
}

fn records() -> impl Strategy<Value = Record> {
    let word = || prop::option::of(prop::sample::select(vec!["success", "SUC", "high", "low"]));
    let words = prop::collection::vec(word(), 0..3);
    let severity = prop::option::of(prop::sample::select(Severity::ALL.to_vec()));
    (word(), words, severity).prop_map(|(result, upns, severity)| {
        let target =
            |upn: Option<&str>| Target { kind: EntityKind::User, id: None, upn: upn.map(str::to_owned), name: None };
        Record {
            result: result.map(str::to_owned),
            targets: upns.into_iter().map(target).collect(),
            severity,
            ..record()
        }
    })
}

/// A rule with a condition of its own and two routes.
fn with_routes(parts: &[String; 5], severity: &str) -> Rule {
    let [when, first, without, second, but] = parts;
    rule(&format!(
        "{severity}when = {{ {when} }}\n[[route]]\nwhen = {{ {first} }}\nunless = {{ {without} }}\n[[route]]\nwhen = {{ {second} }}\nunless = {{ {but} }}"
    ))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn where_one_condition_implies_another_no_record_fulfils_it_alone(
        (one, other) in (0..3_u32).prop_flat_map(|depth| (conditions(depth), conditions(depth))),
        records in prop::collection::vec(records(), 16),
    ) {
        let of = |text: &str| rule(&format!("when = {{ {text} }}"));
        let (one, other) = (of(&one), of(&other));
        if one.when.implies(&other.when) {
            for record in &records {
                prop_assert!(!matches(&one, record) || matches(&other, record), "{:?}", record.targets);
            }
        }
    }

    #[test]
    fn what_is_proved_never_to_be_taken_is_never_taken(
        parts in prop::array::uniform5(conditions(2)),
        // A part that stands in two places makes most of the proofs.
        twin in (0..5_usize, 0..5_usize),
        severity in prop::sample::select(vec!["", "severity = 'low'\n", "severity = 'high'\n"]),
        records in prop::collection::vec(records(), 8),
    ) {
        let mut parts = parts;
        parts[twin.0] = parts[twin.1].clone();
        let rule = with_routes(&parts, severity);
        let never: Vec<usize> = rule.routes_never_taken().into_iter().map(|(place, _)| place).collect();
        for record in &records {
            let decision = decide(&rule, record);
            prop_assert!(!(decision.matched && rule.never_matches().is_some()), "{parts:#?}");
            if decision.matched {
                prop_assert!(decision.route.is_none_or(|route| !never.contains(&route)), "{never:?} {parts:#?}");
                prop_assert!(decision.route.is_some() || rule.takes_all().is_none(), "{parts:#?}");
            }
        }
    }
}

#[test]
fn what_can_be_proved_is_proved_and_no_more() {
    for (what, condition, other, expected) in [
        ("the same", "result = 'a'", "result = 'A'", true),
        ("anything implies nothing", "result = 'a'", "", true),
        ("nothing implies nothing else", "", "result = 'a'", false),
        ("fewer values", "result = 'a'", "result = ['b', 'a']", true),
        ("more values", "result = ['b', 'a']", "result = 'a'", false),
        ("more conditions", "result = 'a', category = 'b'", "category = 'b'", true),
        ("fewer conditions", "category = 'b'", "result = 'a', category = 'b'", false),
        ("in whatever order", "result = 'a', category = 'b'", "category = 'b', result = 'a'", true),
        ("another field", "result = 'a'", "category = 'a'", false),
        ("a value that begins so", "resource = '/a/b'", "resource = { starts_with = '/A/' }", true),
        ("a value that does not", "resource = '/ab'", "resource = { starts_with = '/A/' }", false),
        ("a higher threshold", "severity = { at_least = 'high' }", "severity = { at_least = 'low' }", true),
        ("a lower threshold", "severity = { at_least = 'low' }", "severity = { at_least = 'high' }", false),
        ("a value above the threshold", "severity = ['critical', 'high']", "severity = { at_least = 'high' }", true),
        ("the threshold in words", "severity = { at_least = 'high' }", "severity = ['critical', 'high']", true),
        (
            "a threshold in too few words",
            "severity = { at_least = 'medium' }",
            "severity = ['critical', 'high']",
            false,
        ),
        ("another value than is negated", "result = { not = 'a' }", "not = { result = 'a' }", true),
        ("another value of several", "target.upn = 'b'", "not = { target.upn = 'a' }", false),
        ("another value of one", "result = 'b'", "not = { result = 'a' }", true),
        ("more is excluded", "result = { not = ['a', 'b'] }", "result = { not = 'b' }", true),
        ("less is excluded", "result = { not = 'b' }", "result = { not = ['a', 'b'] }", false),
        ("one of several", "result = 'a'", "any = [{ category = 'x' }, { result = 'a' }]", true),
        ("each of several", "any = [{ result = 'a' }, { result = 'b' }]", "result = ['a', 'b', 'c']", true),
        ("the negation of what is wider", "not = { result = ['a', 'b'] }", "not = { result = 'a' }", true),
        ("the negation of what is narrower", "not = { result = 'a' }", "not = { result = ['a', 'b'] }", false),
        (
            "of one element",
            "some = { targets = { upn = 'a', type = 'user' } }",
            "some = { targets = { upn = 'a' } }",
            true,
        ),
        ("one is not each", "some = { targets = { upn = 'a' } }", "every = { targets = { upn = 'a' } }", false),
        ("a pattern is only itself", "result = { matches = 'a' }", "result = { matches = 'a|b' }", false),
        ("the same pattern", "result = { matches = 'a' }", "result = { matches = 'a' }", true),
        (
            "what one change was from is not what it changed",
            "changes = { changed = 'from a' }",
            "changes = { from = 'a' }",
            false,
        ),
    ] {
        let of = |text: &str| rule(&if text.is_empty() { String::new() } else { format!("when = {{ {text} }}") }).when;
        assert_eq!(of(condition).implies(&of(other)), expected, "{what}");
    }
}

#[test]
fn what_contradicts_is_proved_and_no_more() {
    for (what, condition, other, expected) in [
        ("another value of one", "state = 'Unhealthy'", "state = 'Healthy'", true),
        ("the same value", "state = 'Healthy'", "state = ['healthy', 'x']", false),
        ("of several values each may be", "target.upn = 'a'", "target.upn = 'b'", false),
        ("an operation may be the activity, too", "operation = 'a'", "operation = 'b'", false),
        ("below the threshold", "severity = 'low'", "severity = { at_least = 'high' }", true),
        ("on the threshold", "severity = 'high'", "severity = { at_least = 'high' }", false),
        ("what is excluded", "target.upn = 'a'", "target.upn = { not = ['a', 'b'] }", true),
        ("more than is excluded", "target.upn = ['a', 'c']", "target.upn = { not = ['a', 'b'] }", false),
        ("there and not", "result = { exists = true }", "result = { exists = false }", true),
        ("the negation of what is wider", "result = 'a'", "not = { result = ['a', 'b'] }", true),
        ("each of several", "any = [{ state = 'a' }, { state = 'b' }]", "state = 'c'", true),
        ("one of several", "any = [{ state = 'a' }, { result = 'b' }]", "state = 'c'", false),
        ("outside the scope", "resource = '/g/ab'", "resource = { starts_with = '/g/a/' }", true),
        ("the scope itself", "resource = '/g/a'", "resource = { starts_with = '/g/a/' }", false),
    ] {
        let of = |text: &str| rule(&format!("when = {{ {text} }}")).when;
        assert_eq!(of(condition).contradicts(&of(other)), expected, "{what}");
        assert_eq!(of(other).contradicts(&of(condition)), expected, "{what}, the other way round");
    }
}

#[test]
fn what_matches_nothing_is_proved_and_no_more() {
    let foreign = |field: &str| Some(Nothing::Foreign(field.into()));
    for (what, on, when, expected) in [
        ("two values of one", "any", "all = [{ result = 'a' }, { result = 'b' }]", Some(Nothing::Contradicted)),
        ("a value that is excluded", "any", "result = { in = 'a', not = 'a' }", Some(Nothing::Contradicted)),
        ("two values of several", "any", "all = [{ target.upn = 'a' }, { target.upn = 'b' }]", None),
        ("one of two values", "any", "any = [{ result = 'a' }, { result = 'b' }]", None),
        ("a field that is nowhere", "entra.audit", "severity = { at_least = 'high' }", foreign("severity")),
        ("its absence", "entra.audit", "severity = { exists = false }", None),
        ("another value than one that is nowhere", "entra.audit", "severity = { not = 'low' }", None),
        ("one of two ways", "entra.audit", "any = [{ severity = 'low' }, { result = 'a' }]", None),
        ("neither of two ways", "entra.audit", "any = [{ severity = 'low' }, { state = 'a' }]", foreign("severity")),
        ("a result where there is none", "defender.alert", "result = 'success'", foreign("result")),
        ("another dialect", "entra.audit", "dialect = 'entra.signin'", foreign("dialect")),
        ("the dialect itself", "entra.audit", "dialect = { in = ['entra.audit', 'entra.signin'] }", None),
    ] {
        let rule = rule(&format!("on = '{on}'\nwhen = {{ {when} }}"));
        assert_eq!(rule.never_matches(), expected, "{what}");
    }
}

#[test]
fn a_route_that_the_rule_rules_out_is_never_taken() {
    let never = |own: &str, route: &str| {
        rule(&format!("{own}\n[[route]]\nwhen = {{ {route} }}\nmute = true")).routes_never_taken()
    };
    let ruled_out = vec![(0, Never::Contradicted)];
    for (what, own, route, expected) in [
        ("by its severity", "severity = 'low'", "severity = { at_least = 'high' }", true),
        ("not by another's", "severity = 'low'\nwhen = { severity = 'high' }", "severity = 'low'", false),
        ("by what it asks for", "when = { state = 'Unhealthy' }", "state = 'Healthy'", true),
        ("by the record's severity", "when = { severity = 'low' }", "severity = 'high'", true),
        ("by its dialect", "on = 'defender.alert'", "result = 'failure'", true),
        ("a route sees a severity where the record has none", "on = 'entra.audit'", "severity = 'medium'", false),
        ("a record without one is medium", "when = { severity = { not = 'medium' } }", "severity = 'medium'", false),
    ] {
        assert_eq!(never(own, route), if expected { ruled_out.clone() } else { vec![] }, "{what}");
    }
}
