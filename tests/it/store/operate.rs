//! What an operator does beside a running daemon.

use auditbell::store::State;
use auditbell::store::operate::{Action, Change, Filter, Reread, Which};

use super::*;

fn operators(file: &File) -> Vec<String> {
    let conn = file.connection();
    let mut rows = conn.prepare("SELECT who || ': ' || what FROM operator ORDER BY id").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Does it to the message `n`, and says so in the operator's row.
async fn change(store: &Store, action: &Action, n: u32, now: Timestamp) -> Change {
    store.change(action, &[id(n)], ("dana", "asked for"), now).await.unwrap()[0]
}

#[tokio::test]
async fn a_waiting_message_is_made_due_now() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[in_group(due_at(send(1), at(9_000)), "a")]), NOW).await.unwrap();
    let beside = Store::open(&file.settings(), false).unwrap();
    assert_eq!(change(&beside, &Action::Retry, 1, NOW).await, Change::Done);
    assert_eq!(claim(&store, 1).await.len(), 1);
    assert_eq!(operators(&file), ["dana: asked for: 1"]);
}

#[tokio::test]
async fn a_failed_message_gets_a_new_try_and_a_new_end() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    store.settle(never(&one, FinalState::Failed, &[])).await.unwrap();
    let late = END.plus(Duration::from_hours(1));
    assert_eq!(change(&store, &Action::Retry, 1, late).await, Change::Done);
    let again = store.claim("email", 7, late, 1).await.unwrap();
    assert_eq!((again.len(), again[0].attempt), (1, 2));
    let loaded = store.load(again).await.unwrap().remove(0);
    assert_eq!(loaded.expires_at, late.plus(Duration::from_hours(24)));
    assert!(store.settle(sent(&loaded.claim)).await.unwrap());
    assert_eq!(change(&store, &Action::Retry, 1, late).await, Change::Ended(State::Sent));
}

#[tokio::test]
async fn a_message_in_a_workers_hand_is_neither_cancelled_nor_retried() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    assert_eq!(change(&store, &Action::Cancel, 1, NOW).await, Change::BeingSent);
    assert_eq!(change(&store, &Action::Retry, 1, NOW).await, Change::BeingSent);
    store.release(vec![one]).await.unwrap();
    assert_eq!(change(&store, &Action::Cancel, 1, NOW).await, Change::Done);
    assert_eq!(change(&store, &Action::Cancel, 1, NOW).await, Change::Ended(State::Cancelled));
    assert!(claim(&store, 1).await.is_empty());
    assert_eq!(operators(&file), ["dana: asked for: 1"], "what changed nothing leaves no row");
    assert_eq!(change(&store, &Action::Retry, 1, NOW).await, Change::Done);
    assert_eq!(claim(&store, 1).await.len(), 1);
    assert_eq!(change(&store, &Action::Cancel, 99, NOW).await, Change::Unknown);
}

#[tokio::test]
async fn a_message_whose_records_are_gone_cannot_be_retried() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    store.settle(never(&one, FinalState::Failed, &[])).await.unwrap();
    file.execute("UPDATE record SET body=NULL");
    assert_eq!(change(&store, &Action::Retry, 1, NOW).await, Change::ContentGone);
    assert_eq!(count(&file, "due"), 0);
}

#[tokio::test]
async fn a_message_is_shown_by_the_id_of_any_of_its_notifications() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 2, &[in_group(send(1), "a"), in_group(send(2), "a")]), NOW).await.unwrap();
    let one = claim(&store, 1).await.remove(0);
    store.settle(later(&one, at(99))).await.unwrap();
    let detail = store.message(id(2)).await.unwrap().unwrap();
    assert_eq!(detail.message.key, id(1).to_string());
    assert_eq!((detail.message.state, detail.message.attempts), ("pending", 1));
    assert_eq!(detail.message.address.as_deref(), Some("alice@example.com"));
    let origins: Vec<_> = detail.notifications.iter().map(|n| n.origin.as_deref().unwrap()).collect();
    assert_eq!(origins, ["entra:logs:0:0:0", "entra:logs:0:1:0"]);
    assert_eq!((detail.tries[0].verdict, detail.tries[0].code), ("later", Some(451)));
    assert!(store.message(id(9)).await.unwrap().is_none());
}

