//! Every promise of the store, against a real file: one test, one sentence. The vocabulary stands at the foot.

use std::sync::Arc;
use std::time::Duration;

use auditbell::clock::Timestamp;
use auditbell::compose::Kind;
use auditbell::plan::{Fate, Intent, NotificationId, Recipient, Verdict};
use auditbell::record::{Position, Severity};
use auditbell::store::{
    AcceptError, Batch, Claim, DeadLetter, Escalation, Fence, FinalState, Loaded, Placement, Planned, Settings, Settle,
    Settled, Store, StoreError,
};
use bytes::Bytes;
use tempfile::TempDir;

// --- positions and the fence

#[tokio::test]
async fn a_position_moves_with_the_rows_and_only_from_where_it_was_seen() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let accepted = store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    assert_eq!((accepted.messages, accepted.channels), (1, vec!["email".into()]));
    assert_eq!(next(&store).await, 1);
    // The same again, as a zombie would.
    let error = store.accept(batch(0, 1, &[send(2)]), NOW).await.unwrap_err();
    assert!(matches!(error, AcceptError::Fenced { partition: 0, from: 0, .. }), "{error:?}");
    assert_eq!(next(&store).await, 1);
    assert_eq!(claim(&store, 10).await.len(), 1, "nothing of the second was written");
}

#[tokio::test]
async fn two_stores_racing_for_one_position_leave_exactly_one_winner_in_either_order() {
    for first in [0, 1] {
        let file = File::new();
        let stores = [file.open(), Store::open(&file.settings(), false).unwrap()];
        place(&stores[0], 0).await;
        stores[first].accept(batch(0, 5, &[send(1)]), NOW).await.unwrap();
        let late = stores[1 - first].accept(batch(0, 3, &[send(1), send(2)]), NOW).await;
        assert!(matches!(late, Err(AcceptError::Fenced { .. })), "{late:?}");
        assert_eq!(next(&stores[1 - first]).await, 5);
        assert_eq!(count(&file, "notification"), 1);
        // The loser seeks, reads on, and its ids do not collide with the winner's.
        stores[1 - first].accept(batch(5, 6, &[send(3)]), NOW).await.unwrap();
        assert_eq!(count(&file, "message"), 2);
    }
}

#[tokio::test]
async fn two_stores_racing_at_the_same_moment_leave_exactly_one_winner() {
    let file = File::new();
    let (a, b) = (file.open(), Store::open(&file.settings(), false).unwrap());
    place(&a, 0).await;
    for at in 0..50 {
        let batches = [
            batch(at, at + 1, &[send(2 * u32::try_from(at).unwrap())]),
            batch(at, at + 1, &[send(2 * u32::try_from(at).unwrap() + 1)]),
        ];
        let [one, two] = batches;
        let (one, two) = tokio::join!(a.accept(one, NOW), b.accept(two, NOW));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
    assert_eq!(next(&a).await, 50);
    assert_eq!((count(&file, "message"), count(&file, "due")), (50, 50));
}

#[tokio::test]
async fn one_fence_of_several_that_fails_undoes_the_whole_batch() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    place_partition(&store, 1, 7).await;
    let mut both = batch(0, 1, &[send(1)]);
    both.fences.push(Fence { partition: 1, from: 6, to: 8, ..both.fences[0].clone() });
    let error = store.accept(both, NOW).await.unwrap_err();
    assert!(matches!(error, AcceptError::Fenced { partition: 1, from: 6, .. }), "{error:?}");
    assert_eq!(next(&store).await, 0);
    assert_eq!(count(&file, "notification"), 0);
}

#[tokio::test]
async fn a_batch_without_a_fence_is_accepted() {
    let file = File::new();
    let store = file.open();
    let accepted = store.accept(Batch { fences: vec![], ..batch(0, 1, &[send(1)]) }, NOW).await.unwrap();
    assert_eq!(accepted.messages, 1);
}

