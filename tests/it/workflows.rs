//! Rules of the kind that public galleries hold (`tests/workflows/*.toml`), each with records of our own and whom they must
//! tell: as a score, which has to be full. What a gallery needs and the language cannot say is a defect of the language.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::Bench;

/// What every workflow stands in: a personal channel, two rooms, a directory, a team.
const AROUND: &str = r#"
include = ["rules.d/*.toml"]

[source.entra]
brokers = "localhost:9092"
topics = ["insights-logs-auditlogs"]

[channel.email]
type = "smtp"
relay = ["smtp+plain://127.0.0.1:2525"]
from = "Example Security <security@example.com>"

[channel.chat]
type = "webhook"
url = "https://hooks.example.com/chat"

[channel.pager]
type = "webhook"
url = "https://hooks.example.com/pager"

[people]
allow_domains = ["example.com"]
csv = "people.csv"
fallback = "list:soc"

[list]
soc = ["soc@example.com"]

[brand]
name = "Example"
security_contact = "security@example.com"
"#;

/// Most lines of a workflow's configuration, comments and empty lines left out.
const MOST_LINES: usize = 25;

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Workflow {
    /// Rules, lists, lookups, windows.
    config: String,
    /// The record of `records/` that its cases are like.
    like: String,
    /// What is different in every case: JSON pointers to values.
    #[serde(default)]
    change: BTreeMap<String, Value>,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    it: String,
    /// Instead of the workflow's.
    record: Option<String>,
    /// What is different besides.
    #[serde(default)]
    change: BTreeMap<String, Value>,
    /// `CHANNEL ADDRESS`, `CHANNEL room` or `CHANNEL fallback ADDRESS`, each perhaps with the severity at its end.
    #[serde(default)]
    tells: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workflows")
}

/// Puts `new` where the JSON pointer leads, and makes the way to it.
fn put(value: &mut Value, pointer: &str, new: &Value) {
    let mut at = value;
    for name in pointer.trim_start_matches('/').split('/').map(|name| name.replace("~1", "/")) {
        at = match at {
            Value::Array(list) => {
                let index: usize = name.parse().unwrap();
                if index == list.len() {
                    list.push(Value::Null);
                }
                &mut list[index]
            }
            Value::Object(map) => map.entry(name).or_insert(Value::Null),
            other => {
                *other = serde_json::json!({});
                other.as_object_mut().unwrap().entry(name).or_insert(Value::Null)
            }
        };
    }
    at.clone_from(new);
}

/// A record of `records/` with these differences, as if written today: what is older than `max_age` is not told.
pub fn like(name: &str, change: &[(&str, Value)]) -> Value {
    let text = fs::read_to_string(folder().join("records").join(format!("{name}.json"))).unwrap();
    let today = auditbell::clock::Clock::system().now().to_string()[..10].to_owned();
    let mut record = serde_json::from_str(&text.replace("2026-03-02T", &format!("{today}T"))).unwrap();
    for (pointer, value) in change {
        put(&mut record, pointer, value);
    }
    record
}

impl Workflow {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn record(&self, case: &Case) -> Value {
        let like = folder().join("records").join(format!("{}.json", self.like));
        let text = case.record.clone().unwrap_or_else(|| fs::read_to_string(like).unwrap());
        let mut record = serde_json::from_str(&text).unwrap();
        let common = self.change.iter().filter(|_| case.record.is_none());
        for (pointer, value) in common.chain(&case.change) {
            put(&mut record, pointer, value);
        }
        record
    }

