//! The webhook channel against a receiver of our own, which verifies what it gets by its own arithmetic.

use std::time::Duration;

use auditbell::channels::outcome::Outcome;
use auditbell::channels::web::{Limits, Settings as Reach};
use auditbell::channels::webhook::{Settings, Webhook, judge, keys};
use auditbell::channels::{Channel, Gate, Permission, Verdict};
use auditbell::secret::{Secret, Source};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::harness::{ALICE, Bench, envelope, reset};
use crate::http_server::{Act, Asked, Server, status};
use crate::web::{NOW, is_about, loopback, outgoing};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const BODY: &[u8] = br#"{"title":"Your password was reset"}"#;

pub fn settings(server: &Server, secret: Option<&str>) -> Settings {
    let here = |text: &str| Source::Here(Secret::new(text));
    Settings {
        url: here(&format!("{}/hook?sig=canary", server.url())),
        secret: secret.map(here),
        authorization: Some(here("Bearer canary-token")),
        headers: vec![("X-Environment".into(), Secret::new("canary-header"))],
        content_type: "application/json".into(),
        web: loopback(),
        connections: 5,
        rates: Vec::new(),
    }
}

pub fn channel(settings: &Settings) -> Webhook {
    let limits = Limits { whole: Duration::from_secs(1), ..Limits::default() };
    Webhook::new("hook".into(), settings, limits).unwrap()
}

/// HMAC as RFC 2104 has it, by nothing but the hash.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(block, key)| *block ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// What a receiver does: over the bytes as they came.
fn verifies(asked: &Asked, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let (id, time) = (asked.header("webhook-id").unwrap(), asked.header("webhook-timestamp").unwrap());
    let text = [id.as_bytes(), b".", time.as_bytes(), b".", &asked.body].concat();
    let expected = format!("v1,{}", STANDARD.encode(hmac(&key, &text)));
    asked.header("webhook-signature").unwrap().split(' ').any(|signature| signature == expected)
}

#[tokio::test]
async fn a_request_is_signed_over_its_id_its_time_and_its_body() {
    let server = Server::start(Act::Answer(200, Vec::new(), b"thank you".to_vec())).await;
    let (outgoing, _go) = outgoing(BODY);
    let attempt = channel(&settings(&server, Some(OLD))).attempt(&outgoing, NOW).await;
    assert_eq!(attempt.verdict, Verdict::Sent { reference: None });
    assert_eq!((attempt.code, attempt.reply.as_str()), (Some(200), "200 OK: thank you"));
    let asked = server.asked().remove(0);
    assert_eq!(asked.line, "POST /hook?sig=canary HTTP/1.1");
    assert_eq!(asked.body, BODY);
    for (header, value) in [
        ("webhook-id", &*outgoing.key),
        ("webhook-timestamp", "1795246080"),
        ("content-type", "application/json"),
        ("content-length", "35"),
        ("authorization", "Bearer canary-token"),
        ("x-environment", "canary-header"),
    ] {
        assert_eq!(asked.header(header), Some(value), "{header}");
    }
    assert!(verifies(&asked, OLD));
    assert!(!verifies(&asked, NEW), "the check itself tells keys apart");
    let changed = |change: &dyn Fn(&mut Asked)| {
        let mut other = asked.clone();
        change(&mut other);
        verifies(&other, OLD)
    };
    assert!(!changed(&|asked| asked.body[2] ^= 1), "a body that was changed");
    assert!(!changed(&|asked| asked
        .headers
        .iter_mut()
        .filter(|(name, _)| name == "webhook-timestamp")
        .for_each(|(_, time)| time.push('0'))));
}

#[tokio::test]
async fn while_a_key_is_changed_both_sign_and_without_one_nothing_does() {
    let server = Server::start(status(204)).await;
    let (outgoing, _go) = outgoing(BODY);
    let both = format!("{NEW} {OLD}");
    assert!(matches!(
        channel(&settings(&server, Some(&both))).attempt(&outgoing, NOW).await.verdict,
        Verdict::Sent { .. }
    ));
    assert!(matches!(channel(&settings(&server, None)).attempt(&outgoing, NOW).await.verdict, Verdict::Sent { .. }));
    let asked = server.asked();
    assert!(verifies(&asked[0], OLD) && verifies(&asked[0], NEW));
    assert_eq!(asked[1].header("webhook-signature"), None);
    assert_eq!(asked[1].header("webhook-id"), Some(&*outgoing.key));
}

