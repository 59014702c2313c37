//! The state table, row by row, and its invariants as properties.

mod model;

use proptest::prelude::*;

use super::*;
use crate::plan::NotificationId;
use crate::record::Severity;
use crate::store::Claim;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const CREATED: Timestamp = Timestamp::from_millis(1_769_105_702_387);

fn policy() -> Policy {
    Policy {
        schedule: Schedule::new(vec![MINUTE, 5 * MINUTE, 30 * MINUTE]),
        wait: 15 * MINUTE,
        stand_ins: [soc("email")].into(),
        fallback: [soc("email"), StandIn { channel: "ops-hook".into(), recipient: Recipient::Room("ops-hook".into()) }]
            .into(),
    }
}

fn soc(channel: &str) -> StandIn {
    StandIn { channel: channel.into(), recipient: Recipient::Address("soc@example.com".into()) }
}

fn message(kind: Kind, attempt: u32, suspect: u32) -> Loaded {
    Loaded {
        claim: Claim {
            message: 7,
            channel: "email".into(),
            lane: 0,
            due_at: CREATED,
            owner: 1,
            attempt,
            suspect,
            first_at: CREATED,
        },
        key: NotificationId([3; 16]),
        recipient: Recipient::User("alice".into()),
        rule: "r".into(),
        template: "t".into(),
        kind,
        title: "title".into(),
        severity: Severity::Medium,
        address: None,
        created_at: CREATED,
        expires_at: CREATED.plus(72 * HOUR),
        frozen: None,
        about: None,
        counts: [("r".into(), 1)].into(),
        records: Vec::new(),
    }
}

fn attempted(verdict: Verdict) -> Event {
    Event::Attempted { verdict, bytes: Bytes::from_static(b"mail"), digest: [9; 32] }
}

/// One line for what is written, times as seconds after `CREATED`.
fn said(settled: &Settled) -> String {
    let after = |at: &Timestamp| at.since(CREATED).as_secs();
    match settled {
        Settled::Sent { reference, .. } => format!("sent {}", reference.as_deref().unwrap_or("-")),
        Settled::Later { due_at } => format!("later {}", after(due_at)),
        Settled::Hold { until } => format!("hold {}", after(until)),
        Settled::Ambiguous { due_at, bytes } => format!("ambiguous {} {} bytes", after(due_at), bytes.len()),
        Settled::Never { state, reason, escalation, .. } => {
            let to: Vec<_> = escalation.iter().map(|one| format!("{:?} {}", one.kind, one.recipient)).collect();
            format!("{state:?} {reason} [{}]", to.join(", "))
        }
    }
}

