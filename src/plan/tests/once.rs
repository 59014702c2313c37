//! `once_per`: which records are one to a rule.

use super::*;
use crate::record::Dialect;

fn id(record: &Record, text: &str) -> NotificationId {
    decide(record, &[rule(text)])[0].id
}

/// Pinned: if one of these fails, every record of the ledger's retention would be told again.
#[test]
fn ids_are_what_they_were() {
    let alert = Record {
        dialect: Dialect::DefenderAlert,
        revision: "New".into(),
        ..with_targets(vec![user(Some(ALICE), None)])
    };
    let risk = Record { dialect: Dialect::EntraRisk, revision: String::new(), ..alert.clone() };
    let by_actor = "once_per = ['actor.id', 'tenant']";
    for (what, record, text, expected) in [
        ("an event", record(), "id = 'password-reset'", "00004ffb9863d2ee004fbc22f23a49e2"),
        (
            "an event whose rule writes the default",
            record(),
            "id = 'password-reset'\nonce_per = 'id'",
            "00004ffb9863d2ee004fbc22f23a49e2",
        ),
        (
            "an event has no revision",
            record(),
            "id = 'password-reset'\nonce_per = ['id', 'revision']",
            "00004ffb9863d2ee004fbc22f23a49e2",
        ),
        ("a thing", alert.clone(), "", "0000000005bbe9038f3ec7bf7b885c50"),
        ("a thing and its revision", alert, "once_per = ['id', 'revision']", "00000000a07bb7e639f3bee8d38bbec6"),
        ("a thing without a revision", risk, "", "000000006b43fb3f5a391e07f167de96"),
        ("by fields", record(), by_actor, "000000009bcd82cff4596cc2bed25ada"),
        ("by the id and a field", record(), "once_per = ['id', 'actor.ip']", "00004ffbf4f922472fe16efcd27dfc06"),
        (
            "an element",
            record(),
            "each = 'targets'\nwhen = { target.type = 'user' }",
            "00004ffbb9d19b2ecdb1c48a3a2c3b03",
        ),
        ("a missing reference", record(), "to = 'field:raw.nothing'", "00004ffbf8aa326798b65526385f782a"),
        ("a manager", record(), "to = 'target.manager'", "00004ffb398efb2564020f10a4c20c1b"),
    ] {
        assert_eq!(id(&record, text).to_string(), expected, "{what}");
    }
}

#[test]
fn an_id_is_what_it_was() {
    // Pinned: if this fails, every record of the ledger's retention would be told again.
    let intent = decide(&record(), &[rule("id = 'password-reset'")]).remove(0);
    assert_eq!(intent.id.to_string(), "00004ffb9863d2ee004fbc22f23a49e2");
    let escalation = intent.id.escalation(1, &Recipient::Address("soc@example.com".into()), "email", 0);
    assert_eq!(escalation.to_string(), "00004ffb2ce4dbbeea0716b5f55c364a");
}

#[test]
fn an_id_hangs_on_what_is_told_to_whom_and_on_nothing_else() {
    let base = decide(&record(), &[rule("")]).remove(0).id;
    let edited = "description = 'other'\ntemplate = 'password-changed'\nseverity = 'low'\npolicy = 'personal'\nmax_age = '9d'\nmode = 'shadow'";
    assert_eq!(decide(&record(), &[rule(edited)])[0].id, base, "a rule edited under its id");
    let later = decide_at(&record(), &[rule("")], now().plus(Duration::from_hours(2)), &HashMap::new(), &canonical);
    assert_eq!(later[0].id, base, "the same record read later");
    let mut moved = record();
    moved.position.offset = Some(99);
    assert_eq!(decide(&moved, &[rule("")])[0].id, base, "the same record at another offset");
    let others = [
        ("another record", decide(&Record { id: "Directory_2".into(), ..record() }, &[rule("")])),
        ("another tenant", decide(&Record { tenant: Some("t".into()), ..record() }, &[rule("")])),
        ("another person", decide(&with_targets(vec![user(Some(BOB), None)]), &[rule("")])),
        ("another rule", decide(&record(), &[rule("id = 's'")])),
        ("another channel", decide(&record(), &[rule("channels = 'second'")])),
        ("nobody", decide(&with_targets(vec![]), &[rule("")])),
    ];
    let ids: BTreeSet<_> = others.iter().map(|(_, intents)| intents[0].id).chain([base]).collect();
    assert_eq!(ids.len(), others.len() + 1, "all differ");
}

