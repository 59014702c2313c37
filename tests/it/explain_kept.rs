//! `explain --id` and `--person` through their doors: a daemon has told some, and the command finds what happened and why not.

use serde_json::Value;

use crate::harness::{ALICE, BOB, Bench, envelope, reset};

fn explain(bench: &Bench, arguments: &[&str]) -> (i32, Vec<Value>, String) {
    let output = bench.command(&[&["explain", "-o", "json"], arguments].concat()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), lines, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Alice was told of `one`; `two` is about her and matches nothing; `three` is Bob's.
async fn told() -> Bench {
    let mut bench = Bench::new().await;
    let mut failed = reset("two", ALICE);
    failed["properties"]["result"] = "failure".into();
    bench.start().await;
    bench.publish(envelope(&[reset("one", ALICE), failed, reset("three", BOB)])).await;
    bench.relay.wait_for(2).await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"sent\""], 2).await;
    assert!(bench.stop().await.success());
    bench
}

fn ids(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["record"]["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_to_a_record_is_found_by_each_of_its_ids() {
    let bench = told().await;
    let (code, lines, _) = explain(&bench, &["--id", "directory_ONE"]);
    assert_eq!((code, ids(&lines)), (0, vec!["Directory_one"]));
    let history = lines[0]["history"].as_array().unwrap();
    assert_eq!((history.len(), &history[0]["verdict"], &history[0]["attempt"]), (1, &"sent".into(), &1.into()));
    assert!(history[0]["reply"].as_str().unwrap().starts_with("250"), "{history:?}");
    // The plan of today is the one that was carried out.
    assert_eq!(history[0]["notification"], lines[0]["notifications"][0]["id"]);

    let key = history[0]["message"].as_str().unwrap();
    for id in [key, &format!("<{key}@example.com>"), history[0]["notification"].as_str().unwrap()] {
        assert_eq!(explain(&bench, &["--id", id]).1, lines, "{id}");
    }
    // A record that tells nobody is not in the store; the topic has it.
    let (code, none, said) = explain(&bench, &["--id", "Directory_two"]);
    assert_eq!((code, none.len()), (1, 0));
    assert!(said.contains("--since"), "{said}");
    let (code, lines, _) = explain(&bench, &["--id", "Directory_two", "--since", "1970-01-01T00:00:00Z"]);
    assert_eq!((code, ids(&lines), &lines[0]["outcome"]), (0, vec!["Directory_two"], &"no-match".into()));
    assert_eq!(lines[0]["rules"][0]["failed"][0]["got"], serde_json::json!(["failure"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_person_both_what_was_told_and_what_was_not_is_explained() {
    let bench = told().await;
    for name in ["Alice@Example.com", ALICE.0] {
        let (code, lines, said) = explain(&bench, &["--person", name, "--since", "1970-01-01T00:00:00Z"]);
        assert_eq!((code, ids(&lines)), (0, vec!["Directory_one", "Directory_two"]), "{name}: {said}");
        assert_eq!(lines[0]["history"][0]["verdict"], "sent");
        assert_eq!(lines[1]["history"], serde_json::json!([]));
    }
    let (code, lines, said) = explain(&bench, &["--person", "carol@example.com", "--since", "1970-01-01T00:00:00Z"]);
    assert_eq!((code, lines.len()), (1, 0));
    assert!(said.contains("nothing was found"), "{said}");
    // A limit says that there may be more.
    let arguments = ["--person", ALICE.1, "--since", "1970-01-01T00:00:00Z", "--most", "1"];
    let (code, lines, said) = explain(&bench, &arguments);
    assert_eq!((code, lines.len()), (1, 1));
    assert!(said.contains("--most"), "{said}");

    let text = bench.command(&["explain", "--person", ALICE.1, "--since", "1970-01-01T00:00:00Z"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    for expected in [
        "rule password-reset matches",
        "what did happen:",
        "does not match",
        "when result in “success”: it is “failure”",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_redacted_answer_names_nobody_either() {
    let bench = told().await;
    let (_, lines, _) = explain(&bench, &["--person", ALICE.1, "--since", "1970-01-01T00:00:00Z", "--redact"]);
    let text = serde_json::json!(lines).to_string();
    assert!(text.contains("250"), "{text}");
    for secret in ["alice", "Alice", ALICE.0, "192.0.2.", "helpdesk", "@"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
