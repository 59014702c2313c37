//! TLS and login: T30 to T32. Never plain text where TLS was asked for, never a password without it.

use std::time::Duration;

use auditbell::channels::past::Past;
use auditbell::channels::resolve::Resolver;
use auditbell::channels::smtp::{Auth, Limits, Proof, Relay as Address, Security, Settings, Smtp};
use auditbell::channels::tls::Identity;
use auditbell::channels::{Channel as _, Permission};
use auditbell::secret::{Secret, Source};

use crate::http_server::{Server, json, status};
use crate::smtp::{ALICE, Client, NOW, held, is_sent, settings};
use crate::smtp_server::{Bytes, Certificate, Command, Options, Relay, Reply, Stall, Tls};
use crate::token::{azure, grant, with_secret};

const ACCOUNT: (&str, &str) = ("bell", "s3cret \u{e9}");

fn with_account(relay: &Relay) -> Settings {
    with_password(relay, ACCOUNT.0, ACCOUNT.1)
}

pub fn with_password(relay: &Relay, user: &str, password: &str) -> Settings {
    let proof = Proof::Password(Source::Here(Secret::new(password)));
    Settings { auth: Some(Auth { user: user.to_owned(), proof }), ..settings(relay) }
}

/// T32, the way it should go.
#[tokio::test]
async fn mail_goes_over_tls_with_a_login_in_every_combination() {
    for tls in [Tls::Implicit, Tls::StartTls] {
        for mechanisms in ["PLAIN LOGIN", "LOGIN", "XOAUTH2 PLAIN"] {
            let relay =
                Relay::start_with(Options { tls, mechanisms, account: Some(ACCOUNT), ..Options::default() }).await;
            let client = Client::new(with_account(&relay));
            for n in 0..2 {
                let attempt = client.send(&format!("m{n}")).await;
                assert!(is_sent(&attempt), "{tls:?} {mechanisms}: {attempt:?}");
            }
            let mail = &relay.accepted()[1];
            assert!(mail.tls);
            assert_eq!(mail.user.as_deref(), Some(ACCOUNT.0));
            assert_eq!(relay.connections(), 1);
            let method = if mechanisms == "LOGIN" { "AUTH LOGIN" } else { "AUTH PLAIN" };
            assert_eq!(relay.count(method), 1, "{mechanisms}");
        }
    }
}

/// T30.
#[tokio::test]
async fn a_certificate_that_does_not_prove_the_relay_ends_everything() {
    for tls in [Tls::Implicit, Tls::StartTls] {
        for (certificate, named) in [
            (Certificate::WrongHost, "localhost"),
            (Certificate::UnknownCa, "UnknownIssuer"),
            (Certificate::Expired, "expired"),
        ] {
            let relay =
                Relay::start_with(Options { tls, certificate, account: Some(ACCOUNT), ..Options::default() }).await;
            let attempt = Client::new(with_account(&relay)).send("m1").await;
            assert_eq!(held(&attempt), "tls", "{certificate:?}");
            assert!(attempt.reply.contains(named), "{certificate:?}: {}", attempt.reply);
            relay.wait_closed().await;
            assert_eq!((relay.count("AUTH"), relay.count("MAIL")), (0, 0), "{tls:?} {certificate:?}");
        }
    }
}

/// T30.
#[tokio::test]
async fn a_relay_without_starttls_gets_no_mail() {
    let relay = Relay::start().await;
    let trusted = Relay::start_with(Options { tls: Tls::StartTls, ..Options::default() }).await;
    let mut settings = with_account(&trusted);
    settings.relays[0].port = relay.address().port();
    let attempt = Client::new(settings).send("m1").await;
    assert_eq!(held(&attempt), "starttls");
    relay.wait_closed().await;
    assert_eq!(relay.heard(), ["1: EHLO client.test"]);
}

/// T31.
#[tokio::test]
async fn bytes_injected_before_tls_end_the_connection() {
    let options = Options { tls: Tls::StartTls, account: Some(ACCOUNT), ..Options::default() };
    let relay = Relay::start_with(options).await;
    relay.on(Command::StartTls, Bytes(b"220 go ahead\r\n250-relay.test\r\n250 AUTH PLAIN\r\n"));
    let attempt = Client::new(with_account(&relay)).send("m1").await;
    assert_eq!(held(&attempt), "starttls", "{attempt:?}");
    relay.wait_closed().await;
    assert_eq!(relay.heard(), ["1: EHLO client.test", "1: STARTTLS"]);
}

