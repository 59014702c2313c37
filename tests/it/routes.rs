//! Whom a record is told to, through the doors: routes, elements, managers, lookups, and what becomes of those who are not
//! found.

use std::fs;

use serde_json::Value;

use crate::harness::{ALICE, BOB, Bench, envelope, recipients, reset, reset_of_number, text};

const NOTIFICATIONS: &str = "auditbell_notifications_total";

/// A rule about resets with these other lines.
fn rule(id: &str, lines: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\ndescription = \"A reset\"\non = \"entra.audit\"\nwhen = {{ operation = \"Reset user password\" }}\n{lines}\n"
    )
}

/// The subject of the one mail to `to`.
fn subject(bench: &Bench, to: &str) -> String {
    let mails = bench.relay.accepted();
    let own: Vec<_> = mails.iter().filter(|mail| mail.to == [to]).collect();
    assert_eq!(own.len(), 1, "{to}");
    text(own[0]).lines().next().unwrap().to_owned()
}

/// A29 in part: a muted route sends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn three_routes_are_three_lists_and_three_templates_and_a_mute_one_tells_nobody() {
    let mut bench = Bench::new().await;
    let routes = r#"
[[rule.route]]
when = { target.upn = "alice@example.com" }
to = "list:first"
template = "password-changed"
[[rule.route]]
when = { target.upn = { starts_with = "bob@" } }
to = "list:second"
template = "account-disabled"
[[rule.route]]
when = { target.upn = "user-1@example.com" }
mute = true
[[rule.route]]
when = { target.upn = { starts_with = "user-" } }
to = "list:third"
"#;
    let lists =
        "[list]\nfirst = \"first@example.com\"\nsecond = \"second@example.com\"\nthird = \"third@example.com\"\n";
    let own = "channels = [\"email\"]\nto = [\"target\"]\ntemplate = \"password-reset\"";
    bench.rules = format!("{}{routes}{lists}", rule("routed", own));
    bench.start().await;
    let records = [reset("a", ALICE), reset("b", BOB), reset_of_number(1), reset_of_number(2)];
    bench.publish(envelope(&records)).await;
    let mails = bench.relay.wait_for(3).await;
    assert_eq!(recipients(&mails), ["first@example.com", "second@example.com", "third@example.com"]);
    let subjects = ["first@example.com", "second@example.com", "third@example.com"].map(|to| subject(&bench, to));
    assert!(subjects[0] != subjects[1] && subjects[1] != subjects[2] && subjects[0] != subjects[2], "{subjects:?}");
    assert_eq!(bench.metric(NOTIFICATIONS, &["verdict=\"muted\"", "reason=\"route\""]), 1);
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 3);
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_routes_alone_tells_nobody_where_none_holds() {
    let mut bench = Bench::new().await;
    let lines = "to = [\"target\"]\ntemplate = \"password-reset\"\n\
                 [[rule.route]]\nwhen = { target.upn = \"alice@example.com\" }\nchannels = [\"email\"]";
    bench.rules = rule("routed", lines);
    bench.start().await;
    bench.publish(envelope(&[reset("b", BOB), reset("a", ALICE)])).await;
    assert_eq!(recipients(&bench.relay.wait_for(1).await), ["alice@example.com"]);
    assert_eq!(bench.metric(NOTIFICATIONS, &["verdict=\"skipped\"", "reason=\"no-route\""]), 1);
    assert!(bench.stop().await.success());
    bench.books_balance();
}

fn of_two(id: &str) -> Value {
    let mut record = reset(id, ALICE);
    let other = reset(id, BOB)["properties"]["targetResources"][0].clone();
    record["properties"]["targetResources"].as_array_mut().unwrap().push(other);
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn each_element_is_told_once_wherever_it_stands() {
    let mut bench = Bench::new().await;
    let lines = "each = \"targets\"\nto = [\"soc@example.com\"]\nchannels = [\"email\"]\ntemplate = \"password-reset\"";
    bench.rules = rule("each", lines);
    bench.start().await;
    let record = of_two("two");
    bench.publish(envelope(std::slice::from_ref(&record))).await;
    bench.relay.wait_for(2).await;
    let mut turned = record;
    turned["properties"]["targetResources"].as_array_mut().unwrap().reverse();
    bench.publish(envelope(&[turned])).await;
    bench.metric_at_least(NOTIFICATIONS, &["verdict=\"duplicate\""], 2).await;
    assert!(bench.stop().await.success());
    assert_eq!(recipients(&bench.relay.accepted()), ["soc@example.com", "soc@example.com"]);
    bench.books_balance();
}

/// A14, A17 (the manager), A23: who is meant and not found is told to the fallback, and counted.
#[tokio::test(flavor = "multi_thread")]
async fn managers_and_lookups_are_told_and_who_is_missing_goes_to_the_fallback() {
    let mut bench = Bench::new().await;
    let people = format!(
        "id,upn,mail,other_mails,manager\n{},{},,,\n{},{},,,gil@example.com\n,gil@example.com,gil.boss@example.com,,\n",
        BOB.0, BOB.1, ALICE.0, ALICE.1
    );
    fs::write(bench.path("people.csv"), people).unwrap();
    bench.replace("wait = \"15m\"", "wait = \"15m\"\ncsv = \"people.csv\"");
    let lookup = "[lookup.owners]\nkey = \"upn\"\nby = \"target.upn\"\nrows = [{ upn = \"alice@example.com\", mail = \"owner@example.com\" }]\n";
    let common = "channels = [\"email\"]\ntemplate = \"password-reset\"";
    bench.rules = [
        rule("manager", &format!("to = \"target.manager\"\n{common}")),
        rule("owner", &format!("to = \"lookup:owners.mail\"\n{common}")),
        rule("first", &format!("to = {{ first_of = [\"target.manager\", \"duty@example.com\"] }}\n{common}")),
        lookup.to_owned(),
    ]
    .concat();
    bench.start().await;
    bench.publish(envelope(&[reset("a", ALICE), reset("b", BOB)])).await;
    let mails = bench.relay.wait_for(6).await;
    let expected = [
        "duty@example.com",
        "gil.boss@example.com",
        "gil.boss@example.com",
        "owner@example.com",
        "soc@example.com",
        "soc@example.com",
    ];
    assert_eq!(recipients(&mails), expected);
    for result in ["result=\"no-manager\"", "result=\"no-value\""] {
        assert_eq!(bench.metric("auditbell_recipient_resolutions_total", &[result]), 1, "{result}");
    }
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 6);
    bench.books_balance();
}
