//! Claims: who may send which message, and what a crash makes of it.

use super::*;

#[tokio::test]
async fn urgent_messages_are_claimed_first_then_the_longest_due() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let due = |n, seconds, severity| Intent { severity, ..due_at(send(n), at(seconds)) };
    let intents = [
        due(1, 3, Severity::Medium),
        due(2, 1, Severity::Low),
        due(3, 9, Severity::High),
        due(4, 2, Severity::Critical),
        due(5, 11, Severity::Critical),
    ];
    store.accept(batch(0, 5, &intents), NOW).await.unwrap();
    let worker = store.register("test", at(10)).await.unwrap();
    let first = store.claim("email", worker, at(10), 3).await.unwrap();
    let rest = store.claim("email", worker, at(10), 3).await.unwrap();
    let bodies = |loaded: Vec<Loaded>| loaded.iter().map(|l| l.key).collect::<Vec<_>>();
    assert_eq!(bodies(store.load(first).await.unwrap()), [id(4), id(3), id(2)]);
    assert_eq!(bodies(store.load(rest).await.unwrap()), [id(1)]);
    assert_eq!(store.next_due("email").await.unwrap(), Some(at(11)), "what is in hand does not count");
    assert!(store.claim("other", worker, at(99), 3).await.unwrap().is_empty(), "a channel claims its own");
}

#[tokio::test]
async fn a_row_that_becomes_due_earlier_than_the_last_claim_is_still_found() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let worker = store.register("test", NOW).await.unwrap();
    store.accept(batch(0, 1, &[due_at(send(1), at(50))]), NOW).await.unwrap();
    assert_eq!(store.claim("email", worker, at(60), 9).await.unwrap().len(), 1);
    store.accept(batch(1, 2, &[due_at(send(2), at(20))]), NOW).await.unwrap();
    assert_eq!(store.next_due("email").await.unwrap(), Some(at(20)));
    assert_eq!(store.claim("email", worker, at(60), 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_released_claim_is_as_if_it_had_not_been() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    let claims = claim(&store, 1).await;
    store.release(claims.clone()).await.unwrap();
    let again = store.claim("email", 12, NOW, 1).await.unwrap();
    assert_eq!((again[0].attempt, again[0].due_at, again[0].suspect), (1, claims[0].due_at, 0));
    // Releasing what is no longer ours changes nothing.
    store.release(claims).await.unwrap();
    assert_eq!(claim(&store, 1).await.len(), 0);
}

#[tokio::test]
async fn a_dead_workers_claims_are_freed_and_suspect_and_given_out_one_at_a_time() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 3, &[send(1), send(2), send(3)]), NOW).await.unwrap();
    assert_eq!(claim(&store, 10).await.len(), 3);
    drop(store);
    let store = file.open();
    store.accept(batch(3, 4, &[send(4)]), NOW).await.unwrap();
    let worker = store.register("next", NOW).await.unwrap();
    let good = store.claim("email", worker, NOW, 10).await.unwrap();
    assert_eq!((good.len(), good[0].suspect, good[0].attempt), (1, 0, 1), "those above suspicion first");
    assert!(store.claim("email", worker, NOW, 10).await.unwrap().is_empty(), "not beside others");
    store.settle(sent(&good[0])).await.unwrap();
    for _ in 0..3 {
        let one = store.claim("email", worker, NOW, 10).await.unwrap();
        assert_eq!((one.len(), one[0].suspect, one[0].attempt), (1, 1, 2));
        assert!(store.claim("email", worker, NOW, 10).await.unwrap().is_empty(), "one at a time");
        store.settle(sent(&one[0])).await.unwrap();
    }
    assert_eq!(store.next_due("email").await.unwrap(), None);
}