/// `ServerHello` of TLS 1.1: record 3.2, handshake 2, version 3.2, random, no session, AES128-SHA, no compression.
const SERVER_HELLO: &[u8] = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
    rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr\x00\x00\x2f\x00";

/// T30: TLS 1.1 by its alert and by its hello, a stall, plain text.
#[tokio::test]
async fn a_handshake_that_stalls_or_fails_is_held() {
    let trusted = Relay::start_with(Options { tls: Tls::Implicit, ..Options::default() }).await;
    let long = Duration::from_secs(20);
    let cases = [
        (Stall, Duration::from_millis(150)),
        (Reply("220 in plain text"), long),
        (Bytes(b"\x15\x03\x02\x00\x02\x02\x46"), long),
        (Bytes(SERVER_HELLO), long),
    ];
    for (action, limit) in cases {
        let relay = Relay::start().await;
        relay.on(Command::Connect, action);
        let mut settings = settings(&trusted);
        settings.relays[0].port = relay.address().port();
        settings.timeouts.tls = limit;
        let attempt = Client::new(settings).send("m1").await;
        assert_eq!(held(&attempt), "tls", "{attempt:?}");
    }
}

#[tokio::test]
async fn plain_text_stays_on_this_machine_and_carries_no_password() {
    let relay = Relay::start().await;
    let away = Address { security: Security::Plain, host: "192.0.2.1".into(), port: 25 };
    let attempt = Client::new(Settings { relays: vec![away], ..settings(&relay) }).send("m1").await;
    assert_eq!(held(&attempt), "connect");
    assert!(attempt.reply.contains("this machine only"), "{}", attempt.reply);

    let attempt = Client::new(with_account(&relay)).send("m1").await;
    assert_eq!(held(&attempt), "auth");
    relay.wait_closed().await;
    assert_eq!(relay.heard(), ["1: EHLO client.test"]);
}

/// T32.
#[tokio::test]
async fn a_refused_login_is_not_repeated_by_every_message_and_connection() {
    let cases = [
        ("wrong password", None, "PLAIN"),
        ("not now", Some(Reply("454 4.7.0 temporary failure")), "PLAIN"),
        ("334 without end", Some(Reply("334 ")), "PLAIN"),
        ("334 without end after LOGIN", Some(Reply("334 ")), "LOGIN"),
    ];
    for (what, action, mechanisms) in cases {
        let account = Some(("bell", "another password"));
        let options = Options { tls: Tls::Implicit, account, mechanisms, ..Options::default() };
        let relay = Relay::start_with(options).await;
        if let Some(action) = action {
            relay.on(Command::Auth, action);
        }
        let client = Client::new(with_account(&relay));
        let attempts: Vec<_> = (0..5).map(|n| client.spawn(&format!("m{n}"))).collect();
        for attempt in attempts {
            assert_eq!(held(&attempt.await.unwrap()), "auth", "{what}");
        }
        let within = client.send_at("m5", ALICE, NOW.plus(Duration::from_secs(29))).await;
        assert_eq!(held(&within), "auth", "{what}");
        assert_eq!((relay.count("AUTH"), relay.connections()), (1, 1), "{what}");
        client.send_at("m6", ALICE, NOW.plus(Duration::from_mins(1))).await;
        assert_eq!(relay.count("AUTH"), 2, "{what}: half a minute later it is tried again");
        assert!(relay.accepted().is_empty());
    }
}

/// T32.
/// T32, over reloads: with the same password half a minute passes, with another one it is tried at once.
#[tokio::test]
async fn a_refused_login_rests_also_when_the_channel_is_opened_anew() {
    let relay = Relay::start_with(Options { tls: Tls::Implicit, account: Some(ACCOUNT), ..Options::default() }).await;
    let past = Past::default();
    for (what, password, second, logins) in [
        ("the first", "wrong", 0, 1),
        ("opened anew", "wrong", 10, 1),
        ("and once more", "wrong", 29, 1),
        ("another password", "as wrong", 29, 2),
        ("the first again", "wrong", 29, 2),
        ("half a minute later", "wrong", 31, 3),
    ] {
        let settings = with_password(&relay, ACCOUNT.0, password);
        let channel = Smtp::with_resolver(&"email".into(), &settings, &Resolver::system(), &past).unwrap();
        let client = Client { channel, permission: tokio::sync::watch::Sender::new(Permission::Go) };
        let attempt = client.send_at("m", ALICE, NOW.plus(Duration::from_secs(second))).await;
        assert_eq!((held(&attempt), relay.count("AUTH")), ("auth", logins), "{what}");
    }
}

