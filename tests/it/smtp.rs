//! The SMTP channel against the scripted relay: connections, their reuse and their number, permission, receipts.

use std::sync::Arc;
use std::time::Duration;

use auditbell::channels::smtp::{Auth, Limits, Proof, Relay as Address, Security, Settings, Smtp, Timeouts};
use auditbell::channels::{Attempt, Channel, Handover, Outgoing, Permission, Verdict};
use auditbell::clock::Timestamp;
use auditbell::secret::{Secret, Source};
use bytes::Bytes;
use tokio::sync::watch;

use crate::smtp_server::{Close, Command, Delay, Options, Relay, Reply, ReplyThenClose, Stall};

/// The moment at which tests begin.
pub const NOW: Timestamp = Timestamp::from_millis(1_769_105_702_000);
pub const ALICE: &str = "alice@example.com";

/// Settings for `relay`, as its URL says.
pub fn settings(relay: &Relay) -> Settings {
    let url = relay.url();
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, port) = rest.split_once(':').unwrap();
    let security = match scheme {
        "smtps" => Security::Implicit,
        "smtp" => Security::StartTls,
        _ => Security::Plain,
    };
    Settings {
        relays: vec![Address { security, host: host.to_owned(), port: port.parse().unwrap() }],
        auth: None,
        ca_file: (security != Security::Plain).then(|| relay.ca_file()),
        hello: Some("client.test".to_owned()),
        identity: None,
        envelope_from: "bounces@example.com".to_owned(),
        connections: 5,
        timeouts: timeouts(Duration::from_secs(20)),
        limits: Limits::default(),
        rates: Vec::new(),
    }
}

/// The same limit for every phase.
pub fn timeouts(limit: Duration) -> Timeouts {
    Timeouts {
        resolve: limit,
        connect: limit,
        tls: limit,
        greeting: limit,
        hello: limit,
        auth: limit,
        mail: limit,
        rcpt: limit,
        data: limit,
        body: limit,
        dot: limit,
    }
}

/// A channel with somebody who uses it.
pub struct Client {
    pub channel: Smtp,
    pub permission: watch::Sender<Permission>,
}

impl Client {
    #[expect(clippy::needless_pass_by_value, reason = "each test makes its own in place")]
    pub fn new(settings: Settings) -> Self {
        let channel = Smtp::new(&"email".into(), &settings).unwrap();
        Self { channel, permission: watch::Sender::new(Permission::Go) }
    }

    pub fn of(relay: &Relay) -> Self {
        Self::new(settings(relay))
    }

    pub fn impatient(relay: &Relay, limit: Duration) -> Self {
        Self::new(Settings { timeouts: timeouts(limit), ..settings(relay) })
    }

    pub fn outgoing(&self, key: &str, to: &str) -> Outgoing {
        let text = format!("Message-ID: <{key}@example.com>\r\nTo: {to}\r\n\r\n.Hello {key}\r\n");
        self.outgoing_bytes(key, to, text.into_bytes())
    }

    pub fn outgoing_bytes(&self, key: &str, to: &str, bytes: Vec<u8>) -> Outgoing {
        Outgoing {
            key: key.into(),
            to: Some(to.into()),
            bytes: Bytes::from(bytes),
            urgent: false,
            permission: self.permission.subscribe(),
            handover: Handover::default(),
        }
    }

    /// One attempt at a small mail to Alice.
    pub async fn send(&self, key: &str) -> Attempt {
        self.send_at(key, ALICE, NOW).await
    }

    pub async fn send_at(&self, key: &str, to: &str, now: Timestamp) -> Attempt {
        self.channel.attempt(&self.outgoing(key, to), now).await
    }

    /// An attempt that runs beside the test.
    pub fn spawn(&self, key: &str) -> tokio::task::JoinHandle<Attempt> {
        let (channel, outgoing) = (self.channel.clone(), self.outgoing(key, ALICE));
        tokio::spawn(async move { channel.attempt(&outgoing, NOW).await })
    }
}

pub fn is_sent(attempt: &Attempt) -> bool {
    matches!(attempt.verdict, Verdict::Sent { .. })
}

