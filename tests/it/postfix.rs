//! A real Postfix as relay: TLS, login, its refusals, and what it delivers, read back from its maildir. Run by
//! `tests/postfix run cargo test --test it -- --ignored postfix`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auditbell::channels::past::Past;
use auditbell::channels::{self, Attempt, Channel, Handover, Outgoing, Permission, Verdict};
use auditbell::clock::Clock;
use auditbell::config;
use bytes::Bytes;
use mail_parser::{Address, MessageParser, MimeHeaders};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::{Bench, PATIENCE, RESET, envelope, reset_of_number};
use crate::mails::all_mails;

/// What `SpamAssassin` may say at most of a mail of ours; it calls 5.0 spam.
const SPAM: f64 = 1.0;
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// The Postfix that `tests/postfix` runs.
struct Postfix {
    port: u16,
    ca: PathBuf,
    mail: PathBuf,
}

/// What a relay URL of ours leads to.
#[derive(Clone, Copy, Debug)]
enum Door {
    StartTls,
    Implicit,
    /// Takes 1,000 bytes and says so.
    Small,
    /// Takes 1,000 bytes and does not say so.
    SecretlySmall,
    /// Takes two messages in five seconds.
    Slow,
}

impl Postfix {
    fn here() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name}: run this by tests/postfix"));
        let port = variable("AUDITBELL_POSTFIX").rsplit_once(':').unwrap().1.parse().unwrap();
        Self { port, ca: variable("AUDITBELL_POSTFIX_CA").into(), mail: variable("AUDITBELL_POSTFIX_MAIL").into() }
    }

    /// The keys of a channel through `door`.
    fn channel(&self, door: Door) -> String {
        let (scheme, host, offset) = match door {
            Door::StartTls => ("smtp", "localhost", 0),
            Door::Implicit => ("smtps", "localhost", 1),
            Door::Small => ("smtp+plain", "127.0.0.1", 2),
            Door::SecretlySmall => ("smtp+plain", "127.0.0.1", 3),
            Door::Slow => ("smtp+plain", "127.0.0.1", 4),
        };
        let relay = format!("relay = [\"{scheme}://{host}:{}\"]", self.port + offset);
        match door {
            Door::StartTls | Door::Implicit => format!(
                "{relay}\nca_file = \"{}\"\nauth = {{ user = \"test\", password_file = \"password\" }}",
                self.ca.display()
            ),
            _ => relay,
        }
    }

    /// Everything delivered so far.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.mail).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Waits for the mails whose content `wanted` names, by the digest of the bytes as they were sent.
    async fn delivered(&self, wanted: &[[u8; 32]]) -> BTreeMap<[u8; 32], PathBuf> {
        let began = Instant::now();
        loop {
            let all: BTreeMap<_, _> = self.files().into_iter().map(|file| (digest(&file), file)).collect();
            let found: BTreeMap<_, _> =
                wanted.iter().filter_map(|digest| Some((*digest, all.get(digest)?.clone()))).collect();
            if found.len() == wanted.len() {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "{} of {} as they were sent", found.len(), wanted.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many mails were delivered to `address`.
    fn count(&self, address: &str) -> usize {
        let to = format!("\nDelivered-To: {address}\n");
        self.files().iter().filter(|file| fs::read_to_string(file).unwrap().contains(&to)).count()
    }

    /// A bench whose channel goes through `door`.
    async fn bench(&self, door: Door) -> Bench {
        let mut bench = Bench::new().await;
        let own = format!("relay = [\"{}\"]", bench.relay.url());
        bench.replace(&own, &self.channel(door));
        fs::write(bench.path("password"), "secret\n").unwrap();
        bench
    }

    /// A channel as the daemon would open it.
    fn open(&self, door: Door) -> Arc<dyn Channel> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        fs::write(directory.path().join("password"), "secret\n").unwrap();
        let text = format!(
            "[source.s]\nbrokers = \"localhost:9092\"\ntopics = [\"t\"]\n[store]\nurl = \"sqlite:a.db\"\n[channel.email]\n\
             type = \"smtp\"\nfrom = \"security@example.com\"\n{}\n[people]\nallow_domains = [\"example.com\"]\n\
             fallback = [\"soc@example.com\"]\n[brand]\nname = \"Example\"\nsecurity_contact = \"security@example.com\"\n{RESET}",
            self.channel(door)
        );
        fs::write(&path, text.replace("\"password\"", &format!("\"{}\"", directory.keep().join("password").display())))
            .unwrap();
        let config = config::load(&path).unwrap_or_else(|faults| panic!("{faults:?}"));
        channels::open(&config.channels[0].name, &config.channels[0].settings, &Past::default()).unwrap()
    }
}

/// One attempt at `bytes` to `to`.
async fn attempt(channel: &dyn Channel, to: &str, bytes: Bytes) -> Attempt {
    let permission = watch::Sender::new(Permission::Go);
    let outgoing = Outgoing {
        key: "key".into(),
        to: Some(to.into()),
        bytes,
        urgent: false,
        permission: permission.subscribe(),
        handover: Handover::default(),
    };
    channel.attempt(&outgoing, Clock::system().now()).await
}

/// What the relay put in front of a mail, and the mail as it was sent: a maildir has LF where SMTP has CRLF.
fn unwrap(file: &Path) -> (String, Vec<u8>) {
    let text = String::from_utf8(fs::read(file).unwrap()).unwrap();
    let ours = text
        .split_inclusive('\n')
        .scan(0, |at, line| {
            *at += line.len();
            Some((*at - line.len(), line))
        })
        .find(|(_, line)| {
            let added = ["Return-Path:", "X-Original-To:", "Delivered-To:", "Received:", " ", "\t"];
            !added.iter().any(|name| line.starts_with(name))
        })
        .map_or(text.len(), |(at, _)| at);
    (text[..ours].to_owned(), text[ours..].replace('\n', "\r\n").into_bytes())
}

fn digest(file: &Path) -> [u8; 32] {
    *blake3::hash(&unwrap(file).1).as_bytes()
}

/// What Python's `email` reads in each file.
fn python(files: &[&PathBuf]) -> Vec<Value> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parse_mail.py");
    let output = Command::new("python3").arg(program).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same of `mail-parser`, in the same words.
fn rust(file: &Path) -> Value {
    let bytes = fs::read(file).unwrap();
    let mail = MessageParser::default().parse(&bytes).unwrap();
    let addresses = |of: Option<&Address<'_>>| -> Vec<Value> {
        of.unwrap().iter().map(|one| json!([one.name().unwrap_or_default(), one.address().unwrap()])).collect()
    };
    let parts = mail.parts.iter().filter(|part| !part.is_multipart()).map(|part| {
        let kind = part.content_type().unwrap();
        let name = format!("{}/{}", kind.c_type, kind.subtype().unwrap()).to_lowercase();
        json!({
            "type": name,
            "charset": kind.attribute("charset").map(str::to_lowercase),
            "encoding": part.content_transfer_encoding().unwrap_or_default().to_lowercase(),
            "text": part.is_text().then(|| part.text_contents().unwrap().replace("\r\n", "\n")),
            "defects": [],
        })
    });
    json!({
        "from": addresses(mail.from()),
        "to": addresses(mail.to()),
        "subject": mail.subject(),
        "message_id": mail.message_id(),
        "date": mail.date().unwrap().to_timestamp(),
        "type": mail.content_type().map(|kind| format!("{}/{}", kind.c_type, kind.subtype().unwrap())),
        "parts": parts.collect::<Vec<_>>(),
        "defects": [],
    })
}

