//! What each thing a relay may do, in each phase, makes of a message: T21 to T29, T33 to T35.

use std::time::Duration;

use auditbell::channels::{Channel, Gate, Verdict};

use crate::smtp::{ALICE, Client, NOW, held, is_sent, settings};
use crate::smtp_server::{
    Action, Bytes, Close, Command, Drip, Endless, Options, Relay, Reply, ReplyThenClose, Reset, Stall, Tls,
};

/// T21: HELO is tried where nothing that EHLO announces is needed, and nowhere else.
#[tokio::test]
async fn a_relay_that_knows_only_helo_gets_mail_in_plain_text_without_a_login() {
    for (reply, helo) in [("502 5.5.1 what", 1), ("500 what", 1), ("554 5.0.0 no", 0), ("451 4.3.0 later", 0)] {
        let relay = Relay::start().await;
        relay.on(Command::Ehlo, Reply(reply));
        let attempt = Client::of(&relay).send("m1").await;
        assert_eq!(relay.count("HELO client.test"), helo, "{reply}");
        assert_eq!(is_sent(&attempt), helo == 1, "{reply}: {attempt:?}");
    }
    let relay = Relay::start_with(Options { tls: Tls::Implicit, ..Options::default() }).await;
    relay.on(Command::Ehlo, Reply("502 5.5.1 what"));
    assert_eq!(held(&Client::of(&relay).send("m1").await), "hello");
    assert_eq!(relay.count("HELO"), 0);
}

/// The refusal that is the route's only when it is everybody's.
#[tokio::test]
async fn one_refusal_for_everybody_is_the_routes_fault_and_holds_the_rest() {
    for (command, reply, refused, before) in [
        (Command::Rcpt, "550 5.7.1 your network is blocked", "never recipient-refused", 9),
        (Command::Rcpt, "550 relay not permitted", "never recipient-refused", 9),
        (Command::Rcpt, "530 5.7.0 authenticate first", "never recipient-refused", 9),
        (Command::Dot, "550 5.7.26 unauthenticated", "never content-refused", 9),
        (Command::Rcpt, "550 5.4.1 recipient address rejected: access denied", "never recipient-refused", 9),
        (Command::Mail, "550 5.1.8 bad sender", "never sender-refused", 9),
        (Command::Dot, "554 rejected", "never content-refused", 9),
        (Command::Rcpt, "550 5.1.1 no such user", "never recipient-refused", 19),
    ] {
        let relay = Relay::start().await;
        relay.on(command, Reply(reply));
        let client = Client::of(&relay);
        let to = |n: usize| format!("user{n}@example.com");
        for n in 0..before {
            let attempt = client.send_at("m", &to(n), NOW).await;
            let first = if n == 0 && reply.contains("5.1.1 ") { "never mailbox-refused" } else { refused };
            assert_eq!(word(&attempt.verdict), first, "{reply}: {n}");
        }
        let last = client.send_at("last", &to(before), NOW).await;
        assert_eq!(word(&last.verdict), "hold policy", "{reply}");
        let said = relay.count("MAIL");
        assert_eq!(word(&client.send("next").await.verdict), "hold policy", "{reply}: nobody else is burnt");
        assert_eq!(relay.count("MAIL"), said, "{reply}");
        relay.calm(command);
        let later = NOW.plus(Duration::from_mins(20));
        assert!(is_sent(&client.send_at("last", &to(before), later).await), "{reply}");
    }
}

/// A server behind the relay may doubt our DMARC, or want a login, for one recipient: the others have their mail.
#[tokio::test]
async fn what_is_said_to_one_recipient_keeps_nobody_else_waiting() {
    for (command, reply, refused) in [
        (Command::Rcpt, "550 5.7.26 unauthenticated", "never recipient-refused"),
        (Command::Rcpt, "550 5.7.23 SPF", "never recipient-refused"),
        (Command::Rcpt, "530 5.7.0 authenticate first", "never recipient-refused"),
        (Command::Data, "535 5.7.8 no", "never content-refused"),
        (Command::Dot, "550 5.7.26 unauthenticated", "never content-refused"),
    ] {
        let relay = Relay::start().await;
        relay.on_recipient("poison@example.com", command, Reply(reply));
        let client = Client::of(&relay);
        for n in 0..12 {
            let attempt = client.send_at("m", "poison@example.com", NOW).await;
            assert_eq!(word(&attempt.verdict), refused, "{reply}: {n}");
        }
        assert_eq!(client.channel.gate(true, NOW), Gate::Open, "{reply}");
        assert!(is_sent(&client.send("next").await), "{reply}");
    }
}

