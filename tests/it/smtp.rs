//! The SMTP channel against the scripted relay.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::smtp_server::{Command, Relay, Reply};

/// Says `lines` to the relay and gives all it answered until it closed the connection.
async fn dialogue(relay: &Relay, lines: &str) -> String {
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    stream.write_all(lines.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    answers
}

#[tokio::test]
async fn the_scripted_relay_writes_down_what_it_takes() {
    let relay = Relay::start().await;
    relay.on_recipient("bob@example.com", Command::Rcpt, Reply("550 5.1.1 no such user"));
    let mail = "EHLO me\nMAIL FROM:<a@example.com>\nRCPT TO:<alice@example.com>\nDATA\n\
                Message-ID: <1@example.com>\n\n..two dots\n.\n\
                MAIL FROM:<a@example.com>\nRCPT TO:<bob@example.com>\nQUIT\n";
    let answers = dialogue(&relay, mail).await;
    assert!(answers.contains("250 2.0.0 Ok: queued as Q1\r\n"), "{answers}");
    assert!(answers.contains("550 5.1.1 no such user\r\n"), "{answers}");
    let accepted = relay.wait_for(1).await;
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0].message_id, "1@example.com");
    assert_eq!(accepted[0].to, ["alice@example.com"]);
    assert_eq!(accepted[0].bytes, b"Message-ID: <1@example.com>\r\n\r\n.two dots\r\n");
    assert_eq!(relay.count("MAIL"), 2);
    relay.wait_closed().await;
}
