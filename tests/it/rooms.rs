//! Rooms through the doors: the real daemon, a scripted relay and a scripted HTTP server.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use crate::giving_up::{OPS, own_records_are, settled};
use crate::harness::{ALICE, BOB, Bench, RESET, envelope, recipients, reset, reset_of_number, text};
use crate::http_server::{Asked, Server, status};
use crate::smtp_server::{Action, Command};

/// A room at `server`, whose people are told by mail when it gives up.
fn hook(server: &Server) -> String {
    format!(
        "\n[channel.ops-hook]\ntype = \"webhook\"\nurl = \"{}/hook\"\nallow_http = true\nallow_private = true\n\
         retry = [\"1s\"]\nfallback = [\"email\", \"soc@example.com\"]\n",
        server.url()
    )
}

/// [`OPS`], told to the room.
fn ops() -> String {
    OPS.replace("to = [\"ops@example.com\"]\nchannels = [\"email\"]", "channels = [\"ops-hook\"]")
}

fn document(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

/// Both kinds of channel in one rule.
#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_by_mail_and_the_room_once_of_each_record() {
    let server = Server::start(status(204)).await;
    let mut bench = Bench::new().await;
    bench.rules = RESET.replace("channels = [\"email\"]", "channels = [\"email\", \"ops-hook\"]") + &hook(&server);
    bench.start().await;
    bench.publish(envelope(&[reset("1", ALICE), reset("2", BOB)])).await;
    let asked = server.wait_for(2).await;
    assert_eq!(recipients(&bench.relay.wait_for(2).await), ["alice@example.com", "bob@example.com"]);
    for one in &asked {
        let document = document(one);
        assert_eq!(one.header("webhook-id"), document["id"].as_str(), "the message's key is the idempotency key");
        assert_eq!(document["title"], "Somebody reset a user's password");
        assert_eq!((document["kind"].as_str(), document["rule"].as_str()), (Some("normal"), Some("password-reset")));
        assert_eq!((document["count"].as_i64(), document["late"].as_bool()), (Some(1), Some(false)));
        assert!(document["records"][0]["targets"][0]["upn"].as_str().unwrap().ends_with("@example.com"));
    }
    settled(&bench).await;
    let list = bench.command(&["messages", "list"]).output().unwrap();
    assert_eq!(String::from_utf8(list.stdout).unwrap().matches(" room:ops-hook ").count(), 2);
    // Read again, it is told nobody again.
    assert!(bench.stop().await.success());
    Connection::open(&bench.store).unwrap().execute("UPDATE position SET next = 0", []).unwrap();
    bench.start().await;
    bench.metric_at_least("auditbell_notifications_total", &["channel=\"ops-hook\"", "verdict=\"duplicate\""], 2).await;
    assert!(bench.stop().await.success());
    assert_eq!(server.asked().len(), 2);
    bench.books_balance();
}

