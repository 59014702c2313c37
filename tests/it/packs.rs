//! The packs: what they say of themselves holds in the configuration of a company that is not ours, and one human act is one mail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const CONFIG: &str = r#"
include = ["pack:entra-user-safety", "pack:entra-admin", "pack:defender-alerts"]

[source.entra]
brokers = "localhost:9092"
topics = ["insights-logs-auditlogs"]

[store]
url = "sqlite:auditbell.db"

[channel.email]
type = "smtp"
relay = ["smtps://smtp.contoso.com:465"]
from = "Security <security@contoso.com>"

[people]
allow_domains = ["contoso.com"]
fallback = "list:soc"

[brand]
name = "Contoso"
security_contact = "security@contoso.com"

[list]
soc = ["soc@contoso.com", "night@contoso.com"]
break-glass = ["emergency@contoso.com"]
"#;

fn auditbell(arguments: &[&str], config: &Path) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_auditbell")).args(arguments).arg("-c").arg(config).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

fn written(config: &str) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auditbell.toml");
    fs::write(&path, config).unwrap();
    (directory, path)
}

#[test]
fn what_the_packs_say_of_themselves_holds_in_another_companys_configuration() {
    let (_directory, config) = written(CONFIG);
    let (code, said) = auditbell(&["test", "-o", "json"], &config);
    let runs: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<&Value> = runs.iter().filter(|run| run["outcome"] != "passed").collect();
    assert_eq!((code, failed), (0, vec![]));
    assert!(runs.len() >= 69, "{}", runs.len());
}

#[test]
fn every_record_of_a_pack_is_in_some_test() {
    for pack in auditbell::packs::ALL {
        for (fixture, _) in pack.fixtures {
            assert!(pack.rules.contains(&format!("\"{fixture}\"")), "pack {}: no test uses {fixture}", pack.name);
        }
    }
    // Every file of the folder is in the program.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/packs");
    let files = |name: &str| fs::read_dir(folder.join(name).join("fixtures")).unwrap().count();
    for pack in auditbell::packs::ALL {
        assert_eq!(pack.fixtures.len(), files(pack.name), "{}", pack.name);
    }
}

/// The acts of which Entra writes several records, and whom each is told.
const ACTS: &[(&str, &str)] = &[
    ("reset-by-admin.json", "alice@example.com"),
    ("reset-by-self.json", "alice@example.com"),
    ("change.json", "alice@example.com"),
    ("method-registered.json", "alice@example.com"),
    ("temporary-access-pass.json", "alice@example.com"),
    ("method-updated.json", "alice@example.com"),
    ("mfa-disabled.json", "alice@example.com"),
    ("fraud.json", "alice@example.com"),
    ("account-disabled.json", "bob@example.com"),
];

/// All rules of the pack together, not one at a time as `test` has it: whatever they tell of one act shares one group.
#[test]
fn one_human_act_is_one_mail_by_one_name() {
    let only = CONFIG.replace(", \"pack:entra-admin\", \"pack:defender-alerts\"", "").replace("contoso", "example");
    let (_directory, config) = written(&only);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/packs/entra-user-safety/fixtures");
    for (act, who) in ACTS {
        let (code, said) = auditbell(&["explain", "-o", "json", fixtures.join(act).to_str().unwrap()], &config);
        assert_eq!(code, 0, "{act}: {said}");
        let mut groups = BTreeSet::new();
        for line in said.lines() {
            let explained: Value = serde_json::from_str(line).unwrap();
            for told in explained["notifications"].as_array().unwrap() {
                assert_eq!(told["decision"], "group", "{act}: {told}");
                assert_eq!(told["recipient"]["upn"], *who, "{act}: {told}");
                let correlation = explained["record"]["correlation_id"].as_str().unwrap().to_owned();
                groups.insert((correlation, told["channel"].to_string(), told["recipient"]["id"].to_string()));
            }
        }
        assert_eq!(groups.len(), 1, "{act}: {groups:?}");
    }
}

#[test]
fn a_pack_writes_through_the_only_channel_to_people_whatever_its_name() {
    let (_directory, config) = written(&(CONFIG.replace("channel.email", "channel.post") + ROOM));
    let (code, said) = auditbell(&["check"], &config);
    assert!(code == 0 && said.ends_with("ok, warnings: 1\n"), "one relay is the warning: {said}");
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/packs/defender-alerts/fixtures/alert-medium.json");
    let (code, said) = auditbell(&["explain", "-o", "json", record.to_str().unwrap()], &config);
    let explained: Value = serde_json::from_str(&said).unwrap();
    let told: Vec<&str> =
        explained["notifications"].as_array().unwrap().iter().map(|told| told["channel"].as_str().unwrap()).collect();
    assert_eq!((code, told), (0, vec!["post", "post"]), "{said}");
}

