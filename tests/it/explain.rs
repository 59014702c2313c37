//! `explain` through its door: a configuration and a file of records in, the decision and its reasons out.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const CONFIG: &str = r#"
[source.entra]
brokers = "localhost:9092"
topics = ["insights-logs-auditlogs"]

[channel.email]
type = "smtp"
relay = ["smtp+plain://127.0.0.1:2525"]
from = "Example Security <security@example.com>"

[people]
allow_domains = ["example.com"]
csv = "people.csv"
fallback = "soc@example.com"

[brand]
name = "Example"
security_contact = "security@example.com"

[policy.personal]
group = { by = ["correlation_id"], wait = "20s" }

[[rule]]
id = "password-reset"
on = "entra.audit"
when = { operation = ["Reset user password", "Reset password (by admin)"], result = "success" }
unless = { by_self = true }
to = ["target"]
channels = ["email"]
template = "password-reset"
policy = "personal"

[[rule]]
id = "group-member"
on = "entra.audit"
when = { operation = "Add member to group", result = "success" }
to = ["target"]
channels = ["email"]
template = "password-reset"
severity = "low"

[[rule]]
id = "try-out"
on = ["entra.audit"]
when = { operation = "Disable account" }
to = ["target", "soc@example.com"]
except = ["actor"]
channels = ["email"]
template = "account-disabled"
mode = "shadow"
"#;

/// Alice is known to the directory, with an address of her own; Bob is not.
const PEOPLE: &str = "id,upn,mail\na11ce000-0000-4000-8000-000000000001,alice@example.com,alice.meyer@example.com\n";

struct Explained {
    output: Output,
    lines: Vec<Value>,
}

fn explain(arguments: &[&str]) -> Explained {
    explain_with(CONFIG, PEOPLE, arguments)
}

fn explain_with(config: &str, people: &str, arguments: &[&str]) -> Explained {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("auditbell.toml"), config).unwrap();
    fs::write(dir.path().join("people.csv"), people).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_auditbell"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records"))
        .env("STATE_DIRECTORY", dir.path())
        .arg("explain")
        .args(if arguments.contains(&"-o") { &[][..] } else { &["-o", "json"] })
        .arg("--config")
        .arg(dir.path().join("auditbell.toml"))
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let for_programs = !arguments.contains(&"-o");
    let lines = text.lines().filter(|_| for_programs).map(|line| serde_json::from_str(line).unwrap()).collect();
    Explained { output, lines }
}

/// Everything but the record, whose form is `inspect`'s.
fn decided(arguments: &[&str]) -> Vec<Value> {
    let mut explained = explain(arguments);
    assert!(explained.output.status.success(), "{}", String::from_utf8_lossy(&explained.output.stderr));
    for line in &mut explained.lines {
        line.as_object_mut().unwrap().remove("record");
    }
    explained.lines
}

/// One line for each outcome, rule and notification.
fn told(lines: &[Value]) -> String {
    let mut told = Vec::new();
    for line in lines {
        told.push(line["outcome"].as_str().unwrap().to_owned());
        for key in ["rules", "notifications"] {
            told.extend(line[key].as_array().unwrap().iter().map(|entry| format!("  {key}: {entry}")));
        }
    }
    told.join("\n")
}

#[test]
fn a_failure_tells_nobody_and_names_the_predicate() {
    insta::assert_snapshot!(told(&decided(&["failure.json"])));
}

#[test]
fn a_group_is_no_recipient() {
    insta::assert_snapshot!(told(&decided(&["group-device-role-targets.json"])));
}

#[test]
fn each_of_two_users_of_one_record_is_told() {
    insta::assert_snapshot!(told(&decided(&["two-users-in-one-record.json"])));
}

#[test]
fn a_rule_in_shadow_shows_whom_it_would_have_told() {
    insta::assert_snapshot!(told(&decided(&["account-disabled.json"])));
}

#[test]
fn what_is_too_old_is_told_no_more() {
    insta::assert_snapshot!(told(&decided(&["two-users-in-one-record.json", "--now", "2027-01-01T00:00:00Z"])));
}

