//! `auditbell rules` and the metric of rules that never matched.

use serde_json::Value;

use crate::harness::{ALICE, Bench, RESET, envelope, reset};

fn listed(bench: &Bench) -> Vec<Value> {
    let output = bench.command(&["rules", "-o", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of(id: &str, more: &str) -> String {
    RESET.replace("\"password-reset\"\ndescription", &format!("\"{id}\"\n{more}\ndescription"))
}

const LAST_MATCH: &str = "auditbell_rule_last_match_timestamp_seconds";

#[tokio::test(flavor = "multi_thread")]
async fn rules_stand_with_state_owner_place_and_last_match() {
    let mut bench = Bench::new().await;
    bench.rules += &of("tried", "mode = \"shadow\"\nowner = \"identity team\"");
    bench.rules += &of("off", "enabled = false");
    bench.rules += &of("over", "expires = 2020-01-01T00:00:00Z");
    let rows = listed(&bench);
    let seen: Vec<_> = rows.iter().map(|row| (row["id"].as_str().unwrap(), row["state"].as_str().unwrap())).collect();
    assert_eq!(seen, [("password-reset", "live"), ("tried", "shadow"), ("off", "disabled"), ("over", "expired")]);
    assert!(rows.iter().all(|row| row["last_match"].is_null()), "there is no store yet");
    assert_eq!(rows[1]["owner"], "identity team");
    assert!(rows[0]["file"].as_str().unwrap().ends_with("config.toml") && rows[0]["line"].is_number());
    let output = bench.command(&["rules"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("tried")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[..5], ["tried", "shadow", "never", "identity", "team"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no store yet"));

    // A rule that never matched is there at 0, one that did keeps its moment over a restart.
    bench.rules = RESET.to_owned()
        + &of("never", "")
            .replace("Reset user password", "Delete user")
            .replace("Reset password (by admin)", "Hard Delete user");
    bench.start().await;
    assert!(bench.get("/metrics").contains(&format!("{LAST_MATCH}{{rule=\"never\"}} 0\n")));
    assert_eq!(bench.metric(LAST_MATCH, &["rule=\"password-reset\""]), 0);
    bench.publish(envelope(&[reset("1", ALICE)])).await;
    let matched = bench.metric_at_least(LAST_MATCH, &["rule=\"password-reset\""], 1).await;
    assert!(bench.stop().await.success());
    let rows = listed(&bench);
    assert!(rows[0]["last_match"].is_string() && rows[1]["last_match"].is_null(), "{rows:?}");
    bench.start().await;
    assert_eq!(bench.metric(LAST_MATCH, &["rule=\"password-reset\""]), matched);
    assert_eq!(bench.metric(LAST_MATCH, &["rule=\"never\""]), 0);
    assert!(bench.stop().await.success());
    bench.books_balance();
}

#[test]
fn a_configuration_with_faults_lists_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.toml");
    std::fs::write(&path, "[[rule]]\n").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_auditbell"))
        .args(["rules", "-c", path.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(78), &b""[..]));
}