#[tokio::test]
async fn the_start_tables_decision_is_compare_and_swap_too() {
    let file = File::new();
    let store = file.open();
    assert!(store.is_empty().await.unwrap());
    place(&store, 3).await;
    assert!(!store.is_empty().await.unwrap());
    place(&store, 9).await;
    assert_eq!(next(&store).await, 3, "a first row never replaces one that is there");
    for (from, expected) in [(2, 3), (3, 9)] {
        let rows = [Placement { topic: "logs".into(), partition: 0, from: Some(from), next: 9 }];
        store.place("entra", "cluster-2", &rows, NOW).await.unwrap();
        assert_eq!(next(&store).await, expected);
    }
    let row = store.positions("entra").await.unwrap().remove(0);
    assert_eq!((row.cluster.as_str(), row.bad), ("cluster-2", 0));
}

#[tokio::test]
async fn bad_messages_in_a_row_are_counted_across_restarts() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let mut bad = batch(0, 1, &[]);
    bad.fences[0].bad = 17;
    store.accept(bad, NOW).await.unwrap();
    drop(store);
    let row = file.open().positions("entra").await.unwrap().remove(0);
    assert_eq!((row.next, row.bad), (1, 17));
}

#[tokio::test]
async fn a_rule_keeps_the_time_it_was_first_seen_and_a_config_its_revision() {
    let file = File::new();
    let store = file.open();
    let rules: [Arc<str>; 2] = ["a".into(), "b".into()];
    store.rules_seen(&rules[..1], at(1)).await.unwrap();
    assert_eq!(store.rules_seen(&rules, at(2)).await.unwrap(), [("a".into(), at(1)), ("b".into(), at(2))]);
    let first = store.config_revision([1; 32], NOW).await.unwrap();
    let second = store.config_revision([2; 32], NOW).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(store.config_revision([1; 32], NOW).await.unwrap(), first);
}

// --- identity

#[tokio::test]
async fn a_notification_that_was_there_before_is_a_duplicate_and_writes_nothing() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 2, &[send(1), send(2)]), NOW).await.unwrap();
    let again = store.accept(batch(2, 5, &[send(2), send(1), send(3)]), NOW).await.unwrap();
    assert_eq!(again.messages, 1);
    assert_eq!(again.duplicates, vec![("rule".into(), "email".into()); 2]);
    assert_eq!((count(&file, "notification"), count(&file, "message"), count(&file, "record")), (3, 3, 3));
    let twice = store.accept(batch(5, 6, &[send(9), send(9)]), NOW).await.unwrap();
    assert_eq!((twice.messages, twice.duplicates.len()), (1, 1), "twice in one batch is once");
}

#[tokio::test]
async fn what_ends_at_once_is_in_the_ledger_and_has_no_message() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let mut ends = send(1);
    ends.recipient = None;
    ends.fate = Fate::Ends { verdict: Verdict::Skipped, reason: "no-user" };
    let accepted = store.accept(batch(0, 1, &[ends.clone()]), NOW).await.unwrap();
    assert_eq!(accepted.ended, [("rule".into(), "email".into(), Verdict::Skipped, "no-user")]);
    assert_eq!((accepted.messages, count(&file, "message"), count(&file, "notification")), (0, 0, 1));
    let again = store.accept(batch(1, 2, &[ends]), NOW).await.unwrap();
    assert_eq!((again.ended.len(), again.duplicates.len()), (0, 1), "counted once");
}

#[tokio::test]
async fn a_replay_after_every_end_of_a_message_sends_nothing() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    let claim = claim(&store, 1).await.remove(0);
    store.settle(sent(&claim)).await.unwrap();
    let again = store.accept(batch(1, 2, &[send(1)]), NOW).await.unwrap();
    assert_eq!((again.messages, again.duplicates.len()), (0, 1));
    assert_eq!(store.next_due("email").await.unwrap(), None);
}

// --- groups

#[tokio::test]
async fn notifications_of_an_open_group_leave_as_one_message() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let grouped = |n| in_group(send(n), "alice");
    store.accept(batch(0, 2, &[grouped(1), grouped(2)]), NOW).await.unwrap();
    let second = store.accept(batch(2, 4, &[grouped(3), in_group(send(4), "bob")]), NOW).await.unwrap();
    assert_eq!(second.messages, 2);
    assert_eq!((count(&file, "message"), count(&file, "due"), count(&file, "notification")), (2, 2, 4));
    let loaded = load(&store, 10).await;
    let alice = &loaded[0];
    assert_eq!((alice.count, alice.records.len()), (3, 3));
    assert_eq!(alice.key, id(1), "the key is the id of the first notification");
    let bodies: Vec<_> = alice.records.iter().map(|record| record.body.clone().unwrap()).collect();
    assert_eq!(bodies, [body(1), body(2), body(3)], "oldest first");
}

