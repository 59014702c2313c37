//! The commands that look into the store, as an operator runs them: the real binary beside a store.

use std::process::{Command, Output};

use super::*;

/// Runs `auditbell ARGUMENTS -c …` on the file's store.
fn auditbell(file: &File, arguments: &str) -> (i32, String, String) {
    let config = file.0.path().join("auditbell.toml");
    let minimal = include_str!("../../configs/good/minimal.toml");
    let url = file.settings().path;
    std::fs::write(&config, format!("{minimal}\n[store]\nurl = \"sqlite:{}\"\n", url.display())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditbell"));
    let Output { status, stdout, stderr } =
        command.args(arguments.split_whitespace()).arg("-c").arg(config).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn without_a_store_every_command_says_so_and_makes_none() {
    let file = File::new();
    for command in ["messages list", "dead-letters list", "positions list", "store check"] {
        let (code, stdout, stderr) = auditbell(&file, command);
        assert_eq!((code, stdout.as_str()), (78, ""), "{command}");
        assert!(stderr.contains("there is no store"), "{command}: {stderr}");
        assert!(!file.settings().path.exists());
    }
}

#[tokio::test]
async fn the_outbox_is_shown_and_changed_beside_a_running_daemon_and_each_change_leaves_who() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    store.accept(batch(0, 1, &[due_at(send(1), END)]), NOW).await.unwrap();
    let key = id(1);
    let (code, stdout, _) = auditbell(&file, "messages list --state pending -o json");
    let row: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &row["key"], &row["claimed"]), (0, &key.to_string().into(), &false.into()));
    let changes = [("cancel", 0), ("cancel", 1), ("retry", 0)];
    for (change, expected) in changes {
        let (code, _, stderr) = auditbell(&file, &format!("messages {change} {key}"));
        assert_eq!(code, expected, "{change}: {stderr}");
    }
    // The command names the real time, which these tests do not know: look long after it.
    let year_2100 = Timestamp::from_millis(4_102_444_800_000);
    assert_eq!(store.claim("email", 7, year_2100, 1).await.unwrap().len(), 1);
    let (code, _, stderr) = auditbell(&file, &format!("messages cancel {key}"));
    assert!(code == 75 && stderr.contains("being sent, try again"), "{stderr}");
    let (code, stdout, stderr) = auditbell(&file, &format!("messages show <{key}@example.com>"));
    assert!(code == 0 && stdout.contains("entra:logs:0:0:0"), "{stdout} {stderr}");
    let who: String = file.query("SELECT group_concat(who || ' ' || what, ';') FROM operator", |row| row.get(0));
    assert_eq!(who.matches("uid ").count(), 2, "{who}");
}

#[tokio::test]
async fn store_check_ends_with_1_when_the_books_do_not_balance_and_74_when_the_file_is_damaged() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    store.settle(sent(&one)).await.unwrap();
    assert_eq!(auditbell(&file, "store check").0, 0);
    file.execute("UPDATE message SET state=0");
    let (code, stdout, _) = auditbell(&file, "store check");
    assert!(code == 1 && stdout.contains("pending message without exactly one due row: 1"), "{stdout}");
    store.close().await;
    let whole = std::fs::read(file.settings().path).unwrap();
    std::fs::write(file.settings().path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(auditbell(&file, "store check").0, 74);
}
