//! Our own records: written with what they tell of, and taken out by one reader.

use auditbell::record::own::{GivenUp, Own};
use auditbell::record::{Dialect, Record, own};

use super::*;

fn given_up() -> GivenUp {
    GivenUp {
        message: id(1).to_string(),
        state: "failed",
        reason: "recipient-refused",
        channel: "email".into(),
        rule: "rule".into(),
        kind: "normal",
        severity: Severity::Medium,
        recipient: "user:alice".into(),
        attempts: 0,
        code: None,
    }
}

/// The end of `claim`, of which the rules hear.
fn told(claim: &Claim, code: Option<u16>) -> Settle {
    let state = if code.is_some() { FinalState::Failed } else { FinalState::Expired };
    let outcome =
        Settled::Never { state, reason: "recipient-refused", escalation: Vec::new(), record: Some(given_up()) };
    Settle { outcome, tried: code.is_some(), code, ..sent(claim) }
}

/// The records that wait.
async fn waiting(store: &Store) -> Vec<Record> {
    let rows = store.told(100).await.unwrap();
    rows.iter().map(|(id, body)| Record::read(std::str::from_utf8(body).unwrap(), own::position(*id), None)).collect()
}

async fn ids(store: &Store) -> Vec<i64> {
    store.told(100).await.unwrap().into_iter().map(|(id, _)| id).collect()
}

#[tokio::test]
async fn a_message_given_up_is_a_record_with_its_attempts_and_last_code_and_a_fenced_one_is_none() {
    let file = File::new();
    let store = file.open();
    let claim = claimed(&store).await;
    let stale = Claim { attempt: claim.attempt + 1, ..claim.clone() };
    assert!(!store.settle(told(&stale, Some(550))).await.unwrap());
    assert!(waiting(&store).await.is_empty(), "nothing was written, nothing is told");
    assert!(store.settle(told(&claim, Some(550))).await.unwrap());
    let records = waiting(&store).await;
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.dialect, record.operation.as_deref()), (Dialect::AuditbellDelivery, Some("Message given up")));
    assert_eq!((record.details["attempts"].as_str(), record.details["code"].as_str()), ("1", "550"));
    assert_eq!(record.time, Some(NOW));
}

#[tokio::test]
async fn what_expired_untried_names_the_code_of_its_last_attempt() {
    let file = File::new();
    let store = file.open();
    let claim = claimed(&store).await;
    store.settle(later(&claim, at(70))).await.unwrap();
    let worker = store.register("test", NOW).await.unwrap();
    let again = store.claim("email", worker, at(70), 1).await.unwrap().remove(0);
    assert!(store.settle(told(&again, None)).await.unwrap());
    let records = waiting(&store).await;
    assert_eq!((records[0].details["attempts"].as_str(), records[0].details["code"].as_str()), ("1", "451"));
}

#[tokio::test]
async fn the_deletion_of_the_rows_is_the_fence_and_no_id_comes_twice() {
    let file = File::new();
    let store = file.open();
    store.tell(Own::Works { channel: "email".into() }, NOW).await.unwrap();
    let first = ids(&store).await;
    let batch = |ids: &[i64], n: u32| Batch { fences: vec![], internal: ids.to_vec(), ..batch(0, 1, &[send(n)]) };
    assert_eq!(store.accept(batch(&first, 1), NOW).await.unwrap().messages, 1);
    assert!(ids(&store).await.is_empty());
    store.tell(Own::Works { channel: "email".into() }, NOW).await.unwrap();
    let second = ids(&store).await;
    assert_ne!(second, first, "or a reader that comes late would delete a row it has never seen");
    for late in [first.clone(), [first, second.clone()].concat()] {
        let answer = store.accept(batch(&late, 2), NOW).await;
        assert!(matches!(answer, Err(AcceptError::Fenced { .. })), "somebody else did it: {answer:?}");
    }
    assert_eq!((ids(&store).await, count(&file, "message")), (second, 1), "all of it or nothing");
}

#[tokio::test]
async fn a_record_waits_over_a_restart() {
    let file = File::new();
    let store = file.open();
    store.tell(Own::Stopped { channel: "email".into(), reason: "connect" }, NOW).await.unwrap();
    store.close().await;
    let store = file.open();
    assert_eq!(waiting(&store).await[0].operation.as_deref(), Some("Channel stopped"));
    assert!(store.is_stopped("email").await.unwrap() && !store.is_stopped("second").await.unwrap());
    store.tell(Own::Stopped { channel: "email".into(), reason: "auth" }, NOW).await.unwrap();
    store.tell(Own::Works { channel: "email".into() }, NOW).await.unwrap();
    assert!(!store.is_stopped("email").await.unwrap());
}