#[tokio::test]
async fn a_relay_that_offers_no_login_we_know_is_held() {
    let options = Options { tls: Tls::Implicit, account: Some(ACCOUNT), mechanisms: "CRAM-MD5", ..Options::default() };
    let relay = Relay::start_with(options).await;
    let attempt = Client::new(with_account(&relay)).send("m1").await;
    assert_eq!(held(&attempt), "auth");
    assert!(attempt.reply.contains("neither AUTH PLAIN nor AUTH LOGIN"), "{}", attempt.reply);
    relay.wait_closed().await;
    assert_eq!(relay.count("AUTH"), 0);
}

/// A relay that asks for a certificate of ours, and takes nobody without.
#[tokio::test]
async fn a_client_certificate_is_shown_and_read_again_at_the_next_connection() {
    for tls in [Tls::Implicit, Tls::StartTls] {
        let relay = Relay::start_with(Options { tls, wants_client: true, ..Options::default() }).await;
        let without = Client::of(&relay).send("m0").await;
        assert!(matches!(held(&without), "tls" | "greeting" | "hello"), "{without:?}");
        assert_eq!(relay.count("MAIL"), 0);

        let directory = tempfile::tempdir().unwrap();
        let (cert_file, key_file) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        let (good_cert, good_key) = relay.identity();
        std::fs::copy(&good_cert, &cert_file).unwrap();
        std::fs::copy(&good_key, &key_file).unwrap();
        let identity = Some(Identity { cert_file: cert_file.clone(), key_file });
        let limits = Limits { messages: 1, ..Limits::default() };
        let client = Client::new(Settings { identity, limits, ..settings(&relay) });
        assert!(is_sent(&client.send("m1").await));
        std::fs::write(&cert_file, "half written").unwrap();
        let attempt = client.send("m2").await;
        assert_eq!(held(&attempt), "tls");
        assert!(attempt.reply.contains("cert.pem"), "{}", attempt.reply);
        std::fs::copy(&good_cert, &cert_file).unwrap();
        assert!(is_sent(&client.send_at("m3", ALICE, NOW.plus(Duration::from_mins(20))).await));
    }
}

/// Kubernetes puts a new secret in the place of the old one: the next connection must use it, without a restart.
#[tokio::test]
async fn a_password_file_is_read_again_at_each_connection() {
    let options = Options { tls: Tls::Implicit, account: Some(("bell", "new")), ..Options::default() };
    let relay = Relay::start_with(options).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "old\n").unwrap();
    let proof = Proof::Password(Source::File(file.clone()));
    let auth = Some(Auth { user: "bell".to_owned(), proof });
    let client = Client::new(Settings { auth, ..settings(&relay) });
    assert_eq!(held(&client.send("m1").await), "auth");
    std::fs::remove_file(&file).unwrap();
    let hour = |n: u32| NOW.plus(Duration::from_hours(1) * n);
    let attempt = client.send_at("m1", ALICE, hour(1)).await;
    assert_eq!(held(&attempt), "auth");
    assert!(attempt.reply.contains("cannot be read"), "{}", attempt.reply);
    assert_eq!(relay.count("AUTH"), 1, "nothing is said without a password");
    std::fs::write(&file, "new\n").unwrap();
    assert!(is_sent(&client.send_at("m1", ALICE, hour(2)).await));
}

/// Settings with a token from `login` in the password's place.
fn with_token(relay: &Relay, login: &Server) -> Settings {
    let proof = Proof::Token(Box::new(with_secret(azure(login, None))));
    Settings { auth: Some(Auth { user: TOKEN_ACCOUNT.0.to_owned(), proof }), ..settings(relay) }
}

const TOKEN_ACCOUNT: (&str, &str) = ("bell=a,b@example.com", "token-1");

