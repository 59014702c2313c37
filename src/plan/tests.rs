//! Who is told, as a table of situations, and the promises that hold for every record.

use std::collections::BTreeSet;
use std::str::FromStr;

use proptest::prelude::*;

use super::*;
use crate::record::{Actor, Dialect, EntityKind, Target};
use crate::rules::parse::tests::lookups;
use crate::rules::tests::{record, rule};
use crate::rules::{Rule, To};

mod extent;
mod once;
mod recipients;

const ALICE: &str = "00000000-0000-0000-0000-0000000000aa";
const BOB: &str = "00000000-0000-0000-0000-0000000000bb";
const DANA: &str = "00000000-0000-0000-0000-0000000000dd";

/// The directory's answer for these tests: the object id where it is known, as with a people file that knows three.
fn canonical(id: Option<&str>, upn: Option<&str>) -> Option<Recipient> {
    let fold = |name: &str| name.trim().to_lowercase();
    let filed = |name: String| match name.as_str() {
        "alice@example.com" | r"contoso\alice" | "s-1-5-21-1-2-3-1001" => ALICE.to_owned(),
        "bob@example.com" => BOB.to_owned(),
        _ => name,
    };
    let name = id.or(upn).map(fold).map(filed)?;
    (!name.is_empty()).then(|| Recipient::User(name.into()))
}

/// A directory without a file: what the record says is all there is.
fn bare(id: Option<&str>, upn: Option<&str>) -> Option<Recipient> {
    id.or(upn).map(|name| Recipient::User(name.to_lowercase().into()))
}

fn user(id: Option<&str>, upn: Option<&str>) -> Target {
    Target { kind: EntityKind::User, id: id.map(Into::into), upn: upn.map(Into::into), name: Some("somebody".into()) }
}

fn thing(kind: EntityKind) -> Target {
    Target { kind, id: Some("11111111-0000-0000-0000-000000000000".into()), upn: None, name: None }
}

fn with_targets(targets: Vec<Target>) -> Record {
    Record { targets, ..record() }
}

/// A minute after the record.
fn now() -> Timestamp {
    record().time.unwrap().plus(Duration::from_mins(1))
}

fn decide(record: &Record, rules: &[Rule]) -> Vec<Intent> {
    decide_at(record, rules, now(), &HashMap::new(), &canonical)
}

fn decide_at(
    record: &Record,
    rules: &[Rule],
    now: Timestamp,
    rules_seen: &HashMap<Arc<str>, Timestamp>,
    canonical: Canonical<'_>,
) -> Vec<Intent> {
    let lookups = lookups();
    let known = Known { now, lookups: &lookups };
    let matches: Vec<Match<'_>> = rules.iter().flat_map(|rule| rule.matches(record, known)).collect();
    let directory = Directory { canonical, manager: &|_| None, alternates: &|_| Vec::new() };
    plan(record, &matches, &Context { known, broker_time: Some(now), rules_seen, directory })
}

