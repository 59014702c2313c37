//! The state table: one verdict, written once, by whoever may.

use super::*;

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
    // What it waited for is why it never left.
    let over = Settle { reply: String::new(), tried: false, ..never(&again, FinalState::Expired, &[]) };
    assert!(store.settle(over).await.unwrap());
    let reply: String = file.query("SELECT reply FROM message WHERE id=1", |row| row.get(0));
    assert_eq!(reply, "connect");
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

#[tokio::test]
async fn what_is_told_of_a_group_that_was_given_up_is_about_all_its_records() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let other = Intent { rule: "other".into(), rank: 1, ..in_group(send(3), "a") };
    store.accept(batch(0, 3, &[in_group(send(1), "a"), in_group(send(2), "a"), other]), NOW).await.unwrap();
    let group = claim(&store, 1).await.remove(0);
    store.settle(never(&group, FinalState::Failed, &["soc@example.com"])).await.unwrap();
    let told = load(&store, 9).await.remove(0);
    assert_eq!(
        told.records.iter().map(|record| record.body.clone()).collect::<Vec<_>>(),
        [1, 2, 3].map(|n| Some(body(n)))
    );
    assert_eq!(told.counts, [("other".into(), 1), ("rule".into(), 2)].into());
    assert_eq!(store.message(told.key).await.unwrap().unwrap().message.number, told.claim.message);
    assert_eq!(auditbell::store::check::check(&file.settings().path).unwrap().findings.len(), 1, "the claim's worker");
}

#[tokio::test]
async fn a_message_that_is_tried_again_and_given_up_again_is_told_again() {
    use auditbell::store::operate::Action;
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    for (round, state) in [FinalState::Expired, FinalState::Expired, FinalState::Failed].into_iter().enumerate() {
        let claims = claim(&store, 9).await;
        let one = claims.iter().find(|claim| claim.message == 1).unwrap();
        let end = never(one, state, &["soc@example.com"]);
        assert!(store.settle(end.clone()).await.unwrap());
        assert!(!store.settle(end).await.unwrap(), "the same end is told once");
        assert_eq!(file.column("SELECT count(*) FROM message WHERE stands_for=1"), [i64::try_from(round).unwrap() + 1]);
        store.change(&Action::Retry, &[id(1)], ("dana", "retry"), NOW).await.unwrap();
    }
}
