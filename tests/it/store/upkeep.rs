//! Maintenance: the expired, the gauges, the clock that went back, the two retentions, and the accountant.

use auditbell::store::check;

use super::*;

const DAY: Duration = Duration::from_hours(24);

/// Maintains until nothing is left to purge: each round does a slice, and idle time does the rest.
async fn purge(store: &Store, now: Timestamp) {
    for _ in 0..30 {
        store.maintain(now).await.unwrap();
    }
}

#[tokio::test]
async fn free_messages_past_their_end_are_given_to_whoever_ends_them() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let ends = |n, end| Intent { fate: Fate::Send { due_at: END, expires_at: end, group: None }, ..send(n) };
    store.accept(batch(0, 3, &[ends(1, at(100)), ends(2, at(300)), ends(3, at(100))]), NOW).await.unwrap();
    let worker = store.register("test", NOW).await.unwrap();
    assert!(store.expired(worker, &[], at(100), 10).await.unwrap().is_empty());
    let runs = store.expired(worker, &["email".into()], at(200), 10).await.unwrap();
    assert!(runs.is_empty(), "a channel that runs ends its own");
    let one = store.expired(worker, &[], at(200), 1).await.unwrap();
    let other = store.expired(worker, &[], at(200), 10).await.unwrap();
    assert_eq!((one.len(), other.len()), (1, 1), "what is in hand is not given twice");
    for claim in one.iter().chain(&other) {
        assert!(store.settle(never(claim, FinalState::Expired, &["soc@example.com"])).await.unwrap());
    }
    assert_eq!(file.column("SELECT state FROM message ORDER BY id"), [3, 0, 3, 0, 0]);
    assert_eq!(count(&file, "attempt"), 0, "an expiry is no attempt");
    assert!(store.expired(worker, &[], at(200), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_clock_that_went_back_does_not_put_retries_off() {
    let file = File::new();
    let store = file.open();
    let far = at(90_000);
    let group = |n, key: &str| {
        let fate = Fate::Send { due_at: far, expires_at: END, group: Some(key.into()) };
        Intent { fate, ..send(n) }
    };
    let one = claimed(&store).await;
    store.settle(later(&one, far)).await.unwrap();
    store.accept(batch(1, 2, &[send(2)]), NOW).await.unwrap();
    let held = claim(&store, 1).await.remove(0);
    store.settle(Settle { outcome: Settled::Hold { until: far }, ..sent(&held) }).await.unwrap();
    store.accept(batch(2, 3, &[group(3, "by the wrong clock")]), NOW).await.unwrap();
    store.accept(batch(3, 4, &[group(4, "by the right clock")]), at(5)).await.unwrap();
    store.clock_stepped_back(at(10)).await.unwrap();
    let due = file.column("SELECT due_at FROM due ORDER BY message");
    assert_eq!(due, [at(70), at(70), at(70), far].map(Timestamp::as_millis), "retried, held, and two groups");
}

/// T55, while nobody ran: after an orderly end, and after a crash.
#[tokio::test]
async fn a_clock_that_went_back_while_no_daemon_ran_does_not_put_retries_off_either() {
    for (orderly, seen, expected) in
        [(true, at(7_200), at(70)), (false, at(7_200), at(70)), (true, at(40), at(90_000)), (false, at(40), at(90_000))]
    {
        let file = File::new();
        let store = file.open();
        let worker = store.register("before", at(0)).await.unwrap();
        let one = claimed(&store).await;
        store.settle(later(&one, at(90_000))).await.unwrap();
        assert!(store.heartbeat(worker, seen).await.unwrap());
        if orderly {
            store.unregister(worker, seen).await.unwrap();
        }
        store.register("after", at(10)).await.unwrap();
        let due = file.column("SELECT due_at FROM due");
        assert_eq!(due, [expected.as_millis()], "orderly: {orderly}, last seen {seen}");
    }
}

#[tokio::test]
async fn what_a_channel_opened_anew_held_is_due_and_nothing_else() {
    let file = File::new();
    let store = file.open();
    let far = at(90_000);
    let hold = |claim: &Claim| Settle { outcome: Settled::Hold { until: far }, ..sent(claim) };
    let one = claimed(&store).await;
    store.settle(hold(&one)).await.unwrap();
    store.accept(batch(1, 2, &[send(2)]), NOW).await.unwrap();
    let tried = claim(&store, 1).await.remove(0);
    store.settle(later(&tried, far)).await.unwrap();
    let other = Intent { channel: "other".into(), ..due_at(send(3), far) };
    let group = Intent { fate: Fate::Send { due_at: far, expires_at: END, group: Some("open".into()) }, ..send(4) };
    store.accept(batch(2, 4, &[other, group]), NOW).await.unwrap();
    store.accept(batch(4, 5, &[send(5)]), NOW).await.unwrap();
    let again = claim(&store, 1).await.remove(0);
    store.settle(later(&again, NOW)).await.unwrap();
    store.settle(hold(&claim(&store, 1).await[0])).await.unwrap();
    assert_eq!(store.held_are_due(&"email".into(), at(10)).await.unwrap(), 2);
    let due = file.column("SELECT due_at FROM due ORDER BY message");
    let expected = [at(10), far, far, far, at(10)].map(Timestamp::as_millis);
    assert_eq!(due, expected, "held, tried, another channel's, a group, held after it was tried");
    assert_eq!(store.next_due("email").await.unwrap(), Some(at(10)));
}

#[tokio::test]
async fn the_gauges_tell_what_waits_and_since_when() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), at(61)).await.unwrap();
    store.accept(batch(1, 2, &[send(2)]), at(62)).await.unwrap();
    let worker = store.register("test", at(62)).await.unwrap();
    store.claim("email", worker, at(62), 1).await.unwrap();
    let upkeep = store.maintain(at(62)).await.unwrap();
    let email: Arc<str> = "email".into();
    let expected = [("free", 1), ("claimed", 1), ("suspect", 0)].map(|(state, n)| (email.clone(), state, n));
    assert_eq!(upkeep.messages, expected);
    assert_eq!(upkeep.oldest_pending, [(email, at(61))]);
    assert!(upkeep.bytes > 0 && upkeep.free_bytes > 0);
}

