//! Mail by Microsoft Graph, against a login server and a Graph of our own.

use std::time::Duration;

use auditbell::channels::graph::{GraphMail, Settings, judge};
use auditbell::channels::outcome::Outcome;
use auditbell::channels::web::Limits;
use auditbell::channels::{Channel, Gate, Outgoing, Permission, Verdict};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::watch;

use crate::harness::{ALICE, Bench, envelope, reset};
use crate::http_server::{Act, Server, json, status};
use crate::token::{azure, grant, with_secret};
use crate::web::{NOW, is_about, outgoing};

const MAIL: &[u8] = b"From: security@example.com\r\nTo: alice@example.com\r\nSubject: x\r\n\r\nText.\r\n";

pub struct Clouds {
    login: Server,
    pub graph: Server,
}

impl Clouds {
    pub async fn new() -> Self {
        Self { login: Server::start(grant("fresh", 3_600)).await, graph: Server::start(status(202)).await }
    }

    pub fn channel(&self) -> GraphMail {
        let settings = Settings {
            mailbox: "security+bell@example.com".into(),
            auth: with_secret(azure(&self.login, Some(&self.graph))),
            connections: 4,
            rates: Vec::new(),
        };
        let limits = Limits { whole: Duration::from_secs(1), ..Limits::default() };
        GraphMail::new("m365".into(), &settings, limits).unwrap()
    }
}

fn mail() -> (Outgoing, watch::Sender<Permission>) {
    let (outgoing, go) = outgoing(MAIL);
    (Outgoing { to: Some("alice@example.com".into()), ..outgoing }, go)
}

