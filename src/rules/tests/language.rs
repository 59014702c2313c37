//! The corners of the language: operators that take a list, elements that are plain values, names that are words of it.

use serde_json::json;

use super::*;

/// Of the table's record, with plain lists and awkward names.
fn plain() -> Record {
    let raw = json!({
        "tags": ["gold", "web"], "ips": ["192.0.2.7", "203.0.113.9"], "codes": [7, 50053],
        "groups": [{"names": ["a", "b"]}, {"names": ["c"]}],
        "map": {"3": {"b": "three"}, "4": "four"}, "mail": {"from": "gil@example.com", "to": "hana@example.com"},
        "all": {"some": "x"}, "list": [{"in": "x", "element": "own", "3": "three"}],
    });
    let details = BTreeMap::from([("from".into(), "gil".into()), ("a.in".into(), "both".into())]);
    Record { details, raw, ..record() }
}

#[test]
fn what_stands_at_the_corners_of_the_language_can_be_said() {
    for (what, when, expected) in [
        ("networks of a list", "actor.ip = { cidr = { in_list = 'nets' } }", true),
        ("networks of a list, none", "actor.ip = { not = { cidr = { in_list = 'nets' } } }", false),
        ("networks of two lists", "actor.ip = { cidr = { in_list = ['lan', 'nets'] } }", true),
        ("networks of another list", "actor.ip = { cidr = { in_list = 'lan' } }", false),
        ("beginnings of a list", "operation = { starts_with = { in_list = 'words' } }", true),
        ("ends of a list", "actor.upn = { ends_with = { in_list = 'words' } }", true),
        ("parts of a list", "service = { contains = { in_list = 'words' } }", false),
        ("patterns of a list", "activity = { matches = { in_list = 'words' } }", true),
        ("properties of a list", "changes = { changed = { in_list = 'properties' }, from = 'a' }", true),
        ("properties of another list", "changes = { changed = { in_list = 'words' } }", false),
        ("a value after, by a list", "changes = { to = { contains = { in_list = 'words' } } }", false),
        ("a plain element", "some = { 'raw.tags' = { element = 'GOLD' } }", true),
        ("a plain element, none such", "some = { 'raw.tags' = { element = 'tin' } }", false),
        ("every plain element", "every = { 'raw.tags' = { element = ['gold', 'web'] } }", true),
        ("every plain element, one not", "every = { 'raw.tags' = { element = { starts_with = 'g' } } }", false),
        ("one is outside", "some = { 'raw.ips' = { element = { not = { cidr = { in_list = 'nets' } } } } }", true),
        (
            "none is outside",
            "every = { 'raw.ips' = { element = { cidr = ['192.0.2.0/24', '203.0.113.0/24'] } } }",
            true,
        ),
        ("turned about", "every = { 'raw.ips' = { not = { element = { cidr = { in_list = 'nets' } } } } }", false),
        ("a number", "some = { 'raw.codes' = { element = { gt = 50000 } } }", true),
        ("two tests of one element", "some = { 'raw.codes' = { element = { gt = 6, lt = 8 } } }", true),
        ("of a list in an element", "every = { 'raw.groups' = { some = { names = { element = ['b', 'c'] } } } }", true),
        ("an element as JSON", "some = { 'raw.groups' = { element = { contains = '\"c\"' } } }", true),
        ("below an element", "some = { 'raw.groups' = { element.names = 'c' } }", true),
        ("a name that is a number", "raw.map.\"3\".b = 'three'", true),
        ("at the end", "raw.map.\"4\" = 'four'", true),
        ("in a path in quotes", "'raw.map.\"3\".b' = 'three'", true),
        ("of an element", "some = { 'raw.list' = { \"3\" = 'three' } }", true),
        ("a name that is an operator", "'raw.mail.\"from\"' = 'gil@example.com'", true),
        ("two that are", "'raw.mail' = { contains = 'gil' }, 'raw.mail.\"to\"' = { starts_with = 'hana' }", true),
        ("names that are branches", "'raw.\"all\".\"some\"' = 'x'", true),
        ("an operator as a name of an element", "some = { 'raw.list' = { '\"in\"' = 'x' } }", true),
        ("an element's own `element`", "some = { 'raw.list' = { '\"element\"' = 'own' } }", true),
        ("a detail that is an operator", "'details.\"from\"' = 'gil'", true),
        ("a detail with one in it", "'details.\"a.in\"' = 'both'", true),
    ] {
        let decision = decide(&rule(&format!("when = {{ {when} }}")), &plain());
        assert_eq!(decision.matched, expected, "{what}: {decision:?}");
        assert_eq!(decision.failed.is_empty(), expected, "{what}: {decision:?}");
    }
}

#[test]
fn what_an_operator_takes_from_a_list_is_told_by_the_lists_name() {
    let decision =
        decide(&rule("when = { some = { 'raw.ips' = { element = { cidr = { in_list = 'lan' } } } } }"), &plain());
    let told = |leaf: &FailedLeaf| format!("{} {:?} {:?} {:?}", leaf.key, leaf.op, leaf.want, leaf.got);
    assert_eq!(
        decision.failed.iter().map(told).collect::<Vec<_>>(),
        [
            "raw.ips.element Cidr [\"list:lan\"] [\"192.0.2.7\"]",
            "raw.ips.element Cidr [\"list:lan\"] [\"203.0.113.9\"]",
        ]
    );
}

/// Each of a list of plain values is held against the rule by itself, and may be who is told.
#[test]
fn a_rule_with_each_looks_at_plain_values_too() {
    let each = |rest: &str| {
        let lookups = lookups();
        let rule = rule(&format!("each = 'raw.tags'\nto = 'field:element'\n{rest}"));
        let decisions = rule.evaluate(&plain(), Known { now: NOW, lookups: &lookups });
        decisions.into_iter().map(|one| (one.element.unwrap().place.to_string(), one.matched)).collect::<Vec<_>>()
    };
    let told = |gold, web| vec![("raw.tags[0]".to_owned(), gold), ("raw.tags[1]".to_owned(), web)];
    assert_eq!(each("when = { element = 'web' }"), told(false, true));
    assert_eq!(each("when = { element = { not = 'web' } }"), told(true, false));
    assert_eq!(each("unless = { Element = { contains = 'e' } }"), told(true, false));
}