/// A22, the transport's half: whatever became of a try, the next one bears the same id and the same bytes.
#[tokio::test]
async fn every_try_bears_the_same_id() {
    let server = Server::start(status(200)).await;
    let channel = channel(&settings(&server, Some(OLD)));
    let (outgoing, _go) = outgoing(BODY);
    let mut now = NOW;
    for (act, sent) in [(Act::Cut, false), (status(500), false), (status(503), false), (status(200), true)] {
        server.then(act);
        if let Gate::Shut { until, .. } = channel.gate(true, now) {
            now = until;
        }
        let attempt = channel.attempt(&outgoing, now).await;
        assert_eq!(matches!(attempt.verdict, Verdict::Sent { .. }), sent, "{attempt:?}");
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|asked| asked.header("webhook-id") == Some(&*outgoing.key) && asked.body == BODY));
    assert!(asked.iter().all(|asked| verifies(asked, OLD)), "each with a time and a signature of its own");
}

#[tokio::test]
async fn every_answer_has_a_verdict() {
    let hold = |why, seconds| Verdict::Hold { until: NOW.plus(Duration::from_secs(seconds)), why };
    let later = |seconds| Verdict::Later { not_before: Some(NOW.plus(Duration::from_secs(seconds))) };
    let after = |code, text: &str| Act::Answer(code, vec![("Retry-After", text.to_owned())], Vec::new());
    for (why, act, verdict, open) in [
        ("taken", status(202), Verdict::Sent { reference: None }, true),
        ("the receiver wants no more", status(410), Verdict::Never { reason: "gone" }, true),
        ("the body is none", status(422), Verdict::Never { reason: "content-refused" }, true),
        ("the body is too large", status(413), Verdict::Never { reason: "too-big" }, true),
        ("the receiver fails", status(500), Verdict::Later { not_before: None }, true),
        ("a status that nobody knows", status(418), Verdict::Later { not_before: None }, true),
        ("the receiver fails, and says for how long", after(500, "30"), later(30), true),
        ("the receiver fails, and says at once", after(500, "1"), later(5), true),
        ("too many, for a second", after(429, "1"), hold("throttled", 5), false),
        ("too many", after(429, "120"), hold("throttled", 120), false),
        ("too many, until a date", after(429, "Sat, 21 Nov 2026 07:30:00 GMT"), hold("throttled", 120), false),
        ("too many, for a year", after(429, "31536000"), hold("throttled", 3_600), false),
        ("too many, and no word for how long", after(429, "soon"), hold("throttled", 5), true),
        ("down, and no word for how long", status(503), hold("unavailable", 5), true),
        ("nobody behind the gateway", status(502), hold("unavailable", 5), true),
        ("down", after(503, "60"), hold("unavailable", 60), false),
        ("the connection is cut after the request", Act::Cut, Verdict::Ambiguous, false),
        ("nothing comes", Act::Silence, Verdict::Ambiguous, false),
    ] {
        let server = Server::start(act).await;
        let channel = channel(&settings(&server, Some(OLD)));
        let (outgoing, _go) = outgoing(BODY);
        let attempt = channel.attempt(&outgoing, NOW).await;
        assert!(is_about(&attempt.verdict, &verdict), "{why}: {attempt:?}");
        assert_eq!(channel.gate(true, NOW) == Gate::Open, open, "{why}: {:?}", channel.gate(true, NOW));
    }
    for (code, why) in [(301, "redirected"), (401, "auth"), (403, "auth"), (404, "no-endpoint")] {
        let server =
            Server::start(Act::Answer(code, vec![("Location", "https://example.com".into())], Vec::new())).await;
        let channel = channel(&settings(&server, Some(OLD)));
        let (outgoing, _go) = outgoing(BODY);
        let attempt = channel.attempt(&outgoing, NOW).await;
        let Verdict::Hold { until, why: told } = attempt.verdict else { panic!("{code}: {attempt:?}") };
        assert_eq!(told, why);
        assert!(until.since(NOW) >= Duration::from_secs(30), "{code} opens the breaker");
        // Others are asked first.
        assert_eq!(channel.gate(true, NOW), Gate::Shut { until: until.minus(Duration::from_secs(5)), why });
    }
}