#[tokio::test]
async fn a_claimed_group_takes_no_more_and_the_next_opens_a_new_one() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[in_group(send(1), "alice")]), NOW).await.unwrap();
    let first = claim(&store, 10).await;
    store.accept(batch(1, 2, &[in_group(send(2), "alice")]), NOW).await.unwrap();
    let second = claim(&store, 10).await;
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first[0].message, second[0].message);
    store.release(first).await.unwrap();
    store.accept(batch(2, 3, &[in_group(send(3), "alice")]), NOW).await.unwrap();
    assert_eq!(count(&file, "message"), 3, "nor one that was given back");
}

#[tokio::test]
async fn the_most_telling_rule_words_a_group_and_the_gravest_gives_its_severity() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let ranked = |n, rank, severity, rule: &str| Intent {
        rank,
        severity,
        rule: rule.into(),
        template: format!("{rule}-template").into(),
        title: format!("{rule} title").into(),
        ..in_group(send(n), "alice")
    };
    let intents = [
        ranked(1, 5, Severity::Low, "vague"),
        ranked(2, 1, Severity::Medium, "telling"),
        ranked(3, 3, Severity::Critical, "grave"),
    ];
    store.accept(batch(0, 3, &intents), NOW).await.unwrap();
    let loaded = load(&store, 10).await.remove(0);
    assert_eq!((&*loaded.rule, &*loaded.template, &*loaded.title), ("telling", "telling-template", "telling title"));
    assert_eq!(loaded.severity, Severity::Critical);
    assert_eq!(loaded.key, id(1));
}

#[tokio::test]
async fn a_record_that_joins_a_message_through_two_rules_is_loaded_once() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let mut one = batch(0, 1, &[in_group(send(1), "alice")]);
    one.records[0].intents.push(in_group(send(2), "alice"));
    store.accept(one, NOW).await.unwrap();
    let loaded = load(&store, 10).await.remove(0);
    assert_eq!((loaded.count, loaded.records.len()), (2, 1));
}

// --- bad rows and dead letters

#[tokio::test]
async fn one_record_the_tables_refuse_goes_to_the_dead_letters_and_its_neighbours_are_accepted() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let mut intents: Vec<Intent> = (1..=9).map(send).collect();
    // No recipient: the message row is refused by NOT NULL.
    intents[4].recipient = None;
    let accepted = store.accept(batch(0, 9, &intents), NOW).await.unwrap();
    assert_eq!((accepted.messages, accepted.dead_letters), (8, 1));
    assert_eq!((next(&store).await, count(&file, "message"), count(&file, "record")), (9, 8, 8));
    let (offset, error, bytes): (i64, String, Vec<u8>) =
        file.query("SELECT offset_, error, body FROM dead_letter", |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    assert_eq!((offset, error.as_str(), Bytes::from(bytes)), (4, "store-refused", body(5)));
}

#[tokio::test]
async fn a_dead_letter_is_kept_once_with_its_bytes() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let letter = DeadLetter {
        source: "entra".into(),
        topic: "logs".into(),
        partition: 0,
        offset: 0,
        item: -1,
        error: "not-json",
        body: Bytes::from_static(b"\xff\x00"),
    };
    for (at, new) in [(0, 1), (1, 0)] {
        let batch = Batch { dead_letters: vec![letter.clone()], ..batch(at, at + 1, &[]) };
        assert_eq!(store.accept(batch, NOW).await.unwrap().dead_letters, new);
    }
    assert_eq!(count(&file, "dead_letter"), 1);
}

#[tokio::test]
async fn full_dead_letters_hold_the_partition_and_write_nothing() {
    let file = File::new();
    drop(file.open());
    file.execute(
        "INSERT INTO dead_letter(source,topic,part,offset_,item,at,error) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100000) \
         SELECT 'entra','old',0,i,-1,0,'not-json' FROM n",
    );
    let store = file.open();
    place(&store, 0).await;
    let letter = DeadLetter {
        source: "entra".into(),
        topic: "logs".into(),
        partition: 0,
        offset: 0,
        item: -1,
        error: "not-json",
        body: Bytes::new(),
    };
    let full = Batch { dead_letters: vec![letter], ..batch(0, 2, &[send(1)]) };
    let error = store.accept(full, NOW).await.unwrap_err();
    assert!(matches!(error, AcceptError::DeadLettersFull), "{error:?}");
    assert_eq!((next(&store).await, count(&file, "notification")), (0, 0));
    // Without a dead letter there is nothing to hold for.
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
}

