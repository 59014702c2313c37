//! Words of the language where a field should stand, and operands that an operator cannot take: each a fault with its remedy.

use super::*;

/// The faults of a `when`.
fn faults(when: &str) -> Vec<String> {
    read(&format!("{LEAST}when = {{ {when} }}")).unwrap_err()
}

#[test]
fn a_word_of_the_language_is_no_part_of_a_path_without_a_word_said() {
    for (what, when, expected) in [
        (
            "a quantifier behind its list",
            "raw.properties.policies = { some = { displayName = 'x', result = 'y' } }",
            "when.raw.properties.policies.some | `some` goes before the list; write some = { \"raw.properties.policies\" = \
             { … } }; a field of that name stands in quotes: 'raw.properties.policies.\"some\"'",
        ),
        ("another", "raw.a.every.b = 'x'", "write every = { \"raw.a\" = { … } }"),
        (
            "a branch",
            "raw.a = { any = [{ b = 'x' }] }",
            "`any` goes before whole conditions; write any = [{ … }, { … }]",
        ),
        ("below a view's field", "target = { some = { name = 'x' } }", "write some = { \"target\" = { … } }"),
        (
            "an operator of the element itself",
            "every = { 'raw.x' = { in = ['a'] } }",
            "when.every.raw.x.in | `in` is an operator among fields; write element = { in = … }; a field of that name stands \
             in quotes: '\"in\"'",
        ),
        (
            "one that is turned about",
            "every = { 'raw.x' = { not = { cidr = '10.0.0.0/8' } } }",
            "write element = { cidr = … }",
        ),
        ("an operator too deep", "'raw.a.contains.b' = 'x'", "write raw.a = { contains = … }"),
        (
            "a value of the element itself",
            "some = { 'raw.x' = 'a' }",
            "e.g. { element = \"VALUE\" } of the element itself",
        ),
        ("none of it", "some = { 'raw.x' = { not = 'a' } }", "e.g. { element = \"VALUE\" } of the element itself"),
        ("a field that is an operator", "raw.mail.from = 'x'", "stands in quotes within the path: 'raw.x.\"from\"'"),
        ("below it", "'raw.mail.from.address' = 'x'", "in quotes: 'raw.mail.\"from\".address'"),
        ("a bare number", "raw.a.3.b = 'x'", "a list means any of its elements"),
        ("a bare number at the end", "raw.a.3 = 'x'", "a list means any of its elements"),
        ("a number in a path in quotes", "'raw.a.3.b' = 'x'", "a list means any of its elements"),
        (
            "the element of a target",
            "some = { targets = { element = 'x' } }",
            "unknown field `element`; known: type, id, upn",
        ),
        ("an element without each", "element = 'x'", "there is no element: `element` and `element.PATH` go with each"),
    ] {
        let faults = faults(when);
        assert!(faults.len() == 1 && faults[0].contains(expected), "{what}: {faults:#?}\n  lacks {expected}");
    }
}

#[test]
fn what_an_operator_cannot_take_from_a_list_is_refused() {
    for (what, when, expected) in [
        (
            "no such list",
            "actor.ip = { cidr = { in_list = 'net' } }",
            "cidr.in_list | names `net`, and there is no such list",
        ),
        (
            "no networks",
            "actor.ip = { cidr = { in_list = 'vip' } }",
            "list entry `alice@example.com` must be a network such",
        ),
        (
            "another table",
            "result = { contains = { like = 'x' } }",
            "must be a text, a list of them, or { in_list = \"NAME\" }",
        ),
        ("a number of a list", "raw.x = { gt = { in_list = 'vip' } }", "raw.x.gt | must be a text, a number"),
        (
            "networks as texts",
            "actor.ip = { not = { in_list = 'nets' } }",
            "compares texts, and `192.0.2.0/24` is a network, which no address equals; write actor.ip = { cidr = … }, which \
             takes { in_list = \"NAME\" } too",
        ),
        ("a network as a text", "details.ipAddress = ['192.0.2.7', '10.0.0.0/8']", "`10.0.0.0/8` is a network"),
        ("excluded", "raw.CallerIpAddress = { not = '10.0.0.0/8' }", "`10.0.0.0/8` is a network"),
    ] {
        let faults = faults(when);
        assert!(faults.len() == 1 && faults[0].contains(expected), "{what}: {faults:#?}\n  lacks {expected}");
    }
    for when in [
        "raw.properties.rules.sourceAddressPrefix = '10.0.0.0/8'",
        "changes = { to = '10.0.0.0/8' }",
        "actor.ip = { in_list = 'words' }",
        "details.zip = '7/9'",
    ] {
        read(&format!("{LEAST}when = {{ {when} }}")).unwrap();
    }
}