/// A22. The room answers 500 for ever: retries by its schedule with one key and one body, then a mail to its fallback, and one
/// record of the outcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_never_takes_it_is_tried_by_its_schedule_then_a_mail_tells() {
    let server = Server::start(status(500)).await;
    let mut bench = Bench::new().await;
    let to_the_room = "max_age = \"12s\"\nchannels = [\"ops-hook\"]";
    bench.rules = RESET.replace("to = [\"target\"]\nchannels = [\"email\"]", to_the_room) + OPS + &hook(&server);
    bench.start().await;
    bench.reading().await;
    bench.publish(envelope(&[reset("1", ALICE)])).await;
    let mails = bench.relay.wait_for(2).await;
    assert_eq!(recipients(&mails), ["ops@example.com", "soc@example.com"]);
    let asked = server.asked();
    assert!((2..=14).contains(&asked.len()), "{} attempts in 12 s of about one a second", asked.len());
    let first = (asked[0].header("webhook-id").map(str::to_owned), asked[0].body.clone());
    for one in &asked {
        assert_eq!((one.header("webhook-id").map(str::to_owned), one.body.clone()), first, "one key, one body");
    }
    let instead = mails.iter().find(|mail| mail.to == ["soc@example.com"]).map(text).unwrap();
    for part in ["The message to the room below was given up.", "Room: ops-hook", "Reason: undelivered"] {
        assert!(instead.contains(part), "no `{part}` in\n{instead}");
    }
    let told = mails.iter().find(|mail| mail.to == ["ops@example.com"]).map(text).unwrap();
    for part in ["Channel: ops-hook", "Reason: undelivered (reply 500)", &format!("after {} attempts", asked.len())] {
        assert!(told.contains(part), "no `{part}` in\n{told}");
    }
    settled(&bench).await;
    own_records_are(&bench, 1).await; // one outcome, one record
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// The relay refuses and the room is dead as well: the mail given up is one record, its escalation another; the room's messages
/// about them are given up too, and make none.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_room_is_not_told_of_itself() {
    let server = Server::start(status(410)).await;
    let mut bench = Bench::new().await;
    bench.rules = RESET.to_owned() + &ops() + &hook(&server);
    bench.replace("retry = [\"1s\"]\n\n[people]", "retry = [\"1s\"]\nfallback = \"ops-hook\"\n\n[people]");
    bench.relay.on(Command::Rcpt, Action::Reply("550 5.7.1 nobody"));
    bench.start().await;
    bench.publish(envelope(&[reset("1", ALICE)])).await;
    bench.metric_at_least("auditbell_rule_matches_total", &["rule=\"ops-delivery\""], 2).await;
    settled(&bench).await;
    own_records_are(&bench, 2).await; // the mail, and its message to the room
    let rooms =
        server.asked().iter().map(|asked| document(asked)["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!((rooms.len(), rooms.iter().filter(|kind| *kind == "failed").count()), (3, 1), "{rooms:?}");
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// The relay dead for good: one webhook per message given up.
#[tokio::test(flavor = "multi_thread")]
async fn each_message_that_a_dead_relay_never_took_is_told_to_the_room() {
    let server = Server::start(status(200)).await;
    let mut bench = Bench::new().await;
    bench.rules = RESET.replace("to = [", "max_age = \"5s\"\nto = [") + &hook(&server);
    bench.replace("retry = [\"1s\"]\n\n[people]", "retry = [\"1s\"]\nfallback = \"ops-hook\"\n\n[people]");
    bench.relay.on(Command::Connect, Action::Close);
    bench.start().await;
    bench.reading().await;
    bench.publish(envelope(&(1..=3).map(reset_of_number).collect::<Vec<_>>())).await;
    let asked = server.wait_for(3).await;
    let mut told: Vec<String> =
        asked.iter().map(|asked| document(asked)["about"]["recipient"].as_str().unwrap().to_owned()).collect();
    told.sort();
    assert_eq!(told, ["user-1@example.com", "user-2@example.com", "user-3@example.com"]);
    assert!(asked.iter().all(|asked| document(asked)["kind"] == "failed"));
    settled(&bench).await;
    assert_eq!(server.asked().len(), 3, "each once");
    tokio::time::timeout(Duration::from_secs(30), bench.stop()).await.unwrap();
    bench.books_balance();
}

/// A30, scaled: the relay is down, the process is killed meanwhile, the relay comes back. Every mail arrives once, and the
/// operators heard through the room that the channel stopped and that it works again.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_with_a_kill_in_it_costs_no_mail_and_the_room_hears_of_it() {
    const MAILS: usize = 12;
    let server = Server::start(status(200)).await;
    let mut bench = Bench::new().await;
    let channels = ops().replace("result = \"failure\"", "category = \"Channel\"");
    bench.rules = RESET.to_owned() + &channels + &hook(&server);
    bench.relay.on(Command::Connect, Action::Close);
    bench.start().await;
    bench.publish(envelope(&(0..MAILS).map(reset_of_number).collect::<Vec<_>>())).await;
    let heard = |operation: &'static str| {
        let said = |asked: &Asked| document(asked)["records"][0]["operation"] == operation;
        server.asked().iter().filter(|asked| said(asked)).map(|asked| document(asked)["id"].clone()).collect::<Vec<_>>()
    };
    bench.until("word of the outage", |_| (!heard("Channel stopped").is_empty()).then_some(())).await;
    let stopped = heard("Channel stopped");
    assert_eq!(stopped.len(), 1, "one outage, one word");
    // On disk as well, or the kill would make a copy of that word.
    bench.metric_at_least("auditbell_notifications_total", &["channel=\"ops-hook\"", "verdict=\"sent\""], 1).await;
    bench.kill();
    bench.relay.calm(Command::Connect);
    bench.start().await;
    bench.until("the mails", |bench| (bench.relay.accepted().len() >= MAILS).then_some(())).await;
    let mails = bench.relay.accepted();
    bench.until("word of the end", |_| (!heard("Channel works again").is_empty()).then_some(())).await;
    settled(&bench).await;
    let mut expected: Vec<_> = (0..MAILS).map(|number| format!("user-{number}@example.com")).collect();
    expected.sort();
    assert_eq!(recipients(&mails), expected, "each once");
    assert_eq!(bench.relay.accepted().len(), MAILS, "and no copy: none was on its way at the kill");
    assert_eq!((heard("Channel stopped").len(), heard("Channel works again").len()), (1, 1), "the restart is no news");
    let doubtful = bench.metric("auditbell_attempts_total", &["channel=\"email\"", "verdict=\"ambiguous\""]);
    assert_eq!(doubtful, 0);
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// What a removed channel left for a person is no business of the room that is all that remains.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_personal_channel_left_is_not_told_to_a_room() {
    let server = Server::start(status(204)).await;
    let mut bench = Bench::new().await;
    bench.rules = format!("{RESET}max_age = \"8s\"\n");
    bench.relay.on(Command::Rcpt, Action::Reply("450 4.2.1 busy"));
    bench.start().await;
    bench.reading().await;
    bench.publish(envelope(&[reset("1", ALICE)])).await;
    bench.metric_at_least("auditbell_attempts_total", &["verdict=\"later\""], 1).await;
    assert!(bench.stop().await.success());
    let email = format!(
        "[channel.email]\ntype = \"smtp\"\nrelay = [\"{}\"]\nfrom = \"Example Security <security@example.com>\"\nretry = [\"1s\"]\n",
        bench.relay.url()
    );
    bench.replace(&email, &hook(&server).replace("fallback", "# fallback"));
    bench.rules = ops();
    bench.start().await;
    bench.metric_at_least("auditbell_notifications_total", &["channel=\"email\"", "verdict=\"expired\""], 1).await;
    let asked = server.wait_for(1).await;
    assert_eq!(document(&asked[0])["rule"], "ops-delivery", "our own record");
    assert!(bench.stop().await.success());
    let told = Connection::open(&bench.store).unwrap();
    let told: i64 = told.query_row("SELECT count(*) FROM message WHERE stands_for>0", [], |row| row.get(0)).unwrap();
    assert_eq!((told, server.asked().len()), (0, 1));
    bench.books_balance();
}