/// What MAIL is refused for is true of every message.
#[tokio::test]
async fn what_is_said_of_the_sender_or_the_login_at_mail_holds_the_channel() {
    for (reply, why) in
        [("530 5.7.0 authenticate first", "auth"), ("535 5.7.8 no", "auth"), ("550 5.7.26 unauthenticated", "sender")]
    {
        let relay = Relay::start().await;
        relay.on(Command::Mail, Reply(reply));
        let client = Client::of(&relay);
        assert_eq!(held(&client.send("m").await), why, "{reply}");
        assert_eq!(client.channel.broken(), Some(why), "{reply}");
    }
}

const PHASES: [Command; 6] =
    [Command::Connect, Command::Ehlo, Command::Mail, Command::Rcpt, Command::Data, Command::Dot];

/// A verdict without its times.
pub fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Sent { .. } => "sent".to_owned(),
        Verdict::Later { .. } => "later".to_owned(),
        Verdict::Never { reason } => format!("never {reason}"),
        Verdict::Ambiguous => "ambiguous".to_owned(),
        Verdict::Hold { why, .. } => format!("hold {why}"),
    }
}

/// Lets the relay do `action` at every phase, with PIPELINING and without: the verdicts must be `expected`, the relay must
/// have taken only what is ambiguous, and the next message must get its own answers.
async fn at_every_phase(action: Action, limit: Duration, expected: [&str; 6]) {
    for capabilities in [vec!["PIPELINING"], vec![]] {
        for (command, expected) in PHASES.into_iter().zip(expected) {
            let relay = Relay::start_with(Options { capabilities: capabilities.clone(), ..Options::default() }).await;
            let what = format!("{action:?} at {command:?}, {capabilities:?}");
            let client = Client::impatient(&relay, limit);
            relay.on(command, action);
            let attempt = client.send("m1").await;
            assert_eq!(word(&attempt.verdict), expected, "{what}: {attempt:?}");
            assert!(attempt.receipt.is_none(), "{what}");
            assert!(attempt.reply.len() <= 512 && !attempt.reply.contains(char::is_control), "{what}");
            assert_eq!(relay.accepted().len(), usize::from(expected == "ambiguous"), "{what}");
            relay.calm(command);
            let relaxed = Client::of(&relay);
            // The same channel after every pause; where the limit is short, a new one, so that a slow machine passes.
            let client = if limit < Duration::from_secs(1) { relaxed } else { client };
            let next = client.send_at("m2", ALICE, NOW.plus(Duration::from_mins(10))).await;
            assert!(is_sent(&next), "{what}, the next: {next:?}");
            assert_eq!(relay.accepted().last().unwrap().message_id, "m2@example.com", "{what}");
        }
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);

/// T21.
#[tokio::test]
async fn a_hard_refusal_ends_a_message_only_from_mail_on() {
    let refused = ["never sender-refused", "never recipient-refused", "never content-refused", "never content-refused"];
    let [mail, rcpt, data, dot] = refused;
    at_every_phase(Reply("554 5.0.0 no"), LONG, ["hold greeting", "hold hello", mail, rcpt, data, dot]).await;
}

/// T22.
#[tokio::test]
async fn a_soft_refusal_is_tried_again() {
    let expected = ["hold greeting", "hold hello", "later", "later", "later", "later"];
    at_every_phase(Reply("452 4.2.2 mailbox full"), LONG, expected).await;
}

/// T24: the next message, after the pause, gets through on a new connection.
#[tokio::test]
async fn a_421_is_nobodys_fault() {
    let expected = ["hold greeting", "hold hello", "hold closing", "hold closing", "hold closing", "later"];
    at_every_phase(ReplyThenClose("421 4.3.2 shutting down"), LONG, expected).await;
}

const WITHOUT_A_REPLY: [&str; 6] = ["hold greeting", "hold hello", "later", "later", "later", "ambiguous"];

/// T23.
#[tokio::test]
async fn a_relay_that_hangs_up_leaves_doubt_only_after_the_dot() {
    at_every_phase(Close, LONG, WITHOUT_A_REPLY).await;
}

/// T29, before and after the dot; in the body below.
#[tokio::test]
async fn a_reset_connection_leaves_doubt_only_after_the_dot() {
    at_every_phase(Reset, LONG, WITHOUT_A_REPLY).await;
}

/// T25: that each phase is given up; the limits themselves are in `smtp_deadlines.rs`.
#[tokio::test]
async fn a_silent_relay_is_given_up_at_the_deadline() {
    at_every_phase(Stall, SHORT, WITHOUT_A_REPLY).await;
}

/// T28.
#[tokio::test]
async fn what_is_no_reply_is_never_waited_upon() {
    for garbage in
        [&b"250 Ok\n"[..], b"999 Ok\r\n", b"\x15\x03\x01\x00\x02\x02\x50", b"250-a\r\n550 b\r\n", b"HTTP/1.1 200"]
    {
        at_every_phase(Bytes(garbage), LONG, WITHOUT_A_REPLY).await;
    }
}

/// T28.
#[tokio::test]
async fn a_reply_without_end_is_given_up_for_its_length() {
    at_every_phase(Endless(b"250-and\r\n"), LONG, WITHOUT_A_REPLY).await;
    at_every_phase(Endless(b"and "), LONG, WITHOUT_A_REPLY).await;
}

/// T28.
#[tokio::test]
async fn a_reply_that_drips_is_given_up_at_the_deadline_of_the_whole() {
    at_every_phase(Drip(b"250-slow\r\n250-slower\r\n250 done\r\n", Duration::from_millis(20)), SHORT, WITHOUT_A_REPLY)
        .await;
}

/// T28.
#[tokio::test]
async fn after_the_dot_only_a_plain_250_is_sent() {
    let cases: [(&str, Action, &str, bool); 7] = [
        ("text that is not UTF-8", Bytes(b"250 \xff\xfe\r\n"), "sent", true),
        ("a code alone", Bytes(b"250\r\n"), "sent", true),
        ("two replies: the first counts, the connection is not trusted", Bytes(b"250 a\r\n550 b\r\n"), "sent", false),
        ("354 again", Reply("354 go ahead"), "ambiguous", false),
        ("251", Reply("251 forwarded"), "ambiguous", false),
        ("1xx", Reply("150 hm"), "ambiguous", false),
        ("half a reply", Bytes(b"250 O"), "ambiguous", false),
    ];
    for (what, action, expected, reused) in cases {
        let relay = Relay::start().await;
        let patient = Client::of(&relay);
        let impatient = Client::impatient(&relay, Duration::from_millis(500));
        // Half a reply ends with the deadline, all others at once.
        let client = if what == "half a reply" { impatient } else { patient };
        relay.once(Command::Dot, action);
        let attempt = client.send("m1").await;
        assert_eq!(word(&attempt.verdict), expected, "{what}: {attempt:?}");
        // A connection that broke is followed by a pause.
        assert!(is_sent(&client.send_at("m2", ALICE, NOW.plus(Duration::from_secs(2))).await), "{what}");
        assert_eq!(relay.accepted().last().unwrap().connection == 1, reused, "{what}");
    }
}

/// T35, the verdicts; what becomes of the messages is in `refusals.rs`.
#[tokio::test]
async fn each_recipient_gets_the_verdict_of_its_own_reply() {
    let relay = Relay::start().await;
    let script = [
        ("unknown@example.com", Command::Rcpt, "550 5.1.1 no such user", "never mailbox-refused"),
        ("full@example.com", Command::Rcpt, "552 5.2.2 mailbox full", "later"),
        ("grey@example.com", Command::Rcpt, "450 4.7.1 greylisted", "later"),
        ("quota@example.com", Command::Dot, "552 5.3.4 too big", "never too-big"),
        ("spam@example.com", Command::Dot, "554 5.7.1 looks like spam", "never content-refused"),
    ];
    let client = Client::of(&relay);
    for (to, command, reply, expected) in script {
        relay.on_recipient(to, command, Reply(reply));
        let attempt = client.send_at("m1", to, NOW).await;
        assert_eq!((word(&attempt.verdict).as_str(), attempt.reply.as_str()), (expected, reply), "{to}");
    }
    assert!(is_sent(&client.send("m2").await));
    assert_eq!(relay.connections(), 1, "a refusal is followed by RSET, not by a new connection");
    assert_eq!(relay.count("RSET"), script.len());
    assert_eq!(relay.accepted().len(), 1);
}

#[tokio::test]
async fn a_relay_that_wants_a_body_after_refusing_everything_does_not_get_it() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    relay.once(Command::Rcpt, Reply("550 5.1.1 no such user"));
    relay.once(Command::Data, Reply("354 go ahead"));
    assert_eq!(word(&client.send("m1").await.verdict), "never mailbox-refused");
    relay.wait_closed().await;
    assert!(relay.accepted().is_empty());
    assert!(is_sent(&client.send("m2").await));
}