#[tokio::test]
async fn a_token_proves_who_we_are_and_is_asked_for_once() {
    for (mechanisms, used) in [
        ("LOGIN XOAUTH2", "AUTH XOAUTH2"),
        ("XOAUTH2 OAUTHBEARER", "AUTH OAUTHBEARER"),
        ("PLAIN OAUTHBEARER", "AUTH OAUTHBEARER"),
    ] {
        let login = Server::start(grant("token-1", 3_600)).await;
        let options = Options { tls: Tls::Implicit, mechanisms, account: Some(TOKEN_ACCOUNT), ..Options::default() };
        let relay = Relay::start_with(options).await;
        let limits = Limits { messages: 1, ..Limits::default() };
        let client = Client::new(Settings { limits, ..with_token(&relay, &login) });
        for n in 0..3 {
            let attempt = client.send(&format!("m{n}")).await;
            assert!(is_sent(&attempt), "{mechanisms}: {attempt:?}");
        }
        assert_eq!(relay.accepted()[2].user.as_deref(), Some(TOKEN_ACCOUNT.0), "{mechanisms}");
        assert_eq!((relay.count(used), login.asked().len()), (3, 1), "{mechanisms}");
        let scope = login.asked()[0].form("scope");
        assert_eq!(scope.as_deref(), Some("https://outlook.office365.com/.default"));
    }
}

/// T32 with tokens: the challenge that says why is answered, so that the refusal comes; the next connection, half a minute
/// later, comes with a fresh token.
#[tokio::test]
async fn a_refused_token_is_not_used_again_and_the_login_not_repeated() {
    for (mechanisms, answer) in [("XOAUTH2", "answer \"\""), ("OAUTHBEARER", "answer \"AQ==\"")] {
        let login = Server::start(grant("token-1", 3_600)).await;
        login.then(grant("stale", 3_600));
        let options = Options { tls: Tls::Implicit, mechanisms, account: Some(TOKEN_ACCOUNT), ..Options::default() };
        let relay = Relay::start_with(options).await;
        let client = Client::new(with_token(&relay, &login));
        let attempt = client.send("m1").await;
        assert_eq!(held(&attempt), "auth", "{mechanisms}");
        assert_eq!(attempt.code, Some(535), "{mechanisms}");
        assert_eq!(held(&client.send_at("m2", ALICE, NOW.plus(Duration::from_secs(29))).await), "auth");
        assert_eq!((relay.count("AUTH"), relay.count(answer)), (1, 1), "{mechanisms}");
        assert!(is_sent(&client.send_at("m1", ALICE, NOW.plus(Duration::from_mins(2))).await), "{mechanisms}");
        assert_eq!(login.asked().len(), 2, "{mechanisms}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_said_to_the_relay_and_the_reason_is_told() {
    let cases = [
        (json(401, r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret"}"#), "auth"),
        (status(503), "token"),
    ];
    for (answer, why) in cases {
        let login = Server::start(answer).await;
        let options =
            Options { tls: Tls::Implicit, mechanisms: "XOAUTH2", account: Some(TOKEN_ACCOUNT), ..Options::default() };
        let relay = Relay::start_with(options).await;
        let attempt = Client::new(with_token(&relay, &login)).send("m1").await;
        assert_eq!(held(&attempt), why, "{attempt:?}");
        assert!(!attempt.reply.contains("canary"), "{}", attempt.reply);
        relay.wait_closed().await;
        assert_eq!(relay.count("AUTH"), 0);
    }
}

#[tokio::test]
async fn a_bad_ca_file_is_found_at_the_start_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let relay = Relay::start_with(Options { tls: Tls::Implicit, ..Options::default() }).await;
    for (path, told) in [(directory.path().join("absent.pem"), "cannot be read"), (empty, "contains no certificate")] {
        let settings = Settings { ca_file: Some(path.clone()), ..settings(&relay) };
        let fault = Smtp::new(&"email".into(), &settings).err().unwrap().to_string();
        assert!(fault.contains(told) && fault.contains(path.to_str().unwrap()), "{fault}");
    }
}

#[tokio::test]
async fn a_probe_says_what_is_wrong_and_sends_nothing() {
    let relay = Relay::start_with(Options { tls: Tls::StartTls, account: Some(ACCOUNT), ..Options::default() }).await;
    let client = Client::new(with_account(&relay));
    client.channel.probe().await.unwrap();
    relay.wait_closed().await;
    assert_eq!((relay.count("AUTH"), relay.count("MAIL"), relay.count("QUIT")), (1, 0, 1));
    relay.on(Command::Auth, Reply("535 5.7.8 wrong"));
    assert_eq!(client.channel.probe().await.unwrap_err().to_string(), "auth: 535 5.7.8 wrong");
}