/// T34.
#[test]
fn the_plain_form_is_for_what_is_too_big_everywhere_or_has_waited_for_the_rest() {
    let hold = |until, why| Verdict::Hold { until, why };
    let (early, late) = (CREATED.plus(15 * MINUTE).minus(MINUTE), CREATED.plus(15 * MINUTE));
    for (what, verdict, now, expected) in [
        ("no relay takes it", Verdict::Never { reason: "too-big" }, CREATED, true),
        ("refused for another reason", Verdict::Never { reason: "content-refused" }, late, false),
        ("another relay may take it", hold(late, "too-big"), early, false),
        ("it has not come back", hold(late.plus(MINUTE), "too-big"), late, true),
        ("it will not come back before the end", hold(CREATED.plus(72 * HOUR), "too-big"), early, true),
        ("held for another reason", hold(late, "connect"), late, false),
        ("not now", Verdict::Later { not_before: None }, late, false),
    ] {
        assert_eq!(is_too_big(&verdict, &message(Kind::Normal, 1, 0), now), expected, "{what}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table: a row a line")]
fn every_row_of_the_state_table() {
    let never = || attempted(Verdict::Never { reason: "recipient-refused" });
    let hold = |until| attempted(Verdict::Hold { until, why: "auth" });
    let too_big = |until| attempted(Verdict::Hold { until, why: "too-big" });
    let normal = |attempt| message(Kind::Normal, attempt, 0);
    let early = CREATED.plus(10 * MINUTE);
    let late = CREATED.plus(72 * HOUR).minus(MINUTE / 2);
    let rows: Vec<(&str, Loaded, Event, Timestamp, &str)> = vec![
        ("a 250 is the end", normal(1), attempted(Verdict::Sent { reference: Some("4F1".into()) }), early, "sent 4F1"),
        (
            "a 250 is the end even when it comes too late",
            normal(1),
            attempted(Verdict::Sent { reference: None }),
            late,
            "sent -",
        ),
        (
            "the first failure waits a minute",
            normal(1),
            attempted(Verdict::Later { not_before: None }),
            early,
            "later 660",
        ),
        (
            "the third and all after it half an hour",
            normal(9),
            attempted(Verdict::Later { not_before: None }),
            early,
            "later 2400",
        ),
        (
            "who asks for less than the schedule's step gets the step",
            normal(1),
            attempted(Verdict::Later { not_before: Some(CREATED.plus(Duration::from_secs(602))) }),
            early,
            "later 660",
        ),
        (
            "who asks for more gets it",
            normal(1),
            attempted(Verdict::Later { not_before: Some(CREATED.plus(Duration::from_mins(15))) }),
            early,
            "later 900",
        ),
        (
            "a retry past the end is a last look at the end",
            normal(1),
            attempted(Verdict::Later { not_before: None }),
            late,
            "later 259200",
        ),
        (
            "an ambiguous outcome keeps the bytes and waits a minute",
            normal(1),
            attempted(Verdict::Ambiguous),
            early,
            "ambiguous 660 4 bytes",
        ),
        ("the next one two", normal(2), attempted(Verdict::Ambiguous), early, "ambiguous 720 4 bytes"),
        ("not past the end either", normal(1), attempted(Verdict::Ambiguous), late, "ambiguous 259200 4 bytes"),
        (
            "an attempt that outlived the end is written all the same",
            normal(1),
            attempted(Verdict::Later { not_before: None }),
            late.plus(HOUR),
            "later 262771",
        ),
        (
            "a refusal is final and the fallback list hears of it",
            normal(1),
            never(),
            early,
            "Failed recipient-refused [Failed addr:soc@example.com, Failed room:ops-hook]",
        ),
        (
            "a refused escalation ends in silence",
            message(Kind::Unresolved, 1, 0),
            never(),
            early,
            "Failed recipient-refused []",
        ),
        (
            "so does an escalation of a failure",
            message(Kind::Failed, 1, 0),
            never(),
            early,
            "Failed recipient-refused []",
        ),
        ("and a test mail", message(Kind::Test, 1, 0), never(), early, "Failed recipient-refused []"),
        ("a hold waits as long as it says", normal(1), hold(early.plus(MINUTE)), early, "hold 660"),
        ("one that is too big waits for another relay", normal(1), too_big(early.plus(MINUTE)), early, "hold 660"),
        ("for a quarter of an hour", normal(1), too_big(early.plus(HOUR)), early, "hold 900"),
        (
            "after that the plain form waits, too",
            normal(1),
            too_big(early.plus(2 * HOUR)),
            early.plus(HOUR),
            "hold 7800",
        ),
        ("a hold in the past is a second", normal(1), hold(CREATED), early, "hold 601"),
        (
            "a hold past the end is looked at once more at the end",
            normal(1),
            hold(late.plus(HOUR)),
            late,
            "hold 259200",
        ),
        ("an unknown person may appear: look again in a minute", normal(1), Event::Unknown, early, "hold 660"),
        (
            "but no later than people.wait",
            normal(1),
            Event::Unknown,
            CREATED.plus(15 * MINUTE).minus(MINUTE / 2),
            "hold 900",
        ),
        (
            "after which the fallback list is told instead",
            normal(1),
            Event::Unknown,
            CREATED.plus(15 * MINUTE),
            "Failed unresolved [Unresolved addr:soc@example.com]",
        ),
        (
            "a refused person is final at once",
            normal(1),
            Event::Refused("guest"),
            CREATED,
            "Failed guest [Unresolved addr:soc@example.com]",
        ),
        ("a broken template may be mended: five minutes", normal(1), Event::TemplateFailed, early, "hold 900"),
    ];
    for (why, message, event, now, expected) in rows {
        assert_eq!(said(&settled(&policy(), &message, event, now, 0.5)), expected, "{why}");
    }
}

#[test]
fn what_is_over_before_an_attempt() {
    let at = |kind, suspect, now| over(&policy(), &message(kind, 1, suspect), now).map(|settled| said(&settled));
    let end = CREATED.plus(72 * HOUR);
    assert_eq!(at(Kind::Normal, 5, CREATED), None, "five crashes are not yet the end");
    assert_eq!(
        at(Kind::Normal, 6, CREATED).unwrap(),
        "Failed crashed_us [Failed addr:soc@example.com, Failed room:ops-hook]"
    );
    assert_eq!(at(Kind::Normal, 0, end.minus(MINUTE)), None, "a minute is left");
    assert_eq!(
        at(Kind::Normal, 0, end).unwrap(),
        "Expired undelivered [Failed addr:soc@example.com, Failed room:ops-hook]"
    );
    assert_eq!(at(Kind::Failed, 0, end).unwrap(), "Expired undelivered []");
}

#[test]
fn the_built_in_template_takes_over_after_an_hour_or_three_crashes() {
    for (why, suspect, failed, after, expected) in [
        ("an ordinary message uses its own", 0, false, 2 * HOUR, false),
        ("a broken template has an hour", 0, true, 59 * MINUTE, false),
        ("and no more", 0, true, HOUR, true),
        ("two crashes prove nothing", 2, false, MINUTE, false),
        ("three do", 3, false, MINUTE, true),
    ] {
        assert_eq!(falls_back(&message(Kind::Normal, 1, suspect), failed, CREATED.plus(after)), expected, "{why}");
    }
}

#[test]
fn nobody_is_told_that_he_was_not_told() {
    let mut to_the_soc = message(Kind::Normal, 1, 0);
    to_the_soc.recipient = soc("email").recipient;
    let refused = settled(&policy(), &to_the_soc, Event::Refused("foreign-domain"), CREATED, 0.5);
    assert_eq!(said(&refused), "Failed foreign-domain []");
}

/// A record of the message, where it stands.
fn about(position: crate::record::Position) -> crate::store::LoadedRecord {
    crate::store::LoadedRecord {
        position,
        at: CREATED,
        broker_time: None,
        body: None,
        extent: crate::plan::Extent::Whole,
    }
}

#[test]
fn what_tells_of_our_own_records_is_never_told_of_itself() {
    let elsewhere = crate::record::Position { source: "entra".into(), ..own::position(1) };
    for (why, kind, records, told) in [
        ("a message given up", Kind::Normal, vec![about(elsewhere.clone())], true),
        ("its escalation given up too", Kind::Failed, vec![about(elsewhere.clone())], true),
        ("a test mail", Kind::Test, vec![], false),
        ("a message about a record of ours", Kind::Normal, vec![about(own::position(1))], false),
        ("its escalation", Kind::Failed, vec![about(own::position(1))], false),
        (
            "one that holds such a record among others",
            Kind::Normal,
            vec![about(elsewhere), about(own::position(1))],
            false,
        ),
    ] {
        let message = Loaded { records, ..message(kind, 2, 0) };
        let ends = [
            settled(&policy(), &message, attempted(Verdict::Never { reason: "recipient-refused" }), CREATED, 0.5),
            settled(&policy(), &message, Event::Refused("guest"), CREATED, 0.5),
            over(&policy(), &message, message.expires_at).unwrap(),
            stranded(&policy(), &message, message.expires_at),
        ];
        for end in ends {
            let Settled::Never { record, .. } = &end else { panic!("{why}: {end:?}") };
            assert_eq!(record.is_some(), told, "{why}: {end:?}");
        }
    }
}

#[test]
fn late_is_more_than_an_hour_between_acceptance_and_the_first_real_attempt() {
    for (why, first, late) in [
        ("at once", Duration::ZERO, false),
        ("an hour", HOUR, false),
        ("more than an hour", HOUR + Duration::from_millis(1), true),
    ] {
        let mut message = message(Kind::Normal, 1, 0);
        message.claim.first_at = CREATED.plus(first);
        assert_eq!(super::late(&message), late, "{why}");
    }
}

#[test]
fn another_way_to_the_same_people_is_a_way() {
    let by_another_channel = Policy { fallback: [soc("second-way")].into(), ..policy() };
    let mut to_the_soc = message(Kind::Normal, 1, 0);
    to_the_soc.recipient = soc("email").recipient;
    let refused = settled(
        &by_another_channel,
        &to_the_soc,
        attempted(Verdict::Never { reason: "content-refused" }),
        CREATED,
        0.5,
    );
    assert_eq!(said(&refused), "Failed content-refused [Failed addr:soc@example.com]");
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(()).prop_map(|()| attempted(Verdict::Later { not_before: None })),
        Just(()).prop_map(|()| attempted(Verdict::Ambiguous)),
        any::<i32>().prop_map(|offset| {
            let until = Timestamp::from_millis(CREATED.as_millis() + i64::from(offset));
            attempted(Verdict::Hold { until, why: "connect" })
        }),
        Just(()).prop_map(|()| Event::Unknown),
        Just(()).prop_map(|()| Event::TemplateFailed),
    ]
}

proptest! {
    /// Whatever happens, time goes forward with every row written, and the message is over by its end.
    #[test]
    fn a_message_always_moves_forward_and_ends(events in proptest::collection::vec(any_event(), 1..200), jitter in 0.0..1.0) {
        let policy = policy();
        let mut message = message(Kind::Normal, 0, 0);
        let mut now = CREATED;
        for event in events {
            if over(&policy, &message, now).is_some() {
                prop_assert!(now >= message.expires_at);
                break;
            }
            message.claim.attempt += 1;
            now = match settled(&policy, &message, event, now, jitter) {
                Settled::Later { due_at } | Settled::Ambiguous { due_at, .. } => {
                    prop_assert!(due_at > now && due_at <= message.expires_at.max(now.plus(Duration::from_secs(1))));
                    due_at
                }
                Settled::Hold { until } => {
                    prop_assert!(until > now && until <= message.expires_at.max(now.plus(Duration::from_secs(1))));
                    message.claim.attempt -= 1;
                    until
                }
                Settled::Sent { .. } | Settled::Never { .. } => break,
            };
        }
    }
}
