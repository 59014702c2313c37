//! `inspect` and `schema record`, through the built binary: the fixtures' views, exit codes, a closed stdout.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn inspect(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_auditbell")).arg("inspect").args(arguments).output().unwrap()
}

fn views(output: &Output) -> Vec<Value> {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every fixture, by file name, in order.
fn fixtures() -> Vec<String> {
    let folder = Path::new("tests/fixtures/records");
    let mut files: Vec<_> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()).collect();
    files.sort();
    files
}

#[test]
fn the_view_of_every_fixture_is_what_it_was() {
    let files = fixtures();
    assert!(files.len() >= 20);
    let keys = keys();
    for file in files {
        let output = inspect(&[&file]);
        let broken = file.contains("bad-record");
        assert_eq!(output.status.code(), Some(i32::from(broken)), "{file}");
        let stem = Path::new(&file).file_stem().unwrap().to_str().unwrap();
        // A key a line reads better in a review; that they are printed in this order, the next test holds.
        let pretty =
            |view: &Value| keys.iter().map(|key| format!("{key}: {}", view[key])).collect::<Vec<_>>().join("\n");
        let pretty: Vec<_> = views(&output).iter().map(pretty).collect();
        insta::assert_snapshot!(stem, pretty.join("\n\n"));
    }
}

/// The keys of a view that are always there, in their order.
fn keys() -> Vec<String> {
    let schema = Command::new(env!("CARGO_BIN_EXE_auditbell")).args(["schema", "record"]).output().unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    schema["required"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_keys_are_there_in_the_order_of_the_documentation() {
    let page = std::fs::read_to_string("docs/records.md").unwrap();
    let documented: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key)).collect();
    let required = keys();
    for file in ["tests/fixtures/records/failure.json", "tests/fixtures/records/bad-record-in-the-middle.msg"] {
        let output = inspect(&[file]);
        for line in std::str::from_utf8(&output.stdout).unwrap().lines() {
            let mut rest = line;
            for key in &required {
                let quoted = format!("\"{key}\":");
                let found = rest.find(&quoted).unwrap_or_else(|| panic!("{key} is missing or out of order: {rest}"));
                rest = &rest[found + quoted.len()..];
            }
            let keys = serde_json::from_str::<Value>(line).unwrap().as_object().unwrap().len();
            assert_eq!(keys, required.len());
        }
    }
    assert_eq!(documented[..required.len()], required[..], "docs/records.md");
}

#[test]
fn raw_is_the_record_as_it_came_and_stands_last() {
    let output = inspect(&["--raw", "tests/fixtures/records/account-disabled.json"]);
    let came: Value =
        serde_json::from_slice(&std::fs::read("tests/fixtures/records/account-disabled.json").unwrap()).unwrap();
    assert_eq!(views(&output)[0]["raw"], came["records"][0]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(r#""by_self":false,"raw":{"#));
}

#[test]
fn with_lines_each_line_is_a_message_and_has_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("messages.ndjson");
    std::fs::write(&file, "{\"id\":\"a\"}\r\n\n{\"records\":[{\"id\":\"b\"},null]}\nbroken\n").unwrap();
    let output = inspect(&["--lines", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let seen: Vec<_> = views(&output)
        .iter()
        .map(|view| {
            let what = view["id"].as_str().or(view["dead_letter"]["reason"].as_str()).unwrap();
            format!("{}.{} {what}", view["position"]["offset"], view["position"]["index"])
        })
        .collect();
    assert_eq!(seen, ["0.0 a", "2.0 b", "2.1 not-a-record", "3.0 not-json"]);
}

#[test]
fn stdin_is_a_file_named_by_a_dash_or_by_nothing() {
    for arguments in [&["inspect"][..], &["inspect", "-"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_auditbell"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"{\"id\":\"a\"}").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(views(&output)[0]["position"]["source"], "-");
    }
}

#[test]
fn what_cannot_be_read_is_said_with_its_name_and_2() {
    for arguments in [&["no/such/file.json"][..], &["src"], &["--nonsense"]] {
        let output = inspect(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(arguments[0]), "{said}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("many.ndjson");
    // More than a pipe and both buffers hold, so that writing meets the closed end.
    std::fs::write(&file, "{\"id\":\"a\"}\n".repeat(20_000)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_auditbell"))
        .args(["inspect", "--lines", file.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn the_mapping_tables_of_a_configuration_are_used_and_its_faults_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let minimal = std::fs::read_to_string("tests/configs/good/minimal.toml").unwrap();
    let config = folder.path().join("auditbell.toml");
    let record = folder.path().join("record.json");
    std::fs::write(&record, r#"{"badge":7,"kind":"opened","holder":"alice@example.com"}"#).unwrap();
    let table = "[dialect.acme.doors]\ndetect = { badge = true }\noperation = \"kind\"\ntargets = { type = \"user\", upn = \"holder\" }\n";
    std::fs::write(&config, format!("{minimal}\n{table}")).unwrap();
    let record = record.to_str().unwrap();
    let output = inspect(&["-c", config.to_str().unwrap(), record]);
    assert_eq!(output.status.code(), Some(0));
    let view = &views(&output)[0];
    assert_eq!((&view["dialect"], &view["operation"]), (&"acme.doors".into(), &"opened".into()));
    assert_eq!(view["targets"][0]["upn"], "alice@example.com");
    assert_eq!(views(&inspect(&[record]))[0]["dialect"], "other", "without the configuration");
    std::fs::write(&config, format!("{minimal}\n{}", table.replace("detect", "detct"))).unwrap();
    let output = inspect(&["-c", config.to_str().unwrap(), record]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("dialect.acme.doors.detct: unknown key; did you mean `detect`?")
    );
}