/// `recipient verdict(reason)` of each, in order.
fn told(intents: &[Intent]) -> Vec<String> {
    let fate = |fate: &Fate| match fate {
        Fate::Send { .. } => "send".to_owned(),
        Fate::Ends { verdict, reason } => format!("{verdict:?}({reason})"),
    };
    let who = |intent: &Intent| intent.recipient.as_ref().map_or("-".into(), ToString::to_string);
    intents.iter().map(|intent| format!("{} {}", who(intent), fate(&intent.fate))).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table, one line of logic")]
fn each_person_concerned_is_told_once() {
    let (alice, bob) = (format!("user:{ALICE} send"), format!("user:{BOB} send"));
    let (alice, bob) = (alice.as_str(), bob.as_str());
    let a = || user(Some(ALICE), Some("alice@example.com"));
    let b = || user(Some(BOB), Some("bob@example.com"));
    let cases = [
        ("one user target", "", vec![a()], vec![alice]),
        ("two user targets are two notifications", "", vec![a(), b()], vec![alice, bob]),
        ("a group is no recipient", "", vec![a(), thing(EntityKind::Group)], vec![alice]),
        (
            "nor are devices, apps and roles, wherever they stand",
            "",
            vec![thing(EntityKind::Role), thing(EntityKind::App), b(), thing(EntityKind::Device)],
            vec![bob],
        ),
        ("no user at all", "", vec![thing(EntityKind::Group)], vec!["- Skipped(no-user)"]),
        ("no target at all", "", vec![], vec!["- Skipped(no-user)"]),
        ("a user without id and UPN cannot be named", "", vec![user(None, None)], vec!["- Skipped(no-identity)"]),
        (
            "the nameless does not hide the named",
            "",
            vec![user(None, None), a()],
            vec![alice, "- Skipped(no-identity)"],
        ),
        ("two entries of one person", "", vec![a(), a()], vec![alice]),
        ("id here, UPN there", "", vec![user(Some(ALICE), None), user(None, Some("ALICE@example.com"))], vec![alice]),
        (
            "DOMAIN\\user and SID",
            "",
            vec![user(None, Some(r"CONTOSO\Alice")), user(Some("S-1-5-21-1-2-3-1001"), None)],
            vec![alice],
        ),
        ("the actor", "to = 'actor'", vec![a()], vec![&*format!("user:{DANA} send")]),
        ("target and actor", "to = ['target', 'actor']", vec![a()], vec![alice, &*format!("user:{DANA} send")]),
        ("a list", "to = 'list:soc'", vec![], vec!["addr:soc@example.com send"]),
        (
            "an address, in one case",
            "to = ['Gil@Example.com', 'gil@example.com']",
            vec![],
            vec!["addr:gil@example.com send"],
        ),
        ("an address that is the target's", "to = ['target', 'alice@example.com']", vec![a()], vec![alice]),
        (
            "a list beside nobody",
            "to = ['target', 'list:soc']",
            vec![],
            vec!["addr:soc@example.com send", "- Skipped(no-user)"],
        ),
        (
            "all but the actor",
            "except = 'actor'",
            vec![a(), user(Some(DANA), None)],
            vec![alice, &*format!("user:{DANA} Skipped(except)")],
        ),
        (
            "except by address, target by SID",
            "except = 'alice@example.com'",
            vec![user(Some("S-1-5-21-1-2-3-1001"), None), b()],
            vec![&*format!("user:{ALICE} Skipped(except)"), bob],
        ),
        (
            "an address of a list that is the excepted target",
            "to = ['list:soc', 'alice@example.com']\nexcept = 'target'",
            vec![a()],
            vec!["addr:soc@example.com send", "addr:alice@example.com Skipped(except)"],
        ),
    ]
    .map(|(what, text, targets, expected)| {
        (what, text, targets, expected.into_iter().map(str::to_owned).collect::<Vec<_>>())
    });
    for (what, text, targets, expected) in cases {
        assert_eq!(told(&decide(&with_targets(targets), &[rule(text)])), expected, "{what}");
    }
}

#[test]
fn a_room_is_told_once_of_each_record_whoever_else_is() {
    let (alice, hook) = (format!("email user:{ALICE} send"), "ops-hook room:ops-hook send".to_owned());
    let a = || vec![user(Some(ALICE), Some("alice@example.com"))];
    for (why, text, targets, expected) in [
        ("a room alone needs no `to`", "to = 'target'\nchannels = 'ops-hook'", vec![], vec![hook.clone()]),
        ("people and the room", "channels = ['ops-hook', 'email']", a(), vec![alice, hook.clone()]),
        (
            "the room hears what nobody else does",
            "channels = ['email', 'ops-hook']",
            vec![],
            vec!["email - Skipped(no-user)".into(), hook.clone()],
        ),
        (
            "in shadow too",
            "channels = 'ops-hook'\nmode = 'shadow'",
            a(),
            vec!["ops-hook room:ops-hook Shadow(shadow)".into()],
        ),
    ] {
        let intents = decide(&with_targets(targets), &[rule(text)]);
        let lines = intents.iter().zip(told(&intents)).map(|(one, told)| format!("{} {told}", one.channel));
        assert_eq!(lines.collect::<Vec<_>>(), expected, "{why}");
        let ids: BTreeSet<_> = intents.iter().map(|intent| intent.id).collect();
        assert_eq!(ids.len(), intents.len(), "{why}");
    }
}

#[test]
fn an_app_that_acted_is_nobody_to_tell() {
    let app = Actor { kind: EntityKind::App, id: Some(DANA.into()), ..Actor::default() };
    let record = Record { actor: Some(app), ..record() };
    assert_eq!(told(&decide(&record, &[rule("to = 'actor'")])), ["- Skipped(no-user)"]);
}

#[test]
fn a_record_ties_the_names_of_one_person_together_without_a_directory() {
    let upn_only = || user(None, Some("erin@example.com"));
    let id_only = || user(Some(ALICE), None);
    let both = || user(Some(ALICE), Some("Erin@example.com"));
    let other = || user(Some(BOB), Some("erin@example.com"));
    let cases = [
        ("UPN then both", vec![upn_only(), both()], 1),
        ("id, UPN, then both", vec![id_only(), upn_only(), both()], 1),
        ("id and UPN that nothing ties", vec![id_only(), upn_only()], 2),
        ("two ids are two people, whatever the UPN", vec![both(), other()], 2),
    ];
    for (what, targets, people) in cases {
        let record = Record { actor: None, ..with_targets(targets) };
        let intents = decide_at(&record, &[rule("")], now(), &HashMap::new(), &bare);
        assert_eq!(intents.len(), people, "{what}: {:?}", told(&intents));
        assert_eq!(intents[0].recipient, Some(Recipient::User(ALICE.into())), "{what}: the id is the better name");
    }
    // The actor's entry ties too: by_self records often have the id only there.
    let actor = Actor {
        kind: EntityKind::User,
        id: Some(ALICE.into()),
        upn: Some("erin@example.com".into()),
        ..Actor::default()
    };
    let record = Record { actor: Some(actor), ..with_targets(vec![upn_only()]) };
    let intents = decide_at(&record, &[rule("to = ['target', 'actor']")], now(), &HashMap::new(), &bare);
    assert_eq!(told(&intents), [format!("user:{ALICE} send")]);
}

#[test]
fn what_is_not_sent_says_why() {
    let hours = |n: u64| Duration::from_hours(n);
    let happened = record().time.unwrap();
    let seen = |at: Timestamp| HashMap::from([(Arc::from("r"), at)]);
    let never = HashMap::new();
    let cases = [
        ("young enough", "", happened.plus(hours(72)).minus(Duration::from_millis(1)), never.clone(), "send"),
        (
            "older than max_age",
            "",
            happened.plus(hours(72)).plus(Duration::from_millis(1)),
            never.clone(),
            "Expired(too-old)",
        ),
        ("max_age is the rule's", "max_age = '1h'", happened.plus(hours(2)), never.clone(), "Expired(too-old)"),
        ("the rule is an hour younger than Kafka's time", "", now(), seen(now().plus(hours(1))), "send"),
        (
            "the rule is more than an hour younger",
            "",
            now(),
            seen(now().plus(hours(1)).plus(Duration::from_millis(1))),
            "Skipped(before-rule)",
        ),
        (
            "too old stands before before-rule",
            "",
            happened.plus(hours(100)),
            seen(happened.plus(hours(102))),
            "Expired(too-old)",
        ),
        ("shadow", "mode = 'shadow'", now(), never.clone(), "Shadow(shadow)"),
        (
            "shadow stands for what would have been sent",
            "mode = 'shadow'",
            happened.plus(hours(100)),
            never.clone(),
            "Expired(too-old)",
        ),
        (
            "another rule's age is none of ours",
            "",
            now(),
            HashMap::from([(Arc::from("x"), now().plus(hours(9)))]),
            "send",
        ),
    ];
    let raw =
        serde_json::json!({"StartTimeUtc": happened.to_string(), "EndTimeUtc": happened.plus(hours(99)).to_string()});
    let alert = Record { dialect: Dialect::DefenderAlert, raw, ..record() };
    let closed = decide_at(&alert, &[rule("")], happened.plus(hours(100)), &never, &canonical);
    assert_eq!(told(&closed), [format!("user:{ALICE} send")], "an alert is as old as what was last done to it");
    for (what, text, now, seen, expected) in cases {
        let intents = decide_at(&record(), &[rule(text)], now, &seen, &canonical);
        assert_eq!(told(&intents), [format!("user:{ALICE} {expected}")], "{what}");
    }
    let nobody = decide(&with_targets(vec![]), &[rule("mode = 'shadow'")]);
    assert_eq!(told(&nobody), ["- Skipped(no-user)"], "shadow or not, nobody is nobody");
}

#[test]
fn a_message_leaves_at_once_or_waits_for_its_group_and_lives_as_long_as_the_record_may() {
    let happened = record().time.unwrap();
    let sent = |record: &Record, text: &str, now: Timestamp| match decide_at(
        record,
        &[rule(text)],
        now,
        &HashMap::new(),
        &canonical,
    )
    .remove(0)
    .fate
    {
        Fate::Send { due_at, expires_at, group } => (due_at, expires_at, group.is_some()),
        Fate::Ends { reason, .. } => panic!("{reason}"),
    };
    let span = Duration::from_secs;
    let end = happened.plus(span(3 * 86_400));
    assert_eq!(sent(&record(), "", now()), (now(), end, false), "no policy: at once");
    assert_eq!(sent(&record(), "policy = 'plain'", now()), (now(), end, false), "a policy without group: at once");
    assert_eq!(sent(&record(), "policy = 'personal'", now()), (now().plus(span(20)), end, true), "a group waits");
    let alone = Record { correlation_id: None, ..record() };
    assert_eq!(sent(&alone, "policy = 'personal'", now()), (now(), end, false), "nothing shared: no group, no wait");
    let last = end.minus(span(6));
    let halfway = (end.minus(span(3)), end, true);
    assert_eq!(sent(&record(), "policy = 'personal'", last), halfway, "the wait leaves time to send");
    let ahead = Record { time: Some(now().plus(span(999_999))), ..record() };
    assert_eq!(sent(&ahead, "", now()).1, now().plus(span(3 * 86_400)), "a clock ahead of ours prolongs nothing");
}

#[test]
fn the_records_of_one_act_share_a_group_whatever_rule_they_matched() {
    let key = |record: &Record, text: &str| match &decide(record, &[rule(text)])[0].fate {
        Fate::Send { group, .. } => group.clone().unwrap(),
        Fate::Ends { reason, .. } => panic!("{reason}"),
    };
    let first = key(&record(), "policy = 'personal'");
    let other = Record { operation: Some("Update user".into()), id: "Directory_2".into(), ..record() };
    assert_eq!(key(&other, "id = 'x'\ntemplate = 'password-changed'\npolicy = 'personal'"), first);
    let upper = Record { correlation_id: Some("C-1".into()), ..record() };
    assert_eq!(key(&upper, "policy = 'personal'"), first, "ids are compared without case");
    let another = Record { correlation_id: Some("c-2".into()), ..record() };
    assert_ne!(key(&another, "policy = 'personal'"), first);
    let for_bob = with_targets(vec![user(Some(BOB), None)]);
    assert_ne!(key(&for_bob, "policy = 'personal'"), first, "a message has one recipient");
    assert_ne!(key(&record(), "policy = 'personal'\nchannels = 'second'"), first, "and one channel");
}

#[test]
fn severity_is_the_rules_else_the_records_else_medium() {
    let calm = Record { severity: None, ..record() };
    let severity = |record: &Record, text: &str| decide(record, &[rule(text)])[0].severity;
    assert_eq!(severity(&record(), "severity = 'low'"), Severity::Low);
    assert_eq!(severity(&record(), ""), Severity::High);
    assert_eq!(severity(&calm, ""), Severity::Medium);
}

#[test]
fn a_recipient_is_read_back_as_it_was_written() {
    for recipient in [Recipient::User("a:b@example.com".into()), Recipient::Address("soc@example.com".into())] {
        assert_eq!(Recipient::from_str(&recipient.to_string()).unwrap(), recipient);
    }
}

/// Targets of a few people by any of their names, and of things that are no people.
fn target() -> impl Strategy<Value = Target> {
    use EntityKind::{App, Device, Group, User};
    let ids = prop::option::of(prop::sample::select(vec![ALICE, BOB, DANA]));
    let upns = vec!["alice@example.com", "Alice@Example.com", "bob@example.com", "erin@example.com", r"contoso\alice"];
    let kinds = prop::sample::select(vec![User, User, User, Group, App, Device]);
    (kinds, ids, prop::option::of(prop::sample::select(upns)))
        .prop_map(|(kind, id, upn)| Target { kind, ..user(id, upn) })
}

fn texts() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "policy = 'personal'",
        "id = 's'\npolicy = 'personal'\nto = ['target', 'actor']",
        "id = 't'\npolicy = 'personal'\nexcept = 'actor'",
        "id = 'u'\npolicy = 'personal'\nto = ['list:soc', 'alice@example.com', 'target']\nexcept = 'bob@example.com'",
    ])
}

