//! The rules that docs/records.md shows for the shipped mapping tables: each finds its record among those of its family, and no other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use auditbell::record::Dialects;
use serde_json::Value;
use tempfile::TempDir;

const AROUND: &str = r#"
[source.entra]
brokers = "localhost:9092"
topics = ["all"]

[channel.email]
type = "smtp"
relay = ["smtp+plain://127.0.0.1:2525"]
from = "security@example.com"

[people]
allow_domains = ["example.com"]
fallback = "list:soc"

[list]
soc = ["soc@example.com"]

[brand]
name = "Example"
security_contact = "security@example.com"
"#;

/// Rule, fixture of its dialect, which of its records it matches, and to whom.
const MATCHES: &[(&str, &str, &[usize], &str)] = &[
    ("sentinel-incident", "sentinel-incident.ndjson", &[0, 1], "soc@example.com"),
    ("xdr-account", "defender-xdr.json", &[1], "alice@example.com"),
    ("device-wiped", "intune-audit.ndjson", &[0], "alice@example.com"),
    ("inbox-forwards-outside", "o365-audit.ndjson", &[0], "alice@example.com"),
    ("okta-factor-reset", "okta-system.ndjson", &[0], "alice@example.com"),
    ("repository-public", "github-audit.ndjson", &[1], "soc@example.com"),
    ("console-login-failed", "aws-cloudtrail.json", &[2], "soc@example.com"),
];

#[test]
fn the_rule_shown_for_each_shipped_table_finds_its_record_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/records.md")).unwrap();
    let (_, after) = page.split_once("### A rule for each shipped table\n\n```toml\n").unwrap();
    let (rules, _) = after.split_once("```").unwrap();
    for dialect in Dialects::shipped().iter() {
        assert_eq!(rules.matches(&format!("on = \"{}\"", dialect.as_str())).count(), 1, "{}", dialect.as_str());
    }
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("auditbell.toml");
    fs::write(&config, format!("{AROUND}\n{rules}")).unwrap();
    for (rule, fixture, expected, told) in MATCHES {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auditbell"));
        command.args(["explain", "-o", "json", "-c"]).arg(&config);
        let lines = if fixture.ends_with(".ndjson") { &["--lines"][..] } else { &[] };
        let output = command.args(lines).arg(root.join("tests/fixtures/records").join(fixture)).output().unwrap();
        assert!(output.status.success(), "{rule}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut matched: BTreeMap<usize, Value> = BTreeMap::new();
        for (place, line) in text.lines().enumerate() {
            let explained: Value = serde_json::from_str(line).unwrap();
            let own = explained["rules"].as_array().unwrap().iter().find(|one| one["rule"] == *rule);
            if own.is_some_and(|own| own["matched"] == true) {
                matched.insert(place, explained);
            }
        }
        assert_eq!(matched.keys().copied().collect::<Vec<_>>(), *expected, "{rule}");
        assert!(text.lines().count() > expected.len(), "{rule}: a record that it does not match is there, too");
        let addressed = matched[&expected[0]]["notifications"].to_string();
        assert!(addressed.contains(told), "{rule}: {addressed}");
    }
}