// --- claims

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
async fn a_worker_unseen_for_30_s_loses_its_claims_and_hears_of_it() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    let worker = store.register("test", at(0)).await.unwrap();
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
async fn an_orderly_end_leaves_nothing_suspect() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    let worker = store.register("test", NOW).await.unwrap();
    store.claim("email", worker, NOW, 1).await.unwrap();
    store.unregister(worker).await.unwrap();
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

// --- verdicts

#[tokio::test]
async fn sent_is_final_and_a_first_try_leaves_no_attempt_row() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    assert!(store.settle(sent(&one)).await.unwrap());
    assert!(!store.settle(sent(&one)).await.unwrap(), "the second time writes nothing");
    assert_eq!((count(&file, "due"), count(&file, "attempt")), (0, 0));
    let (state, reply, reference, address): (i64, String, String, String) = file
        .query("SELECT state, reply, reference, address FROM message", |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
        });
    assert_eq!((state, &*reply, &*reference, &*address), (1, "250 ok", "queue-1", "alice@example.com"));
}

#[tokio::test]
async fn later_frees_the_row_until_its_time_and_keeps_the_first_address() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    assert!(store.settle(later(&one, at(99))).await.unwrap());
    assert_eq!(claim(&store, 1).await.len(), 0);
    assert_eq!(store.next_due("email").await.unwrap(), Some(at(99)));
    let worker = store.register("test", NOW).await.unwrap();
    let two = store.claim("email", worker, at(99), 1).await.unwrap().remove(0);
    assert_eq!((two.attempt, two.due_at), (2, at(99)));
    let loaded = store.load(vec![two.clone()]).await.unwrap().remove(0);
    assert_eq!(loaded.address.as_deref(), Some("alice@example.com"));
    store.settle(Settle { address: Some("other@example.com".into()), ..sent(&two) }).await.unwrap();
    let tried = file.column("SELECT n*100 + verdict*10 + (code=451) FROM attempt ORDER BY n");
    assert_eq!(tried, [121, 210], "the first try and, since it was not the first, the last");
    let address: String = file.query("SELECT address FROM message", |row| row.get(0));
    assert_eq!(address, "alice@example.com");
}

#[tokio::test]
async fn hold_costs_no_attempt() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    let hold = Settle { outcome: Settled::Hold { until: at(70) }, reply: "connect".into(), ..sent(&one) };
    assert!(store.settle(hold).await.unwrap());
    let worker = store.register("test", NOW).await.unwrap();
    let again = store.claim("email", worker, at(70), 1).await.unwrap().remove(0);
    assert_eq!((again.attempt, count(&file, "attempt")), (1, 0));
}

#[tokio::test]
async fn ambiguous_freezes_the_bytes_of_the_first_time() {
    let file = File::new();
    let store = file.open();
    let mut one = claimed(&store).await;
    for (bytes, due) in [("first", 70), ("second", 80)] {
        let outcome = Settled::Ambiguous { due_at: at(due), bytes: Bytes::from_static(bytes.as_bytes()) };
        assert!(store.settle(Settle { outcome, ..sent(&one) }).await.unwrap());
        let worker = store.register("test", NOW).await.unwrap();
        one = store.claim("email", worker, at(due), 1).await.unwrap().remove(0);
    }
    let loaded = store.load(vec![one]).await.unwrap().remove(0);
    assert_eq!(loaded.frozen, Some(Bytes::from_static(b"first")));
    let digest: Vec<u8> = file.query("SELECT digest FROM message", |row| row.get(0));
    assert_eq!(digest, blake3::hash(b"first").as_bytes());
    assert_eq!(count(&file, "attempt"), 2);
}