const ROOM: &str = "\n[channel.room]\ntype = \"webhook\"\nurl = \"https://hooks.contoso.com/x\"\n";

#[test]
fn what_a_pack_lacks_is_said_once_with_the_remedy() {
    let (another, relay) = ("[channel.second]\ntype = \"smtp\"\n", "relay = [\"smtps://smtp.contoso.com:465\"]\n");
    let second = format!("{another}{relay}from = \"security@contoso.com\"\n\n[people]");
    for (what, config, expected) in [
        (
            "two channels, and none by the name",
            CONFIG.replace("channel.email", "channel.post").replace("[people]", &second),
            "unknown channel `email`; known: post, second",
        ),
        (
            "no list",
            CONFIG.replace("soc = [", "team = [").replace("list:soc", "list:team"),
            "unknown list `soc`; known: break-glass, team",
        ),
    ] {
        let (_directory, config) = written(&config);
        let (code, said) = auditbell(&["check"], &config);
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(expected)).collect();
        assert_eq!(code, 78, "{what}: {said}");
        assert!(
            (2..=3).contains(&lines.len()) && said.contains(&format!("faults: {}, ", lines.len())),
            "{what}: one for each pack: {said}"
        );
        for line in lines {
            assert!(line.starts_with("pack:") && line.contains("(docs/commands.md, Packs)"), "{what}: {line}");
            assert!(line.contains("more of its rules"), "{what}: {line}");
        }
    }
    // A rule of one's own that names a channel which is not there is a slip, whatever channels there are.
    let own = "\n[[rule]]\nid = \"risk-high\"\nchannels = [\"email\"]\n";
    let (_directory, config) = written(&(CONFIG.replace("channel.email", "channel.post") + own));
    let (code, said) = auditbell(&["check"], &config);
    assert!(code == 78 && said.contains("rule.risk-high.channels: unknown channel `email`"), "{said}");
}

#[test]
fn the_tests_of_a_packs_rule_that_is_changed_are_shown_as_skipped_until_it_has_its_own() {
    let own = "[[rule]]\nid = \"password-reset\"\nseverity = \"low\"\n";
    let runs = |config: &str| -> Vec<Value> {
        let (_directory, path) = written(config);
        let (code, said) = auditbell(&["test", "-o", "json"], &path);
        assert_eq!(code, 0, "{said}");
        let runs = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        runs.filter(|run| run["rule"] == "password-reset").collect()
    };
    let before = runs(CONFIG);
    let changed = runs(&format!("{CONFIG}{own}"));
    assert!(!before.is_empty() && before.len() == changed.len(), "{changed:#?}");
    for run in &changed {
        let why = run["differences"][0].as_str().unwrap();
        assert!(
            run["outcome"] == "skipped" && why.contains("auditbell.toml") && why.contains("[[rule.test]]"),
            "{why}"
        );
    }
    let test = "[[rule.test]]\nname = \"own\"\nrecord = '{\"a\":1}'\nexpect = []\n";
    let own = runs(&format!("{CONFIG}{own}{test}"));
    assert!(own.len() == 1 && own[0]["outcome"] == "passed", "{own:#?}");
}

/// As docs/commands.md has it: whom the pack names cannot be taken out, so nothing is said of them.
#[test]
fn a_packs_rule_is_sent_to_a_room_without_a_doubt() {
    let another =
        CONFIG.replace("smtp.contoso.com:465\"]", "smtp.contoso.com:465\", \"smtps://other.contoso.com:465\"]");
    let own = format!("{another}{ROOM}\n[[rule]]\nid = \"risk-high\"\nchannels = [\"room\"]\n");
    let (_directory, config) = written(&own);
    let (code, said) = auditbell(&["check", "--strict"], &config);
    assert_eq!((code, said.ends_with("ok\n")), (0, true), "{said}");
    // Who writes `to` himself can take it out.
    let (_directory, config) = written(&format!("{own}to = [\"list:soc\"]\n"));
    let (code, said) = auditbell(&["check", "--strict"], &config);
    assert!(code == 78 && said.contains("rule.risk-high.to: tells nobody: the rule's channels are rooms"), "{said}");
}