/// The reason of a hold; anything else fails the test.
pub fn held(attempt: &Attempt) -> &'static str {
    let Verdict::Hold { why, .. } = attempt.verdict else { panic!("not held: {attempt:?}") };
    why
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    let attempt = client.send("m1").await;
    assert_eq!(attempt.verdict, Verdict::Sent { reference: Some("Q1".into()) });
    assert_eq!(attempt.code, Some(250));
    assert_eq!(attempt.reply, "250 2.0.0 Ok: queued as Q1");
    assert!(attempt.receipt.is_some());
    let mail = &relay.wait_for(1).await[0];
    assert_eq!(mail.bytes, client.outgoing("m1", ALICE).bytes);
    assert_eq!((mail.from.as_str(), mail.to.as_slice()), ("bounces@example.com", &[ALICE.to_owned()][..]));
    assert_eq!(mail.message_id, "m1@example.com");
    let size = mail.bytes.len();
    assert_eq!(
        relay.heard(),
        [
            "1: EHLO client.test".to_owned(),
            format!("1: MAIL FROM:<bounces@example.com> SIZE={size}"),
            format!("1: RCPT TO:<{ALICE}>"),
            "1: DATA".to_owned(),
        ]
    );
}

/// VERP: a report of failed delivery names the message by the address that it goes to.
#[tokio::test]
async fn the_key_stands_in_the_envelope_where_it_is_asked_for() {
    let relay = Relay::start().await;
    let envelope_from = "bounces+{id}@example.com".to_owned();
    let client = Client::new(Settings { envelope_from, ..settings(&relay) });
    for key in ["m1", "m2"] {
        assert!(is_sent(&client.send(key).await));
    }
    let from: Vec<_> = relay.accepted().iter().map(|mail| mail.from.clone()).collect();
    assert_eq!(from, ["bounces+m1@example.com", "bounces+m2@example.com"]);
}

#[tokio::test]
async fn without_pipelining_each_command_waits_for_its_answer() {
    let relay = Relay::start_with(Options { capabilities: vec![], ..Options::default() }).await;
    let client = Client::of(&relay);
    assert!(is_sent(&client.send("m1").await));
    relay.once(Command::Mail, Reply("451 4.3.0 not now"));
    assert_eq!(client.send("m2").await.verdict, Verdict::Later { not_before: None });
    assert!(is_sent(&client.send("m3").await));
    let said: Vec<_> = relay.heard().iter().map(|line| line.split([' ', ':']).nth(2).unwrap().to_owned()).collect();
    // No RCPT after the refused MAIL: a pipelining client would have said it.
    assert_eq!(said, ["EHLO", "MAIL", "RCPT", "DATA", "MAIL", "RSET", "MAIL", "RCPT", "DATA"]);
}

/// The reply to the dot decides, and what becomes of the connection afterwards does not.
#[tokio::test]
async fn a_refusal_is_known_before_the_relay_has_answered_rset() {
    for command in [Command::Rcpt, Command::Dot] {
        for (what, action, connection) in
            [("answers", None, 1), ("hangs up", Some(Close), 2), ("refuses", Some(Reply("500 no")), 2)]
        {
            let relay = Relay::start().await;
            let client = Client::of(&relay);
            relay.on(Command::Rset, Stall);
            relay.once(command, Reply("554 5.7.1 no"));
            let refused = tokio::time::timeout(Duration::from_secs(10), client.send("m1")).await.unwrap();
            assert!(matches!(refused.verdict, Verdict::Never { .. }), "{command:?}: {refused:?}");
            relay.calm(Command::Rset);
            if let Some(action) = action {
                relay.on(Command::Rset, action);
            }
            assert!(is_sent(&client.send("m2").await), "{command:?}, and {what}");
            assert_eq!(relay.accepted()[0].connection, connection, "{command:?}, and {what}");
            assert_eq!(relay.count("RSET"), 1);
        }
    }
}

/// Else a relay that thinks for long about RSET would be asked on one connection after the other, by one message.
#[tokio::test]
async fn of_several_refused_connections_one_that_is_not_taken_back_speaks_for_all() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    relay.on(Command::Dot, Stall);
    let stalled = async {
        relay.wait_stalled(Command::Dot, 3).await;
        relay.calm(Command::Dot);
        relay.release();
    };
    let three = async || tokio::join!(client.send("m1"), client.send("m2"), client.send("m3"));
    let (sent, ()) = tokio::join!(three(), stalled);
    assert!(is_sent(&sent.0) && is_sent(&sent.1) && is_sent(&sent.2));
    relay.on(Command::Rcpt, Reply("550 5.7.1 no"));
    let refused = three().await;
    assert!(matches!(refused.2.verdict, Verdict::Never { .. }), "{refused:?}");
    assert_eq!((relay.count("EHLO"), relay.count("RSET")), (3, 0), "three connections are refused");
    relay.calm(Command::Rcpt);
    relay.on(Command::Rset, Close);
    assert!(is_sent(&client.send("m4").await));
    assert_eq!((relay.count("EHLO"), relay.count("RSET")), (4, 1));
}