#[tokio::test]
async fn never_ends_the_message_and_tells_somebody_else_in_the_same_transaction() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    assert!(store.settle(never(&one, FinalState::Failed, &["soc@example.com", "boss@example.com"])).await.unwrap());
    assert_eq!(file.column("SELECT state FROM message ORDER BY id"), [2, 0, 0]);
    let loaded = load(&store, 10).await;
    assert_eq!(loaded.len(), 2);
    let told = &loaded[0];
    assert_eq!((told.kind, &told.recipient), (Kind::Failed, &Recipient::Address("soc@example.com".into())));
    assert_eq!((&*told.rule, &*told.template, told.expires_at), ("rule", "template", END));
    assert_eq!(told.about, Some((Recipient::User("alice".into()), "recipient-refused".into())));
    assert_eq!(told.records[0].body, Some(body(1)), "about the same record");
    assert_ne!(told.key, id(1));
    // The claim is gone: once is once.
    assert!(!store.settle(never(&one, FinalState::Failed, &["soc@example.com"])).await.unwrap());
    assert_eq!(count(&file, "message"), 3);
}

#[tokio::test]
async fn an_escalation_that_was_told_before_is_not_told_again() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    store.settle(never(&one, FinalState::Failed, &["soc@example.com", "soc@example.com"])).await.unwrap();
    assert_eq!(count(&file, "message"), 2);
}

#[tokio::test]
async fn every_verdict_but_sent_is_fenced_by_owner_and_attempt() {
    let outcomes = |claim: &Claim| {
        [
            later(claim, at(99)),
            Settle { outcome: Settled::Hold { until: at(99) }, ..sent(claim) },
            Settle { outcome: Settled::Ambiguous { due_at: at(99), bytes: Bytes::from_static(b"x") }, ..sent(claim) },
            never(claim, FinalState::Failed, &["soc@example.com"]),
        ]
    };
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    for stale in [Claim { owner: one.owner + 1, ..one.clone() }, Claim { attempt: one.attempt + 1, ..one.clone() }] {
        for settle in outcomes(&stale) {
            assert!(!store.settle(settle.clone()).await.unwrap(), "{settle:?}");
        }
    }
    assert_eq!(file.column("SELECT count(*) FROM message WHERE state=0 AND reply IS NULL AND body IS NULL"), [1]);
    assert_eq!((count(&file, "attempt"), count(&file, "message")), (0, 1));
    assert!(store.settle(sent(&one)).await.unwrap());
}

#[tokio::test]
async fn sent_wins_over_a_verdict_that_came_first() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    store.settle(never(&one, FinalState::Failed, &[])).await.unwrap();
    assert!(store.settle(sent(&one)).await.unwrap());
    let row: (i64, Option<String>) = file
        .query("SELECT m.state, n.reason FROM message m JOIN notification n ON n.message=m.id", |r| {
            Ok((r.get(0)?, r.get(1)?))
        });
    assert_eq!(row, (1, None));
}

#[tokio::test]
async fn a_claimed_message_that_turns_out_to_be_final_loses_its_due_row() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    file.execute("UPDATE message SET state=4");
    assert!(store.load(vec![one]).await.unwrap().is_empty());
    assert_eq!(count(&file, "due"), 0);
}

// --- the vocabulary

/// Ten minutes after the epoch of these tests.
const NOW: Timestamp = at(60);
const END: Timestamp = at(1_000_000);

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + seconds * 1_000)
}

fn id(n: u32) -> NotificationId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&u32::try_from(at(0).day()).unwrap().to_be_bytes());
    id[12..].copy_from_slice(&n.to_be_bytes());
    NotificationId(id)
}