proptest! {
    /// Notifications that share a group share a message: it must have one recipient, and each of its records must name
    /// that recipient (or the rule an address of the configuration).
    #[test]
    fn a_message_never_holds_records_of_two_people(
        records in prop::collection::vec(prop::collection::vec(target(), 0..5), 1..6),
        texts in prop::collection::vec(texts(), 1..4),
    ) {
        let rules: Vec<Rule> = texts.into_iter().map(rule).collect();
        let mut messages: HashMap<Arc<str>, BTreeSet<(Recipient, Arc<str>)>> = HashMap::new();
        for (n, targets) in records.into_iter().enumerate() {
            let record = Record { id: format!("Directory_{n}"), ..with_targets(targets) };
            for intent in decide(&record, &rules) {
                let Fate::Send { group: Some(group), .. } = intent.fate else { continue };
                let recipient = intent.recipient.unwrap();
                if let Recipient::User(_) = recipient {
                    let named = parties(&record, &canonical);
                    prop_assert!(named.iter().any(|party| party.recipient.as_ref() == Some(&recipient)));
                }
                messages.entry(group).or_default().insert((recipient, intent.channel));
            }
        }
        for people in messages.values() {
            prop_assert_eq!(people.len(), 1);
        }
    }

    #[test]
    fn nobody_is_told_twice_and_the_excepted_not_at_all(targets in prop::collection::vec(target(), 0..6), text in texts()) {
        let record = with_targets(targets);
        let rule = rule(text);
        let intents = decide(&record, std::slice::from_ref(&rule));
        let ids: BTreeSet<_> = intents.iter().map(|intent| intent.id).collect();
        prop_assert_eq!(ids.len(), intents.len());
        let actor = canonical(Some(DANA), None);
        for intent in intents.iter().filter(|intent| matches!(intent.fate, Fate::Send { .. })) {
            prop_assert!(!rule.tell.except.contains(&To::Actor) || intent.recipient != actor);
            let bob = Recipient::User(BOB.into());
            prop_assert!(rule.tell.except.is_empty() || rule.tell.except.contains(&To::Actor) || intent.recipient != Some(bob));
        }
    }

    /// A target belongs to at most one party, and every user target to exactly one.
    #[test]
    fn parties_share_the_user_targets_out(targets in prop::collection::vec(target(), 0..6)) {
        let record = with_targets(targets);
        let parties = parties(&record, &bare);
        let mut shared: Vec<usize> = parties.iter().flat_map(|party| party.targets.clone()).collect();
        shared.sort_unstable();
        let users: Vec<usize> = (0..record.targets.len()).filter(|place| record.targets[*place].kind == EntityKind::User).collect();
        prop_assert_eq!(shared, users);
        for party in &parties {
            let ids: BTreeSet<_> = party.targets.iter().filter_map(|place| record.targets[*place].id.clone()).collect();
            prop_assert!(ids.len() <= 1, "two ids are two people");
        }
    }
}