/// 20 MB in lines: more than the socket buffers take, so that the relay can act before the dot is written.
pub fn large() -> Vec<u8> {
    let line = [&[b'x'; 98][..], b"\r\n"].concat();
    [b"Message-ID: <large@example.com>\r\n\r\n".to_vec(), line.repeat(200_000)].concat()
}

pub async fn small_window() -> Relay {
    let options = Options { capabilities: vec!["PIPELINING"], receive_buffer: Some(16 * 1024), ..Options::default() };
    Relay::start_with(options).await
}

/// T26, T27, T29.
#[tokio::test]
async fn what_ends_before_the_dot_is_written_is_never_ambiguous() {
    let cases: [(Action, Duration, &str); 4] = [
        (Reset, LONG, "later"),
        (Close, LONG, "later"),
        (Stall, SHORT, "later"),
        (ReplyThenClose("550 5.7.1 refused while you speak"), LONG, "never content-refused"),
    ];
    for (action, limit, expected) in cases {
        let relay = small_window().await;
        let client = Client::impatient(&relay, limit);
        relay.on(Command::Body, action);
        let attempt = client.channel.attempt(&client.outgoing_bytes("large", ALICE, large()), NOW).await;
        assert_eq!(word(&attempt.verdict), expected, "{action:?}: {attempt:?}");
        relay.release();
        relay.wait_closed().await;
        assert!(relay.accepted().is_empty(), "{action:?}");
    }
}