fn body(n: u32) -> Bytes {
    Bytes::from(format!(r#"{{"n":{n}}}"#))
}

fn position(offset: i64) -> Position {
    Position { source: "entra".into(), topic: Some("logs".into()), partition: Some(0), offset: Some(offset), index: 0 }
}

/// An intent that becomes a message of its own, due now.
fn send(n: u32) -> Intent {
    Intent {
        id: id(n),
        rule: "rule".into(),
        rank: 0,
        channel: "email".into(),
        recipient: Some(Recipient::User("alice".into())),
        element: None,
        template: "template".into(),
        title: "title".into(),
        severity: Severity::Medium,
        fate: Fate::Send { due_at: NOW, expires_at: END, group: None },
    }
}

fn due_at(intent: Intent, due_at: Timestamp) -> Intent {
    Intent { fate: Fate::Send { due_at, expires_at: END, group: None }, ..intent }
}

fn in_group(intent: Intent, key: &str) -> Intent {
    Intent { fate: Fate::Send { due_at: NOW, expires_at: END, group: Some(key.into()) }, ..intent }
}

/// One Kafka message per intent, from `from`; the record's body carries the intent's number.
fn batch(from: i64, to: i64, intents: &[Intent]) -> Batch {
    let fence = Fence { source: "entra".into(), topic: "logs".into(), partition: 0, from, to, bad: 0 };
    let records = (from..).zip(intents).map(|(offset, intent)| {
        let n = u32::from_be_bytes(intent.id.0[12..].try_into().unwrap());
        Planned {
            identity: [9; 32],
            at: at(i64::from(n)),
            dialect: "entra.audit",
            position: position(offset),
            body: body(n),
            broker_time: Some(at(2)),
            intents: vec![intent.clone()],
        }
    });
    Batch { fences: vec![fence], records: records.collect(), dead_letters: vec![], config: 1 }
}

fn sent(claim: &Claim) -> Settle {
    Settle {
        claim: claim.clone(),
        at: NOW,
        outcome: Settled::Sent { reference: Some("queue-1".into()), digest: [3; 32] },
        code: Some(250),
        reply: "250 ok".into(),
        address: Some("alice@example.com".into()),
    }
}

fn later(claim: &Claim, due_at: Timestamp) -> Settle {
    Settle { outcome: Settled::Later { due_at }, code: Some(451), reply: "451 later".into(), ..sent(claim) }
}

fn never(claim: &Claim, state: FinalState, tell: &[&str]) -> Settle {
    let escalation = tell.iter().map(|address| {
        let recipient = Recipient::Address((*address).into());
        Escalation {
            id: id(1).escalation(Kind::Failed as i64, &recipient, "email"),
            kind: Kind::Failed,
            recipient,
            channel: "email".into(),
            expires_at: END,
        }
    });
    let outcome = Settled::Never { state, reason: "recipient-refused", escalation: escalation.collect() };
    Settle { outcome, code: Some(550), reply: "550 no".into(), ..sent(claim) }
}

async fn place(store: &Store, next: i64) {
    let rows = [Placement { topic: "logs".into(), partition: 0, from: None, next }];
    store.place("entra", "cluster-1", &rows, NOW).await.unwrap();
}

async fn place_partition(store: &Store, partition: i32, next: i64) {
    let rows = [Placement { topic: "logs".into(), partition, from: None, next }];
    store.place("entra", "cluster-1", &rows, NOW).await.unwrap();
}

async fn next(store: &Store) -> i64 {
    store.positions("entra").await.unwrap()[0].next
}

/// Claims without registering a worker.
async fn claim(store: &Store, limit: usize) -> Vec<Claim> {
    // Any number will do: registering frees the claims of all others.
    let worker = 4_711;
    store.claim("email", worker, NOW, limit).await.unwrap()
}

async fn load(store: &Store, limit: usize) -> Vec<Loaded> {
    let claims = claim(store, limit).await;
    store.load(claims).await.unwrap()
}

/// One message, claimed.
async fn claimed(store: &Store) -> Claim {
    place(store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    claim(store, 1).await.remove(0)
}

fn count(file: &File, table: &str) -> i64 {
    file.query(&format!("SELECT count(*) FROM {table}"), |row| row.get(0))
}

/// A store's file in a directory of its own, and a second way to look into it.
struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn settings(&self) -> Settings {
        Settings {
            path: self.0.path().join("auditbell.db"),
            ledger: Duration::from_hours(90 * 24),
            content: Duration::from_hours(14 * 24),
        }
    }

    fn open(&self) -> Store {
        Store::open(&self.settings(), true).unwrap()
    }

    fn connection(&self) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(self.settings().path).unwrap();
        conn.busy_timeout(Duration::from_secs(5)).unwrap();
        conn
    }

    fn query<T>(&self, sql: &str, read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> T {
        self.connection().query_row(sql, [], read).unwrap()
    }

    fn column(&self, sql: &str) -> Vec<i64> {
        let conn = self.connection();
        let mut statement = conn.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn execute(&self, sql: &str) {
        self.connection().execute(sql, []).unwrap();
    }
}
