//! When a message was first claimed for a real attempt: what its wording says of being late hangs on it.

use super::*;

async fn claim_at(store: &Store, now: Timestamp) -> Claim {
    let worker = store.register("test", now).await.unwrap();
    store.claim("email", worker, now, 1).await.unwrap().remove(0)
}

#[tokio::test]
async fn the_first_claim_counts_and_a_retry_keeps_it() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    assert_eq!(one.first_at, NOW);
    store.settle(later(&one, at(5_000))).await.unwrap();
    assert_eq!(claim_at(&store, at(5_000)).await.first_at, NOW, "so that the second copy says what the first one said");
}

#[tokio::test]
async fn what_was_never_tried_is_claimed_for_the_first_time_again() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    store.settle(Settle { outcome: Settled::Hold { until: at(100) }, ..sent(&one) }).await.unwrap();
    let two = claim_at(&store, at(100)).await;
    assert_eq!(two.first_at, at(100), "held");
    store.release(vec![two]).await.unwrap();
    let three = claim_at(&store, at(200)).await;
    assert_eq!(three.first_at, at(200), "released");
    store.unregister(three.owner, at(300)).await.unwrap();
    assert_eq!(claim_at(&store, at(300)).await.first_at, at(300), "given back at the stop");
}

#[tokio::test]
async fn a_hold_after_an_attempt_and_a_crash_change_nothing() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    store.settle(later(&one, at(100))).await.unwrap();
    let two = claim_at(&store, at(100)).await;
    store.settle(Settle { outcome: Settled::Hold { until: at(200) }, ..sent(&two) }).await.unwrap();
    assert_eq!(claim_at(&store, at(200)).await.first_at, NOW, "it has been tried once");
    // The next start finds the claim of a dead worker: the mail may be out.
    let worker = store.register("next", at(300)).await.unwrap();
    let again = store.claim("email", worker, at(300), 1).await.unwrap().remove(0);
    assert_eq!((again.first_at, again.suspect), (NOW, 1));
}
