//! Positions, the fence, and what else intake asks for at its start.

use super::*;

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
    assert!(store.lost().await.unwrap().concerns("entra"));
    place(&store, 3).await;
    assert!(!store.lost().await.unwrap().concerns("entra"));
    place(&store, 9).await;
    assert_eq!(next(&store).await, 3, "a first row never replaces one that is there");
    for (from, expected) in [(2, 3), (3, 9)] {
        let rows = [Placement { topic: "logs".into(), partition: 0, from: Some(from), next: 9 }];
        store.place("entra", "cluster-2", &rows, NOW).await.unwrap();
        assert_eq!(next(&store).await, expected);
    }
    let row = store.positions("entra").await.unwrap().remove(0);
    assert_eq!((row.cluster.as_str(), row.bad), ("cluster-2", 0));
    // A broker that does not say which cluster it is of has not made it another one.
    let rows = [Placement { topic: "logs".into(), partition: 0, from: Some(9), next: 10 }];
    store.place("entra", "", &rows, NOW).await.unwrap();
    let row = store.positions("entra").await.unwrap().remove(0);
    assert_eq!((row.cluster.as_str(), row.next), ("cluster-2", 10));
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