#[test]
fn the_records_of_one_act_wait_in_one_group_until_one_moment_each() {
    let lines = decided(&["admin-password-reset.json"]);
    let told: Vec<_> = lines.iter().flat_map(|line| line["notifications"].as_array().unwrap()).collect();
    assert!(told.len() > 1, "{told:?}");
    assert!(told.iter().all(|told| told["decision"] == "group" && told["reason"] == "policy personal: wait 20s"));
}

#[test]
fn a_bad_item_is_explained_as_such_and_its_neighbours_as_usual() {
    let explained = explain(&["bad-record-in-the-middle.msg"]);
    assert_eq!(explained.output.status.code(), Some(1));
    let outcomes: Vec<_> = explained.lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    let dead = outcomes.iter().filter(|outcome| **outcome == "dead-letter").count();
    assert!(dead == 1 && outcomes.len() > 2, "{outcomes:?}");
}

#[test]
fn the_keys_stand_in_their_order_and_the_answer_is_always_the_same() {
    let first = explain(&["two-users-in-one-record.json"]).output.stdout;
    assert_eq!(first, explain(&["two-users-in-one-record.json"]).output.stdout);
    let line = String::from_utf8(first).unwrap();
    let keys = [
        "{\"record\":{\"position\":",
        "\"outcome\":",
        "\"rules\":[{\"rule\":",
        "\"matched\":",
        "\"element\":",
        "\"route\":",
        "\"failed\":",
        "\"undecided\":",
        "\"notifications\":[{\"id\":",
        "\"rule\":",
        "\"mode\":",
        "\"severity\":",
        "\"channel\":",
        "\"recipient\":{\"ref\":",
        "\"kind\":",
        "\"id\":",
        "\"upn\":",
        "\"addresses\":[{\"step\":",
        "\"result\":",
        "\"address\":",
        "\"decision\":",
        "\"reason\":",
        "\"due\":",
        "\"silence\":",
        "\"case\":",
        "\"element\":",
        "\"history\":[]}",
    ];
    let mut rest = line.as_str();
    for key in keys {
        let at = rest.find(key).unwrap_or_else(|| panic!("{key} is not in the rest of the line: {rest}"));
        rest = &rest[at + key.len()..];
    }
}

#[test]
fn where_nobody_can_be_mailed_the_reason_says_why_and_who_hears_instead() {
    let lines = decided(&["guest-target.json"]);
    let told = |line: usize| &lines[line]["notifications"][0];
    let guest = told(0);
    assert_eq!(guest["decision"], "group");
    assert_eq!(guest["reason"], "policy personal: wait 20s; unresolved: guest; told instead: soc@example.com");
    let fallback = serde_json::json!({"step": "fallback", "result": "found", "address": "soc@example.com"});
    let refused = serde_json::json!({"step": "record", "result": "guest", "address": null});
    assert_eq!(guest["addresses"].as_array().unwrap()[1..], [refused, fallback.clone()]);

    let unknown = told(2);
    let reason = "policy personal: wait 20s; unresolved: unknown for 900s; told instead: soc@example.com";
    assert_eq!((&unknown["reason"], &unknown["addresses"][2]), (&reason.into(), &fallback));
    assert!(lines.iter().all(|line| line["outcome"] != "notify" || line["notifications"][0]["reason"] != Value::Null));
}

#[test]
fn a_redacted_answer_names_nobody() {
    let fixtures = [
        "two-users-in-one-record.json",
        "account-disabled.json",
        "admin-password-reset.json",
        "hostile-text.json",
        "guest-target.json",
        "bad-record-in-the-middle.msg",
    ];
    for fixture in fixtures {
        let text = String::from_utf8(explain(&[fixture, "--redact"]).output.stdout).unwrap();
        assert!(text.contains("***"), "{fixture}");
        let names = ["alice", "Alice", "bob", "Bob", "helpdesk", "a11ce000", "192.0.2.", "#EXT#", "<img"];
        // What a stranger wrote into the operation and into the failed conditions on it is masked there too.
        let foreign = ["@", "mallory", "attacker.example", "://"];
        for secret in names.into_iter().chain(foreign) {
            assert!(!text.contains(secret), "{fixture}: {secret} in {text}");
        }
    }
}