#[tokio::test]
async fn a_suspect_message_is_blamed_again_only_when_it_was_alone_and_waits_from_the_third_time() {
    let file = File::new();
    let mut store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    for (crash, now) in [(0, at(70)), (1, at(80)), (2, at(90))] {
        let worker = store.register("test", now).await.unwrap();
        let claims = store.claim("email", worker, now, 10).await.unwrap();
        assert_eq!((claims.len(), claims[0].suspect), (1, crash));
        drop(store);
        store = file.open();
    }
    let worker = store.register("test", at(100)).await.unwrap();
    assert!(store.claim("email", worker, at(100), 10).await.unwrap().is_empty());
    let hour = at(100 + 3_600);
    assert_eq!(store.next_due("email").await.unwrap(), Some(hour));
    let claims = store.claim("email", worker, hour, 10).await.unwrap();
    assert_eq!((claims.len(), claims[0].suspect), (1, 3));
    // Beside another claim it is not blamed. A crash with two claims in hand cannot be made through the door, since a
    // suspect row is given out alone: write it.
    store.accept(batch(1, 2, &[send(2)]), NOW).await.unwrap();
    drop(store);
    file.execute(&format!("UPDATE due SET owner={worker}"));
    let store = file.open();
    store.register("test", hour).await.unwrap();
    let suspects = file.column("SELECT suspect FROM due ORDER BY message");
    assert_eq!(suspects, [3, 1]);
}

#[tokio::test]
async fn a_verdict_that_comes_too_late_does_not_make_the_hand_look_empty() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    claim(&store, 1).await;
    drop(store);
    let store = file.open();
    let worker = store.register("test", NOW).await.unwrap();
    store.accept(batch(1, 2, &[send(2)]), NOW).await.unwrap();
    let stale = store.claim("email", worker, NOW, 1).await.unwrap().remove(0);
    store.settle(later(&stale, at(61))).await.unwrap();
    let current = store.claim("email", worker, at(61), 1).await.unwrap();
    assert_eq!((current.len(), current[0].suspect), (1, 0));
    assert!(!store.settle(later(&stale, at(99))).await.unwrap());
    assert!(
        store.claim("email", worker, at(61), 9).await.unwrap().is_empty(),
        "the suspect is not given out beside it"
    );
}

#[tokio::test]
async fn suspect_messages_get_their_turn_even_under_load() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    claim(&store, 1).await;
    drop(store);
    let store = file.open();
    let worker = store.register("test", NOW).await.unwrap();
    store.accept(batch(1, 4, &[send(2), send(3), send(4)]), NOW).await.unwrap();
    let in_hand = store.claim("email", worker, NOW, 1).await.unwrap();
    let late = NOW.plus(Duration::from_secs(61));
    assert!(store.claim("email", worker, late, 9).await.unwrap().is_empty(), "the window is drained for it");
    store.settle(sent(&in_hand[0])).await.unwrap();
    assert_eq!(store.claim("email", worker, late, 9).await.unwrap()[0].suspect, 1);
}

#[tokio::test]
async fn suspect_messages_get_their_turn_even_while_another_channel_is_busy() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    claim(&store, 1).await;
    drop(store);
    let store = file.open();
    let worker = store.register("test", NOW).await.unwrap();
    let other = |n| Intent { channel: "other".into(), ..send(n) };
    store.accept(batch(1, 4, &[other(2), other(3), other(4)]), NOW).await.unwrap();
    let busy = store.claim("other", worker, NOW, 1).await.unwrap();
    let late = NOW.plus(Duration::from_secs(61));
    assert!(store.claim("email", worker, late, 9).await.unwrap().is_empty(), "not beside the other channel's");
    assert!(store.claim("other", worker, late, 9).await.unwrap().is_empty(), "which is not filled up again");
    assert_eq!(
        store.next_due("other").await.unwrap(),
        Some(late.plus(Duration::from_secs(1))),
        "nor asks without pause"
    );
    store.settle(sent(&busy[0])).await.unwrap();
    let suspect = store.claim("email", worker, late, 9).await.unwrap();
    assert_eq!((suspect.len(), suspect[0].suspect), (1, 1));
    store.settle(sent(&suspect[0])).await.unwrap();
    assert_eq!(store.claim("other", worker, late, 9).await.unwrap().len(), 2, "then it goes on");
}