/// `SpamAssassin`'s score of each file, offline, and the rules that it counts. Without the bonus for a relay on loopback, which
/// nobody has who reads these mails.
fn spam_scores(files: &[&PathBuf]) -> Vec<(f64, String)> {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["-L", "-t", "--cf=score ALL_TRUSTED 0"];
    let output = Command::new("spamassassin").args(arguments).args(files).env("HOME", home.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let score = |status: &str| status.split("score=").nth(1)?.split_whitespace().next()?.parse().ok();
    let rules = |status: &str| status.split(" autolearn=").next().unwrap_or_default().to_owned();
    said.split("X-Spam-Status: ").skip(1).map(|status| (score(status).unwrap(), rules(status))).collect()
}

/// The messages of a bench's store: address, digest, reference.
fn sent(bench: &Bench) -> Vec<(String, [u8; 32], String)> {
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    store
        .prepare("SELECT address, digest, reference FROM message WHERE state = 1")
        .and_then(|mut rows| rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect())
        .unwrap()
}

/// T40. From the topic to the maildir: byte for byte what was composed, under the queue id that we noted, and two parsers read
/// the same in it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Postfix: tests/postfix run …"]
async fn what_is_delivered_is_what_was_composed() {
    let postfix = Postfix::here();
    for (door, first) in [(Door::StartTls, 100), (Door::Implicit, 200)] {
        let mut bench = postfix.bench(door).await;
        bench.start().await;
        bench.publish(envelope(&(first..first + 5).map(reset_of_number).collect::<Vec<_>>())).await;
        bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 5).await;
        assert!(bench.stop().await.success());
        let sent = sent(&bench);
        let digests: Vec<_> = sent.iter().map(|(_, digest, _)| *digest).collect();
        let files = postfix.delivered(&digests).await;
        for (address, digest, reference) in &sent {
            let file = &files[digest];
            let (added, _) = unwrap(file);
            assert!(added.contains(&format!("Delivered-To: {address}\n")), "{added}");
            assert!(added.contains(&format!(" with ESMTPSA id {reference}\n")), "{reference}: {added}");
            assert_eq!(postfix.count(address), 1, "{address}");
            let read = rust(file);
            assert_eq!(python(&[file])[0], read);
            assert_eq!(read["from"], json!([["Example Security", "security@example.com"]]));
            assert_eq!(read["to"], json!([["", address]]));
            assert_eq!(read["subject"], "Your password was reset");
            assert_eq!(read["type"], "multipart/alternative");
        }
        bench.books_balance();
    }
}