#[tokio::test]
async fn bodies_go_after_content_and_never_those_of_unfinished_messages() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 3, &[send(1), send(2), send(3)]), NOW).await.unwrap();
    let claims = claim(&store, 2).await;
    let frozen = Settled::Ambiguous { due_at: NOW, bytes: Bytes::from_static(b"frozen") };
    store.settle(Settle { outcome: frozen, ..sent(&claims[0]) }).await.unwrap();
    store.settle(sent(&claims[1])).await.unwrap();
    store.settle(sent(&Claim { attempt: 2, ..claims[0].clone() })).await.unwrap();
    let bodies = "SELECT (SELECT count(body) FROM record)*10 + (SELECT count(body) FROM message)";
    purge(&store, NOW.plus(13 * DAY)).await;
    assert_eq!(file.column(bodies), [31], "13 days are not 14");
    purge(&store, NOW.plus(15 * DAY)).await;
    assert_eq!(file.column(bodies), [10], "the third record belongs to a pending message");
    assert_eq!(load(&store, 1).await[0].records[0].body, Some(body(3)));
    assert_eq!((count(&file, "notification"), count(&file, "message")), (3, 3), "the ledger stays");
}

/// T62, slice by slice.
#[tokio::test]
async fn the_ledger_goes_after_its_retention_and_the_unfinished_stays() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    // More than a slice.
    let many: Vec<Intent> = (0..1_203).map(send).collect();
    store.accept(batch(0, 1_203, &many), NOW).await.unwrap();
    let mut ends = send(2_000);
    ends.fate = Fate::Ends { verdict: Verdict::Shadow, reason: "shadow" };
    store.accept(batch(1_203, 1_204, &[ends]), NOW).await.unwrap();
    let claims = claim(&store, 1_202).await;
    for claim in claims {
        store.settle(sent(&Claim { attempt: 2, ..claim })).await.unwrap();
    }
    purge(&store, NOW.plus(89 * DAY)).await;
    assert_eq!((count(&file, "notification"), count(&file, "attempt")), (1_204, 1_202));
    purge(&store, NOW.plus(92 * DAY)).await;
    for (table, left) in [("notification", 1), ("message", 1), ("due", 1), ("attempt", 0)] {
        assert_eq!(count(&file, table), left, "{table}");
    }
    assert_eq!(file.column("SELECT count(*) FROM message WHERE state=0"), [1]);
    assert_eq!(load(&store, 1).await[0].records.len(), 1, "with its record");
    assert_eq!(next(&store).await, 1_204, "a position is never purged");
}