#[tokio::test]
async fn connections_are_reused_and_retired() {
    let relay = Relay::start().await;
    let limits = Limits { messages: 3, ..Limits::default() };
    let client = Client::new(Settings { limits, ..settings(&relay) });
    for n in 0..7 {
        assert!(is_sent(&client.send(&format!("m{n}")).await));
    }
    let used: Vec<_> = relay.accepted().iter().map(|mail| mail.connection).collect();
    assert_eq!(used, [1, 1, 1, 2, 2, 2, 3]);
    assert!(relay.accepted().is_sorted_by_key(|mail| mail.at));
    client.channel.close().await;
    relay.wait_closed().await;
    assert_eq!(relay.count("QUIT"), 3);
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_a_goodbye() {
    let relay = Relay::start().await;
    let limits = Limits { idle: Duration::from_millis(50), ..Limits::default() };
    let client = Client::new(Settings { limits, ..settings(&relay) });
    assert!(is_sent(&client.send("m1").await));
    relay.wait_closed().await;
    assert_eq!(relay.count("QUIT"), 1);
    assert!(is_sent(&client.send("m2").await));
    relay.wait_closed().await;
    assert_eq!(relay.count("QUIT"), 2, "the task that closes idle connections comes back");
}

#[tokio::test]
async fn a_connection_that_the_relay_closed_meanwhile_costs_the_next_message_nothing() {
    let goodbyes = [
        ("at once after the 250", Command::Dot, ReplyThenClose("250 2.0.0 Ok")),
        ("when it hears MAIL", Command::Mail, Close),
        ("when it hears MAIL, with 421", Command::Mail, ReplyThenClose("421 4.4.2 idle too long")),
    ];
    for (what, command, action) in goodbyes {
        let relay = Relay::start().await;
        let client = Client::of(&relay);
        if command == Command::Dot {
            relay.once(command, action);
        }
        assert!(is_sent(&client.send("m1").await), "{what}");
        if command == Command::Mail {
            relay.once(command, action);
        }
        assert!(is_sent(&client.send("m2").await), "{what}");
        assert_eq!(relay.accepted().iter().map(|mail| mail.connection).collect::<Vec<_>>(), [1, 2], "{what}");
    }
}

#[tokio::test]
async fn never_more_connections_than_allowed() {
    let relay = Relay::start().await;
    relay.on(Command::Dot, Delay(Duration::from_millis(5)));
    let limits = Limits { messages: 4, ..Limits::default() };
    let client = Client::new(Settings { connections: 3, limits, ..settings(&relay) });
    let attempts: Vec<_> = (0..40).map(|n| client.spawn(&format!("m{n}"))).collect();
    for attempt in attempts {
        assert!(is_sent(&attempt.await.unwrap()));
    }
    assert_eq!(relay.message_ids().len(), 40);
    assert_eq!(relay.accepted().len(), 40);
    assert_eq!(relay.most_open(), 3);
}

#[tokio::test]
async fn a_session_waits_before_its_ninth_unsettled_message() {
    let relay = Relay::start().await;
    let client = Client::new(Settings { connections: 1, ..settings(&relay) });
    let mut receipts = Vec::new();
    for n in 0..8 {
        receipts.push(client.send(&format!("m{n}")).await.receipt.unwrap());
    }
    let mut ninth = client.spawn("m8");
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut ninth).await.is_err(), "the ninth did not wait");
    assert_eq!(relay.count("MAIL"), 8);
    receipts.pop();
    assert!(is_sent(&ninth.await.unwrap()));
    assert_eq!(relay.connections(), 1);
}