#[tokio::test]
async fn messages_are_listed_newest_first_page_by_page() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let intents: Vec<Intent> = (1..=5).map(send).collect();
    store.accept(batch(0, 5, &intents), NOW).await.unwrap();
    let one = claim(&store, 1).await.remove(0);
    store.settle(sent(&one)).await.unwrap();
    let list = |filter: Filter| {
        let store = store.clone();
        async move { store.messages(filter).await.unwrap().iter().map(|m| m.number).collect::<Vec<_>>() }
    };
    assert_eq!(list(Filter { limit: 2, ..Filter::default() }).await, [5, 4]);
    assert_eq!(list(Filter { limit: 2, before: Some(4), ..Filter::default() }).await, [3, 2]);
    assert_eq!(list(Filter { limit: 9, state: Some(State::Sent), ..Filter::default() }).await, [1]);
    assert!(list(Filter { limit: 9, channel: Some("other".into()), ..Filter::default() }).await.is_empty());
}

#[tokio::test]
async fn what_is_released_has_a_day_and_its_group_stays_open_until_it_is_claimed() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let none = auditbell::plan::Throttle { max: 1, per: Duration::from_hours(1) };
    let braked = |n| Intent { throttle: Some(none), severity: Severity::High, ..send(n) };
    let held = [braked(1), in_group(braked(2), "a"), braked(3)];
    store.accept(batch(0, 3, &held), NOW).await.unwrap();
    assert_eq!(change(&store, &Action::Cancel, 2, NOW).await, Change::Ended(State::Held));
    assert_eq!(change(&store, &Action::Retry, 2, NOW).await, Change::Ended(State::Held));
    assert_eq!(change(&store, &Action::Release, 1, NOW).await, Change::Ended(State::Pending));
    let keys = store.select(Which::Held { rule: Some("rule".into()), channel: None }).await.unwrap();
    assert_eq!(keys, [id(2), id(3)]);
    assert!(store.select(Which::Held { rule: None, channel: Some("other".into()) }).await.unwrap().is_empty());
    let late = END.plus(Duration::from_hours(300));
    assert_eq!(store.change(&Action::Release, &keys, ("dana", "all"), late).await.unwrap(), [Change::Done; 2]);
    store.accept(batch(3, 4, &[in_group(braked(4), "a")]), late).await.unwrap();
    let worker = store.register("test", late).await.unwrap();
    let claims = store.claim("email", worker, late, 9).await.unwrap();
    assert_eq!(claims.iter().map(|claim| (claim.message, claim.lane)).collect::<Vec<_>>(), [(1, 0), (2, 0), (3, 0)]);
    let loaded = store.load(claims).await.unwrap();
    assert_eq!(loaded[1].records.len(), 2, "what came later joined");
    assert_eq!(loaded[1].expires_at, late.plus(Duration::from_hours(24)));
    assert_eq!(auditbell::store::check::check(&file.settings().path).unwrap().findings, []);
}

