//! The brake: what is beyond the limit is held, whatever it is, and only what is new counts.

use auditbell::plan::Throttle;

use super::*;

const TWO: Throttle = Throttle { max: 2, per: Duration::from_mins(10) };

fn braked(n: u32) -> Intent {
    Intent { throttle: Some(TWO), ..send(n) }
}

fn in_state(file: &File, state: i64) -> Vec<i64> {
    file.column(&format!("SELECT id FROM message WHERE state={state} ORDER BY id"))
}

#[tokio::test]
async fn what_is_beyond_the_limit_is_held_in_the_order_of_the_records() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    // Ids in the opposite order: they are hashes and say nothing of time.
    let accepted = store.accept(batch(0, 5, &[braked(5), braked(4), braked(3), braked(2), braked(1)]), NOW).await;
    let accepted = accepted.unwrap();
    assert_eq!(accepted.held, [("rule".into(), "email".into(), 3)]);
    assert_eq!(accepted.trips.len(), 1);
    assert_eq!((in_state(&file, 0), in_state(&file, 5)), (vec![1, 2], vec![3, 4, 5]));
    let told = file.column("SELECT n.record FROM notification n JOIN message m ON m.id=n.message WHERE m.state=0");
    assert_eq!(told, [1, 2], "the first records are told");
    assert_eq!(claim(&store, 10).await.len(), 2);
    // Tripped already: held, and not said again.
    let more = store.accept(batch(5, 6, &[braked(6)]), NOW).await.unwrap();
    assert_eq!((more.held.len(), more.trips.len()), (1, 0));
    let report = auditbell::store::check::check(&file.settings().path).unwrap();
    assert_eq!(report.messages, [("pending", 2), ("held", 4)]);
    assert_eq!(report.notifications.iter().map(|(_, count)| count).sum::<i64>(), 6);
}

#[tokio::test]
async fn a_new_window_begins_with_the_first_message_after_the_old_ones_end() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 3, &[braked(1), braked(2), braked(3)]), NOW).await.unwrap();
    let held = |store: Store, from, n, now| async move {
        let accepted = store.accept(batch(from, from + 1, &[braked(n)]), now).await.unwrap();
        (accepted.held.len(), accepted.trips.len())
    };
    let last = NOW.plus(TWO.per).minus(Duration::from_millis(1));
    assert_eq!(held(store.clone(), 3, 4, last).await, (1, 0), "the window is not over");
    let later = NOW.plus(TWO.per);
    assert_eq!(held(store.clone(), 4, 5, later).await, (0, 0));
    assert_eq!(held(store.clone(), 5, 6, later).await, (0, 0));
    assert_eq!(held(store.clone(), 6, 7, later).await, (1, 1), "a trip of the new window");
}

/// The rules hear of it once per trip, and what stems from a record of our own never causes another.
#[tokio::test]
async fn a_brake_that_holds_leaves_one_record_of_our_own() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 4, &[braked(1), braked(2), braked(3), braked(4)]), NOW).await.unwrap();
    store.accept(batch(4, 5, &[braked(5)]), NOW).await.unwrap();
    let told = store.told(9).await.unwrap();
    assert_eq!(told.len(), 1);
    let record: serde_json::Value = serde_json::from_slice(&told[0].1).unwrap();
    assert_eq!(
        (&record["operation"], &record["rule"], &record["channel"]),
        (&"Messages held".into(), &"rule".into(), &"email".into())
    );
    let mut own = batch(5, 8, &[6, 7, 8].map(|n| Intent { rule: "own".into(), ..braked(n) }));
    own.records.iter_mut().for_each(|record| record.dialect = "auditbell.delivery");
    assert_eq!(store.accept(own, NOW).await.unwrap().trips.len(), 1);
    assert_eq!(store.told(9).await.unwrap().len(), 1);
}

/// T55.
#[tokio::test]
async fn a_window_that_a_clock_set_back_left_in_the_future_is_over() {
    for (why, ahead, expected) in [
        ("a minute is nothing", Duration::from_mins(1), (1, 0)),
        ("two hours are", Duration::from_hours(2), (0, 0)),
        ("so is a year", Duration::from_hours(365 * 24), (0, 0)),
    ] {
        let file = File::new();
        let store = file.open();
        place(&store, 0).await;
        let wrong = NOW.plus(ahead);
        store.accept(batch(0, 3, &[braked(1), braked(2), braked(3)]), wrong).await.unwrap();
        store.clock_stepped_back(NOW).await.unwrap();
        let accepted = store.accept(batch(3, 4, &[braked(4)]), NOW).await.unwrap();
        assert_eq!((accepted.held.len(), accepted.trips.len()), expected, "{why}");
    }
}

/// A reload lowers `max` below what went already in this window: what is held is said all the same, once.
#[tokio::test]
async fn a_limit_that_was_lowered_says_that_it_holds() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let wide = |n| Intent { throttle: Some(Throttle { max: 1_000, ..TWO }), ..send(n) };
    let accepted = store.accept(batch(0, 5, &[1, 2, 3, 4, 5].map(wide)), NOW).await.unwrap();
    assert_eq!((accepted.held.len(), accepted.trips.len()), (0, 0));
    let accepted = store.accept(batch(5, 8, &[6, 7, 8].map(braked)), NOW).await.unwrap();
    assert_eq!((accepted.held[0].2, accepted.trips.len()), (3, 1));
    assert_eq!(store.told(9).await.unwrap().len(), 1);
    let accepted = store.accept(batch(8, 9, &[braked(9)]), NOW).await.unwrap();
    assert_eq!((accepted.held[0].2, accepted.trips.len()), (1, 0), "once in this window");
    assert_eq!(store.told(9).await.unwrap().len(), 1);
}

