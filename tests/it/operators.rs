//! What an operator does through the binary, beside a daemon and without one: the commands of `docs/operations.md`.

use auditbell::clock::Clock;
use serde_json::Value;

use crate::harness::{ALICE, BOB, Bench, RESET, envelope, recipients, reset, reset_of_number};
use crate::smtp_server::{Action, Command};

/// Exit code, stdout, stderr.
pub fn run(bench: &Bench, arguments: &[&str]) -> (i32, String, String) {
    let output = bench.command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What it prints as JSON, one object a line; it must succeed.
pub fn ask(bench: &Bench, arguments: &[&str]) -> Vec<Value> {
    let (code, said, why) = run(bench, &[arguments, &["-o", "json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {said}{why}");
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The keys of the messages in a state, newest first.
pub fn keys(bench: &Bench, state: &str) -> Vec<String> {
    let listed = ask(bench, &["messages", "list", "--state", state]);
    listed.iter().map(|message| message["key"].as_str().unwrap().to_owned()).collect()
}

pub fn operators(bench: &Bench) -> Vec<String> {
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    let mut rows = store.prepare("SELECT what FROM operator ORDER BY id").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_with_its_records_its_attempts_and_what_came_of_it() {
    let mut bench = Bench::new().await;
    bench.relay.on_recipient("alice@example.com", Command::Rcpt, Action::Reply("550 5.7.0 not you"));
    bench.start().await;
    bench.publish(envelope(&[reset("refused", ALICE)])).await;
    bench.relay.wait_for(1).await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 1).await;
    let failed = keys(&bench, "failed").remove(0);
    let shown = ask(&bench, &["messages", "show", &failed]).remove(0);
    let record = &shown["records"][0];
    assert_eq!(record["position"]["offset"], 0);
    assert_eq!(
        (record["dialect"].as_str(), record["operation"].as_str()),
        (Some("entra.audit"), Some("Reset user password"))
    );
    assert!(record["time"].is_string() && record["raw"].is_null(), "{record}");
    assert_eq!(shown["tries"][0]["verdict"], "never");
    assert!(shown["tries"][0]["reply"].as_str().unwrap().contains("5.7.0 not you"), "{shown}");
    assert_eq!(shown["escalations"][0]["recipient"], "addr:soc@example.com");
    assert_eq!(
        (&shown["escalations"][0]["kind"], &shown["escalations"][0]["state"]),
        (&"failed".into(), &"sent".into())
    );

    let escalation = shown["escalations"][0]["key"].as_str().unwrap();
    let told = ask(&bench, &["messages", "show", escalation, "--raw"]).remove(0);
    assert_eq!(told["stands_for"]["key"], failed.as_str());
    assert_eq!(told["records"][0]["raw"]["operationName"], "Reset user password");
    let (code, text, _) = run(&bench, &["messages", "show", &failed, "--raw"]);
    assert_eq!(code, 0);
    for line in [
        "  record entra:insights-logs-auditlogs:0:0:0 entra.audit ",
        " Reset user password\n",
        "  attempt 1 ",
        "  escalated to: ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains("\"operationName\":\"Reset user password\""), "{text}");
    assert_eq!(run(&bench, &["messages", "show", "00000000000000000000000000000000"]).0, 1);
    assert!(bench.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_sent_is_left_alone_and_the_exit_says_try_again() {
    let mut bench = Bench::new().await;
    bench.relay.on(Command::Dot, Action::Stall);
    bench.start().await;
    bench.publish(envelope(&[reset("stalled", ALICE)])).await;
    bench.relay.wait_stalled(Command::Dot, 1).await;
    let key = keys(&bench, "pending").remove(0);
    for command in
        [&["messages", "cancel", &key][..], &["messages", "retry", &key], &["messages", "move", &key, "--to", "email"]]
    {
        let (code, said, why) = run(&bench, command);
        assert_eq!((code, said.as_str()), (75, ""), "{command:?}");
        assert!(why.contains("being sent, try again"), "{command:?}: {why}");
    }
    let (code, _, why) = run(&bench, &["messages", "move", "--channel", "email", "--to", "email"]);
    assert_eq!(code, 75, "{why}");
    bench.relay.release();
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 1).await;
    let (code, _, why) = run(&bench, &["messages", "cancel", &key]);
    assert_eq!((code, why), (1, format!("{key}: is sent already\n")));
    assert_eq!(operators(&bench), [""; 0], "nothing was changed");
    assert!(bench.stop().await.success());
}

/// A channel was taken out of the configuration while its messages waited.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_removed_channel_are_orphaned_until_they_are_moved() {
    let mut bench = Bench::new().await;
    let brake = "policy = \"p\"\n[policy.p]\nthrottle = { max = 1, per = \"1h\", overflow = \"hold\" }\n";
    bench.rules = format!("{RESET}{brake}");
    bench.replace("[channel.email]", "[channel.old]");
    bench.replace("channels = [\"email\"]", "channels = [\"old\"]");
    bench.relay.on(Command::Mail, Action::Reply("451 4.3.0 not now"));
    bench.start().await;
    bench.publish(envelope(&[reset("waits", ALICE), reset("is-held", BOB)])).await;
    bench.metric_at_least("auditbell_attempts_total", &["verdict=\"later\""], 1).await;
    assert!(bench.stop().await.success());
    assert_eq!(keys(&bench, "orphaned"), [""; 0]);

    bench.replace.clear();
    bench.relay.calm(Command::Mail);
    bench.start().await;
    bench.metric_at_least("auditbell_messages", &["channel=\"old\"", "state=\"orphaned\""], 1).await;
    assert_eq!((keys(&bench, "orphaned").len(), keys(&bench, "held").len()), (1, 1));
    let (code, _, why) = run(&bench, &["messages", "release", "--all"]);
    assert!(code == 1 && why.contains("channel old is not in the configuration"), "{code}: {why}");
    let (alice, bob) = ("alice@example.com", "bob@example.com");
    let held = keys(&bench, "held").remove(0);
    let (code, _, why) = run(&bench, &["messages", "release", &held]);
    assert!(code == 1 && why.contains("channel old is not in the configuration"), "{code}: {why}");
    bench.publish(envelope(&[reset("leaves", ALICE), reset("is-held-here", BOB)])).await;
    bench.relay.wait_for(1).await;
    bench.metric_at_least("auditbell_messages", &["channel=\"email\"", "state=\"held\""], 1).await;
    let here = keys(&bench, "held").into_iter().find(|key| *key != held).unwrap();
    let (code, said, why) = run(&bench, &["messages", "release", &here]);
    assert_eq!((code, said, why.as_str()), (0, format!("{here} release: done\n"), ""), "the other one is none of its");
    bench.relay.wait_for(2).await;
    let to_nowhere = run(&bench, &["messages", "move", "--channel", "old", "--to", "emial"]);
    assert!(to_nowhere.0 == 2 && to_nowhere.2.contains("there are: email"), "{to_nowhere:?}");
    let (_, said, _) = run(&bench, &["messages", "move", "--channel", "old", "--to", "email", "--dry-run"]);
    assert_eq!(said, "would move: 2\n");
    let nobody = "00000000000000000000000000000000";
    let (code, said, why) = run(&bench, &["messages", "move", nobody, &here, "--to", "email", "--dry-run"]);
    assert_eq!((code, said.as_str()), (1, "would move: 0\n"));
    assert_eq!(why, "would not: 1: no such message\nwould not: 1: is sent already\n");
    let (code, said, _) = run(&bench, &["messages", "release", &held, nobody, "--dry-run", "-o", "json"]);
    assert_eq!(code, 1, "{said}");
    let (code, said, why) = run(&bench, &["messages", "move", "--channel", "old", "--to", "email"]);
    assert_eq!((code, said.as_str(), why.as_str()), (0, "move: 2\n", ""));
    assert_eq!(recipients(&bench.relay.wait_for(3).await), [alice, alice, bob], "what was held stays held");
    let (code, said, _) = run(&bench, &["messages", "release", "--all"]);
    assert_eq!((code, said.as_str()), (0, "release: 1\n"));
    assert_eq!(recipients(&bench.relay.wait_for(4).await), [alice, alice, bob, bob]);
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 4).await;
    let by_key = format!("messages release {here}: 1");
    assert_eq!(operators(&bench), [&by_key, "messages move --channel old --to email: 2", "messages release --all: 1"]);
    bench
        .until("no orphans", |bench| (bench.metric("auditbell_messages", &["state=\"orphaned\""]) == 0).then_some(()))
        .await;
    assert!(bench.stop().await.success());
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_set_only_with_apply_and_only_while_no_daemon_runs() {
    let mut bench = Bench::new().await;
    bench.start().await;
    for number in 0..5 {
        bench.publish(envelope(&[reset_of_number(number)])).await;
    }
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 5).await;
    let place = "entra:insights-logs-auditlogs:0";
    let listed = run(&bench, &["positions", "list"]).1;
    assert!(listed.starts_with(&format!("{place} next=5 bad=0 accepted_at=20")), "as `set` takes it: {listed}");
    let set = |to: &'static str| ["positions", "set", place, to];
    let (code, said, why) = run(&bench, &set("earliest"));
    assert_eq!(code, 0, "{why}");
    assert!(
        said.contains(&format!("{place} from 5 to 0\n")) && said.contains("5 messages would be read again"),
        "{said}"
    );
    assert!(
        said.contains("nothing was changed: add --apply") && why.contains("a daemon runs (process "),
        "{said}{why}"
    );
    let (code, said, why) = run(&bench, &[&set("earliest")[..], &["--apply"]].concat());
    assert_eq!((code, said.as_str()), (75, ""));
    assert!(why.contains("another daemon uses this store (process "), "{why}");
    assert!(bench.stop().await.success());

    for (to, code, says) in [
        ("9", 1, "9 lies outside of what the broker keeps, 0 to 5"),
        ("soon", 2, "must be earliest, latest"),
        ("latest", 0, "nothing would be skipped or read again"),
    ] {
        let answer = run(&bench, &set(to));
        assert!(answer.0 == code && format!("{}{}", answer.1, answer.2).contains(says), "{to}: {answer:?}");
    }
    assert_eq!(run(&bench, &["positions", "set", "entra:insights-logs-auditlogs:7", "0"]).0, 1);
    assert_eq!(operators(&bench), [""; 0]);

    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    store.execute("UPDATE position SET bad=200", []).unwrap();
    let moved = ask(&bench, &["positions", "set", place, "2", "--apply"]).remove(0);
    assert_eq!(
        (&moved["from"], &moved["to"], &moved["again"], &moved["applied"]),
        (&5.into(), &2.into(), &3.into(), &true.into())
    );
    assert_eq!(operators(&bench), [format!("positions set {place} 2 (was 5)")]);
    bench.start().await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"duplicate\""], 3).await;
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 5, "nobody was told twice");
    let moved = ask(&bench, &["positions", "set", place, "5"]).remove(0);
    assert_eq!((&moved["skipped"], &moved["again"]), (&0.into(), &0.into()));

    // Without a broker a number will do, and a word will not.
    bench.kafka.down();
    let (code, said, why) = run(&bench, &set("3"));
    assert!(
        code == 0 && said.contains("from 5 to 3\n") && why.contains("the broker was not asked: "),
        "{code}: {said}{why}"
    );
    assert!(said.contains("  up to 2 messages would be read again"), "{said}");
    let (_, said, _) = run(&bench, &set("8"));
    assert!(said.contains("  up to 3 messages would be skipped: nobody is told of them\n"), "{said}");
    let (code, _, why) = run(&bench, &set("latest"));
    assert!(code == 75 && why.contains("only the broker knows that offset"), "{code}: {why}");
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_how_things_stand_with_a_daemon_and_without_one() {
    let mut bench = Bench::new().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    bench.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:{port}\""));
    bench.rules =
        format!("{RESET}policy = \"p\"\n[policy.p]\nthrottle = {{ max = 1, per = \"1h\", overflow = \"hold\" }}\n");
    bench.relay.on(Command::Mail, Action::Reply("451 4.3.0 not now"));
    bench.start().await;
    bench.publish(envelope(&[reset("waits", ALICE), reset("is-held", BOB)])).await;
    for _ in 0..200 {
        bench.publish("not json").await;
    }
    bench.metric_at_least("auditbell_source_held", &["reason=\"bad-messages\""], 1).await;
    let status = ask(&bench, &["status"]).remove(0);
    assert!(status["daemon"]["process"].is_u64() && status["daemon"]["silent"].is_null(), "{status}");
    assert!(status["daemon"]["age_seconds"].as_u64().unwrap() < 60, "{status}");
    assert_eq!((&status["config"]["revision"], &status["config"]["runs"]), (&1.into(), &true.into()));
    let partition = &status["partitions"][0];
    assert_eq!((&partition["source"], &partition["lag"], &partition["bad"]), (&"entra".into(), &0.into(), &200.into()));
    assert_eq!(status["held"], serde_json::json!([{ "source": "entra", "reason": "bad-messages" }]));
    let channel = &status["channels"][0];
    assert_eq!((&channel["channel"], &channel["configured"]), (&"email".into(), &true.into()));
    let queues: Vec<_> = channel["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|q| (q["state"].as_str().unwrap(), q["messages"].as_i64().unwrap()))
        .collect();
    assert!(queues.len() == 2 && queues[1] == ("held", 1) && queues[0].1 == 1, "{queues:?}");
    assert!(channel["queues"][0]["oldest"].is_string() && status["dead_letters"] == 200, "{status}");
    assert!(status["store"]["bytes"].as_u64().unwrap() > 0 && status["store"]["free_bytes"].as_u64().unwrap() > 0);
    let (code, text, _) = run(&bench, &["status"]);
    assert_eq!(code, 0);
    for line in [
        "daemon: process ",
        "config: revision 1, ",
        "held: source entra: bad-messages",
        "  held: 1, oldest ",
        "dead letters: 200\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(bench.stop().await.success());

    bench.rules.push_str("# another configuration\n");
    let status = ask(&bench, &["status"]).remove(0);
    assert!(status["daemon"]["process"].is_null() && status["held"].is_null(), "{status}");
    assert_eq!((&status["daemon"]["silent"], &status["config"]["revision"]), (&"no daemon runs".into(), &Value::Null));
    let (code, text, _) = run(&bench, &["status"]);
    assert!(
        code == 0 && text.starts_with("daemon: none runs on this store\nconfig: no daemon has run it yet\n"),
        "{text}"
    );
}

/// The breaker of a channel is known to the daemon alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_status_names_a_channel_that_does_not_work_and_why() {
    let mut bench = Bench::new().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    bench.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:{port}\""));
    bench.relay.on(Command::Connect, Action::ReplyThenClose("554 5.3.2 not here"));
    bench.start().await;
    bench.publish(envelope(&[reset("waits", ALICE)])).await;
    bench.metric_at_least("auditbell_channel_open", &["channel=\"email\""], 1).await;
    let status = ask(&bench, &["status"]).remove(0);
    assert_eq!(status["channels"][0]["open"], "greeting", "{status}");
    assert_eq!(status["channels"][0]["paused"]["reason"], "greeting", "{status}");
    let (_, text, _) = run(&bench, &["status"]);
    assert!(text.contains("channel email\n  does not work: greeting\n  pauses until 20"), "{text}");
    assert!(bench.stop().await.success());
}