#[tokio::test]
async fn a_message_moves_to_a_channel_of_its_kind_and_a_rooms_bytes_are_written_anew() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let room = Intent { recipient: Some(Recipient::Room("email".into())), ..send(2) };
    store.accept(batch(0, 3, &[in_group(send(1), "a"), room, send(3)]), NOW).await.unwrap();
    file.execute("UPDATE message SET body=x'00', digest=x'00'");
    let to = |to: &str, room| Action::Move { to: to.into(), room };
    assert_eq!(change(&store, &to("email", false), 1, NOW).await, Change::There);
    assert_eq!(change(&store, &to("chat", true), 1, NOW).await, Change::OtherKind);
    assert_eq!(change(&store, &to("other", false), 2, NOW).await, Change::OtherKind);
    assert_eq!(change(&store, &to("other", false), 1, NOW).await, Change::Done);
    assert_eq!(change(&store, &to("chat", true), 2, NOW).await, Change::Done);
    let row = |n: i64| {
        file.query(
            &format!(
                "SELECT m.channel || m.recipient || (m.body IS NULL) || d.channel || coalesce(d.open_key,'-') \
        FROM message m JOIN due d ON d.message=m.id WHERE m.id={n}"
            ),
            |row| row.get::<_, String>(0),
        )
    };
    assert_eq!((row(1).as_str(), row(2).as_str()), ("otheruser:alice0other-", "chatroom:chat1chat-"));
    let one = store.claim("other", 7, NOW, 9).await.unwrap().remove(0);
    assert_eq!(change(&store, &to("email", false), 1, NOW).await, Change::BeingSent);
    store.settle(sent(&one)).await.unwrap();
    assert_eq!(change(&store, &to("email", false), 1, NOW).await, Change::Ended(State::Sent));
    let beside = store.select(Which::Unfinished { channel: "email".into() }).await.unwrap();
    assert_eq!(beside, [id(3)]);
    assert_eq!(auditbell::store::check::check(&file.settings().path).unwrap().findings, []);
}

#[tokio::test]
async fn discarding_dead_letters_lets_a_held_partition_go_on() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let letter = |offset| DeadLetter {
        source: "entra".into(),
        topic: "logs".into(),
        partition: 0,
        offset,
        item: -1,
        broker_time: None,
        error: "not-json",
        body: Bytes::from_static(b"{"),
    };
    let mut bad = Batch { dead_letters: vec![letter(0), letter(1)], ..batch(0, 2, &[]) };
    bad.fences[0].bad = 200;
    store.accept(bad, NOW).await.unwrap();
    let listed = store.dead_letters(None, 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|l| (l.offset, l.item, l.bytes)).collect::<Vec<_>>(),
        [(1, None, Some(1)), (0, None, Some(1))]
    );
    let (_, body) = store.dead_letter(listed[0].number).await.unwrap().unwrap();
    assert_eq!(body.as_deref(), Some(&b"{"[..]));
    assert_eq!(store.discard(Some(vec![999]), "dana", NOW).await.unwrap(), 0);
    assert_eq!(store.positions("entra").await.unwrap()[0].bad, 200);
    assert_eq!(store.discard(Some(vec![listed[0].number]), "dana", NOW).await.unwrap(), 1);
    assert_eq!(store.positions("entra").await.unwrap()[0].bad, 0);
    assert_eq!(store.discard(None, "dana", NOW).await.unwrap(), 1);
    assert_eq!((count(&file, "dead_letter"), operators(&file).len()), (0, 2));
}

#[tokio::test]
async fn the_number_of_a_dead_letter_is_never_given_to_another() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let bury = |offset| {
        let letter = DeadLetter {
            source: "entra".into(),
            topic: "logs".into(),
            partition: 0,
            offset,
            item: -1,
            broker_time: None,
            error: "not-json",
            body: Bytes::from_static(b"{"),
        };
        Batch { dead_letters: vec![letter], ..batch(offset, offset + 1, &[]) }
    };
    store.accept(bury(0), NOW).await.unwrap();
    // One operator has read letter 1; another discards it, and the daemon buries the next.
    assert_eq!(store.discard(Some(vec![1]), "dana", NOW).await.unwrap(), 1);
    store.accept(bury(1), NOW).await.unwrap();
    let read = Reread::Understood { batch: Batch { config: 1, ..Batch::default() }, records: 1 };
    assert!(store.replay(vec![(1, read)], "erin", NOW).await.unwrap()[0].is_none());
    assert_eq!(store.dead_letter_numbers().await.unwrap(), [2]);
}
