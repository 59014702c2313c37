//! `auditbell test`: rules held against what their authors say of them.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

const BEFORE: &str = r#"
include = ["rules.d/*.toml"]

[source.entra]
brokers = "localhost:9092"
topics = ["insights-logs-auditlogs"]

[store]
url = "sqlite:auditbell.db"

[channel.email]
type = "smtp"
relay = ["smtps://smtp.example.com:465"]
from = "Security <security@example.com>"

[channel.hook]
type = "webhook"
url = "https://hooks.example.com/x"

[people]
allow_domains = ["example.com"]
csv = "people.csv"
fallback = "list:soc"

[brand]
name = "Example"
security_contact = "security@example.com"

[list]
soc = ["soc@example.com", "night@example.com"]

[policy.personal]
group = { by = ["correlation_id"], wait = "20s" }
"#;

const RULE: &str = r#"
[[rule]]
id = "password-reset"
description = "A password was reset"
on = "entra.audit"
when = { operation = "Reset user password", result = "success" }
to = ["target"]
channels = ["email"]
template = "password-reset"
policy = "personal"
"#;

/// A Kafka message with one reset of Alice's password, so many seconds after the minute.
fn reset(id: &str, act: &str, second: u32, result: &str) -> Value {
    json!({
        "time": format!("2026-01-22T18:15:{second:02}Z"),
        "resourceId": "/tenants/0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0/providers/Microsoft.aadiam",
        "operationName": "Reset user password",
        "category": "AuditLogs",
        "correlationId": act,
        "properties": {
            "id": id, "result": result, "correlationId": act, "loggedByService": "Core Directory",
            "activityDisplayName": "Reset user password",
            "activityDateTime": format!("2026-01-22T18:15:{second:02}Z"),
            "initiatedBy": {"user": {"id": "4e1bde50-0000-4000-8000-000000000003", "userPrincipalName": "helpdesk@example.com"}},
            "targetResources": [{
                "id": "a11ce000-0000-4000-8000-000000000001", "type": "User", "displayName": "Alice",
                "userPrincipalName": "alice@example.com", "modifiedProperties": [],
            }],
        },
    })
}

/// Rule files by name, in a configuration; and what a command says of it: exit code, stdout, stderr.
struct Made(TempDir);

impl Made {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("rules.d")).unwrap();
        fs::write(directory.path().join("auditbell.toml"), BEFORE).unwrap();
        fs::write(directory.path().join("people.csv"), "id,upn,mail\n").unwrap();
        for (name, text) in files {
            fs::write(directory.path().join("rules.d").join(name), text).unwrap();
        }
        Self(directory)
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_auditbell"))
            .args(arguments)
            .args(["-c", "auditbell.toml"])
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

/// A test of the rule above, with one message.
fn test_of(message: &Value, rest: &str) -> String {
    format!("{RULE}\n[[rule.test]]\nname = \"it holds\"\nrecord = '{message}'\n{rest}\n")
}

#[test]
fn what_holds_passes() {
    let one = reset("1", "a", 1, "success");
    for (what, rest) in [
        ("nothing is said but that somebody is told", "expect = [{}]"),
        (
            "everything is said",
            r#"expect = [{ to = "Alice@example.com", channel = "email", subject = "Your password was reset", template = "password-reset", severity = "medium", contains = ["helpdesk@example.com", "not by you"], not_contains = "Bob" }]"#,
        ),
    ] {
        let made = Made::new(&[("a.toml", &test_of(&one, rest))]);
        let (code, said, _) = made.run(&["test"]);
        assert_eq!((code, said.as_str()), (0, "ok      password-reset: it holds\npassed: 1, failed: 0\n"), "{what}");
    }
    let failed = test_of(&reset("1", "a", 1, "failure"), "expect = []\nbecause = \"result\"");
    assert_eq!(Made::new(&[("a.toml", &failed)]).run(&["test"]).0, 0);
}

