//! What several files and packs are together: one configuration, each fault in the file that it stands in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use auditbell::config::{self, Report};
use auditbell::packs;
use tempfile::TempDir;

/// A directory with the smallest configuration, `main` after it, and further files.
pub fn directory(include: &str, main: &str, files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let minimal = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/good/minimal.toml");
    let minimal = fs::read_to_string(minimal).unwrap();
    let minimal = minimal.replace("[people]\n", "[people]\nfallback = \"soc@example.com\"\n");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auditbell.toml");
    fs::write(&path, format!("include = [{include}]\n{minimal}\n{main}")).unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (directory, path)
}

fn examine(path: &Path) -> Report {
    config::examine(path, &BTreeMap::new())
}

/// The faults of a configuration, its directory's path left out.
fn faults(include: &str, main: &str, files: &[(&str, &str)]) -> Vec<String> {
    let (directory, path) = directory(include, main, files);
    let prefix = format!("{}/", directory.path().display());
    examine(&path).faults.iter().map(|fault| fault.to_string().replace(&prefix, "")).collect()
}

const RULE: &str =
    "[[rule]]\nid = \"ID\"\non = \"other\"\nto = \"target\"\nchannels = \"email\"\ntemplate = \"password-reset\"\n";

fn rule(id: &str) -> String {
    RULE.replace("ID", id)
}

#[test]
fn every_pack_loads_with_one_mail_channel_and_a_list_of_the_security_team() {
    for pack in packs::ALL {
        let list = "[list]\nsoc = [\"soc@example.com\"]\nbreak-glass = [\"break-glass@example.com\"]\n";
        let (_directory, path) = directory(&format!("\"pack:{}\"", pack.name), list, &[]);
        let report = examine(&path);
        assert_eq!(report.faults, [], "{}", pack.name);
        assert!(report.config.unwrap().rules.iter().len() > 0, "{}", pack.name);
    }
}

#[test]
fn a_rule_of_a_pack_is_changed_key_by_key_where_it_stands() {
    let before = r#"
        [[rule]]
        id = "password-reset"
        description = "Somebody else's words"
        severity = "critical"
        mode = "shadow"
    "#;
    let (_directory, path) = directory("\"pack:entra-user-safety\"", &format!("{}{before}", rule("mine")), &[]);
    let config = examine(&path).config.unwrap();
    let (_plain_directory, plain) = directory("\"pack:entra-user-safety\"", &rule("mine"), &[]);
    let plain = examine(&plain).config.unwrap();
    let ids = |config: &config::Config| config.rules.iter().map(|rule| rule.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&config), ids(&plain), "it stays in its place");
    assert_eq!(ids(&config)[0], "mine", "a file stands before what it includes");
    let [changed, own] = [&config, &plain].map(|config| config.rules.get("password-reset").unwrap().clone());
    assert_eq!(&*changed.description, "Somebody else's words");
    assert_eq!((&changed.on, &changed.expires), (&own.on, &own.expires), "the other keys are the pack's");
    assert_ne!(changed.description, own.description);
    let off = "[[rule]]\nid = \"password-reset\"\nenabled = false\n";
    let (_directory, path) = directory("\"pack:entra-user-safety\"", off, &[]);
    assert!(examine(&path).config.unwrap().rules.get("password-reset").is_none());
}

#[test]
fn a_table_of_ones_own_takes_the_place_of_a_packs() {
    let policy = "[policy.entra-user-safety]\ngroup = { by = [\"correlation_id\"], wait = \"7s\" }\n";
    let (_directory, path) = directory("\"pack:entra-user-safety\"", policy, &[]);
    let report = examine(&path);
    assert_eq!(report.faults, []);
    // Without the pack's brake, which was its policy's.
    let brakes = report.warnings.iter().filter(|warning| warning.message.contains("has no brake")).count();
    assert_eq!(brakes, report.config.unwrap().rules.iter().len());
}

#[test]
fn a_fault_stands_in_the_file_that_holds_its_key() {
    let pack = "\"pack:entra-user-safety\"";
    let own = "[[rule]]\nid = \"password-reset\"\n\nseverity = \"hgih\"\n";
    let found = faults(pack, own, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("auditbell.toml:23: rule.password-reset.severity: unknown value `hgih`"), "{found:?}");
    let off = "[[rule]]\nid = \"pasword-reset\"\nenabled = false\n";
    assert_eq!(
        faults(pack, off, &[]),
        [
            "auditbell.toml:21: rule.pasword-reset.id: changes no rule: no pack has one of this id; did you mean `password-reset`?"
        ]
    );
    // The pack writes through `email`, and here that has another name; of two channels to people neither is taken for it.
    let second = "[channel.second]\ntype = \"smtp\"\nrelay = \"smtps://smtp.example.com\"\nfrom = \"a@example.com\"\n";
    let (directory, path) = directory(pack, second, &[]);
    let text = fs::read_to_string(&path).unwrap().replace("[channel.email]", "[channel.mail]");
    fs::write(&path, text).unwrap();
    let found = examine(&path).faults;
    assert!(!found.is_empty());
    for fault in found {
        assert_eq!((&*fault.file, fault.key.ends_with(".channels")), ("pack:entra-user-safety", true), "{fault}");
        assert!(fault.line.is_some_and(|line| line > 5), "{fault}");
    }
    drop(directory);
}

#[test]
fn one_id_in_two_files_names_both_places() {
    let found =
        faults("\"rules.d/*.toml\"", &rule("a"), &[("rules.d/b.toml", &rule("b")), ("rules.d/a.toml", &rule("a"))]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("rules.d/a.toml:2: rule.a.id: is the id of two rules: also at "), "{found:?}");
    assert!(found[0].contains("auditbell.toml:20"), "{found:?}");
    let twice = "[[rule]]\nid = \"password-reset\"\n";
    let files = [("rules.d/a.toml", twice), ("rules.d/b.toml", twice)];
    let found = faults("\"rules.d/*.toml\", \"pack:entra-user-safety\"", "", &files);
    assert!(
        found.len() == 1 && found[0].starts_with("rules.d/b.toml:2: rule.password-reset.id: is the id of two"),
        "{found:?}"
    );
}

#[test]
fn files_are_read_in_the_order_of_their_names() {
    let files = [("rules.d/z.toml", &*rule("z")), ("rules.d/a.toml", &rule("a")), ("rules.d/m.toml", &rule("m"))];
    let (_directory, path) = directory("\"rules.d/*.toml\"", &rule("main"), &files);
    let ids: Vec<String> = examine(&path).config.unwrap().rules.iter().map(|rule| rule.id.to_string()).collect();
    assert_eq!(ids, ["main", "a", "m", "z"]);
}

#[test]
fn what_include_cannot_name_is_refused_with_the_remedy() {
    for (what, include, expected) in [
        ("no pack", "\"pack:entra-user-safty\"", "is no pack; did you mean `pack:entra-user-safety`?"),
        (
            "a pack twice",
            "\"pack:entra-user-safety\", \"pack:entra-user-safety\"",
            "names `pack:entra-user-safety` twice",
        ),
        ("a file outside", "\"../rules.toml\"", "must be a relative path below the configuration's directory"),
        ("no such folder", "\"rules.d/*.toml\"", "cannot be listed"),
    ] {
        let found = faults(include, "", &[]);
        assert!(found.len() == 1 && found[0].starts_with("auditbell.toml:1: include: "), "{what}: {found:?}");
        assert!(found[0].contains(expected), "{what}: {found:?}");
    }
}
