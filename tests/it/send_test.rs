//! `send-test` through the real binary: what an operator sees before the first start.

use std::process::{Command, Output};

use crate::smtp_server::{Command as Said, Options, Relay, Reply, Tls};

/// Runs `send-test` with a configuration for `relay` and `extra` lines in its channel.
async fn send_test(relay: &Relay, extra: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auditbell.toml");
    let url = relay.url();
    let text = format!(
        r#"
[source.entra]
brokers = "127.0.0.1:1"
topics = ["insights-logs-auditlogs"]

[channel.email]
type = "smtp"
relay = ["{url}"]
from = "Example Security <security@example.com>"
{extra}

[people]
allow_domains = ["example.com"]

[brand]
name = "Example"
security_contact = "security@example.com"
"#
    );
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditbell"));
    command.arg("send-test").arg("-c").arg(&path).args(arguments);
    tokio::task::spawn_blocking(move || {
        let output = command.output().unwrap();
        drop(directory);
        output
    })
    .await
    .unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const ALICE: [&str; 4] = ["--channel", "email", "--to", "alice@example.com"];

#[tokio::test]
async fn a_test_message_arrives_marked_and_the_reply_is_printed() {
    let relay = Relay::start().await;
    let output = send_test(&relay, "", &ALICE).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).starts_with("sent: test-"), "{}", text(&output));
    assert!(text(&output).contains("250 2.0.0 Ok: queued as Q1"), "{}", text(&output));
    let accepted = relay.accepted();
    assert_eq!(accepted.len(), 1);
    let mail = mail_parser::MessageParser::default().parse(&accepted[0].bytes).unwrap();
    assert_eq!(accepted[0].to, ["alice@example.com"]);
    assert!(accepted[0].message_id.starts_with("test-"), "{}", accepted[0].message_id);
    assert!(mail.subject().unwrap().to_lowercase().contains("test"), "{:?}", mail.subject());
    assert_eq!(relay.count("QUIT"), 1);
}

#[tokio::test]
async fn a_test_message_goes_where_try_out_mail_goes() {
    let relay = Relay::start().await;
    let output = send_test(&relay, r#"redirect_to = "me@example.com""#, &ALICE).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains(" to me@example.com"), "{}", text(&output));
    assert_eq!(relay.accepted()[0].to, ["me@example.com"]);
}

#[tokio::test]
async fn every_refusal_is_an_exit_code_and_a_reason() {
    let relay = Relay::start().await;
    relay.on_recipient("gone@example.com", Said::Rcpt, Reply("550 5.1.1 no such user"));
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--channel", "email", "--to", "gone@example.com"], 1, "never (mailbox-refused)"),
        (&["--channel", "email", "--to", "eve@elsewhere.test"], 1, "may not be mailed: foreign-domain"),
        (&["--channel", "pager", "--to", "alice@example.com"], 2, "there is no [channel.pager]; there is: email"),
        (&["--channel", "email"], 2, "[channel.email] tells people: add --to ADDRESS"),
    ];
    for (arguments, code, told) in cases {
        let output = send_test(&relay, "", arguments).await;
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains(told), "{}", text(&output));
    }
    assert!(relay.accepted().is_empty());
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_ca_are_told_apart_and_the_password_is_not_told() {
    let relay =
        Relay::start_with(Options { tls: Tls::Implicit, account: Some(("bell", "right")), ..Options::default() }).await;
    let ca_file = relay.ca_file();
    let login = r#"auth = { user = "bell", password = "canary-wrong" }"#;
    let output = send_test(&relay, &format!("{login}\nca_file = {ca_file:?}"), &ALICE).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("hold (auth)") && text(&output).contains("535"), "{}", text(&output));
    assert!(!text(&output).contains("canary"), "{}", text(&output));

    let output = send_test(&relay, login, &ALICE).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("hold (tls)"), "{}", text(&output));
}
