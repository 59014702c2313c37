//! `auditbell operations`: the catalogue through the command line.

use std::process::Command;

use serde_json::Value;

fn operations(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_auditbell")).arg("operations").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn words_find_operations_with_their_meaning_under_their_service() {
    let (code, found, _) = operations(&["passkey", "device-bound"]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines[0], "entra.audit, Device Registration Service");
    assert!(lines.contains(&"  person    Add Passkey (device-bound): a passkey or security key was added"), "{found}");
}

#[test]
fn without_words_everything_is_printed_and_programs_get_one_object() {
    let (code, found, _) = operations(&["-o", "json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let all = found["operations"].as_array().unwrap();
    assert_eq!((code, all.len() > 800), (0, true), "{}", all.len());
    let reset = all.iter().find(|operation| operation["name"] == "Reset user password").unwrap();
    assert_eq!(
        (&reset["dialect"], &reset["service"], &reset["concerns"]),
        (&"entra.audit".into(), &"Core Directory".into(), &"person".into())
    );
}

#[test]
fn what_nobody_has_seen_is_a_failure_that_names_the_nearest() {
    let (code, said, _) = operations(&["Reset user pasword"]);
    assert_eq!(
        (code, said.as_str()),
        (1, "nobody has seen `Reset user pasword`; did you mean `Reset user password`?\n")
    );
    let (code, said, _) = operations(&["-o", "json", "colourless", "green", "ideas"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["operations"], &said["nearest"]), (1, &Value::Array(vec![]), &Value::Array(vec![])));
    let (code, said, _) = operations(&["passwrod"]);
    assert_eq!(code, 1);
    let (_, near) = said.split_once("nobody has seen `passwrod`; did you mean ").unwrap();
    assert_eq!(near.matches("assword").count(), 3, "{said}");
}

#[test]
fn a_form_that_is_none_is_a_usage_error() {
    assert_eq!(operations(&["-o", "yaml"]).0, 2);
}