/// T63 as far as the maildir goes: every shipped template, hostile text included; and none of them smells of spam.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Postfix: tests/postfix run …"]
async fn every_shipped_mail_arrives_whole_reads_the_same_twice_and_is_no_spam() {
    let postfix = Postfix::here();
    let channel = postfix.open(Door::StartTls);
    // A mail from the past is a sign of spam in itself: these are dated now.
    let now = jiff::Timestamp::from_millisecond(Clock::system().now().as_millis()).unwrap();
    let now = jiff::fmt::rfc2822::to_string(&now.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
    let mut wanted = BTreeMap::new();
    for (name, mail) in all_mails() {
        let text = String::from_utf8(mail.bytes.to_vec()).unwrap();
        let (before, rest) = text.split_once("\r\nDate: ").unwrap();
        let bytes = Bytes::from(format!("{before}\r\nDate: {now}\r\n{}", rest.split_once("\r\n").unwrap().1));
        wanted.insert(*blake3::hash(&bytes).as_bytes(), (name, rust_of(&bytes)));
        let attempt = attempt(&*channel, &mail.to, bytes).await;
        assert!(matches!(attempt.verdict, Verdict::Sent { .. }), "{name}: {attempt:?}");
    }
    channel.close().await;
    let files = postfix.delivered(&wanted.keys().copied().collect::<Vec<_>>()).await;
    let files: Vec<_> = wanted.iter().map(|(digest, (name, composed))| (name, composed, &files[digest])).collect();
    let paths: Vec<_> = files.iter().map(|(.., file)| *file).collect();
    let scores = spam_scores(&paths);
    assert_eq!(scores.len(), paths.len());
    // A mail that every filter must stop (spamassassin.apache.org/gtube): the scores are not empty words.
    let gtube = fs::read_to_string(paths[0]).unwrap().replace("Subject: ", &format!("Subject: {GTUBE} "));
    let spam = tempfile::NamedTempFile::new().unwrap();
    fs::write(spam.path(), gtube).unwrap();
    assert!(spam_scores(&[&spam.path().to_owned()])[0].0 > 900.0);
    for (((name, composed, file), second), (score, tests)) in files.into_iter().zip(python(&paths)).zip(scores) {
        assert_eq!(rust(file), *composed, "{name}: mail-parser, delivered and composed");
        assert_eq!(second, *composed, "{name}: Python's email");
        println!("{score:>5} {name}");
        assert!(score <= SPAM, "{name}: {tests}");
    }
}

/// What `mail-parser` reads in bytes that are not in a file.
fn rust_of(bytes: &[u8]) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    rust(file.path())
}

