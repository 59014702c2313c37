//! The recipients that are found by reference: managers, other addresses, fields, lookups, the first of several.

use super::*;
use crate::record::Change;

fn user_name(id: &str) -> String {
    format!("user:{id} send")
}

/// Alice's manager is Dana; Alice has two other addresses; nobody else has anything.
fn with_directory(record: &Record, rules: &[Rule]) -> Vec<String> {
    with_directory_at(record, rules, now())
}

fn with_directory_at(record: &Record, rules: &[Rule], now: Timestamp) -> Vec<String> {
    let lookups = lookups();
    let known = Known { now, lookups: &lookups };
    let alice = Recipient::User(ALICE.into());
    let manager = |of: &Recipient| (*of == alice).then(|| Recipient::User(DANA.into()));
    let alternates = |of: &Recipient| {
        if *of == alice { vec!["a1@example.com".into(), "A2@example.com".into()] } else { Vec::new() }
    };
    let directory = Directory { canonical: &canonical, manager: &manager, alternates: &alternates };
    let matches: Vec<Match<'_>> = rules.iter().flat_map(|rule| rule.matches(record, known)).collect();
    let context = Context { known, broker_time: Some(now), rules_seen: &HashMap::new(), directory };
    told(&plan(record, &matches, &context))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table, one line of logic")]
fn references_lead_to_people_or_say_that_they_do_not() {
    let alice = || user(Some(ALICE), Some("alice@example.com"));
    let bob = || user(Some(BOB), Some("bob@example.com"));
    let manager = |of: &str| format!("manager:{of} send");
    let one = |text: &str| vec![text.to_owned()];
    for (why, text, targets, expected) in [
        (
            "the manager of each target",
            "to = 'target.manager'",
            vec![alice(), bob()],
            vec![manager(ALICE), manager(BOB)],
        ),
        ("the actor's manager", "to = 'actor.manager'", vec![alice()], vec![manager(DANA)]),
        ("no user, no manager", "to = 'target.manager'", vec![thing(EntityKind::Group)], one("- Skipped(no-user)")),
        ("somebody without a name", "to = 'target.manager'", vec![user(None, None)], one("- Skipped(no-identity)")),
        (
            "a manager who did it himself is excepted as the directory knows him",
            "to = ['target', 'target.manager']\nexcept = 'actor'",
            vec![alice()],
            vec![user_name(ALICE), format!("manager:{ALICE} Skipped(except)")],
        ),
        (
            "a manager who is told already is not told again",
            "to = ['actor', 'target.manager']",
            vec![alice()],
            vec![user_name(DANA)],
        ),
        (
            "other addresses, each by itself",
            "to = ['target', 'target.alternates']",
            vec![alice()],
            vec![user_name(ALICE), "addr:a1@example.com send".into(), "addr:a2@example.com send".into()],
        ),
        ("none of them", "to = 'target.alternates'", vec![bob()], one("- Skipped(no-other-address)")),
        (
            "A14: a lookup that has no row",
            "to = 'lookup:owners.mail'\nwhen = { subscription = 'sub-1' }\nunless = { result = 'failure' }",
            vec![],
            vec!["addr:ann@example.com send".into(), "addr:bob@example.com send".into()],
        ),
        ("a field that holds an address", "to = 'field:actor.upn'", vec![], one("addr:helpdesk@example.com send")),
        ("a field that holds an object id", "to = 'field:actor.id'", vec![], vec![user_name(DANA)]),
        ("a field that holds neither", "to = 'field:actor.name'", vec![], one("missing:field:actor.name send")),
        ("a field that is not there", "to = 'field:raw.nothing'", vec![], one("missing:field:raw.nothing send")),
        (
            "a field that names the target who is told already",
            "to = ['target', 'field:target.upn']",
            vec![alice()],
            vec![user_name(ALICE)],
        ),
        (
            "A8: the first entry that names somebody who is not excepted",
            "to = { first_of = ['field:raw.nothing', 'target', 'list:soc'] }\nexcept = 'bob@example.com'",
            vec![alice(), bob()],
            vec![user_name(ALICE), format!("user:{BOB} Skipped(except)")],
        ),
        (
            "where all of an entry are excepted the next one is told",
            "to = { first_of = ['target', 'list:soc'] }\nexcept = 'target'",
            vec![alice()],
            one("addr:soc@example.com send"),
        ),
        (
            "A17: the manager where there is one",
            "to = { first_of = ['target.manager', 'list:soc'] }",
            vec![alice()],
            vec![manager(ALICE)],
        ),
        (
            "A17: the list where there is none",
            "to = { first_of = ['target.manager', 'list:soc'] }",
            vec![bob()],
            one("addr:soc@example.com send"),
        ),
        (
            "nobody at all of a first_of is missed as its last entry is",
            "to = { first_of = ['target.manager', 'lookup:owners.tier'] }",
            vec![thing(EntityKind::Group)],
            one("missing:lookup:owners.tier send"),
        ),
        ("nobody of words alone", "to = { first_of = ['target'] }", vec![], one("- Skipped(nobody-of)")),
        ("nobody is on duty at 19:15", "to = 'list:shift'", vec![], one("- Skipped(off-duty)")),
    ] {
        assert_eq!(with_directory(&with_targets(targets), &[rule(text)]), expected, "{why}");
    }
}

#[test]
fn of_a_field_everybody_is_told_whatever_is_written_around_the_address() {
    let owners = |text: &str| {
        let details = [("owner".to_owned(), text.to_owned())].into();
        let record = Record { details, ..with_targets(Vec::new()) };
        with_directory(&record, &[rule("to = 'field:details.owner'")])
    };
    let address = |name: &str| format!("addr:{name}@example.com send");
    for (what, text, expected) in [
        (
            "a name before it",
            format!("Dana <dana@example.com>; erik@example.com, {BOB}"),
            vec![address("dana"), address("erik"), user_name(BOB)],
        ),
        ("a name with a comma", "\"Okafor, Dana\" < Dana@example.com >".to_owned(), vec![address("dana")]),
        ("nothing but the brackets", "<dana@example.com>".to_owned(), vec![address("dana")]),
        ("brackets around a word", "Dana <dana>".to_owned(), vec!["missing:field:details.owner send".to_owned()]),
    ] {
        assert_eq!(owners(&text), expected, "{what}");
    }
}

/// A14, A23: an unknown key leads to nobody, and that is told.
#[test]
fn a_lookup_without_a_row_or_a_value_is_missed() {
    for (why, subscription, expected) in [
        ("a row with two addresses", Some("Sub-1"), vec!["addr:ann@example.com send", "addr:bob@example.com send"]),
        ("a row without one", Some("sub-2"), vec!["missing:lookup:owners.mail send"]),
        ("no row", Some("sub-9"), vec!["missing:lookup:owners.mail send"]),
        ("no key", None, vec!["missing:lookup:owners.mail send"]),
    ] {
        let record = Record { subscription: subscription.map(Into::into), ..record() };
        assert_eq!(with_directory(&record, &[rule("to = 'lookup:owners.mail'")]), expected, "{why}");
    }
}

/// A21: who is on duty changes at the hour that the place's clock shows, on the days on which that is changed too.
#[test]
fn a_list_is_told_while_its_entry_is_on_duty() {
    let at = |text: &str| Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
    let gil = "addr:gil@example.com send";
    for (why, moment, expected) in [
        ("05:59 in winter", "2026-03-28T04:59:59Z", "- Skipped(off-duty)"),
        ("06:00 in winter", "2026-03-28T05:00:00Z", gil),
        ("05:59 on the day summer time begins", "2026-03-29T03:59:59Z", "- Skipped(off-duty)"),
        ("06:00 on that day", "2026-03-29T04:00:00Z", gil),
        ("14:00 on that day", "2026-03-29T12:00:00Z", "- Skipped(off-duty)"),
    ] {
        let record = Record { time: Some(at(moment)), ..record() };
        assert_eq!(with_directory_at(&record, &[rule("to = 'list:shift'")], at(moment)), [expected], "{why}");
    }
}

#[test]
fn previous_addresses_are_those_that_are_gone() {
    let change =
        |name: &str, old: serde_json::Value, new: serde_json::Value| Change { target: 0, name: name.into(), old, new };
    let changes = vec![
        change("Mail", "old@example.com".into(), "new@example.com".into()),
        change(
            "ProxyAddresses",
            serde_json::json!(["SMTP:new@example.com", "smtp:p@example.com"]),
            serde_json::json!(["SMTP:New@example.com"]),
        ),
        change(
            "OtherMail",
            serde_json::json!(["home@example.com", "new@example.com"]),
            serde_json::json!(["new@example.com"]),
        ),
        change("AlternativeEmail", "older@example.com".into(), "".into()),
        change("UserPrincipalName", "none".into(), "new@example.com".into()),
        change("DisplayName", "x@example.com".into(), "y".into()),
        Change { target: 1, ..change("mail", "group@example.com".into(), "".into()) },
    ];
    let record = Record { changes, ..with_targets(vec![user(Some(ALICE), None), thing(EntityKind::Group)]) };
    let told = with_directory(&record, &[rule("to = 'target.previous'")]);
    let expected = ["old", "p", "home", "older"].map(|name| format!("addr:{name}@example.com send"));
    assert_eq!(told, expected);
    let unchanged = Record { changes: Vec::new(), ..record };
    assert_eq!(with_directory(&unchanged, &[rule("to = 'target.previous'")]), ["- Skipped(no-other-address)"]);
}

#[test]
fn with_each_the_target_is_that_one() {
    let record = with_targets(vec![user(Some(ALICE), None), user(Some(BOB), None)]);
    let each = rule("each = 'targets'\nto = ['target', 'list:soc']");
    let intents = decide(&record, &[each]);
    let alice = format!("user:{ALICE} send");
    let bob = format!("user:{BOB} send");
    let soc = "addr:soc@example.com send";
    assert_eq!(told(&intents), [alice.as_str(), soc, bob.as_str(), soc], "the list hears of each of them");
    assert_eq!(intents[0].element.as_deref(), Some(ALICE));
    let changed =
        Record { changes: vec![Change { target: 1, name: "Role".into(), old: "a".into(), new: "b".into() }], ..record };
    assert_eq!(told(&decide(&changed, &[rule("each = 'changes'")])), [bob.as_str()], "whose change it is");
}

#[test]
fn with_each_a_reference_is_that_elements_too() {
    let record =
        with_targets(vec![user(Some(ALICE), Some("alice@example.com")), user(Some(BOB), Some("bob@example.com"))]);
    let of_targets = rule("each = 'targets'\nto = 'field:target.upn'");
    assert_eq!(told(&decide(&record, &[of_targets])), ["addr:alice@example.com send", "addr:bob@example.com send"]);
    let raw = serde_json::json!({"owners": [{"mail": "a@example.com"}, {"mail": "b@example.com"}, {"mail": ""}]});
    let of_path = rule("each = 'raw.owners'\nto = 'field:element.mail'");
    let told = told(&decide(&Record { raw, ..record }, &[of_path]));
    assert_eq!(told, ["addr:a@example.com send", "addr:b@example.com send", "missing:field:element.mail send"]);
}

#[test]
fn a_route_decides_whom_to_tell_and_a_mute_one_says_what_it_kept_back() {
    let record = with_targets(vec![user(Some(ALICE), None)]);
    let alice = format!("user:{ALICE}");
    let base = "to = 'target'\nseverity = 'low'\n";
    for (why, text, expected) in [
        (
            "the route's people",
            format!("{base}route = [{{ when = {{ severity = 'low' }}, to = 'list:soc' }}]"),
            "addr:soc@example.com send".to_owned(),
        ),
        (
            "no route holds",
            format!("{base}route = [{{ when = {{ severity = 'high' }}, to = 'list:soc' }}]"),
            format!("{alice} send"),
        ),
        ("a mute route", format!("{base}route = [{{ mute = true }}]"), format!("{alice} Muted(route)")),
        (
            "mute in shadow is still mute",
            format!("{base}mode = 'shadow'\nroute = [{{ mute = true }}]"),
            format!("{alice} Muted(route)"),
        ),
    ] {
        assert_eq!(told(&decide(&record, &[rule(&text)])), [expected], "{why}");
    }
    let only_routes = "id = 'r'\non = 'any'\nto = 'target'\ntemplate = 'password-reset'\n[[route]]\nwhen = { severity = 'low' }\nchannels = 'email'\n";
    let only_routes = crate::rules::parse::tests::read(only_routes).unwrap();
    assert_eq!(told(&decide(&record, &[only_routes])), ["- Skipped(no-route)"]);
    let muted = "id = 'r'\non = 'any'\n[[route]]\nmute = true\n";
    let muted = crate::rules::parse::tests::read(muted).unwrap();
    assert_eq!(told(&decide(&record, &[muted])), ["- Muted(route)"]);
    let graver = rule("severity = 'low'\nroute = [{ severity = 'critical', policy = 'personal' }]");
    let intent = decide(&record, &[graver]).remove(0);
    assert_eq!(intent.severity, Severity::Critical);
    assert!(matches!(intent.fate, Fate::Send { group: Some(_), .. }), "the route's policy");
}