#[tokio::test]
async fn a_worker_unseen_for_30_s_loses_its_claims_and_hears_of_it() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    let worker = 17;
    file.execute(&format!("INSERT INTO worker(id, name, seen_at) VALUES({worker}, 'other', {})", at(0).as_millis()));
    let claims = store.claim("email", worker, NOW, 1).await.unwrap();
    assert!(store.heartbeat(worker, at(10)).await.unwrap());
    store.maintain(at(40)).await.unwrap();
    assert!(store.heartbeat(worker, at(40)).await.unwrap(), "30 s are not more than 30 s");
    store.maintain(at(71)).await.unwrap();
    assert!(!store.heartbeat(worker, at(71)).await.unwrap());
    assert!(!store.settle(later(&claims[0], at(99))).await.unwrap(), "its verdicts are fenced");
    assert!(store.settle(sent(&claims[0])).await.unwrap(), "but Sent wins");
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_does_not_void_the_claims_of_the_process_that_asks() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    let worker = store.register("test", NOW).await.unwrap();
    let claims = store.claim("email", worker, NOW, 1).await.unwrap();
    // The machine was suspended for an hour while the message was under way; maintenance wakes before the heartbeat.
    let woken = NOW.plus(Duration::from_hours(1));
    store.maintain(woken).await.unwrap();
    assert!(store.claim("email", worker, woken, 9).await.unwrap().is_empty(), "else it would be sent twice");
    assert!(store.heartbeat(worker, woken).await.unwrap());
    assert!(store.settle(later(&claims[0], at(9_999))).await.unwrap(), "the claim is still ours");
}

#[tokio::test]
async fn an_orderly_end_leaves_nothing_suspect() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    let worker = store.register("test", NOW).await.unwrap();
    store.claim("email", worker, NOW, 1).await.unwrap();
    store.unregister(worker, NOW).await.unwrap();
    store.close().await;
    assert_eq!(file.column("SELECT owner+suspect+attempt FROM due"), [0]);
    assert_eq!(count(&file, "worker"), 0);
}

#[tokio::test]
async fn loading_gives_back_what_was_accepted_in_the_order_of_the_claims() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 2, &[send(1), due_at(send(2), at(1))]), NOW).await.unwrap();
    let loaded = load(&store, 10).await;
    assert_eq!(loaded.iter().map(|l| l.key).collect::<Vec<_>>(), [id(2), id(1)]);
    let one = &loaded[1];
    assert_eq!(one.recipient, Recipient::User("alice".into()));
    assert_eq!((&*one.rule, &*one.template, &*one.title), ("rule", "template", "title"));
    assert_eq!((one.kind, one.severity, one.address.clone()), (Kind::Normal, Severity::Medium, None));
    assert_eq!((one.created_at, one.expires_at), (NOW, END));
    assert_eq!(one.frozen, None);
    let record = &one.records[0];
    assert_eq!((record.body.clone(), record.broker_time, record.at), (Some(body(1)), Some(at(2)), at(1)));
    assert_eq!(record.position, position(0));
}

#[tokio::test]
async fn a_channel_that_drains_the_window_and_does_not_come_back_keeps_nobody_waiting() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    claim(&store, 1).await;
    drop(store);
    let store = file.open();
    let worker = store.register("test", NOW).await.unwrap();
    let other = |n| Intent { channel: "other".into(), ..send(n) };
    store.accept(batch(1, 4, &[other(2), other(3), other(4)]), NOW).await.unwrap();
    let busy = store.claim("other", worker, NOW, 1).await.unwrap();
    let late = NOW.plus(Duration::from_secs(61));
    assert!(store.claim("email", worker, late, 9).await.unwrap().is_empty());
    store.settle(sent(&busy[0])).await.unwrap();
    // A reload has removed it, or its gate has shut.
    let seconds = |seconds| late.plus(Duration::from_secs(seconds));
    assert!(store.claim("other", worker, seconds(5), 1).await.unwrap().is_empty(), "its lane may still look");
    let gone_on = store.claim("other", worker, seconds(6), 1).await.unwrap();
    assert_eq!(gone_on.len(), 1);
    assert!(store.claim("email", worker, seconds(7), 9).await.unwrap().is_empty(), "it is back");
    assert!(store.claim("other", worker, seconds(8), 9).await.unwrap().is_empty(), "and they give way once more");
    store.settle(sent(&gone_on[0])).await.unwrap();
    assert_eq!(store.claim("email", worker, seconds(9), 9).await.unwrap().len(), 1);
}