pub fn refusal(code: u16, word: &str) -> Act {
    json(code, format!(r#"{{"error":{{"code":"{word}","message":"canary"}}}}"#))
}

#[tokio::test]
async fn a_mail_is_handed_over_as_our_own_bytes_in_base64() {
    let clouds = Clouds::new().await;
    let (outgoing, _go) = mail();
    let attempt = clouds.channel().attempt(&outgoing, NOW).await;
    assert_eq!(attempt.verdict, Verdict::Sent { reference: None });
    assert_eq!((attempt.code, attempt.reply.as_str()), (Some(202), "202 Accepted"));
    let asked = &clouds.graph.asked()[0];
    assert_eq!(asked.line, "POST /v1.0/users/security+bell@example.com/sendMail HTTP/1.1");
    assert_eq!(asked.header("authorization"), Some("Bearer fresh"));
    assert_eq!(asked.header("content-type"), Some("text/plain"));
    assert_eq!(asked.header("content-length"), Some(asked.body.len().to_string().as_str()));
    assert_eq!(STANDARD.decode(&asked.body).unwrap(), MAIL);
    assert!(!outgoing.handover.withdraw());
}

/// Every answer of Graph, in words and in what it does to the channel.
#[tokio::test]
async fn every_answer_has_a_verdict() {
    let hold = |why, seconds| (Verdict::Hold { until: NOW.plus(Duration::from_secs(seconds)), why }, false);
    for (why, act, (verdict, open)) in [
        ("a yes that is not Graph's", status(200), (Verdict::Ambiguous, true)),
        ("too many", Act::Answer(429, vec![("Retry-After", "120".into())], Vec::new()), hold("throttled", 120)),
        ("busy", Act::Answer(503, vec![("Retry-After", "7".into())], Vec::new()), hold("unavailable", 7)),
        ("busy, and no word for how long", status(503), (hold("unavailable", 5).0, true)),
        ("too busy", status(509), (hold("unavailable", 5).0, true)),
        (
            "a bad recipient",
            refusal(400, "ErrorInvalidRecipients"),
            (Verdict::Never { reason: "recipient-refused" }, true),
        ),
        ("a bad mail", refusal(400, "ErrorMimeContentInvalid"), (Verdict::Never { reason: "content-refused" }, true)),
        ("a large mail", status(413), (Verdict::Never { reason: "too-big" }, true)),
        ("Graph's own fault", status(500), (Verdict::Later { not_before: None }, true)),
        ("Graph's own fault, and for how long", Act::Answer(500, vec![("Retry-After", "9".into())], Vec::new()), {
            (Verdict::Later { not_before: Some(NOW.plus(Duration::from_secs(9))) }, true)
        }),
        ("a gateway that lost sight of it", status(504), (Verdict::Ambiguous, false)),
        ("a cut connection", Act::Cut, (Verdict::Ambiguous, false)),
        ("silence", Act::Silence, (Verdict::Ambiguous, false)),
    ] {
        let clouds = Clouds::new().await;
        let channel = clouds.channel();
        clouds.graph.then(act);
        let (outgoing, _go) = mail();
        let attempt = channel.attempt(&outgoing, NOW).await;
        assert!(is_about(&attempt.verdict, &verdict), "{why}: {attempt:?}");
        assert_eq!(channel.gate(true, NOW) == Gate::Open, open, "{why}: {:?}", channel.gate(true, NOW));
    }
}

/// Nobody can help but who changes a configuration: the breaker opens at once, for at least half a minute.
#[tokio::test]
async fn what_only_a_configuration_mends_shuts_the_channel() {
    for (act, why) in [
        (refusal(403, "ErrorAccessDenied"), "mailbox"),
        (refusal(404, "ErrorInvalidUser"), "mailbox"),
        (Act::Answer(308, vec![("Location", "https://elsewhere.example".into())], Vec::new()), "redirected"),
    ] {
        let clouds = Clouds::new().await;
        let channel = clouds.channel();
        clouds.graph.then(act);
        let (outgoing, _go) = mail();
        let attempt = channel.attempt(&outgoing, NOW).await;
        let Verdict::Hold { until, why: told } = attempt.verdict else { panic!("{attempt:?}") };
        assert_eq!(told, why);
        assert!(until.since(NOW) >= Duration::from_secs(30), "{why}");
        // Others are asked first.
        let opens = until.minus(Duration::from_secs(5));
        assert_eq!(channel.gate(true, NOW), Gate::Shut { until: opens, why });
        let again = channel.attempt(&outgoing, NOW).await;
        assert_eq!(again.verdict, Verdict::Hold { until: opens, why });
        assert_eq!(clouds.graph.asked().len(), 1, "nothing is asked while it is shut");
        assert_eq!(channel.gate(true, opens), Gate::Probe);
        assert!(matches!(channel.attempt(&outgoing, until).await.verdict, Verdict::Sent { .. }));
        assert_eq!(channel.gate(true, until), Gate::Open);
    }
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_replaced_once() {
    let clouds = Clouds::new().await;
    let channel = clouds.channel();
    clouds.login.then(grant("revoked", 3_600));
    clouds.graph.then(status(401));
    let (outgoing, _go) = mail();
    assert!(matches!(channel.attempt(&outgoing, NOW).await.verdict, Verdict::Sent { .. }));
    let bearers: Vec<_> =
        clouds.graph.asked().iter().map(|asked| asked.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(bearers, ["Bearer revoked", "Bearer fresh"]);

    clouds.graph.then(status(401)).then(status(401));
    let attempt = channel.attempt(&outgoing, NOW).await;
    assert!(matches!(attempt.verdict, Verdict::Hold { why: "auth", .. }), "{attempt:?}");
    assert_eq!(clouds.graph.asked().len(), 4, "twice, and no more");
}

#[tokio::test]
async fn without_a_token_nothing_is_asked_of_graph() {
    for (act, why) in [(json(401, r#"{"error_codes":[7000222]}"#), "auth"), (status(503), "token"), (Act::Cut, "token")]
    {
        let clouds = Clouds::new().await;
        clouds.login.then(act);
        let channel = clouds.channel();
        let (outgoing, _go) = mail();
        let attempt = channel.attempt(&outgoing, NOW).await;
        assert!(matches!(attempt.verdict, Verdict::Hold { why: told, .. } if told == why), "{attempt:?}");
        assert_eq!(clouds.graph.connections(), 0);
        assert!(outgoing.handover.withdraw());
    }
}

#[tokio::test]
async fn a_stop_before_the_request_takes_the_mail_back() {
    let clouds = Clouds::new().await;
    let (outgoing, go) = mail();
    go.send_replace(Permission::Stopping);
    let attempt = clouds.channel().attempt(&outgoing, NOW).await;
    assert!(matches!(attempt.verdict, Verdict::Hold { why: "stopping", .. }), "{attempt:?}");
    assert!(clouds.graph.asked().is_empty());
}

/// Graph has no envelope: bytes from before a try-out address was set would reach the person whom they name.
#[tokio::test]
async fn a_mail_that_names_somebody_else_does_not_leave() {
    let clouds = Clouds::new().await;
    let channel = clouds.channel();
    let folded: &[u8] = b"To:\r\n me@example.com\r\nSubject: To: x\r\n\r\nTo: alice@example.com\r\n";
    let twice: &[u8] = b"To: alice@example.com\r\nTo: me@example.com\r\n\r\n";
    for (bytes, to, leaves) in [
        (MAIL as &'static [u8], Some("me@example.com"), false),
        (MAIL, None, false),
        (folded, Some("alice@example.com"), false),
        (twice, Some("alice@example.com"), false),
        (folded, Some("me@example.com"), true),
    ] {
        let (outgoing, _go) = outgoing(bytes);
        let outgoing = Outgoing { to: to.map(Into::into), ..outgoing };
        let attempt = channel.attempt(&outgoing, NOW).await;
        let held = matches!(attempt.verdict, Verdict::Hold { why: "addressee", .. });
        assert_eq!((held, clouds.graph.asked().is_empty()), (!leaves, !leaves), "{to:?} {attempt:?}");
    }
}

/// As the table of docs/graph-mail.md has it: any other 4xx is the mail's own fault, also one that nobody expects.
#[test]
fn a_4xx_without_a_line_of_its_own_is_content_refused() {
    let with_a_line = [401, 403, 404, 408, 409, 413, 429];
    for status in 400..=499 {
        let refused = judge(status, "").0 == Outcome::Never("content-refused");
        assert_eq!(refused, !with_a_line.contains(&status), "{status}");
    }
}

/// No status is without a verdict, and only 202 is `Sent`.
#[test]
fn only_202_is_sent() {
    for status in 100..=999 {
        assert_eq!(judge(status, "").0 == Outcome::Sent, status == 202, "{status}");
    }
}

/// From a topic through the daemon to a Graph of our own.
#[tokio::test]
async fn a_record_becomes_a_mail_in_the_mailbox_of_graph() {
    let clouds = Clouds::new().await;
    clouds.graph.then(Act::Answer(429, vec![("Retry-After", "1".into())], Vec::new()));
    let mut bench = Bench::new().await;
    let relay = format!("relay = [\"{}\"]\n", bench.relay.url());
    bench.replace("type = \"smtp\"\n", "type = \"graph-mail\"\n");
    bench.replace(
        &relay,
        "auth = { oauth2 = { tenant = \"example.com\", client_id = \"app-1\", client_secret = \"canary\" } }\n",
    );
    let (login, graph) = (clouds.login.url(), clouds.graph.url());
    bench.rules = format!(
        "{}[azure]\nlogin_url = \"{login}\"\ngraph_url = \"{graph}\"\nallow_http = true\nallow_private = true\n",
        bench.rules
    );
    bench.start().await;
    bench.publish(envelope(&[reset("1", ALICE)])).await;
    let asked = clouds.graph.wait_for(2).await;
    assert_eq!(asked[0].body, asked[1].body, "the same bytes after the wait");
    let mail = STANDARD.decode(&asked[1].body).unwrap();
    let mail = mail_parser::MessageParser::default().parse(&mail).unwrap();
    assert_eq!(mail.to().unwrap().first().unwrap().address(), Some(ALICE.1));
    bench.stop().await;
    assert!(!bench.log().contains("canary"));
}