/// `messages list | head`.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let mut bench = Bench::new().await;
    bench.start().await;
    bench.publish(envelope(&[reset("one", ALICE)])).await;
    bench.relay.wait_for(1).await;
    for command in [&["messages", "list"][..], &["messages", "list", "-o", "json"], &["status"], &["check"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = bench.command(command).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && !said.contains("panicked"), "{command:?}: {said}");
    }
    assert!(bench.stop().await.success());
}

/// What waits for its ration is seen to.
#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_rate_is_logged_once_counted_and_shown_with_its_end() {
    let mut bench = Bench::new().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    bench.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:{port}\""));
    bench.replace("from = \"Example", "rate = [\"2/h\"]\nfrom = \"Example");
    bench.start().await;
    for n in 0..3 {
        bench.publish(envelope(&[reset_of_number(n)])).await;
    }
    bench.relay.wait_for(2).await;
    bench.metric_at_least("auditbell_channel_hold_total", &["channel=\"email\"", "reason=\"rate\""], 1).await;
    let paused = ["channel=\"email\"", "reason=\"rate\""];
    let until = bench.metric("auditbell_channel_paused_until_timestamp_seconds", &paused);
    let status = ask(&bench, &["status"]).remove(0);
    let channel = &status["channels"][0];
    assert_eq!((&channel["paused"]["reason"], &channel["open"]), (&"rate".into(), &Value::Null), "{status}");
    let (_, text, _) = run(&bench, &["status"]);
    let line = text.lines().find(|line| line.starts_with("  pauses until ")).unwrap();
    assert!(line.ends_with(": rate"), "{line}");
    let now = u64::try_from(Clock::system().now().as_millis()).unwrap() / 1_000;
    assert!((now + 3_500..=now + 3_700).contains(&until), "an hour and a sixtieth: {now} {until}");
    assert_eq!(bench.log().matches("rate is used up").count(), 1);
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 2);
}