#[test]
fn every_status_has_a_verdict_and_only_a_success_is_sent() {
    for status in 0..=u16::MAX {
        assert_eq!(judge(status).0 == Outcome::Sent, (200..300).contains(&status), "{status}");
        assert_ne!(judge(status).0, Outcome::Ambiguous, "{status}");
    }
}

#[tokio::test]
async fn a_stop_before_the_request_takes_the_message_back() {
    let server = Server::start(status(200)).await;
    let (outgoing, go) = outgoing(BODY);
    go.send_replace(Permission::Stopping);
    let attempt = channel(&settings(&server, None)).attempt(&outgoing, NOW).await;
    assert!(matches!(attempt.verdict, Verdict::Hold { why: "stopping", .. }), "{attempt:?}");
    assert!(server.asked().is_empty());
}

/// A message of its own key.
pub fn message(key: &str) -> (auditbell::channels::Outgoing, tokio::sync::watch::Sender<Permission>) {
    let (outgoing, go) = outgoing(BODY);
    (auditbell::channels::Outgoing { key: key.into(), ..outgoing }, go)
}

/// R4: one message that is always answered "not now" pays for its attempts from the second time on, and keeps no other
/// waiting.
#[tokio::test]
async fn one_message_that_is_always_put_off_keeps_no_other_waiting() {
    for (code, why) in [(503, "unavailable"), (502, "unavailable"), (504, "unavailable"), (429, "throttled")] {
        let server = Server::start(status(200)).await;
        let channel = channel(&Settings { connections: 1, ..settings(&server, None) });
        server.then(status(code));
        let (poison, _go) = message("poison");
        let Verdict::Hold { until, why: told } = channel.attempt(&poison, NOW).await.verdict else { panic!("{code}") };
        assert_eq!(told, why);
        assert!(until.since(NOW) >= Duration::from_secs(5));
        assert_eq!(channel.gate(true, NOW), Gate::Open, "{code}");
        for n in 0..3 {
            let (other, _go) = message(&format!("m{n}"));
            assert!(matches!(channel.attempt(&other, until).await.verdict, Verdict::Sent { .. }), "{code} {n}");
            server.then(status(code));
            assert_eq!(
                channel.attempt(&poison, until).await.verdict,
                Verdict::Later { not_before: None },
                "{code} {n}"
            );
            assert_eq!((channel.gate(true, until), channel.broken()), (Gate::Open, None), "{code} {n}");
        }
        assert!(matches!(channel.attempt(&poison, until).await.verdict, Verdict::Sent { .. }));
    }
}

/// `Retry-After` may mean everybody, so all wait once; the message alone, as soon as others are taken.
#[tokio::test]
async fn one_message_that_is_always_put_off_for_a_time_makes_the_others_wait_once() {
    let server = Server::start(status(200)).await;
    let channel = channel(&settings(&server, None));
    let busy = || Act::Answer(503, vec![("Retry-After", "7".into())], Vec::new());
    let (poison, _go) = message("poison");
    server.then(busy());
    let Verdict::Hold { until, .. } = channel.attempt(&poison, NOW).await.verdict else { panic!() };
    let Gate::Shut { until: opens, .. } = channel.gate(true, NOW) else { panic!() };
    assert!(opens.since(NOW) >= Duration::from_secs(7) && until > opens, "the others are tried first");
    let (other, _go) = message("m");
    assert!(matches!(channel.attempt(&other, opens).await.verdict, Verdict::Sent { .. }));
    server.then(busy());
    let again = channel.attempt(&poison, until).await.verdict;
    let Verdict::Later { not_before: Some(at) } = again else { panic!("{again:?}") };
    assert!(at.since(until) >= Duration::from_secs(7));
    assert_eq!(channel.gate(true, until), Gate::Open);
}