#[tokio::test]
async fn a_large_mail_arrives_whole() {
    let relay = small_window().await;
    let client = Client::of(&relay);
    let attempt = client.channel.attempt(&client.outgoing_bytes("large", ALICE, large()), NOW).await;
    assert!(is_sent(&attempt), "{attempt:?}");
    assert!(relay.accepted()[0].bytes == large());
}

/// T34, T73.
#[tokio::test]
async fn what_the_relay_said_it_cannot_take_is_not_offered() {
    let relay = Relay::start_with(Options { capabilities: vec!["SIZE 20", "8BITMIME"], ..Options::default() }).await;
    let client = Client::of(&relay);
    assert_eq!(word(&client.send("m1").await.verdict), "never too-big");
    assert_eq!(relay.count("MAIL"), 0);

    let relay = Relay::start().await;
    let client = Client::of(&relay);
    let international = client.send_at("m1", "j\u{f6}rg@example.com", NOW).await;
    assert_eq!(word(&international.verdict), "never no-smtputf8");
    assert_eq!(relay.count("MAIL"), 0);
    assert!(is_sent(&client.send("m2").await));
    assert_eq!(relay.connections(), 1);

    let relay = Relay::start_with(Options { capabilities: vec!["SMTPUTF8", "8BITMIME"], ..Options::default() }).await;
    assert!(is_sent(&Client::of(&relay).send_at("m1", "j\u{f6}rg@example.com", NOW).await));
    assert_eq!(relay.count("MAIL FROM:<bounces@example.com> BODY=8BITMIME SMTPUTF8"), 1);
}

/// T33: the nine end-of-data sequences of SMTP-Smuggling-Tools and other bytes that two servers may read differently.
#[tokio::test]
async fn bytes_that_could_smuggle_a_second_message_never_leave() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    let smuggled = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nevil\r\n.\r\n";
    let ends =
        ["\n.\n", "\n.\r\n", "\r.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\n\n.\r\n", "\r\n\0.\r\n", "\r\r\n.\r\n"];
    for end in ends {
        let bytes = format!("Subject: x\r\n\r\nhello{end}{smuggled}").into_bytes();
        let attempt = client.channel.attempt(&client.outgoing_bytes("m1", ALICE, bytes), NOW).await;
        assert_eq!(word(&attempt.verdict), "never bad-bytes", "{end:?}");
    }
    for to in ["a@example.com>\r\nRCPT TO:<b@example.com", "a b@example.com", ""] {
        assert_eq!(word(&client.send_at("m1", to, NOW).await.verdict), "never bad-address", "{to:?}");
    }
    assert_eq!(relay.connections(), 0);

    let honest = format!("Subject: x\r\n\r\nhello\r\n.\r\n{smuggled}");
    let attempt = client.channel.attempt(&client.outgoing_bytes("m1", ALICE, honest.clone().into_bytes()), NOW).await;
    assert!(is_sent(&attempt));
    assert_eq!(relay.accepted().len(), 1, "a dot of the text is a dot of the text");
    assert_eq!(relay.accepted()[0].bytes, honest.as_bytes());
}

#[tokio::test]
async fn nobody_there_is_held_and_the_pauses_grow() {
    let relay = Relay::start().await;
    let settings = settings(&relay);
    drop(relay);
    // The port is free again once the listener's task has ended.
    tokio::task::yield_now().await;
    let client = Client::new(settings);
    let mut now = NOW;
    let mut pauses = Vec::new();
    for n in 0..4 {
        let attempt = client.send_at(&format!("m{n}"), ALICE, now).await;
        assert_eq!(held(&attempt), "connect");
        let Verdict::Hold { until, .. } = attempt.verdict else { unreachable!() };
        assert_eq!(held(&client.send_at("other", ALICE, now).await), "connect", "the others wait as well");
        pauses.push(until.since(now).as_secs());
        now = until;
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
}
