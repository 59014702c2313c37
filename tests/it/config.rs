//! The configuration through its door: files and variables in, a `Config` or every fault with its place out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use auditbell::config::{self, Report};

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn examine(path: &Path) -> Report {
    config::examine(path, &BTreeMap::new())
}

#[test]
fn every_good_configuration_loads() {
    for entry in fs::read_dir(shipped("tests/configs/good")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            assert_eq!(examine(&path).faults, [], "{}", path.display());
        }
    }
}

/// Each `bad/NAME.toml` has its faults and warnings in `bad/NAME.expected`, a line each; write them with `INSTA_UPDATE=always`.
#[test]
fn every_bad_configuration_gives_its_expected_faults() {
    let directory = shipped("tests/configs/bad");
    let update = std::env::var_os("INSTA_UPDATE").is_some_and(|value| value == "always");
    let mut seen = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let report = examine(&path);
        assert!(report.config.is_none(), "{}", path.display());
        let prefix = format!("{}/", directory.display());
        let lines = report.faults.iter().map(|fault| format!("{fault}\n").replace(&prefix, ""));
        let got: String = lines.collect();
        let expected = path.with_extension("expected");
        if update {
            fs::write(&expected, &got).unwrap();
        }
        assert_eq!(got, fs::read_to_string(&expected).unwrap(), "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn the_command_says_every_fault_with_its_place_and_exits_78() {
    let run = |file: &str, more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_auditbell"));
        let output = command.arg("check").arg(shipped(file)).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run("tests/configs/bad/slips.toml", &[]);
    assert_eq!(code, Some(78));
    assert!(text.contains("slips.toml:4: source.entra.topic: unknown key; did you mean `topics`?"), "{text}");
    let (code, text) = run("tests/configs/bad/slips.toml", &["-o", "json"]);
    assert_eq!(code, Some(78));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["faults"][0]["line"], 2);
    assert_eq!(run("config.example.toml", &[]).0, Some(0));
    assert_eq!(run("config.example.toml", &["--strict"]).0, Some(0));
    assert_eq!(run("tests/configs/good/minimal.toml", &["--strict"]).0, Some(78), "no rule is a warning");
}