/// An hour in which `count` messages wait, each tried as soon as its own verdict and the gate allow it: it is held with `why`
/// whenever it is, and from second `broken` on the channel counts as broken.
pub async fn an_hour(channel: &Webhook, count: usize, why: &'static str, broken: u64) {
    let mut due = vec![NOW; count];
    for second in 0..3_600 {
        let now = NOW.plus(Duration::from_secs(second));
        for (n, due) in due.iter_mut().enumerate() {
            if *due > now || matches!(channel.gate(true, now), Gate::Shut { .. }) {
                continue;
            }
            let (outgoing, _go) = message(&n.to_string());
            let verdict = channel.attempt(&outgoing, now).await.verdict;
            let Verdict::Hold { until, why: told } = verdict else { panic!("{n} of {count}: {verdict:?}") };
            assert_eq!(told, why);
            *due = until;
        }
        if second >= broken {
            assert_eq!(channel.broken(), Some(why), "{count}, {second} s");
        }
    }
}

/// What is said to everybody costs nobody an attempt and opens the breaker, however many they are.
#[tokio::test]
async fn an_endpoint_that_puts_everybody_off_is_asked_ever_more_seldom() {
    for count in [1, 2, 10] {
        let server = Server::start(status(503)).await;
        let channel = channel(&settings(&server, None));
        an_hour(&channel, count, "unavailable", 60).await;
        let asked = server.asked().len();
        assert!((5..45).contains(&asked), "{count}: {asked} in an hour");
    }
}

/// Five in a row that nobody answers, and the endpoint is left alone until a probe is due.
#[tokio::test]
async fn an_endpoint_that_is_dead_is_left_alone() {
    let server = Server::start(Act::Cut).await;
    let channel = channel(&settings(&server, None));
    let mut now = NOW;
    for _ in 0..5 {
        let (outgoing, _go) = outgoing(BODY);
        assert_eq!(channel.attempt(&outgoing, now).await.verdict, Verdict::Ambiguous);
        let Gate::Shut { until, .. } = channel.gate(true, now) else { panic!("{:?}", channel.gate(true, now)) };
        now = until;
    }
    assert_eq!(channel.gate(true, now), Gate::Probe, "a window of half a minute is over");
    assert!(now.since(NOW) >= Duration::from_secs(30 + 1 + 2 + 4 + 8));
    assert_eq!(server.asked().len(), 5);
}

/// The pause after a failure, however long the request took: else the next one would follow without any.
#[tokio::test]
async fn a_pause_begins_when_the_request_has_ended() {
    let server = Server::start(Act::Silence).await;
    let channel = channel(&settings(&server, None));
    let (outgoing, _go) = outgoing(BODY);
    assert_eq!(channel.attempt(&outgoing, NOW).await.verdict, Verdict::Ambiguous);
    let Gate::Shut { until, .. } = channel.gate(true, NOW) else { panic!("{:?}", channel.gate(true, NOW)) };
    assert!(until.since(NOW) >= Duration::from_secs(2), "a second without an answer, and one of rest: {until:?}");
}

/// What a kill may double is bounded by this.
#[tokio::test]
async fn a_channel_waits_while_eight_deliveries_of_each_connection_are_unsettled() {
    let server = Server::start(status(200)).await;
    let channel = channel(&Settings { connections: 1, ..settings(&server, None) });
    let mut receipts = Vec::new();
    let (outgoing, _go) = outgoing(BODY);
    for _ in 0..8 {
        receipts.push(channel.attempt(&outgoing, NOW).await.receipt.unwrap());
    }
    let mut ninth = tokio::spawn(async move { channel.attempt(&outgoing, NOW).await });
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut ninth).await.is_err(), "the ninth did not wait");
    assert_eq!(server.asked().len(), 8);
    receipts.pop();
    assert!(matches!(ninth.await.unwrap().verdict, Verdict::Sent { .. }));
    assert_eq!(server.asked().len(), 9);
}

