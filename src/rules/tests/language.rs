//! The corners of the language: operators that take a list, elements that are plain values, names that are words of it.

use serde_json::json;

use super::*;

/// Of the table's record, with plain lists and awkward names.
fn plain() -> Record {
    let raw = json!({
        "score": 73.0, "numbers": [1, 9], "words": ["ab", "yz"], "address": "198.51.100.9:443", "six": "2001:0DB8:0:0::1",
        "mapped": "::ffff:198.51.100.9", "name": "Carol Top", "far": "101.2.3.4", "end": "Bell Inc.",
        "tags": ["gold", "web"], "ips": ["192.0.2.7", "203.0.113.9"], "codes": [7, 50053],
        "groups": [{"names": ["a", "b"]}, {"names": ["c"]}],
        "map": {"3": {"b": "three"}, "4": "four"}, "mail": {"from": "gil@example.com", "to": "hana@example.com"},
        "all": {"some": "x"}, "list": [{"in": "x", "element": "own", "3": "three"}],
    });
    let details = BTreeMap::from([("from".into(), "gil".into()), ("a.in".into(), "both".into())]);
    Record { details, raw, ..record() }
}

fn assert_holds(what: &str, when: &str, expected: bool) {
    let decision = decide(&rule(&format!("when = {{ {when} }}")), &plain());
    assert_eq!(decision.matched, expected, "{what}: {decision:?}");
    assert_eq!(decision.failed.is_empty(), expected, "{what}: {decision:?}");
}

#[test]
fn parts_addresses_numbers_and_several_values_compare_as_a_reader_thinks() {
    for (what, when, expected) in [
        ("a part with a final dot is not one without", "raw.far = { starts_with = '10.' }", false),
        ("such a part of a list", "raw.far = { starts_with = { in_list = 'dotted' } }", false),
        ("such a part inside", "raw.name = { contains = 'Top.' }", false),
        ("a dot alone", "raw.name = { contains = '.' }", false),
        ("a dot at the end of the value", "raw.end = { contains = 'inc.' }", true),
        ("an end without the value's dot", "raw.end = { ends_with = 'INC' }", true),
        ("an end with it", "raw.end = { ends_with = ' inc.' }", true),
        ("an end with a dot that is not there", "raw.name = { ends_with = 'top.' }", false),
        ("a beginning that is a word", "raw.name = { starts_with = 'car ' }", false),
        ("a whole word of it", "raw.name = { starts_with = 'carol ' }", true),
        ("a word at an end of the value", "raw.name = { contains = [' carol ', 'x'] }", true),
        ("a part of a word is none", "raw.name = { contains = ' to ' }", false),
        ("a word at the end", "raw.name = { ends_with = ' top ' }", true),
        ("an address with a port", "raw.address = '198.51.100.9'", true),
        ("an address that is an IPv4 one in IPv6", "raw.mapped = ['x', '198.51.100.9']", true),
        ("an address that is written longer", "raw.six = '2001:db8::1'", true),
        ("an address of a list", "raw.address = { in_list = 'hosts' }", true),
        ("another address", "raw.address = { not = '198.51.100.8' }", true),
        ("this address", "raw.address = { not = { in_list = 'hosts' } }", false),
        ("two addresses that are one", "raw.address = { same_as = 'raw.mapped' }", true),
        ("two that are not", "raw.address = { same_as = 'raw.six' }", false),
        ("a whole number", "raw.score = 73", true),
        ("a number with a point", "raw.score = 73.0", true),
        ("a number with an exponent", "raw.score = 7.3e1", true),
        ("no value is between", "raw.numbers = { gte = 5, lte = 7 }", false),
        ("one value is between", "raw.numbers = { gte = 8, lte = 10 }", true),
        ("no value has both ends", "raw.words = { starts_with = 'a', ends_with = 'z' }", false),
        ("one value has both", "raw.words = { starts_with = 'a', ends_with = 'b' }", true),
        ("and none is another", "raw.words = { starts_with = 'a', ends_with = 'b', not = 'yz' }", false),
        ("turned about", "raw.words = { not = { starts_with = 'a', ends_with = 'z' } }", true),
    ] {
        assert_holds(what, when, expected);
    }
}

#[test]
fn what_stands_at_the_corners_of_the_language_can_be_said() {
    for (what, when, expected) in [
        (
            "of an element, another way",
            "some = { 'raw.groups' = { some = { 'element.names' = { element = 'c' } } } }",
            true,
        ),
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
        assert_holds(what, when, expected);
    }
}

#[test]
fn where_no_value_fulfils_all_that_is_asked_of_one_what_failed_is_told() {
    for (what, when, expected) in [
        ("one of two fails", "raw.numbers = { gte = 5, lte = 0 }", vec!["lte 0"]),
        ("each has a value of its own", "raw.numbers = { gte = 5, lte = 7 }", vec!["gte 5", "lte 7"]),
        ("turned about", "raw.numbers = { not = { gte = 5, lte = 9 } }", vec!["not gte 5", "not lte 9"]),
    ] {
        let decision = decide(&rule(&format!("when = {{ {when} }}")), &plain());
        let told = |leaf: &FailedLeaf| {
            let not = if leaf.negated { "not " } else { "" };
            format!("{not}{} {}", serde_json::to_value(leaf.op).unwrap().as_str().unwrap(), leaf.want.join(", "))
        };
        assert_eq!(decision.failed.iter().map(told).collect::<Vec<_>>(), expected, "{what}");
        assert!(decision.failed.iter().all(|leaf| leaf.got == ["1", "9"]), "{what}");
    }
}

#[test]
fn a_quantifier_looks_at_the_lists_of_an_element_that_a_rule_is_held_against() {
    for (what, when, expected) in [
        ("one of its elements", "some = { 'element.names' = { element = 'c' } }", [false, true]),
        ("each of them", "every = { 'element.names' = { element = ['a', 'b'] } }", [true, false]),
        ("not one", "not = { some = { 'Element.names' = { element = 'c' } } }", [true, false]),
    ] {
        let lookups = lookups();
        let rule = rule(&format!("each = 'raw.groups'\nto = 'actor'\nwhen = {{ {when} }}"));
        let decisions = rule.evaluate(&plain(), Known { now: NOW, lookups: &lookups });
        assert_eq!(decisions.iter().map(|one| one.matched).collect::<Vec<_>>(), expected, "{what}: {decisions:?}");
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
