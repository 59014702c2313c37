//! `auditbell init`: what it writes is sound, and it writes over nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

fn auditbell(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_auditbell")).args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_it_writes_passes_the_strict_check_and_its_own_tests() {
    let every: Vec<Vec<&str>> = vec![
        vec![],
        vec!["--pack", "entra-user-safety"],
        vec!["--pack", "entra-admin"],
        vec!["--pack", "defender-alerts", "--pack", "entra-user-safety", "--templates"],
    ];
    for packs in every {
        let directory = TempDir::new().unwrap();
        let (code, _, said) = auditbell(directory.path(), &[&["init"], &packs[..]].concat());
        assert_eq!((code, said.as_str()), (0, ""), "{packs:?}");
        let (code, found, _) = auditbell(directory.path(), &["check", "--strict", "-c", "auditbell.toml"]);
        assert_eq!((code, found.as_str()), (0, "ok\n"), "{packs:?}");
        let (code, found, _) = auditbell(directory.path(), &["test", "-c", "auditbell.toml"]);
        assert!(code == 0 && found.contains("failed: 0"), "{packs:?}: {found}");
        assert_eq!(directory.path().join("templates/password-reset/html.hbs").exists(), packs.contains(&"--templates"));
    }
}

#[test]
fn a_directory_that_is_not_there_is_made_and_one_with_something_in_it_is_left_alone() {
    let directory = TempDir::new().unwrap();
    assert_eq!(auditbell(directory.path(), &["init", "a/b"]).0, 0);
    assert!(directory.path().join("a/b/people.csv").exists());
    let before = fs::read_to_string(directory.path().join("a/b/auditbell.toml")).unwrap();
    let (code, _, said) = auditbell(directory.path(), &["init", "a/b"]);
    assert_eq!(code, 1);
    assert_eq!(said, "a/b: is not empty: auditbell.toml, people.csv, rules.d; name an empty directory\n");
    assert_eq!(fs::read_to_string(directory.path().join("a/b/auditbell.toml")).unwrap(), before);
    assert_eq!(fs::read_dir(directory.path().join("a/b")).unwrap().count(), 3);
}

#[test]
fn a_pack_that_there_is_not_is_a_usage_error_and_nothing_is_written() {
    let directory = TempDir::new().unwrap();
    let (code, _, said) = auditbell(directory.path(), &["init", "--pack", "entra-admim"]);
    assert_eq!((code, said.as_str()), (2, "`entra-admim` is no pack; did you mean `entra-admin`?\n"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// Whoever begins replaces `example.com`, in one of the files or in all of them.
#[test]
fn with_another_domain_in_its_place_all_tests_still_hold() {
    for files in [
        &["auditbell.toml"][..],
        &["auditbell.toml", "people.csv"],
        &["auditbell.toml", "people.csv", "rules.d/records/guest-invited.json"],
    ] {
        let directory = TempDir::new().unwrap();
        let packs = ["init", "--pack", "entra-user-safety", "--pack", "entra-admin", "--pack", "defender-alerts"];
        assert_eq!(auditbell(directory.path(), &packs).0, 0);
        for file in files {
            let path = directory.path().join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains("example.com"), "{file}");
            fs::write(path, text.replace("example.com", "contoso.com")).unwrap();
        }
        let (code, found, _) = auditbell(directory.path(), &["check", "--strict", "-c", "auditbell.toml"]);
        assert_eq!((code, found.as_str()), (0, "ok\n"), "{files:?}");
        let (code, found, _) = auditbell(directory.path(), &["test", "-c", "auditbell.toml"]);
        assert!(code == 0 && found.contains("failed: 0"), "{files:?}: {found}");
    }
}

#[test]
fn a_configuration_that_is_not_there_says_how_another_is_named() {
    let directory = TempDir::new().unwrap();
    for command in [&["check", "nowhere.toml"][..], &["rules", "-c", "nowhere.toml"]] {
        let (code, out, said) = auditbell(directory.path(), command);
        assert_eq!(code, 78, "{command:?}");
        assert!((out + &said).contains("another file is named with -c FILE"), "{command:?}");
    }
}
