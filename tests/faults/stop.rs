//! Stops at their worst: under load, again and again, and with a relay that does not answer.

use std::time::{Duration, Instant};

use crate::harness::{Bench, envelope, reset_of_number};
use crate::run::Run;
use crate::smtp_server::{Action, Command};
use crate::{DUE_NOW, random};

/// A stop takes at most so long.
const STOP: Duration = Duration::from_secs(25);

/// T57.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_stops_under_load_are_clean() {
    let mut bench = Bench::new().await;
    let people = 60;
    for round in 0..20 {
        let records: Vec<_> = (round * people..(round + 1) * people).map(reset_of_number).collect();
        for message in records.chunks(5) {
            bench.publish(envelope(message)).await;
        }
        let taken = bench.relay.accepted().len();
        bench.start().await;
        bench.relay.wait_for(taken + random(1, 40)).await;
        let began = Instant::now();
        assert!(bench.stop().await.success(), "round {round}");
        assert!(began.elapsed() < STOP, "round {round}: {:?}", began.elapsed());
        bench.books_balance();
    }
    bench.start().await;
    bench.relay.wait_for(20 * people).await;
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 20 * people, "each once");
    assert_eq!(bench.relay.message_ids().len(), 20 * people);
    let store = rusqlite::Connection::open(&bench.store).unwrap();
    let tried: i64 = store.query_row("SELECT count(*) FROM attempt", [], |row| row.get(0)).unwrap();
    assert_eq!(tried, 0, "nothing was ambiguous, nothing cost an attempt");
}

/// T58: every connection waits for the answer to its dot. After the drain time exactly these are ambiguous, with their bytes;
/// what waited for a slot lost nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_a_relay_that_does_not_answer_the_dot_records_what_is_in_flight() {
    let mut run = Run::new().await;
    run.bench.relay.on(Command::Dot, Action::Stall);
    run.produce_all().await;
    run.bench.start().await;
    run.bench.relay.wait_stalled(Command::Dot, 2).await;
    run.accepted().await;
    let began = Instant::now();
    assert!(run.bench.stop().await.success());
    let took = began.elapsed();
    assert!((Duration::from_secs(19)..=STOP).contains(&took), "{took:?}: the drain time and little more");
    let count = |condition: &str| {
        run.number(&format!("SELECT count(*) FROM due d JOIN message m ON m.id=d.message WHERE {condition}")).unwrap()
    };
    assert_eq!(count("m.body IS NOT NULL AND d.attempt = 1 AND d.owner = 0"), 2, "in flight, recorded, bytes frozen");
    assert_eq!(count("d.attempt > 0"), 2, "nobody else lost an attempt");
    assert_eq!(run.number("SELECT count(*) FROM worker"), Some(0), "an orderly end");
    run.bench.books_balance();
    run.bench.relay.calm(Command::Dot);
    run.edit_store(DUE_NOW);
    run.allow_copy();
    run.allow_copy();
    run.drain().await;
    run.is_whole("stopped with two in flight");
    assert_eq!(run.findings().copies, 2);
}