/// A file of a secret is read again for every request, and what it holds is never told.
#[tokio::test]
async fn a_secret_that_is_changed_in_its_file_counts_at_once() {
    let server = Server::start(status(200)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, OLD).unwrap();
    let settings = Settings { secret: Some(Source::File(file.clone())), ..settings(&server, None) };
    let channel = channel(&settings);
    let (outgoing, _go) = outgoing(BODY);
    channel.attempt(&outgoing, NOW).await;
    std::fs::write(&file, NEW).unwrap();
    channel.attempt(&outgoing, NOW).await;
    std::fs::write(&file, "canary").unwrap();
    let attempt = channel.attempt(&outgoing, NOW).await;
    assert!(matches!(attempt.verdict, Verdict::Hold { why: "auth", .. }), "{attempt:?}");
    assert!(attempt.reply.starts_with("secret must be whsec_") && !attempt.reply.contains("canary"), "{attempt:?}");
    let asked = server.asked();
    assert!(asked.len() == 2 && verifies(&asked[0], OLD) && verifies(&asked[1], NEW));
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    for (why, secret) in [
        ("no prefix", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("no base64", "whsec_canary!"),
        ("too short", "whsec_Y2FuYXJ5"),
        ("too long", &format!("whsec_{}", STANDARD.encode([0; 65]))),
        ("the second is none", &format!("{OLD} canary")),
    ] {
        let refusal = keys(secret).unwrap_err();
        assert!(refusal.starts_with("must be whsec_") && !refusal.contains("canary"), "{why}: {refusal}");
    }
    assert_eq!(keys(&format!("{OLD}  {NEW}")).unwrap().len(), 2);
}

#[tokio::test]
async fn a_probe_connects_and_posts_nothing() {
    let server = Server::start_tls(status(200), &["localhost"]).await;
    let web = Reach { ca_file: Some(server.ca_file()), ..loopback() };
    let good = channel(&Settings { web, ..settings(&server, None) });
    good.probe().await.unwrap();
    let error = channel(&settings(&server, None)).probe().await.unwrap_err();
    assert!(!format!("{error:#}").contains("canary"), "{error:#}");
    assert!(server.asked().is_empty());
}

/// From a topic through the daemon to a receiver of our own; the first try is refused, the second has the same id.
#[tokio::test]
async fn a_record_becomes_a_signed_request() {
    let server = Server::start(status(200)).await;
    server.then(status(500));
    let mut bench = Bench::new().await;
    bench.rules =
        bench.rules.replace("channels = [\"email\"]", "channels = [\"hook\"]").replace("to = [\"target\"]\n", "");
    bench.rules = format!(
        "{}[channel.hook]\ntype = \"webhook\"\nurl = \"{}/hook?sig=canary\"\nsecret = \"{OLD}\"\n\
         allow_http = true\nallow_private = true\nretry = [\"1s\"]\n",
        bench.rules,
        server.url()
    );
    bench.start().await;
    bench.publish(envelope(&[reset("1", ALICE)])).await;
    let asked = server.wait_for(2).await;
    assert!(asked.iter().all(|asked| verifies(asked, OLD)));
    assert_eq!(asked[0].header("webhook-id"), asked[1].header("webhook-id"));
    assert_eq!(asked[0].body, asked[1].body);
    serde_json::from_slice::<serde_json::Value>(&asked[0].body).unwrap();
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\"", "channel=\"hook\""], 1).await;
    bench.stop().await;
    assert!(!bench.log().contains("canary") && !bench.log().contains(OLD));
    bench.books_balance();
}

/// `send-test` to a room, without `--to`; and the proxy of the environment is not asked.
#[tokio::test]
async fn a_test_message_goes_to_a_room_and_past_the_environments_proxy() {
    let (server, proxy) =
        (Server::start(Act::Answer(200, Vec::new(), b"ok".to_vec())).await, Server::start(status(200)).await);
    let mut bench = Bench::new().await;
    bench.rules = format!(
        "{}[channel.hook]\ntype = \"webhook\"\nurl = \"{}\"\nsecret = \"{OLD}\"\nallow_http = true\nallow_private = true\n",
        bench.rules,
        server.url()
    );
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        bench.environment.push((name.into(), proxy.url()));
    }
    let mut command = bench.command(&["send-test", "--channel", "hook"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.starts_with("sent: test-") && told.contains("200 OK: ok"), "{told}");
    let asked = server.asked();
    assert!(asked[0].header("webhook-id").unwrap().starts_with("test-") && verifies(&asked[0], OLD));
    assert_eq!(proxy.connections(), 0);

    let mut command = bench.command(&["send-test", "--channel", "hook", "--to", "alice@example.com"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is a room: leave --to out"));
    assert_eq!(server.asked().len(), 1);
}