    /// Whom each case tells, through the command.
    fn told(&self) -> Result<Vec<Vec<String>>, String> {
        let dir = TempDir::new().unwrap();
        let file = |name: &str| dir.path().join(name);
        fs::create_dir(file("rules.d")).unwrap();
        fs::write(file("auditbell.toml"), AROUND).unwrap();
        fs::write(file("rules.d/workflow.toml"), &self.config).unwrap();
        fs::copy(folder().join("people.csv"), file("people.csv")).unwrap();
        let records: Vec<String> = self.case.iter().map(|case| self.record(case).to_string()).collect();
        fs::write(file("records.ndjson"), records.join("\n")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_auditbell"))
            .current_dir(dir.path())
            .args(["explain", "-c", "auditbell.toml", "-o", "json", "--lines", "records.ndjson"])
            .output()
            .unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8(output.stdout).unwrap();
        Ok(text.lines().map(|line| told(&serde_json::from_str(line).unwrap())).collect())
    }
}

/// Whom an explanation tells, sorted.
fn told(explanation: &Value) -> Vec<String> {
    let sent = |one: &&Value| ["send", "group"].map(Some).contains(&one["decision"].as_str());
    let mut told: Vec<String> =
        explanation["notifications"].as_array().unwrap().iter().filter(sent).flat_map(ways).collect();
    told.sort();
    told
}

/// Where one notification arrives: at its recipient, else at each of the fallback.
fn ways(one: &Value) -> Vec<String> {
    let (channel, severity) = (one["channel"].as_str().unwrap(), one["severity"].as_str().unwrap());
    if one["recipient"]["kind"] == "room" {
        return vec![format!("{channel} room {severity}")];
    }
    let found = |step: &&Value| step["result"] == "found";
    let at = |step: &Value| step["address"].as_str().unwrap().to_owned();
    let (instead, own): (Vec<&Value>, Vec<&Value>) =
        one["addresses"].as_array().unwrap().iter().partition(|step| step["step"] == "fallback");
    match own.into_iter().find(found) {
        Some(step) => vec![format!("{channel} {} {severity}", at(step))],
        None => instead
            .into_iter()
            .filter(found)
            .map(|step| format!("{channel} fallback {} {severity}", at(step)))
            .collect(),
    }
}

/// Whether `told`, with severities, is what was expected, with or without them.
fn fits(told: &[String], expected: &[String]) -> bool {
    let mut expected = expected.to_vec();
    expected.sort();
    let one = |(told, expected): (&String, &String)| {
        told == expected || told.rsplit_once(' ').is_some_and(|(bare, _)| bare == expected)
    };
    told.len() == expected.len() && told.iter().zip(&expected).all(one)
}

fn workflows() -> Vec<(String, Workflow)> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    files.sort();
    files.iter().map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), Workflow::read(path))).collect()
}

/// Makes the record of a case one of its own, whatever the others of its family are.
fn identified(mut record: Value, like: &str, number: usize) -> Value {
    let id = format!("case-{number}");
    let place = match like {
        "alert" => "/SystemAlertId",
        "elastic" => "/kibana.alert.uuid",
        "activity" => "/eventDataId",
        "assessment" | "compliance" => {
            let own = format!("{}-{id}", record["id"].as_str().unwrap());
            record["id"] = own.into();
            return record;
        }
        _ if record.get("properties").is_none() => "/Id",
        _ => "/properties/id",
    };
    put(&mut record, place, &id.into());
    record
}

/// What the ledger has: notification id, and whether it became a message or the verdict in which it ended.
fn ledger(bench: &Bench) -> BTreeSet<(String, String)> {
    let store = rusqlite::Connection::open(&bench.store).unwrap();
    let text = "SELECT lower(hex(n.id)), n.verdict FROM notification n LEFT JOIN message m ON m.id=n.message \
        WHERE coalesce(m.kind,0)=0";
    let mut rows = store.prepare(text).unwrap();
    let verdict = |code: i64| match code {
        0 => "message",
        3 => "expired",
        7 => "muted",
        8 => "skipped",
        9 => "shadow",
        other => panic!("verdict {other}"),
    };
    let found = rows.query_map([], |row| Ok((row.get(0)?, verdict(row.get(1)?).to_owned()))).unwrap();
    found.map(Result::unwrap).collect()
}