#[test]
fn what_differs_is_told_with_what_was_wanted_and_what_came() {
    let (good, bad) = (reset("1", "a", 1, "success"), reset("1", "a", 1, "failure"));
    for (what, message, rest, expected) in [
        (
            "another subject",
            &good,
            r#"expect = [{ subject = "x" }]"#,
            r#"message 1 of `expect`: subject: wanted "x", got "Your password was reset""#,
        ),
        (
            "another person",
            &good,
            r#"expect = [{ to = "bob@example.com" }]"#,
            "message 1 of `expect`: wanted one to bob@example.com, got to alice@example.com",
        ),
        (
            "a list that there is not",
            &good,
            r#"expect = [{ to = "list:sco" }]"#,
            "message 1 of `expect`: there is no list `sco`: add it to [list], or to `lists` of the test",
        ),
        (
            "somebody more",
            &good,
            "expect = []",
            "not expected: a message to alice@example.com on email, \"Your password was reset\"",
        ),
        ("another severity", &good, r#"expect = [{ severity = "high" }]"#, "severity: wanted \"high\", got \"medium\""),
        (
            "a word that is missing",
            &good,
            r#"expect = [{ contains = "unicorn" }]"#,
            "contains: wanted \"unicorn\", it says:",
        ),
        (
            "a word too many",
            &good,
            r#"expect = [{ not_contains = "helpdesk@example.com" }]"#,
            "not_contains: \"helpdesk@example.com\" is in it:",
        ),
        ("nobody", &bad, "expect = [{}]", "when result in “success”: it is “failure”"),
        (
            "another reason",
            &bad,
            "expect = []\nbecause = \"operation\"",
            "because: wanted operation, got when result in “success”: it is “failure”",
        ),
        (
            "no silence at all",
            &good,
            "expect = []\nbecause = \"result\"",
            "because: wanted result, got it tells somebody",
        ),
        ("no record", &json!("{"), "expect = [{}]", "is none: not-json"),
    ] {
        let made = Made::new(&[("a.toml", &test_of(message, rest).replace("record = '\"{\"'", "record = '{'"))]);
        let (code, said, _) = made.run(&["test"]);
        assert_eq!(code, 1, "{what}: {said}");
        assert!(said.contains(expected), "{what}: no `{expected}` in\n{said}");
        assert!(said.contains("FAILED  password-reset: it holds\n        ./rules.d/a.toml:12\n"), "{what}: {said}");
    }
}

#[test]
fn records_of_one_act_join_while_its_group_waits() {
    let outcome = |seconds: [u32; 2], acts: [&str; 2], mails: usize| {
        let messages = [reset("1", acts[0], seconds[0], "success"), reset("2", acts[1], seconds[1], "success")];
        let expect = vec!["{ to = \"alice@example.com\" }"; mails].join(", ");
        let text = format!(
            "{RULE}\n[[rule.test]]\nname = \"n\"\nrecords = ['{}', '{}']\nexpect = [{expect}]\n",
            messages[0], messages[1]
        );
        Made::new(&[("a.toml", &text)]).run(&["test"])
    };
    for (what, seconds, acts, mails) in [
        ("within the wait: one mail", [1, 20], ["a", "a"], 1),
        ("the wait is over: another", [1, 21], ["a", "a"], 2),
        ("two acts are two mails", [1, 2], ["a", "b"], 2),
    ] {
        let (code, said, _) = outcome(seconds, acts, mails);
        assert_eq!(code, 0, "{what}: {said}");
        assert_eq!(outcome(seconds, acts, 3 - mails).0, 1, "{what}: and not another number");
    }
    // The same record again is told once.
    let again = reset("1", "a", 1, "success");
    let alone = RULE.replace("policy = \"personal\"\n", "");
    let text = format!("{alone}\n[[rule.test]]\nname = \"n\"\nrecords = ['{again}', '{again}']\nexpect = [{{}}]\n");
    assert_eq!(Made::new(&[("a.toml", &text)]).run(&["test"]).0, 0);
}

#[test]
fn a_room_a_list_and_whoever_stands_in_are_expected_by_name() {
    let rule = RULE
        .replace("channels = [\"email\"]", "channels = [\"email\", \"hook\"]")
        .replace("[\"target\"]", "[\"target\", \"list:soc\"]");
    let message = reset("1", "a", 1, "success");
    let expect = r#"expect = [{ to = "alice@example.com" }, { to = "list:soc", channel = "email" }, { to = "hook", channel = "hook", contains = "Reset user password" }]"#;
    let text = format!("{rule}\n[[rule.test]]\nname = \"n\"\nrecord = '{message}'\n{expect}\n");
    let (code, said, _) = Made::new(&[("a.toml", &text)]).run(&["test"]);
    assert_eq!(code, 0, "{said}");
    // A guest has no address that may be mailed: the fallback hears of it, each of its two.
    let guest = message.to_string().replace("alice@example.com", "eve_partner.test#EXT#@example.onmicrosoft.com");
    let expect = r#"expect = [{ to = "list:soc", subject = "Somebody could not be told (rule password-reset)", contains = "guest" }]"#;
    let text = format!("{RULE}\n[[rule.test]]\nname = \"n\"\nrecord = '{guest}'\n{expect}\n");
    let (code, said, _) = Made::new(&[("a.toml", &text)]).run(&["test"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_test_sees_the_rules_of_its_own_file_and_one_in_shadow_as_though_it_were_live() {
    let message = reset("1", "a", 1, "success");
    // Stands first, so it would give the wording.
    let other = RULE
        .replace("password-reset\"\nd", "other\"\nd")
        .replace("template = \"password-reset\"", "template = \"password-changed\"");
    let test = test_of(&message, r#"expect = [{ subject = "Your password was reset" }]"#);
    let made = Made::new(&[("a.toml", &other), ("b.toml", &test.replace("policy =", "mode = \"shadow\"\npolicy ="))]);
    let (code, said, _) = made.run(&["test"]);
    assert_eq!(code, 0, "{said}");
    let together = Made::new(&[("a.toml", &format!("{other}{test}"))]);
    let (code, said, _) = together.run(&["test"]);
    assert!(code == 1 && said.contains("got \"Your password was changed\""), "{said}");
    let off = Made::new(&[("a.toml", &test.replace("policy =", "enabled = false\npolicy ="))]);
    assert_eq!(
        off.run(&["test"]).1,
        "skipped password-reset: it holds\n        the rule is disabled\npassed: 0, failed: 0, skipped: 1\n"
    );
}

#[test]
fn files_choose_and_results_go_to_a_build_server_too() {
    let message = reset("1", "a", 1, "success");
    let good = test_of(&message, "expect = [{}]");
    let bad = test_of(&message, "expect = []")
        .replace("\"password-reset\"\nd", "\"second\"\nd")
        .replace("it holds", "<it> & \\\"holds\\\"");
    let made = Made::new(&[("a.toml", &good), ("b.toml", &bad)]);
    assert_eq!(made.run(&["test", "rules.d/a.toml"]).0, 0);
    assert_eq!(made.run(&["test", "rules.d"]).0, 1);
    let (code, _, said) = made.run(&["test", "people.csv"]);
    assert_eq!(
        (code, said.as_str()),
        (2, "people.csv: no rule of this configuration stands there; does `include` name it?\n")
    );
    let (code, said, _) = made.run(&["test", "--junit", "out.xml", "-o", "json"]);
    let runs: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, &runs[0]["outcome"], &runs[1]["outcome"]), (1, &"passed".into(), &"failed".into()));
    let xml = fs::read_to_string(made.0.path().join("out.xml")).unwrap();
    assert!(
        xml.contains("<testsuites name=\"auditbell\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">"),
        "{xml}"
    );
    assert!(
        xml.contains(
            "classname=\"second\" name=\"&lt;it&gt; &amp; &quot;holds&quot;\" file=\"./rules.d/b.toml\" line=\"12\""
        ),
        "{xml}"
    );
    assert_eq!(made.run(&["test", "--junit", "no/such/folder.xml"]).0, 2);
}

/// Read by a parser that is not ours: names and differences may hold anything.
#[test]
fn the_results_for_a_build_server_are_xml_whatever_names_hold() {
    let name = r#"a\u0000\u0007\u001b\u007f\u0085\uFFFE ]]> <b> & ' \" \n\t"#;
    let message = reset("1", "a", 1, "success");
    let test =
        test_of(&message, "expect = [{ to = \"\\u0007]]>@example.com\" }]").replace("it holds", &format!("it {name}"));
    let made = Made::new(&[("a.toml", &test)]);
    let (code, said, talk) = made.run(&["test", "--junit", "out.xml"]);
    assert_eq!(code, 1, "{said}{talk}");
    let program = "import sys, xml.etree.ElementTree as e\n\
                   case = e.parse(sys.argv[1]).find('.//testcase')\n\
                   sys.stdout.buffer.write((case.get('name') + '\\0' + case.find('failure').text).encode())";
    let parsed =
        std::process::Command::new("python3").args(["-c", program]).arg(made.0.path().join("out.xml")).output();
    let parsed = parsed.expect("python3 reads the document");
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
    let parsed = String::from_utf8(parsed.stdout).unwrap();
    let (read, failure) = parsed.split_once('\0').unwrap();
    assert_eq!(read, "it a\u{fffd}\u{fffd}\u{fffd}\u{7f}\u{85}\u{fffd} ]]> <b> & ' \" \n\t");
    assert!(failure.contains("\u{fffd}]]>@example.com"), "{failure}");
}

#[test]
fn what_a_test_gets_wrong_is_a_fault_with_its_place() {
    let message = reset("1", "a", 1, "success");
    for (what, rest, line, expected) in [
        (
            "an unknown key",
            "expect = []\nbecuase = \"x\"",
            16,
            "rule.password-reset.test.becuase: unknown key `becuase`; did you mean `because`?",
        ),
        (
            "an unknown key of an entry",
            "expect = [{ subjct = \"x\" }]",
            15,
            "rule.password-reset.test.expect.subjct: unknown key `subjct`; did you mean `subject`?",
        ),
        ("no expectation", "", 12, "rule.password-reset.test.expect: is missing"),
        (
            "a reason for somebody",
            "expect = [{}]\nbecause = \"result\"",
            16,
            "rule.password-reset.test.because: says why nobody is told",
        ),
        (
            "two ways to say what came",
            "expect = []\nrecords = ['{}']",
            16,
            "rule.password-reset.test.records: stands beside `record`",
        ),
        ("no list", "expect = \"x\"", 15, "rule.password-reset.test.expect: must be a list of tables"),
        (
            "a number for a text",
            "expect = [{ to = 1 }]",
            15,
            "rule.password-reset.test.expect.to: must be a text in quotes",
        ),
    ] {
        let made = Made::new(&[("a.toml", &test_of(&message, rest))]);
        let (code, said, _) = made.run(&["check"]);
        assert_eq!(code, 78, "{what}: {said}");
        assert!(said.contains(&format!("rules.d/a.toml:{line}: {expected}")), "{what}: {said}");
    }
    let missing = test_of(&message, "expect = [{}]").replace(&format!("'{message}'"), "\"records/none.json\"");
    let (code, said, _) = Made::new(&[("a.toml", &missing)]).run(&["test"]);
    assert!(code == 1 && said.contains("rules.d/records/none.json: cannot be read"), "{said}");
}
