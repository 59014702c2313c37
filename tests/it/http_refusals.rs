//! A refusal that may be said of one message or of everybody: the 4xx and 3xx of a webhook, and of Graph.

use std::time::Duration;

use auditbell::channels::{Channel, Gate, Outgoing, Verdict};
use auditbell::clock::Timestamp;

use crate::graph_mail::{Clouds, refusal};
use crate::http_server::{Server, status};
use crate::web::{NOW, outgoing};
use crate::webhook::{an_hour, channel, message, settings};

fn is_held(verdict: &Verdict, why: &str) -> bool {
    matches!(verdict, Verdict::Hold { why: told, .. } if *told == why)
}

/// When the channel may be tried again.
fn opens(channel: &dyn Channel) -> Timestamp {
    match channel.gate(true, NOW) {
        Gate::Shut { until, .. } => until,
        gate => panic!("{gate:?}"),
    }
}

/// A receiver that was deployed with a mistake refuses whatever comes: ten notices are lost by that, and not ten thousand.
#[tokio::test]
async fn the_tenth_message_that_is_refused_alike_in_a_row_makes_it_the_receivers_fault() {
    for (code, reason) in [(400, "content-refused"), (422, "content-refused"), (410, "gone")] {
        let server = Server::start(status(code)).await;
        let channel = channel(&settings(&server, None));
        for n in 0..9 {
            let (one, _go) = message(&format!("m{n}"));
            assert_eq!(channel.attempt(&one, NOW).await.verdict, Verdict::Never { reason }, "{code} {n}");
        }
        let (again, _go) = message("m8");
        assert_eq!(channel.attempt(&again, NOW).await.verdict, Verdict::Never { reason }, "one message counts once");
        let (tenth, _go) = message("m9");
        let held = channel.attempt(&tenth, NOW).await;
        assert!(is_held(&held.verdict, "policy") && held.code == Some(code), "{held:?}");
        assert_eq!(channel.broken(), Some("policy"));
        let mut now = opens(&channel);
        assert!(now.since(NOW) >= Duration::from_secs(30));
        let (probe, _go) = message("m10");
        let Verdict::Hold { until, why: "policy" } = channel.attempt(&probe, now).await.verdict else {
            panic!("{code}")
        };
        now = until;
        server.then(status(200));
        assert!(matches!(channel.attempt(&tenth, now).await.verdict, Verdict::Sent { .. }), "{code}");
        assert_eq!((channel.broken(), channel.gate(true, now)), (None, Gate::Open));
        assert_eq!(channel.attempt(&probe, now).await.verdict, Verdict::Never { reason }, "the row begins anew");
    }
}

#[tokio::test]
async fn refusals_that_others_come_between_are_their_messages_own_fault() {
    let server = Server::start(status(422)).await;
    let channel = channel(&settings(&server, None));
    for n in 0..30 {
        server.then(status([422, 422, 422, 413, 200, 500][n % 6]));
        let (one, _go) = message(&format!("m{n}"));
        let verdict = channel.attempt(&one, NOW).await.verdict;
        assert!(!matches!(verdict, Verdict::Hold { .. }), "{n}: {verdict:?}");
        assert_eq!(channel.gate(true, NOW), Gate::Open, "{n}");
    }
}

/// Of Graph a recipient counts once, however many mails there are for it.
#[tokio::test]
async fn ten_recipients_whom_graph_refuses_alike_in_a_row_are_not_to_blame() {
    let clouds = Clouds::new().await;
    let channel = clouds.channel();
    let mut held = 0;
    for n in 0..24 {
        clouds.graph.then(refusal(400, "ErrorInvalidRecipients"));
        let to = format!("user{}@example.com", if n < 15 { 0 } else { n - 14 });
        let (mail, _go) = outgoing(format!("To: {to}\r\n\r\nText.\r\n").into_bytes().leak());
        let mail = Outgoing { key: format!("m{n}").into(), to: Some(to.into()), ..mail };
        let verdict = channel.attempt(&mail, NOW).await.verdict;
        assert_eq!(is_held(&verdict, "policy"), n == 23, "{n}: {verdict:?}");
        held += usize::from(is_held(&verdict, "policy"));
    }
    assert_eq!((held, channel.broken()), (1, Some("policy")));
}

/// R4: a filter in front of the receiver may dislike one body. It keeps the others waiting once, and pays from the second time
/// on.
#[tokio::test]
async fn one_message_that_is_always_forbidden_keeps_no_other_waiting_twice() {
    for (code, why) in [(403, "auth"), (401, "auth"), (404, "no-endpoint"), (302, "redirected")] {
        let server = Server::start(status(200)).await;
        let channel = channel(&settings(&server, None));
        let (poison, _go) = message("poison");
        server.then(status(code));
        let first = channel.attempt(&poison, NOW).await.verdict;
        assert!(is_held(&first, why), "{code}: nobody knows yet, so the breaker opens: {first:?}");
        let now = opens(&channel);
        for n in 0..3 {
            let (other, _go) = message(&format!("m{n}"));
            assert!(matches!(channel.attempt(&other, now).await.verdict, Verdict::Sent { .. }), "{code} {n}");
            server.then(status(code));
            assert_eq!(channel.attempt(&poison, now).await.verdict, Verdict::Later { not_before: None }, "{code} {n}");
            assert_eq!((channel.gate(true, now), channel.broken()), (Gate::Open, None), "{code} {n}");
        }
    }
}

/// Said to everybody it is what only a configuration can mend, and costs nobody an attempt.
#[tokio::test]
async fn a_receiver_that_forbids_everybody_is_asked_by_one_message_at_a_time() {
    let server = Server::start(status(403)).await;
    let channel = channel(&settings(&server, None));
    an_hour(&channel, 12, "auth", 0).await;
    assert!((5..20).contains(&server.asked().len()), "{}", server.asked().len());
    server.then(status(200));
    let now = NOW.plus(Duration::from_hours(2));
    for n in 0..12 {
        server.then(status(200));
        let (outgoing, _go) = message(&n.to_string());
        assert!(matches!(channel.attempt(&outgoing, now).await.verdict, Verdict::Sent { .. }), "{n}");
    }
}
