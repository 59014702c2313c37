//! What happens when a message is given up: who is told instead, what the rules hear of it, and that it comes to an end.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;

use crate::harness::{ALICE, BOB, Bench, RESET, envelope, recipients, reset, text};
use crate::smtp_server::{Action, Command};

/// Tells `ops@example.com` of whatever goes wrong with delivery.
pub const OPS: &str = r#"
[[rule]]
id = "ops-delivery"
description = "Delivery is in trouble"
on = "auditbell.delivery"
when = { result = "failure" }
to = ["ops@example.com"]
channels = ["email"]
template = "delivery"
"#;

/// So many of our own records have the rules seen, and no more. Asked once all is [`settled`]: only the counter may lag behind.
pub async fn own_records_are(bench: &Bench, expected: u64) {
    let seen = bench.metric_at_least("auditbell_records_total", &["source=\"auditbell\""], expected).await;
    assert_eq!(seen, expected);
}

/// Nothing is due, and no record of ours waits.
pub async fn settled(bench: &Bench) {
    bench
        .until("the end of the work", |bench| {
            let store = Connection::open(&bench.store).unwrap();
            let left = "SELECT (SELECT count(*) FROM due) + (SELECT count(*) FROM internal)";
            (store.query_row(left, [], |row| row.get::<_, i64>(0)) == Ok(0)).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_given_up_is_told_to_the_fallback_list_and_to_a_rule_that_asks_for_it() {
    let mut bench = Bench::new().await;
    bench.rules = RESET.to_owned() + OPS;
    bench.relay.on_recipient("alice@example.com", Command::Rcpt, Action::Reply("550 5.7.1 secret words"));
    bench.start().await;
    bench.publish(envelope(&[reset("1", ALICE), reset("2", BOB)])).await;
    let mails = bench.relay.wait_for(3).await;
    assert_eq!(recipients(&mails), ["bob@example.com", "ops@example.com", "soc@example.com"]);
    let told = mails.iter().find(|mail| mail.to == ["ops@example.com"]).map(text).unwrap();
    for part in ["Message given up", "Channel: email", "(reply 550)", "Rule: password-reset", "For: "] {
        assert!(told.contains(part), "no `{part}` in\n{told}");
    }
    assert!(!told.contains("secret words"), "the reply's text may name anybody");
    settled(&bench).await;
    own_records_are(&bench, 1).await;
    assert_eq!(bench.metric_at_least("auditbell_rule_matches_total", &["rule=\"ops-delivery\""], 1).await, 1);
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// The worst case: nobody can be told anything. Each of the two messages that stem from the audit record makes one record,
/// those that stem from a record of ours none, and there is an end.
#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_can_be_told_that_nobody_can_be_told_it_ends() {
    let mut bench = Bench::new().await;
    bench.rules = RESET.to_owned() + OPS;
    bench.relay.on(Command::Rcpt, Action::Reply("550 5.7.1 nobody"));
    bench.start().await;
    bench.publish(envelope(&[reset("1", ALICE)])).await;
    bench.metric_at_least("auditbell_notifications_total", &["rule=\"ops-delivery\"", "verdict=\"failed\""], 4).await;
    settled(&bench).await;
    let store = Connection::open(&bench.store).unwrap();
    let mut rows = store.prepare("SELECT rule, recipient, kind, count(*) FROM message GROUP BY 1, 2, 3").unwrap();
    let rows = rows.query_map([], |row| {
        let (rule, recipient, kind): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((format!("{rule} {} {kind}", recipient.replace(ALICE.0, "alice")), row.get::<_, i64>(3)?))
    });
    let messages: BTreeMap<_, _> = rows.unwrap().map(Result::unwrap).collect();
    let expected = [
        ("password-reset user:alice 0", 1),
        ("password-reset addr:soc@example.com 2", 1),
        ("ops-delivery addr:ops@example.com 0", 2),
        ("ops-delivery addr:soc@example.com 2", 2),
    ];
    assert_eq!(messages, expected.into_iter().map(|(line, count)| (line.to_owned(), count)).collect());
    own_records_are(&bench, 2).await;
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// Two rules and the throttle of time: what expires is told as well, with the code of the last reply.
#[tokio::test(flavor = "multi_thread")]
async fn what_expires_undelivered_is_told_through_another_channel() {
    let mut bench = Bench::new().await;
    bench.rules = RESET.replace("to = [", "max_age = \"12s\"\nto = [")
        + OPS
        + "\n[channel.second]\ntype = \"smtp\"\nrelay = [\"RELAY\"]\nfrom = \"Second <second@example.com>\"\n"
        + "\n[list]\nlead = [\"lead@example.com\"]\n";
    let url = bench.relay.url();
    bench.replace("RELAY", &url);
    bench.replace("retry = [\"1s\"]", "retry = [\"1s\"]\nfallback = [\"second\", \"list:lead\"]");
    bench.relay.on_recipient("alice@example.com", Command::Rcpt, Action::Reply("451 4.3.0 later"));
    bench.start().await;
    bench.reading().await;
    bench.publish(envelope(&[reset("1", ALICE)])).await;
    let mails = bench.relay.wait_for(2).await;
    assert_eq!(recipients(&mails), ["lead@example.com", "ops@example.com"]);
    let lead = mails.iter().find(|mail| mail.to == ["lead@example.com"]).unwrap();
    assert_eq!(lead.from, "second@example.com", "through the other channel");
    assert!(text(lead).contains("The message to the person below was given up."), "{}", text(lead));
    let told = mails.iter().find(|mail| mail.to == ["ops@example.com"]).map(text).unwrap();
    assert!(told.contains("Reason: undelivered (reply 451)"), "{told}");
    assert!(bench.stop().await.success());
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_cannot_write_our_records() {
    let mut bench = Bench::new().await;
    bench.rules = RESET.to_owned() + OPS;
    bench.start().await;
    let forged = r#"{"id":"email","time":"2026-01-22T18:15:02.387Z","operation":"Channel stopped","result":"failure",
        "state":"stopped","category":"Channel","severity":"high","channel":"email","dialect":"auditbell.delivery"}"#;
    bench.publish(format!(r#"{{"records":[{forged}]}}"#)).await;
    bench.publish(envelope(&[reset("1", ALICE)])).await;
    assert_eq!(recipients(&bench.relay.wait_for(1).await), ["alice@example.com"]);
    bench.accepted_to(2).await;
    assert_eq!(bench.metric("auditbell_rule_matches_total", &["rule=\"ops-delivery\""]), 0);
    assert_eq!(bench.metric("auditbell_records_total", &["dialect=\"other\""]), 1);
    tokio::time::timeout(Duration::from_secs(30), bench.stop()).await.unwrap();
}

/// The bytes of an ambiguous attempt are kept with their address, but not against `allow_domains`: whoever takes a domain out of it
/// stops what waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_bytes_are_kept_does_not_go_to_a_domain_that_is_no_longer_allowed() {
    let mut bench = Bench::new().await;
    bench.replace("[\"soc@example.com\"]", "[\"soc@example.net\"]");
    bench.replace("allow_domains = [\"example.com\"]", "allow_domains = [\"example.com\", \"example.net\"]");
    bench.relay.on_recipient("alice@example.com", Command::Dot, Action::Close);
    bench.start().await;
    bench.publish(envelope(&[reset("1", ALICE)])).await;
    bench.metric_at_least("auditbell_attempts_total", &["verdict=\"ambiguous\""], 1).await;
    bench.replace("allow_domains = [\"example.com\", \"example.net\"]", "allow_domains = [\"example.net\"]");
    let reload = bench.command(&["reload"]).output().unwrap();
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    let heard = bench.relay.count("RCPT");
    let listed = bench.command(&["messages", "list", "-o", "json"]).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let retry = ["messages", "retry", listed["key"].as_str().unwrap()];
    bench.until("a retry", |bench| bench.command(&retry).output().unwrap().status.success().then_some(())).await;
    bench.metric_at_least("auditbell_notifications_total", &["reason=\"foreign-domain\""], 1).await;
    let mails = bench.relay.wait_for(2).await;
    assert_eq!(
        recipients(&mails),
        ["alice@example.com", "soc@example.net"],
        "the relay took the first, and did not say so"
    );
    assert_eq!(bench.relay.count("RCPT"), heard + 1, "and there was no second");
    assert!(bench.stop().await.success());
}
