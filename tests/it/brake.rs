//! The brake, from the topic to the mailbox: ten thousand resets are not ten thousand mails by accident, and nothing is lost.

use crate::harness::{Bench, RESET, envelope, recipients, reset_of_number};

const HELD: &str = "auditbell_messages_held_total";

/// Rules with a brake of a hundred an hour.
fn braked() -> String {
    let disabled = RESET
        .replace("password-reset", "account-disabled")
        .replace("\"Reset user password\", \"Reset password (by admin)\"", "\"Disable account\"");
    let brake = "[policy.braked]\nthrottle = { max = 100, per = \"1h\", overflow = \"hold\" }\n";
    format!("{RESET}policy = \"braked\"\n{disabled}policy = \"braked\"\n{brake}")
}

fn disabled(number: usize) -> serde_json::Value {
    let mut record = reset_of_number(number);
    record["operationName"] = "Disable account".into();
    record["properties"]["activityDisplayName"] = "Disable account".into();
    record
}

fn run(bench: &Bench, arguments: &[&str]) -> (i32, String, String) {
    let output = bench.command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_resets_are_a_hundred_mails_until_somebody_decides_on_the_rest() {
    let mut bench = Bench::new().await;
    bench.rules = braked();
    bench.start().await;
    for number in 0..100 {
        let records: Vec<_> = (number * 100..(number + 1) * 100).map(reset_of_number).collect();
        bench.publish(envelope(&records)).await;
        if number % 20 == 19 {
            bench.accepted_to(number + 1).await; // the mock cluster keeps 5 MB
        }
    }
    bench.publish(envelope(&(0..150).map(disabled).collect::<Vec<_>>())).await;
    bench.accepted_to(101).await;
    assert_eq!(bench.metric(HELD, &["rule=\"password-reset\"", "channel=\"email\""]), 9_900);
    assert_eq!(bench.metric(HELD, &["rule=\"account-disabled\""]), 50);
    bench.relay.wait_for(200).await;
    bench.metric_at_least("auditbell_messages", &["state=\"held\""], 9_950).await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 200).await;
    assert_eq!(bench.relay.accepted().len(), 200, "and not one more");
    let trips = bench.log().matches("the brake holds messages").count();
    assert_eq!(trips, 2, "said once per rule and window");

    let (code, said, why) = run(&bench, &["messages", "release"]);
    assert_eq!(code, 2, "without a choice nothing happens: {why}");
    assert!(said.contains("rule=password-reset channel=email messages=9900"), "{said}");
    // One rule whole; of the other a thousand by name, and the rest is discarded.
    let (code, said, _) = run(&bench, &["messages", "release", "--rule", "account-disabled", "-o", "json"]);
    assert_eq!((code, said.as_str()), (0, "{\"action\":\"release\",\"done\":50,\"left\":0}\n"));
    let (_, listed, _) = run(&bench, &["messages", "list", "--state", "held", "--limit", "1000"]);
    let keys: Vec<&str> = listed.lines().rev().map(|line| line.split(' ').nth(1).unwrap()).collect();
    let (code, said, _) = run(&bench, &[&["messages", "release"][..], &keys].concat());
    assert_eq!((code, said.lines().count()), (0, 1_000));
    let rest = ["messages", "discard", "--rule", "password-reset"];
    let (code, said, _) = run(&bench, &[&rest[..], &["--dry-run"]].concat());
    assert_eq!((code, said.as_str()), (0, "would discard: 8900\n"));
    let (code, said, _) = run(&bench, &rest);
    assert_eq!((code, said.as_str()), (0, "discard: 8900\n"));

    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 1_250).await;
    assert!(bench.stop().await.success());
    let mails = bench.relay.accepted();
    assert_eq!((mails.len(), bench.relay.message_ids().len()), (1_250, 1_250));
    bench.books_balance();
    let (_, books, _) = run(&bench, &["store", "check"]);
    for line in ["notifications discarded: 8900\n", "notifications sent: 1250\n", "messages sent: 1250\n"] {
        assert!(books.contains(line) && !books.contains("pending"), "{books}");
    }
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    let count = |text: &str| store.query_row(text, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM operator WHERE what = 'messages release --rule account-disabled: 50'"), 1);
    assert_eq!(
        count("SELECT count(*) FROM operator WHERE what LIKE 'messages discard --rule password-reset: %00'"),
        18
    );
    // In the order in which they came, but for what is sent at the same time.
    let late = "SELECT count(*) FROM message a JOIN message b ON b.id=a.id+300 WHERE a.state=1 AND b.state=1 \
        AND a.rule='password-reset' AND b.rule=a.rule AND a.done_at>b.done_at";
    assert_eq!(count(late), 0, "no message left after one that came 300 later");
}

/// A replay consumes nothing of the brake, and what is held stays held over a restart.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_outlives_a_kill_and_a_replay() {
    let mut bench = Bench::new().await;
    bench.rules = braked().replace("max = 100", "max = 2");
    bench.start().await;
    bench.publish(envelope(&(0..5).map(reset_of_number).collect::<Vec<_>>())).await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 2).await;
    bench.kill();
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    store.execute("UPDATE position SET next = 0", []).unwrap();
    bench.start().await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"duplicate\""], 5).await;
    assert_eq!(bench.metric(HELD, &[]), 0, "nothing new was held");
    let (_, listed, _) = run(&bench, &["messages", "list", "--state", "held", "-o", "json"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(bench.stop().await.success());
    bench.books_balance();
    assert_eq!(bench.relay.message_ids().len(), 2);
}

/// What a trip of the brake leaves is a record like any other: a rule of the operator's own tells the team.
#[tokio::test(flavor = "multi_thread")]
async fn a_trip_of_the_brake_is_told_to_whoever_has_a_rule_for_it() {
    let mut bench = Bench::new().await;
    let own = "[[rule]]\nid = \"brake\"\ndescription = \"The brake holds messages\"\non = \"auditbell.delivery\"\n\
        when = { operation = \"Messages held\" }\nto = [\"soc@example.com\"]\nchannels = [\"email\"]\n\
        template = \"delivery\"\npolicy = \"braked\"\n";
    bench.rules = format!("{}{own}", braked().replace("max = 100", "max = 2"));
    bench.start().await;
    for number in 0..3 {
        bench.publish(envelope(&(number * 3..number * 3 + 3).map(reset_of_number).collect::<Vec<_>>())).await;
    }
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\"", "rule=\"brake\""], 1).await;
    bench.metric_at_least(HELD, &[], 7).await;
    assert!(bench.stop().await.success());
    let told = recipients(&bench.relay.accepted());
    assert_eq!(told, ["soc@example.com", "user-0@example.com", "user-1@example.com"]);
    bench.books_balance();
}
