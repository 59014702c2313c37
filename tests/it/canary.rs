//! T83: at `trace`, with everything that can go wrong going wrong, no secret, address, name or text of a record is in the
//! log or in a metric.

use crate::harness::{Bench, Who, envelope, reset};
use crate::smtp_server::{Action, Command, Options, Tls};

/// In every word that must not leak.
const CANARY: &str = "zqcanary";
const PERSON: Who = ("2qca4a47-0000-4000-8000-0000zqcanary", "zqcanary.person@example.com", "Zqcanary Surname");

#[tokio::test(flavor = "multi_thread")]
async fn at_trace_no_secret_and_nobody_is_in_the_log_or_in_a_metric() {
    let relay =
        Options { tls: Tls::Implicit, account: Some(("zqcanary-user", "zqcanary-password")), ..Options::default() };
    let mut bench = Bench::with(1, relay).await;
    bench.replace("level = \"debug\"", "level = \"trace\"");
    let tls = format!(
        "retry = [\"1s\"]\nca_file = \"{}\"\nauth = {{ user = \"zqcanary-user\", password = \"zqcanary-password\" }}",
        bench.relay.ca_file().display()
    );
    bench.replace("retry = [\"1s\"]", &tls);
    bench.replace("fallback = [\"soc@example.com\"]", "fallback = [\"zqcanary-soc@example.com\"]");
    // The relay's words hold what it was told: a refusal, a delay, a lost answer.
    bench.relay.once(Command::Rcpt, Action::Reply("450 4.2.1 <zqcanary.person@example.com> is busy"));
    bench.relay.once(Command::Dot, Action::Close);
    bench.relay.on_recipient(
        "zqcanary.refused@example.com",
        Command::Rcpt,
        Action::Reply("550 5.1.1 <zqcanary.refused@example.com> unknown"),
    );
    bench.start().await;

    let mut rich = reset("zqcanary-correlation", PERSON);
    rich["properties"]["initiatedBy"]["user"]["displayName"] = "Zqcanary Admin".into();
    rich["properties"]["initiatedBy"]["user"]["ipAddress"] = "zqcanary-address".into();
    rich["properties"]["resultReason"] = "zqcanary reason".into();
    let refused = reset("zqcanary-refused", ("r-zqcanary", "zqcanary.refused@example.com", "Zqcanary Refused"));
    let guest = reset("zqcanary-guest", ("g-zqcanary", "zqcanary#EXT#@example.com", "Zqcanary Guest"));
    bench.publish(envelope(&[rich, refused, guest])).await;
    bench.publish("zqcanary is not JSON").await;
    bench.publish("{\"records\":[{\"operationName\": \"zqcanary\", zqcanary}]}").await;

    bench.metric_at_least("auditbell_attempts_total", &["verdict=\"ambiguous\""], 1).await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"failed\""], 2).await;
    bench.metric_at_least("auditbell_dead_letters_total", &[], 1).await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 2).await;
    let metrics = bench.get("/metrics");
    assert!(bench.stop().await.success());
    assert!(bench.relay.heard().iter().any(|line| line.contains(CANARY)), "the canaries were on the way");

    assert!(bench.log().contains("\"attempted\"") && metrics.contains("auditbell_attempts_total"), "both were written");
    // A reader of JSON keeps one of two fields of a name: what the line says, or what it is about.
    let twice = |line: &&str| line.matches("\"message\":").count() != 1;
    assert_eq!(bench.log().lines().find(twice), None);
    for (what, text) in [("log", bench.log()), ("metrics", metrics)] {
        let leaks: Vec<_> = text.lines().filter(|line| line.to_lowercase().contains(CANARY)).collect();
        assert!(leaks.is_empty(), "{what}:\n{}", leaks.join("\n"));
    }
}