/// Which route was not taken, and for what of the record, which a redacted answer does not give away.
#[test]
fn the_routes_that_were_passed_over_are_shown_with_their_reason() {
    let route = |when: &str| format!("[[rule.route]]\nwhen = {{ {when} }}\nto = [\"target\"]\n");
    let rule = format!(
        "[[rule]]\nid = \"routed\"\non = \"entra.audit\"\nwhen = {{ operation = \"Disable account\" }}\n\
         channels = [\"email\"]\ntemplate = \"account-disabled\"\n{}{}",
        route("target.upn = \"eve@example.com\""),
        route("result = \"success\""),
    );
    let (around, _) = CONFIG.split_once("[[rule]]").unwrap();
    let config = format!("{around}{rule}");
    let said = |arguments: &[&str]| {
        let arguments = [&["account-disabled.json"], arguments].concat();
        String::from_utf8(explain_with(&config, PEOPLE, &arguments).output.stdout).unwrap()
    };
    let text = said(&["-o", "text"]);
    assert!(text.contains("rule routed matches, route 1\n"), "{text}");
    assert!(text.contains("route 0 is not taken:\n") && text.contains("bob@example.com"), "{text}");
    for redacted in [said(&["-o", "text", "--redact"]), said(&["--redact"])] {
        assert!(redacted.contains("***"), "{redacted}");
        for secret in ["eve@", "bob@", "bob"] {
            assert!(!redacted.contains(secret), "{secret}: {redacted}");
        }
    }
}

/// What a rule forbids and what it asks for are not told alike, for people and for programs.
#[test]
fn a_condition_that_forbids_is_told_as_one() {
    let rule = "[[rule]]\nid = \"abroad\"\non = \"entra.audit\"\nwhen = { operation = { not = { starts_with = \"Disable\" } }, \
                target.upn = { not = { contains = \"bob\" } }, actor.type = \"app\" }\n\
                to = [\"target\"]\nchannels = [\"email\"]\ntemplate = \"account-disabled\"\n";
    let (around, _) = CONFIG.split_once("[[rule]]").unwrap();
    let config = format!("{around}{rule}");
    let explained = explain_with(&config, PEOPLE, &["account-disabled.json"]);
    let failed = explained.lines[0]["rules"][0]["failed"].as_array().unwrap().clone();
    let told: Vec<_> = failed.iter().map(|leaf| (leaf["op"].as_str().unwrap(), leaf["negated"].as_bool())).collect();
    assert_eq!(told, [("starts_with", Some(true)), ("contains", Some(true)), ("in", Some(false))]);
    let text = explain_with(&config, PEOPLE, &["-o", "text", "account-disabled.json"]).output.stdout;
    let text = String::from_utf8(text).unwrap();
    for line in
        ["when target.upn not contains “bob”: it is “bob@example.com”", "when actor.type in “app”: it is “user”"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("about other operations"), "all but one operation are asked for: {text}");
}

/// `raw` and a path that ends at an object compare all of it, and show it where it fails.
#[test]
fn a_whole_record_as_a_value_is_masked_and_for_people_it_is_cut() {
    for field in ["raw", "RAW", "\"Raw.properties\""] {
        let rule = format!(
            "\n[[rule]]\nid = \"anywhere\"\non = \"any\"\nwhen = {{ {field} = {{ contains = \"nowhere\" }} }}\nto = [\"target\"]\n\
             channels = [\"email\"]\ntemplate = \"password-reset\"\n"
        );
        let failed = |arguments: &[&str]| {
            let line = explain_with(&format!("{CONFIG}{rule}"), PEOPLE, arguments).lines.remove(0);
            let of_rule = line["rules"].as_array().unwrap().iter().find(|one| one["rule"] == "anywhere").cloned();
            of_rule.unwrap()["failed"][0]["got"].to_string()
        };
        assert!(failed(&["account-disabled.json"]).contains("bob@example.com"), "{field}");
        assert_eq!(failed(&["account-disabled.json", "--redact"]), "[\"***\"]", "{field}");
        let text =
            explain_with(&format!("{CONFIG}{rule}"), PEOPLE, &["-o", "text", "account-disabled.json"]).output.stdout;
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find(|line| line.contains("contains “nowhere”: it is “{")).unwrap();
        assert!(line.ends_with("…”") && line.chars().count() < 400, "{field}: {line}");
    }
}

