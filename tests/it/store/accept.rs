//! Identity, groups, bad rows and dead letters: what accept writes.

use super::*;

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
    assert_eq!((alice.counts.values().sum::<u64>(), alice.records.len()), (3, 3));
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
    let counts = [("grave".into(), 1), ("telling".into(), 1), ("vague".into(), 1)].into();
    assert_eq!(loaded.counts, counts, "each notification counts for its own rule");
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
    assert_eq!((loaded.counts.values().sum::<u64>(), loaded.records.len()), (2, 1));
}

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
        broker_time: None,
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
        broker_time: None,
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

#[tokio::test]
async fn a_group_becomes_urgent_with_whoever_joins_and_lives_as_long_as_its_youngest() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let joins = |n, severity, end| {
        let fate = Fate::Send { due_at: at(100), expires_at: end, group: Some("a".into()) };
        Intent { severity, fate, ..send(n) }
    };
    let rows = || file.column("SELECT lane FROM due UNION ALL SELECT expires_at FROM message");
    store.accept(batch(0, 1, &[joins(1, Severity::Low, at(500))]), NOW).await.unwrap();
    // Claims remember from when on a lane is empty.
    assert!(store.claim("email", 7, at(99), 9).await.unwrap().is_empty());
    store.accept(batch(1, 2, &[due_at(Intent { severity: Severity::High, ..send(9) }, at(200))]), NOW).await.unwrap();
    let ahead = store
        .claim("email", 7, at(200), auditbell::store::Room { urgent: 1, ordinary: 0, most: 1, ordinary_first: false })
        .await
        .unwrap();
    store.settle(sent(&ahead[0])).await.unwrap();
    store.accept(batch(2, 3, &[joins(2, Severity::High, at(900))]), NOW).await.unwrap();
    assert_eq!(rows(), [0, at(900).as_millis(), END.as_millis()]);
    store.accept(batch(3, 4, &[joins(3, Severity::Low, at(700))]), NOW).await.unwrap();
    assert_eq!(rows(), [0, at(900).as_millis(), END.as_millis()], "nobody takes anything away");
    let group = store.claim("email", 7, at(100), 9).await.unwrap();
    assert_eq!((group.len(), group[0].is_urgent()), (1, true), "and is found there at once");
}