/// 535 5.7.8: no message loses an attempt; the file is mended, the daemon told, and everything leaves.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Postfix: tests/postfix run …"]
async fn a_wrong_password_costs_no_message_an_attempt() {
    let postfix = Postfix::here();
    let mut bench = postfix.bench(Door::Implicit).await;
    fs::write(bench.path("password"), "wrong\n").unwrap();
    bench.start().await;
    bench.publish(envelope(&(300..305).map(reset_of_number).collect::<Vec<_>>())).await;
    bench.metric_at_least("auditbell_channel_hold_total", &["reason=\"auth\""], 1).await;
    bench.until("all wait", |bench| (bench.metric("auditbell_messages", &["state=\"free\""]) == 5).then_some(())).await;
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    store.busy_timeout(Duration::from_secs(5)).unwrap();
    let attempts: i64 = store.query_row("SELECT sum(attempt) FROM due", [], |row| row.get(0)).unwrap();
    assert_eq!(attempts, 0);
    assert!(bench.log().contains("535"), "the operator sees the code");
    fs::write(bench.path("password"), "secret\n").unwrap();
    assert!(bench.command(&["reload"]).output().unwrap().status.success());
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 5).await;
    assert!(bench.stop().await.success());
    postfix.delivered(&sent(&bench).iter().map(|(_, digest, _)| *digest).collect::<Vec<_>>()).await;
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Postfix: tests/postfix run …"]
async fn its_refusals_are_judged_as_they_are_meant() {
    let postfix = Postfix::here();
    let mail = Bytes::from("From: a@example.com\r\n\r\n".to_owned() + &"0123456789\r\n".repeat(200));
    let never = |reason| Verdict::Never { reason };
    for (why, door, to, code, verdict, said) in [
        ("busy: later", Door::StartTls, "busy@example.com", Some(450), Verdict::Later { not_before: None }, "4.2.1"),
        ("nobody: never", Door::StartTls, "nobody@example.com", Some(550), never("mailbox-refused"), "5.1.1"),
        ("its limit is known from EHLO", Door::Small, "bob@example.com", None, never("too-big"), ""),
        ("its limit is found out", Door::SecretlySmall, "bob@example.com", Some(552), never("too-big"), "5.3.4"),
        ("elsewhere: no relaying", Door::StartTls, "bob@example.org", Some(550), never("recipient-refused"), "5.7.1"),
    ] {
        let channel = postfix.open(door);
        let attempt = attempt(&*channel, to, mail.clone()).await;
        assert_eq!((attempt.code, &attempt.verdict), (code, &verdict), "{why}: {attempt:?}");
        assert!(attempt.reply.contains(said), "{why}: {}", attempt.reply);
        channel.close().await;
    }
}

/// 450 4.7.1 "too much mail": all of it arrives, each once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Postfix: tests/postfix run …"]
async fn a_relay_that_takes_two_messages_in_five_seconds_gets_them_all_in_time() {
    let postfix = Postfix::here();
    let mut bench = postfix.bench(Door::Slow).await;
    bench.start().await;
    bench.publish(envelope(&(400..405).map(reset_of_number).collect::<Vec<_>>())).await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 5).await;
    assert!(bench.metric("auditbell_attempts_total", &["verdict=\"later\""]) >= 1, "it was never refused");
    assert!(bench.stop().await.success());
    let sent = sent(&bench);
    postfix.delivered(&sent.iter().map(|(_, digest, _)| *digest).collect::<Vec<_>>()).await;
    for (address, ..) in &sent {
        assert_eq!(postfix.count(address), 1, "{address}");
    }
    bench.books_balance();
}
