//! What is told of a rule, or a route, that does not match.

use super::*;

#[test]
fn every_failing_leaf_is_told_not_only_the_first() {
    let rule = rule("when = { operation = 'Add user', result = ['failure'], by_self = false, details.nothing = 1 }");
    let sample = Record { flags: vec![Flag::Sample], ..record() };
    let failed: Vec<_> =
        decide(&rule, &sample).failed.iter().map(|leaf| serde_json::to_string(leaf).unwrap()).collect();
    assert_eq!(
        failed,
        [
            r#"{"where":"when","key":"operation","op":"in","want":["Add user"],"got":["Reset user password","Reset password (by admin)"],"negated":false}"#,
            r#"{"where":"when","key":"result","op":"in","want":["failure"],"got":["success"],"negated":false}"#,
            r#"{"where":"when","key":"details.nothing","op":"in","want":["1"],"got":[],"negated":false}"#,
            r#"{"where":"when","key":"flags","op":"not","want":["sample","snapshot","building-block"],"got":["sample"],"negated":false}"#,
        ]
    );
}

#[test]
fn a_comparison_that_was_turned_about_is_told_as_such() {
    for (what, text, expected) in [
        ("as it stands", "when = { actor.ip = { cidr = '10.0.0.0/8' } }", vec!["When actor.ip Cidr false"]),
        ("an operator", "when = { actor.ip = { not = { cidr = '192.0.2.0/24' } } }", vec!["When actor.ip Cidr true"]),
        ("a condition", "when = { not = { result = 'success' } }", vec!["When result In true"]),
        ("turned about twice", "when = { not = { not = { result = 'failure' } } }", vec!["When result In false"]),
        ("a value is an operator of its own", "when = { result = { not = 'success' } }", vec!["When result Not false"]),
        ("and that turned about", "when = { not = { result = { not = 'failure' } } }", vec!["When result Not true"]),
        ("an exception", "unless = { result = 'success' }", vec!["Unless result In false"]),
        ("an exception turned about", "unless = { not = { result = 'failure' } }", vec!["Unless result In true"]),
        (
            "of one element that none may be",
            "when = { not = { some = { targets = { name = 'Alice' } } } }",
            vec!["When targets.name In true"],
        ),
        ("of a list without any", "when = { every = { 'raw.a' = { b = 'x' } } }", vec!["When raw.a Exists false"]),
        (
            "an exception of a list without any",
            "unless = { not = { some = { 'raw.a' = { b = 'x' } } } }",
            vec!["Unless raw.a Exists true"],
        ),
    ] {
        let decision = decide(&rule(text), &record());
        let leaf = |leaf: &FailedLeaf| format!("{:?} {} {:?} {}", leaf.place, leaf.key, leaf.op, leaf.negated);
        assert_eq!(decision.failed.iter().map(leaf).collect::<Vec<_>>(), expected, "{what}");
    }
    let empty = decide(&rule("when = { every = { 'raw.a' = { b = 'x' } } }"), &record()).failed;
    assert_eq!((&empty[0].want[..], &empty[0].got[..]), (&["true".to_owned()][..], &[][..]));
}

#[test]
fn routes_that_do_not_hold_say_why() {
    let routed = "[[route]]\nwhen = { severity = 'low' }\nmute = true\n[[route]]\nwhen = { by_self = false }\n\
                  unless = { result = 'success' }\nmute = true\n";
    let why = |more: &str| {
        let decision = decide(&rule(&format!("severity = 'critical'\n{routed}{more}")), &record());
        let leaf = |leaf: &FailedLeaf| format!("{} {:?} {:?}", leaf.key, leaf.want, leaf.got);
        let passed = decision.passed.iter().map(|one| (one.route, one.failed.iter().map(leaf).collect::<Vec<_>>()));
        (decision.route, passed.collect::<Vec<_>>())
    };
    let both = vec![
        (0, vec!["severity [\"low\"] [\"critical\"]".to_owned()]),
        (1, vec!["result [\"success\"] [\"success\"]".to_owned()]),
    ];
    assert_eq!(why(""), (None, both.clone()), "none holds: of each why");
    let more = "[[route]]\nwhen = { result = 'success' }\nmute = true\n[[route]]\nwhen = { result = 'x' }\nmute = true";
    assert_eq!(why(more), (Some(2), both), "none behind the one that is taken");
}