#[test]
fn an_id_begins_with_the_day_of_the_record_if_it_can_be_believed() {
    let day = |record: &Record| {
        let id = decide(record, &[rule("")]).remove(0).id;
        u32::from_be_bytes(id.0[..4].try_into().unwrap())
    };
    let at = |time: Timestamp| Record { time: Some(time), ..record() };
    assert_eq!(day(&record()), 20_475, "2026-01-22");
    assert_eq!(day(&Record { time: None, ..record() }), 0, "no time");
    assert_eq!(day(&at(now().plus(Duration::from_hours(25)))), 0, "more than a day ahead of the broker");
    assert_eq!(day(&at(Timestamp::from_millis(-1))), 0, "before 1970");
}

#[test]
fn a_thing_is_told_once_unless_its_revision_counts() {
    let at = |revision: &str, days: u64| Record {
        dialect: Dialect::DefenderAssessment,
        revision: revision.into(),
        time: record().time.map(|time| time.plus(Duration::from_hours(24 * days))),
        ..with_targets(vec![user(Some(ALICE), None)])
    };
    assert_eq!(id(&at("1", 0), ""), id(&at("2", 0), ""), "another revision is no news");
    assert_eq!(id(&at("1", 0), ""), id(&at("1", 9), ""), "nor is another day");
    let both = "once_per = ['id', 'revision']";
    assert_ne!(id(&at("1", 0), both), id(&at("2", 0), both), "unless the rule says so");
    assert_eq!(id(&at("1", 0), both), id(&at("1", 9), both), "one revision told again is one");
}

#[test]
fn without_the_id_records_that_agree_in_the_fields_are_one() {
    let text = "once_per = ['actor.ip', 'category']";
    let other = Record { id: "Directory_2".into(), time: Some(now()), activity: None, ..record() };
    assert_eq!(id(&record(), text), id(&other, text));
    let elsewhere = Record { category: Some("Policy".into()), ..other.clone() };
    assert_ne!(id(&record(), text), id(&elsewhere, text));
    let bare = |id: &str| Record { id: id.into(), actor: None, category: None, ..record() };
    assert_ne!(id(&bare("1"), text), id(&bare("2"), text), "where a record has none of them, its id stands for them");
    let (a, b) = (Record { actor: None, ..record() }, Record { category: None, ..record() });
    assert_ne!(id(&a, text), id(&b, text), "a value is one of its field");
}

proptest! {
    /// One record, one decision: and no element's id hangs on where it stands.
    #[test]
    fn planning_is_deterministic_and_elements_have_no_place(
        (targets, shuffled) in prop::collection::vec(target(), 0..6).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let each = || rule("each = 'targets'\nto = ['target', 'list:soc']");
        let intents = decide(&with_targets(targets.clone()), &[each()]);
        prop_assert_eq!(&decide(&with_targets(targets), &[each()]), &intents);
        let ids = |intents: &[Intent]| intents.iter().filter(|one| one.recipient.is_some()).map(|one| one.id).collect::<BTreeSet<_>>();
        let other = decide(&with_targets(shuffled), &[each()]);
        let of_list = |intents: &[Intent]| {
            let list: Vec<Intent> = intents.iter().filter(|one| matches!(one.recipient, Some(Recipient::Address(_)))).cloned().collect();
            ids(&list)
        };
        prop_assert_eq!(of_list(&intents), of_list(&other));
    }

    /// Of a `first_of` only one entry is told, and never somebody excepted.
    #[test]
    fn first_of_tells_one_entry_and_nobody_excepted(targets in prop::collection::vec(target(), 0..6)) {
        let record = with_targets(targets);
        let rule = rule("to = { first_of = ['target', 'list:soc'] }\nexcept = ['alice@example.com']");
        let told: Vec<Recipient> = decide(&record, &[rule])
            .into_iter()
            .filter(|one| matches!(one.fate, Fate::Send { .. }))
            .filter_map(|one| one.recipient)
            .collect();
        let list = told.iter().any(|one| matches!(one, Recipient::Address(_)));
        prop_assert!(!told.is_empty(), "the list stands behind");
        prop_assert!(!list || told.len() == 1, "{:?}", told);
        prop_assert!(!told.contains(&Recipient::User(ALICE.into())));
    }
}
