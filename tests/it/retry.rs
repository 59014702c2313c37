//! A relay that does not take the mail at once: nothing is lost, nothing is told twice, every copy has one Message-ID.

use crate::harness::{ALICE, BOB, Bench, envelope, recipients, reset};
use crate::smtp_server::{Action, Command, Options};

#[tokio::test(flavor = "multi_thread")]
async fn a_451_is_tried_again_with_the_same_message_id() {
    let mut bench = Bench::new().await;
    bench.relay.once(Command::Dot, Action::Reply("451 4.3 try later"));
    bench.start().await;
    bench.publish(envelope(&[reset("later", ALICE)])).await;
    let mails = bench.relay.wait_for(1).await;
    assert_eq!(bench.relay.count("DATA"), 2);
    assert_eq!(mails[0].to, ["alice@example.com"]);
    assert!(bench.metric("auditbell_attempts_total", &["verdict=\"later\""]) >= 1);
    assert!(bench.stop().await.success());
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_550_is_the_end_and_the_fallback_list_hears_of_it() {
    let mut bench = Bench::new().await;
    bench.relay.on_recipient("alice@example.com", Command::Rcpt, Action::Reply("550 5.1.1 no such user"));
    bench.start().await;
    bench.publish(envelope(&[reset("refused", ALICE), reset("taken", BOB)])).await;
    let mails = bench.relay.wait_for(2).await;
    assert_eq!(recipients(&mails), ["bob@example.com", "soc@example.com"]);
    let failed = ["verdict=\"failed\"", "reason=\"mailbox-refused\""];
    bench.metric_at_least("auditbell_notifications_total", &failed, 1).await;
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// RFC 1047: the relay took the mail and the answer was lost. It comes again, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_repeated_byte_for_byte_after_a_minute_and_counted() {
    let mut bench = Bench::new().await;
    bench.relay.once(Command::Dot, Action::Close);
    bench.start().await;
    bench.publish(envelope(&[reset("ambiguous", ALICE)])).await;
    bench.relay.wait_for(1).await;
    bench.metric_at_least("auditbell_attempts_total", &["verdict=\"ambiguous\""], 1).await;
    assert!(bench.stop().await.success());
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    let wait: i64 =
        store.query_row("SELECT due_at - (SELECT max(at) FROM attempt) FROM due", [], |row| row.get(0)).unwrap();
    assert!((59_000..=61_000).contains(&wait), "{wait} ms");
    store.execute("UPDATE due SET due_at = 0", []).unwrap();
    drop(store);

    bench.start().await;
    let mails = bench.relay.wait_for(2).await;
    assert_eq!(mails[0].bytes, mails[1].bytes);
    assert!(bench.stop().await.success());
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_away_costs_nothing_but_time_also_over_a_restart() {
    let mut bench = Bench::new().await;
    bench.relay.on(Command::Connect, Action::Close);
    bench.start().await;
    bench.publish(envelope(&[reset("one", ALICE), reset("two", BOB)])).await;
    bench.metric_at_least("auditbell_channel_hold_total", &[], 2).await;
    assert!(bench.get("/readyz").starts_with("HTTP/1.1 200"), "readiness does not hang on the relay");
    bench.kill();
    bench.start().await;
    bench.relay.calm(Command::Connect);
    let mails = bench.relay.wait_for(2).await;
    assert_eq!(recipients(&mails), ["alice@example.com", "bob@example.com"]);
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 2);
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_full_mailbox_delays_nobody_else() {
    let mut bench = Bench::with(1, Options::default()).await;
    bench.relay.on_recipient("alice@example.com", Command::Rcpt, Action::Reply("452 4.2.2 mailbox full"));
    bench.start().await;
    let mut records: Vec<_> = (0..20).map(crate::harness::reset_of_number).collect();
    records.insert(0, reset("full", ALICE));
    bench.publish(envelope(&records)).await;
    bench.relay.wait_for(20).await;
    bench.relay.calm(Command::Rcpt);
    let mails = bench.relay.wait_for(21).await;
    assert_eq!(mails.last().unwrap().to, ["alice@example.com"]);
}