/// All rules of all galleries at once, and every record of theirs: what `explain` says of a file, and what the daemon makes of
/// the same records from the broker, are the same notifications.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_explained_and_the_broker_give_the_same_notifications() {
    let mut bench = Bench::new().await;
    std::fs::create_dir(bench.path("rules.d")).unwrap();
    fs::copy(folder().join("people.csv"), bench.path("people.csv")).unwrap();
    let mut records = Vec::new();
    for (name, workflow) in workflows() {
        // The records are old: their times are what some rules look at.
        let config = workflow.config.replace("[[rule]]\n", "[[rule]]\nmax_age = \"3000d\"\n");
        fs::write(bench.path(&format!("rules.d/{name}.toml")), config).unwrap();
        for case in &workflow.case {
            records.push(identified(workflow.record(case), &workflow.like, records.len()));
        }
    }
    bench.rules = AROUND[AROUND.find("[channel.chat]").unwrap()..AROUND.find("[people]").unwrap()].to_owned()
        + "[list]\nsoc = [\"soc@example.com\"]\n";
    bench.replace("\n[source.entra]", "include = [\"rules.d/*.toml\"]\n[source.entra]");
    bench.replace("url = \"sqlite:", "ledger = \"3600d\"\nurl = \"sqlite:");
    bench.replace("fallback = [\"soc@example.com\"]", "fallback = [\"soc@example.com\"]\ncsv = \"people.csv\"");
    bench.start().await;
    for record in &records {
        bench.publish(record.to_string()).await;
    }
    bench.accepted_to(records.len()).await;
    assert!(bench.stop().await.success());

    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    fs::write(bench.path("records.ndjson"), lines.join("\n")).unwrap();
    let now = auditbell::clock::Clock::system().now().to_string();
    let output =
        bench.command(&["explain", "-o", "json", "--lines", "records.ndjson", "--now", &now]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut explained = BTreeSet::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let mut told = BTreeSet::new();
        for one in line["notifications"].as_array().unwrap() {
            let decision = one["decision"].as_str().unwrap();
            let became = if ["send", "group"].contains(&decision) { "message" } else { decision };
            told.insert((one["id"].as_str().unwrap().to_owned(), became.to_owned()));
        }
        // The store knows the same of it.
        let history = line["history"].as_array().unwrap();
        let known: BTreeSet<&str> = history.iter().map(|event| event["notification"].as_str().unwrap()).collect();
        assert!(told.iter().all(|(id, _)| known.contains(&**id)), "{line}");
        explained.extend(told);
    }
    assert!(explained.len() > 100, "{}", explained.len());
    assert_eq!(explained, ledger(&bench));
}

/// A2, A3, A8, A9, A10, A14, A21, A23, A25 are among them, as decisions; `acceptance` has them as mails.
#[test]
fn every_rule_of_the_galleries_tells_whom_it_should_and_nobody_else() {
    let (mut right, mut all, mut wrong) = (0, 0, Vec::new());
    for (name, workflow) in workflows() {
        all += workflow.case.len();
        let told = match workflow.told() {
            Ok(told) => told,
            Err(said) => {
                wrong.push(format!("{name}: {said}"));
                continue;
            }
        };
        assert_eq!(told.len(), workflow.case.len(), "{name}");
        for (case, told) in workflow.case.iter().zip(told) {
            if fits(&told, &case.tells) {
                right += 1;
            } else {
                wrong.push(format!("{name}, {}: expected {:?}, told {told:?}", case.it, case.tells));
            }
        }
    }
    println!("workflows: {right} of {all} cases");
    assert!(wrong.is_empty(), "{right} of {all} cases are right:\n{}", wrong.join("\n"));
}

#[test]
fn there_are_rules_enough_each_is_short_and_each_has_a_record_that_tells_and_one_that_does_not() {
    let workflows = workflows();
    assert!(workflows.len() >= 30, "{}", workflows.len());
    for (name, workflow) in workflows {
        let lines = workflow.config.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#'));
        assert!(lines.clone().count() <= MOST_LINES, "{name}: {} lines", lines.count());
        assert!(workflow.case.iter().any(|case| !case.tells.is_empty()), "{name} tells nobody");
        assert!(workflow.case.iter().any(|case| case.tells.is_empty()), "{name} tells somebody of everything");
    }
}