#[test]
fn a_bad_configuration_is_said_with_its_place() {
    let output = Command::new(env!("CARGO_BIN_EXE_auditbell"))
        .args(["explain", "--config", "/nowhere/auditbell.toml", "-"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nowhere/auditbell.toml"));
}

/// A store that is not there is not the configuration's fault: it knows nothing, and the answer says what to do.
#[test]
fn without_a_store_an_id_is_not_found_and_the_topics_are_asked() {
    let none = explain(&["--id", "Directory_1"]);
    let said = String::from_utf8_lossy(&none.output.stderr).into_owned();
    assert_eq!((none.output.status.code(), none.lines.len()), (Some(1), 0), "{said}");
    assert!(said.contains("\nnothing is known; with --since WHEN the topics"), "{said}");
    let dead = CONFIG.replace("localhost:9092", "127.0.0.1:1");
    for arguments in [["--id", "Directory_1"], ["--person", "alice@example.com"]] {
        let asked = explain_with(&dead, PEOPLE, &[&arguments[..], &["--since", "1h", "--within", "1s"]].concat());
        let said = String::from_utf8_lossy(&asked.output.stderr).into_owned();
        assert_eq!(asked.output.status.code(), Some(75), "the brokers are asked: {said}");
        assert!(
            said.contains("/auditbell.db: there is no store;") && said.contains("\nonly the topics are searched"),
            "{said}"
        );
    }
}

#[test]
fn who_hears_if_the_channel_gives_up_is_shown() {
    let hook = "fallback = [\"ops-hook\", \"email\", \"list:soc\"]\n\n[list]\nsoc = [\"soc@example.com\"]\n\n\
                [channel.ops-hook]\ntype = \"webhook\"\nurl = \"https://hooks.example.com/x\"\n\n[people]";
    let config = CONFIG.replace("\n[people]", hook).replace("\"ops-hook\", \"email\"", "\"ops-hook\"");
    let first = |explained: &Explained| -> Value {
        let all =
            explained.lines.iter().find_map(|line| line["notifications"].as_array().filter(|all| !all.is_empty()));
        all.unwrap()[0].clone()
    };
    let explained = explain_with(&config, PEOPLE, &["admin-password-reset.json"]);
    let one = first(&explained);
    assert_eq!(
        one["fallback"],
        serde_json::json!([{"channel": "email", "address": "soc@example.com"}, {"channel": "ops-hook", "address": null}]),
        "{}",
        String::from_utf8_lossy(&explained.output.stderr)
    );
    let own = first(&explain(&["admin-password-reset.json"]));
    assert_eq!(own["fallback"], serde_json::json!([{"channel": "email", "address": "soc@example.com"}]));
    let over = explain(&["admin-password-reset.json", "--now", "2030-01-01T00:00:00Z"]);
    assert_eq!(first(&over)["fallback"], serde_json::json!([]), "what ends at once is not given up");
    let text = explain_with(&config, PEOPLE, &["admin-password-reset.json", "-o", "text"]);
    let text = String::from_utf8_lossy(&text.output.stdout).into_owned();
    assert!(text.contains("if it is given up: soc@example.com through email, ops-hook"), "{text}");
}

/// Of two targets one has a manager: `first_of` is decided for the record, with `each` for each target.
#[test]
fn the_first_of_several_is_chosen_once_for_a_record_and_once_for_each_element() {
    let people = "id,upn,mail,manager\na11ce000-0000-4000-8000-000000000001,alice@example.com,,mona@example.com\n\
                  ,mona@example.com,,\n";
    let told = |each: &str| -> Vec<String> {
        let rule = format!(
            "[[rule]]\nid = \"one\"\non = \"entra.audit\"\n{each}to = [{{ first_of = [\"target.manager\", \
             \"soc@example.com\"] }}]\nchannels = [\"email\"]\ntemplate = \"password-reset\"\n"
        );
        let (around, _) = CONFIG.split_once("[[rule]]").unwrap();
        let explained = explain_with(&format!("{around}{rule}"), people, &["two-users-in-one-record.json"]);
        let all = explained.lines[0]["notifications"].as_array().unwrap();
        let address = |one: &Value| one["addresses"].as_array().unwrap().last().unwrap()["address"].clone();
        let mut told: Vec<String> = all.iter().map(address).filter_map(|one| Some(one.as_str()?.to_owned())).collect();
        told.sort();
        told
    };
    assert_eq!(told(""), ["mona@example.com"], "the entry that names anybody stands for the whole record");
    assert_eq!(told("each = \"targets\"\n"), ["mona@example.com", "soc@example.com"]);
}

/// A room needs no address, so nothing is looked up for it.
#[test]
fn a_room_is_told_whoever_the_record_is_about() {
    let dir = TempDir::new().unwrap();
    let hook = "[channel.ops-hook]\ntype = \"webhook\"\nurl = \"https://hooks.example.com/x\"\n\n[people]";
    let config =
        CONFIG.replace("[people]", hook).replace("channels = [\"email\"]", "channels = [\"email\", \"ops-hook\"]");
    fs::write(dir.path().join("auditbell.toml"), config).unwrap();
    fs::write(dir.path().join("people.csv"), PEOPLE).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_auditbell"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records"))
        .args(["explain", "-o", "json", "two-users-in-one-record.json", "--config"])
        .arg(dir.path().join("auditbell.toml"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let rooms: Vec<&Value> =
        line["notifications"].as_array().unwrap().iter().filter(|one| one["channel"] == "ops-hook").collect();
    assert_eq!(rooms.len(), 1, "{line}");
    assert_eq!(rooms[0]["recipient"], serde_json::json!({"ref": "ops-hook", "kind": "room", "id": null, "upn": null}));
    assert_eq!((rooms[0]["decision"].as_str(), &rooms[0]["addresses"]), (Some("group"), &serde_json::json!([])));
    assert!(!rooms[0]["reason"].as_str().unwrap().contains("unresolved"));
}

#[test]
fn several_files_are_explained_one_after_the_other_and_a_missing_one_is_said() {
    let explained = explain(&["failure.json", "account-disabled.json"]);
    assert!(explained.output.status.success());
    let sources: Vec<_> = explained.lines.iter().map(|line| line["record"]["position"]["source"].clone()).collect();
    assert!(sources.contains(&"failure.json".into()) && sources.contains(&"account-disabled.json".into()));
    let explained = explain(&["nowhere.json", "account-disabled.json"]);
    assert_eq!(explained.output.status.code(), Some(2));
    assert!(!explained.lines.is_empty(), "what can be read is explained");
}

/// The rules of another directory, e.g. of a branch that is under review, are held against the same record.
#[test]
fn rules_can_be_tried_in_place_of_those_that_are_configured() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("auditbell.toml"), format!("include = [\"rules.d/*.toml\"]\n{CONFIG}")).unwrap();
    fs::write(dir.path().join("people.csv"), PEOPLE).unwrap();
    let rule = CONFIG.split("[[rule]]").nth(2).unwrap();
    for (folder, id) in [("rules.d", "configured"), ("branch", "tried")] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        let text = format!("[[rule]]{}", rule.replace("id = \"group-member\"", &format!("id = \"{id}\"")));
        fs::write(dir.path().join(folder).join("one.toml"), text).unwrap();
    }
    let rules = |arguments: &[&str]| -> Vec<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_auditbell"))
            .current_dir(dir.path())
            .args(["explain", "-c", "auditbell.toml", "-o", "json"])
            .args(arguments)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records/failure.json"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        line["rules"].as_array().unwrap().iter().map(|rule| rule["rule"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(rules(&[]), ["password-reset", "group-member", "try-out", "configured"]);
    assert_eq!(rules(&["--rules", "branch"]), ["tried"]);
}