#[tokio::test]
async fn the_accountant_finds_nothing_wrong_at_any_step_of_a_message() {
    let file = File::new();
    let balanced = |step: &str| {
        let report = check::check(&file.settings().path).unwrap();
        assert_eq!(report.findings, [], "{step}");
        report
    };
    let store = file.open();
    place(&store, 0).await;
    balanced("empty");
    store.accept(batch(0, 3, &[send(1), in_group(send(2), "a"), in_group(send(3), "a")]), NOW).await.unwrap();
    balanced("accepted");
    let worker = store.register("test", NOW).await.unwrap();
    let claims = store.claim("email", worker, NOW, 5).await.unwrap();
    balanced("claimed");
    store.settle(later(&claims[0], at(99))).await.unwrap();
    store.settle(never(&claims[1], FinalState::Failed, &["soc@example.com"])).await.unwrap();
    let report = balanced("settled");
    assert_eq!(report.messages, [("pending", 2), ("failed", 1)]);
    assert_eq!(report.notifications, [("failed", 2), ("pending", 3)]);
    drop(store);
    balanced("closed");
}

#[tokio::test]
async fn the_accountant_finds_each_kind_of_disorder() {
    for (wrong, finding) in [
        ("DELETE FROM due", "pending message without exactly one due row"),
        ("DELETE FROM message", "notification without a message and without a verdict"),
        ("DELETE FROM notification", "message without a notification"),
        ("UPDATE message SET state=1", "due row without a pending message"),
        ("UPDATE due SET owner=5", "claim of a worker that is not there"),
        ("UPDATE due SET channel='other'", "due row on another channel than its message"),
        ("UPDATE notification SET verdict=8", "notification with a verdict of its own and a message"),
        ("DELETE FROM record", "pending or held message without its record"),
        ("UPDATE message SET state=5", "due row without a pending message"),
        ("UPDATE message SET open_key='k'", "group kept open by a message that is not held, or that is open twice"),
        (
            "UPDATE message SET state=9",
            "message with a state, or notification with a verdict, that this version does not know",
        ),
    ] {
        let file = File::new();
        let store = file.open();
        place(&store, 0).await;
        store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
        drop(store);
        file.execute(wrong);
        let report = check::check(&file.settings().path).unwrap();
        assert!(report.findings.iter().any(|found| found.what == finding && found.rows == 1), "{wrong}: {report:?}");
    }
}

#[tokio::test]
async fn a_number_is_not_given_twice_even_when_everything_was_purged() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    store.settle(sent(&one)).await.unwrap();
    purge(&store, NOW.plus(92 * DAY)).await;
    store.close().await;
    assert_eq!((count(&file, "message"), count(&file, "record")), (0, 0));
    let store = file.open();
    store.accept(batch(1, 2, &[send(2)]), NOW.plus(92 * DAY)).await.unwrap();
    assert_eq!(file.column("SELECT id FROM message UNION ALL SELECT id FROM record"), [2, 2]);
}