/// The bound is the channel's: a new connection for each message makes no more copies.
#[tokio::test]
async fn a_channel_waits_before_its_ninth_unsettled_message_whatever_the_sessions() {
    let relay = Relay::start().await;
    let limits = Limits { messages: 1, ..Limits::default() };
    let client = Client::new(Settings { connections: 1, limits, ..settings(&relay) });
    let mut receipts = Vec::new();
    for n in 0..8 {
        receipts.push(client.send(&format!("m{n}")).await.receipt.unwrap());
    }
    let mut ninth = client.spawn("m8");
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut ninth).await.is_err(), "the ninth did not wait");
    assert_eq!(relay.count("MAIL"), 8);
    receipts.pop();
    assert!(is_sent(&ninth.await.unwrap()));
}

#[tokio::test]
async fn what_may_not_be_sent_any_more_is_taken_back_before_the_dot() {
    for (permission, why) in [(Permission::Stopping, "stopping"), (Permission::Lost, "lost")] {
        let relay = Relay::start().await;
        let client = Client::of(&relay);
        relay.on(Command::Data, Stall);
        let attempt = client.spawn("m1");
        relay.wait_stalled(Command::Data, 1).await;
        client.permission.send_replace(permission);
        relay.release();
        let attempt = attempt.await.unwrap();
        assert_eq!(attempt.verdict, Verdict::Hold { until: attempt_end(&attempt), why });
        relay.wait_closed().await;
        assert!(relay.accepted().is_empty());
        assert_eq!(held(&client.send("m2").await), why);
        assert_eq!(relay.connections(), 1, "nobody connects without permission");
    }
}

fn attempt_end(attempt: &Attempt) -> Timestamp {
    let Verdict::Hold { until, .. } = attempt.verdict else { panic!("not held: {attempt:?}") };
    assert!(until.since(NOW) < Duration::from_secs(30));
    until
}

#[tokio::test]
async fn an_attempt_that_is_dropped_closes_its_connection() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    relay.once(Command::Dot, Stall);
    let attempt = client.spawn("m1");
    relay.wait_stalled(Command::Dot, 1).await;
    attempt.abort();
    relay.wait_closed().await;
    assert!(is_sent(&client.send("m2").await));
    assert_eq!(relay.accepted()[1].connection, 2, "the reply to m1 must never be taken for m2's");
}

#[tokio::test]
async fn logs_name_no_address_no_user_no_password_and_tell_a_broken_relay_once() {
    let relay = Relay::start().await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let client = Client::of(&relay);
    relay.on(Command::Rcpt, Reply("550 5.1.1 canary-recipient@example.com unknown"));
    client.send_at("m1", "canary-recipient@example.com", NOW).await;
    relay.on(Command::Mail, Reply("530 5.7.0 canary-user must log in"));
    for n in 0..5 {
        assert_eq!(held(&client.send(&format!("n{n}")).await), "auth");
    }
    relay.calm(Command::Mail);
    relay.calm(Command::Rcpt);
    assert!(is_sent(&client.send_at("m2", "canary-recipient@example.com", NOW.plus(Duration::from_mins(1))).await));

    let proof = Proof::Password(Source::Here(Secret::new("canary-password")));
    let refused = Settings { auth: Some(Auth { user: "canary-user".into(), proof }), ..settings(&relay) };
    assert_eq!(held(&Client::new(refused).send("m3").await), "auth");
    let text = log.text();
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(text.matches("the relay does not work").count(), 2, "once for each client:\n{text}");
    assert_eq!(text.matches("the relay works again").count(), 1, "{text}");
}

/// A 501, 503 or 555 says that we do not speak SMTP: what was said is logged, without anybody's address.
#[tokio::test]
async fn a_relay_that_does_not_understand_us_is_a_bug_with_a_transcript() {
    let relay = Relay::start().await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let client = Client::of(&relay);
    relay.once(Command::Rcpt, Reply("501 5.1.3 canary@example.com is no address"));
    client.send_at("m1", "canary@example.com", NOW).await;
    assert!(!log.text().contains("understand"), "an address that is disliked is no bug:\n{}", log.text());
    relay.once(Command::Rcpt, Reply("555 5.5.4 canary@example.com: unsupported parameter"));
    client.send_at("m2", "canary@example.com", NOW).await;
    let text = log.text();
    assert!(text.contains("MAIL FROM:<> SIZE=") && text.contains(": ok; RCPT TO:<>: 555"), "{text}");
    assert!(text.contains("m2") && text.contains("PIPELINING"), "{text}");
    assert!(!text.contains("canary") && !text.contains("bounces@"), "{text}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