/// What stems from a record of our own tells no rule, and keeps none from hearing of the others.
#[tokio::test]
async fn the_rules_hear_of_the_first_held_message_that_is_not_about_ourselves() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let mut own = batch(0, 3, &[1, 2, 3].map(braked));
    own.records.iter_mut().for_each(|record| record.dialect = "auditbell.delivery");
    assert_eq!(store.accept(own, NOW).await.unwrap().trips.len(), 1);
    assert_eq!(store.told(9).await.unwrap().len(), 0);
    let accepted = store.accept(batch(3, 4, &[braked(4)]), NOW).await.unwrap();
    assert_eq!((accepted.held.len(), accepted.trips.len()), (1, 0), "the log has its line for this window");
    assert_eq!(store.told(9).await.unwrap().len(), 1);
    store.accept(batch(4, 5, &[braked(5)]), NOW).await.unwrap();
    assert_eq!(store.told(9).await.unwrap().len(), 1, "once");
    store.accept(batch(5, 8, &[6, 7, 8].map(braked)), NOW.plus(TWO.per)).await.unwrap();
    assert_eq!(store.told(9).await.unwrap().len(), 2, "and again in the next window");
}

#[tokio::test]
async fn each_rule_and_each_channel_has_a_count_of_its_own() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let rule = |n, rule: &str| Intent { rule: rule.into(), ..braked(n) };
    let channel = |n| Intent { channel: "other".into(), ..braked(n) };
    let all =
        [rule(1, "a"), rule(2, "a"), rule(3, "b"), rule(4, "b"), channel(5), channel(6), send(7), send(8), send(9)];
    let accepted = store.accept(batch(0, 9, &all), NOW).await.unwrap();
    assert_eq!(accepted.held, []);
    assert_eq!(in_state(&file, 0).len(), 9);
}

#[tokio::test]
async fn a_replay_and_what_ends_at_once_consume_nothing() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let ends = Fate::Ends { verdict: Verdict::Shadow, reason: "shadow" };
    let shadow = |n| Intent { fate: ends.clone(), ..braked(n) };
    store.accept(batch(0, 3, &[braked(1), shadow(2), shadow(3)]), NOW).await.unwrap();
    for from in 3..10 {
        store.accept(batch(from, from + 1, &[braked(1)]), NOW).await.unwrap();
    }
    let accepted = store.accept(batch(10, 11, &[braked(4)]), NOW).await.unwrap();
    assert_eq!(accepted.held, []);
    assert_eq!(file.column("SELECT count FROM throttle"), [2]);
}

#[tokio::test]
async fn what_joins_a_group_consumes_nothing_and_a_held_message_takes_whoever_comes() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let opens = |n, key| in_group(braked(n), key);
    // One batch: two groups open, one joins, the third group is held and is joined at once.
    let first = [opens(1, "a"), opens(2, "a"), opens(3, "b"), opens(4, "c"), opens(5, "c")];
    let accepted = store.accept(batch(0, 5, &first), NOW).await.unwrap();
    assert_eq!(accepted.held, [("rule".into(), "email".into(), 1)]);
    assert_eq!(count(&file, "due"), 2);
    let held = in_state(&file, 5);
    let of_it = format!("SELECT count(*) FROM notification WHERE message={}", held[0]);
    assert_eq!(file.column(&of_it), [2]);
    // A later batch, and a rule without a brake: one act stays one message.
    let joins = Intent { throttle: None, severity: Severity::High, ..opens(6, "c") };
    store.accept(batch(5, 6, &[joins]), NOW.plus(Duration::from_hours(5))).await.unwrap();
    assert_eq!((file.column(&of_it), in_state(&file, 5)), (vec![3], held));
    assert_eq!(file.column("SELECT severity FROM message WHERE state=5"), [Severity::High as i64]);
    assert_eq!(file.column("SELECT count FROM throttle"), [3]);
    let report = auditbell::store::check::check(&file.settings().path).unwrap();
    assert_eq!(report.findings, []);
}

#[tokio::test]
async fn a_held_message_neither_expires_nor_loses_its_record() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 3, &[braked(1), braked(2), braked(3)]), NOW).await.unwrap();
    for claim in claim(&store, 10).await {
        store.settle(sent(&claim)).await.unwrap();
    }
    let much_later = NOW.plus(Duration::from_hours(200 * 24));
    assert!(store.expired(1, &[], much_later, 10).await.unwrap().is_empty());
    let gone = || {
        (
            count(&file, "notification"),
            count(&file, "message"),
            file.column("SELECT count(*) FROM record WHERE body IS NOT NULL"),
        )
    };
    let began = std::time::Instant::now();
    while gone() != (1, 1, vec![1]) {
        store.maintain(much_later).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", gone());
    }
    // Another round: it stays.
    let upkeep = store.maintain(much_later.plus(Duration::from_hours(2))).await.unwrap();
    assert!(upkeep.messages.contains(&("email".into(), "held", 1)), "{upkeep:?}");
    assert_eq!(gone(), (1, 1, vec![1]));
}
