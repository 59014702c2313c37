//! Dead letters and other text of strangers in an operator's hands: shown without harm, read again without telling twice.

use crate::harness::{ALICE, BOB, Bench, envelope, recipients, reset};
use crate::operators::{ask, keys, operators, run};

/// A record's author writes no line of the operator's, and commands no terminal.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_wrote_stays_in_its_line_of_what_is_shown() {
    let mut bench = Bench::new().await;
    bench.start().await;
    let mut hostile = reset("hostile", ALICE);
    hostile["operationName"] = "Reset user password\r\n9 forged line \u{1b}[2J\u{202e}".into();
    bench.publish(envelope(&[hostile])).await;
    bench.publish("{ not json \u{1b}]0;title\u{7} \"q\" ä\n9 forged line").await;
    bench.relay.wait_for(1).await;
    bench.accepted_to(2).await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 1).await;
    let sent = keys(&bench, "sent").remove(0);
    let letter = letters(&bench)[0].to_string();
    for (arguments, part) in [
        (&["messages", "show", &sent][..], "Reset user password\\u{d}\\u{a}9 forged line \\u{1b}[2J\\u{202e}\n"),
        (&["messages", "show", &sent, "--raw"], "\"Reset user password"),
        (&["messages", "show", &sent, "-o", "json"], "\\r\\n9 forged line \\u001b[2J\\u202e\""),
        (&["explain", "--id", &sent, "-o", "json"], "\\r\\n9 forged line \\u001b[2J\\u202e\""),
        (&["dead-letters", "show", &letter], "\n  { not json \\u{1b}]0;title\\u{7} \"q\" ä\n  9 forged line\n"),
    ] {
        let (code, text, _) = run(&bench, arguments);
        assert!(code == 0 && text.contains(part), "{arguments:?}: {text}");
        assert!(!text.lines().any(|line| line.starts_with("9 forged")), "{arguments:?}: {text}");
        let commands = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.contains(commands), "{arguments:?}: {text:?}");
    }
    assert!(bench.stop().await.success());
}

/// The numbers of the dead letters, oldest first.
fn letters(bench: &Bench) -> Vec<i64> {
    let mut listed = ask(bench, &["dead-letters", "list"]);
    listed.reverse();
    listed.iter().map(|letter| letter["number"].as_i64().unwrap()).collect()
}

/// As if an older version had not understood it: the letter holds what the producer wrote.
fn bury(bench: &Bench, number: i64, body: &str) {
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    store.execute("UPDATE dead_letter SET body=?1 WHERE id=?2", rusqlite::params![body.as_bytes(), number]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_read_again_and_what_was_told_is_not_told_twice() {
    let mut bench = Bench::new().await;
    bench.start().await;
    let alice = reset("alice", ALICE);
    bench.publish(envelope(std::slice::from_ref(&alice))).await;
    for bad in ["not json", "nor this", "nor that"] {
        bench.publish(bad).await;
    }
    bench.publish(envelope(&[serde_json::json!(5), reset("second", ALICE)])).await;
    bench.relay.wait_for(2).await;
    bench.accepted_to(5).await;
    let numbers = letters(&bench);
    assert_eq!(numbers.len(), 4);
    let bob = reset("bob", BOB);
    bury(&bench, numbers[0], &envelope(&[alice, bob.clone(), serde_json::json!(7)]));
    bury(&bench, numbers[3], &reset("item", BOB).to_string());

    // Beside the daemon, which sends what is new.
    let one = numbers[0].to_string();
    let told = ask(&bench, &["dead-letters", "replay", &one, &numbers[3].to_string()]);
    assert_eq!(
        (&told[0]["read"], &told[0]["records"], &told[0]["new"], &told[0]["duplicates"]),
        (&true.into(), &2.into(), &1.into(), &1.into())
    );
    assert_eq!(told[0]["dead_letters"], 1, "its third element is none still");
    assert_eq!((&told[1]["records"], &told[1]["new"]), (&1.into(), &1.into()));
    let mails = bench.relay.wait_for(4).await;
    assert_eq!(recipients(&mails[2..]), ["bob@example.com", "bob@example.com"]);
    let positions = "SELECT group_concat(origin, ' ') FROM (SELECT origin FROM record ORDER BY origin)";
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    let origins: String = store.query_row(positions, [], |row| row.get(0)).unwrap();
    let topic = "entra:insights-logs-auditlogs:0";
    assert_eq!(origins, format!("{topic}:0:0 {topic}:1:1 {topic}:4:0 {topic}:4:1"), "each at its own place");
    let (code, _, _) = run(&bench, &["dead-letters", "replay", &one]);
    assert_eq!(code, 1, "it is gone");
    assert!(bench.stop().await.success());

    // And without one: what cannot be read stays, with today's reason.
    store.execute("UPDATE dead_letter SET error='an old reason' WHERE id=?1", [numbers[1]]).unwrap();
    let (code, said, _) = run(&bench, &["dead-letters", "replay", "--all"]);
    assert_eq!((code, said.lines().count()), (1, 3), "{said}");
    assert!(said.contains(&format!("{} not read: not-json\n", numbers[1])), "{said}");
    let left = ask(&bench, &["dead-letters", "list"]);
    assert!(left.len() == 3 && left.iter().all(|letter| letter["error"] != "an old reason"), "{left:?}");
    assert_eq!(operators(&bench), [format!("dead-letters replay [{}, {}]", numbers[0], numbers[3])]);
    bench.books_balance();
}

/// Two hundred bad messages hold a partition; a replay of what can be read now lets it go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_understood_releases_a_partition_that_was_held() {
    let mut bench = Bench::new().await;
    bench.start().await;
    for _ in 0..200 {
        bench.publish("not json").await;
    }
    bench.publish(envelope(&[reset("behind", BOB)])).await;
    bench.metric_at_least("auditbell_source_held", &["reason=\"bad-messages\""], 1).await;
    let number = letters(&bench)[0];
    bury(&bench, number, &envelope(&[reset("first", ALICE)]));
    assert_eq!(run(&bench, &["dead-letters", "replay", &number.to_string()]).0, 0);
    assert_eq!(recipients(&bench.relay.wait_for(2).await), ["alice@example.com", "bob@example.com"]);
    assert!(bench.stop().await.success());
    bench.books_balance();
}
