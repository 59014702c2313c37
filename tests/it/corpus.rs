//! Records of others, read from the folder that `AUDITBELL_CORPUS` names: nothing is lost, nothing panics, nothing is silently
//! misread. The folder is no part of the project; without the variable this is skipped, and says so.
//!
//! Held against three things: what a plain JSON parser finds in the same bytes, the dialect that the folder's name promises,
//! and, where `NAME.expected.json` stands beside `NAME.ndjson`, what Elastic's pipelines make of the same records (user, address,
//! outcome, time). [`DIFFERENT`] lists where we differ from those, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use auditbell::clock::Timestamp;
use auditbell::record::envelope::{Item, decode};
use auditbell::record::{Dialects, Glance, Position, Record};
use serde_json::Value;

/// What a parser of JSON cannot count: file, records and dead letters. (Every good record is found, and each broken one mended or
/// dead by itself.)
const BROKEN: &[(&str, usize, usize)] = &[
    ("16-truncated.msg", 1, 1),
    ("17-not-json.msg", 0, 1),
    ("18-empty.msg", 0, 1),
    ("22-one-bad-record-among-good.msg", 3, 0),
    ("blob-data-properties.invalid", 0, 1),
    ("raw-newline-in-string.invalid", 1, 0),
    ("single-quotes-and-newlines.invalid", 3, 0),
    ("platform-single-quoted-properties.invalid", 1, 0),
];

/// What the records of a folder or file are; the longest prefix counts. Elsewhere they may be anything.
const DIALECTS: &[(&str, &[&str])] = &[
    ("elastic-integrations/entra-audit/", &["entra.audit"]),
    ("elastic-integrations/entra-signin/", &["entra.signin"]),
    ("elastic-integrations/entra-risk/", &["entra.risk"]),
    // Three sign-ins reached the wrong stream.
    ("elastic-integrations/azure-activity/", &["azure.activity", "entra.signin"]),
    (
        "elastic-integrations/defender-for-cloud/",
        // A secure score is none of ours.
        &["defender.alert", "defender.assessment", "defender.finding", "defender.compliance", "other"],
    ),
    ("elastic-integrations/m365-defender/stream-", &["defender.xdr"]),
    // One line of each holds nothing of an alert.
    ("elastic-integrations/m365-defender/graph-", &["defender.alert", "other"]),
    ("elastic-integrations/newer/audit-", &["entra.audit"]),
    // A time and a category, and nothing else of an audit record.
    ("elastic-integrations/newer/audit-time-formats", &["other"]),
    ("elastic-integrations/newer/signin-", &["entra.signin"]),
    ("elastic-integrations/newer/activity-", &["azure.activity"]),
    ("elastic-integrations/other-azure/", &["other"]),
    ("elastic-integrations/other-azure/eventhub.", &["entra.audit"]),
    ("elastic-beats/audit-envelope", &["entra.audit"]),
    ("elastic-beats/module/activitylogs", &["azure.activity"]),
    ("elastic-beats/module/auditlogs", &["entra.audit"]),
    ("elastic-beats/module/signinlogs", &["entra.signin"]),
    ("microsoft/entra-audit", &["entra.audit"]),
    ("microsoft/mdc-alert", &["defender.alert"]),
    ("sumologic/", &["azure.activity"]),
];

/// Where we differ from Elastic's pipelines: stem, field, which records of the file (from 0), why.
const DIFFERENT: &[(&str, &str, &[usize], &str)] = &[
    (
        "signinlogs-raw",
        "outcome",
        &[0, 1],
        "error 50140 is an interrupt, after which the sign-in goes on; Elastic knows failure only",
    ),
    ("userriskevents-raw", "time", &[0, 1], "when it happened (activityDateTime), not when the log was written"),
    ("rickyusers-raw", "time", &[0, 1], "riskLastUpdatedDateTime, to the millisecond"),
    ("mixed-events", "time", &[4], "an alert's StartTimeUtc, not TimeGenerated"),
];

#[test]
fn nothing_of_the_corpus_is_lost_or_misread() {
    let Some(folder) = std::env::var_os("AUDITBELL_CORPUS").map(PathBuf::from) else {
        eprintln!("SKIPPED corpus: AUDITBELL_CORPUS names no folder");
        return;
    };
    let (mut files, mut records, mut dead, mut compared) = (0, 0, 0, 0);
    let mut different = BTreeMap::new();
    for path in messages(&folder) {
        let bytes = std::fs::read(&path).unwrap();
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
        let mut read = Vec::new();
        let by_line = name.ends_with(".ndjson");
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| by_line && !line.trim_ascii().is_empty());
        for message in lines.chain((!by_line).then_some(bytes.as_slice())) {
            let (found, letters) = understood(name, message);
            dead += letters;
            read.extend(found);
        }
        for record in &read {
            let promised = DIALECTS.iter().filter(|(prefix, _)| name.starts_with(prefix));
            if let Some((_, dialects)) = promised.max_by_key(|(prefix, _)| prefix.len()) {
                assert!(
                    dialects.contains(&record.dialect.as_str()),
                    "{name}: {} {}",
                    record.dialect.as_str(),
                    record.raw
                );
            }
        }
        compared += compare(&path, &read, &mut different);
        files += 1;
        records += read.len();
    }
    eprintln!("corpus: {files} files, {records} records, {dead} dead letters, {compared} views compared");
    let listed = DIFFERENT
        .iter()
        .flat_map(|(stem, field, places, _)| places.iter().map(|place| ((*stem).to_owned(), *place, *field)));
    let listed: BTreeSet<_> = listed.collect();
    let unlisted: Vec<_> = different.iter().filter(|(at, _)| !listed.contains(*at)).collect();
    assert!(unlisted.is_empty(), "{unlisted:#?}");
    let gone: Vec<_> = listed.iter().filter(|at| !different.contains_key(*at)).collect();
    assert!(gone.is_empty() || compared == 0, "listed and no difference any more: {gone:?}");
    assert!(files > 0 && records > 0, "{} holds no records", folder.display());
}

/// Every file of messages below `folder`.
fn messages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        let is = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        if path.is_dir() {
            found.extend(messages(&path));
        } else if is(&[".ndjson", ".json", ".msg", ".invalid"]) && !is(&[".expected.json", ".schema.json"]) {
            found.push(path);
        }
    }
    found
}

/// The records of one message, and how many dead letters it has; held against a plain parser.
fn understood(name: &str, message: &[u8]) -> (Vec<Record>, usize) {
    let dialects = Dialects::shipped();
    let (mut read, mut letters, mut kept) = (Vec::new(), 0, Vec::new());
    for (index, item) in (0..).zip(decode(Some(message))) {
        match item {
            Item::Record(raw) => {
                let position = Position { source: name.into(), topic: None, partition: None, offset: None, index };
                let record = raw.clone().read(&dialects, position, Some(Timestamp::from_millis(0)));
                let glance = raw.glance(&dialects);
                assert!(glance.dialect().is_none_or(|dialect| dialect == record.dialect), "{name}: {}", raw.json);
                if let Glance::Head(head) = &glance {
                    assert_eq!(head.operation.as_deref(), record.operation.as_deref(), "{name}: {}", raw.json);
                    assert_eq!(head.activity.as_deref(), record.activity.as_deref(), "{name}: {}", raw.json);
                }
                assert!(!record.id.is_empty() && record.time.is_some(), "{name}: {}", raw.json);
                kept.push(record.raw.clone());
                read.push(record);
            }
            Item::Dead(_) => {
                letters += 1;
                kept.push(Value::Null);
            }
        }
    }
    if let Some(expected) = elements(message) {
        let expected: Vec<Value> =
            expected.into_iter().map(|it| if it.is_object() { it } else { Value::Null }).collect();
        assert_eq!(kept, expected, "{name}: each element, in its order");
    } else {
        let file = Path::new(name).file_name().unwrap().to_str().unwrap();
        let known = BROKEN.iter().find(|(broken, _, _)| *broken == file).unwrap_or_else(|| panic!("{name} is no JSON"));
        assert_eq!((read.len(), letters), (known.1, known.2), "{name}");
    }
    (read, letters)
}

/// What a plain parser finds: the elements of every document. `None`: it is no JSON.
fn elements(message: &[u8]) -> Option<Vec<Value>> {
    let text = message.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(message);
    let documents: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(text).into_iter().collect();
    let documents = documents.ok().filter(|documents| !documents.is_empty())?;
    let mut found = Vec::new();
    for document in documents {
        match document {
            Value::Array(list) => list.into_iter().for_each(|element| found.extend(unwrapped(element))),
            Value::String(text) => found.extend(elements(text.as_bytes())?),
            other => found.extend(unwrapped(other)),
        }
    }
    Some(found)
}

/// The elements of an envelope; of anything else itself.
fn unwrapped(value: Value) -> Vec<Value> {
    let records = value.as_object().and_then(|map| map.iter().find(|(key, _)| key.eq_ignore_ascii_case("records")));
    match records.map(|(_, records)| records) {
        Some(Value::Array(list)) => list.clone(),
        Some(Value::Null) => Vec::new(),
        _ => vec![value],
    }
}

/// Stem, place in the file and field of what differs, and what both say.
type Differences = BTreeMap<(String, usize, &'static str), String>;

/// Holds the records of a file against what Elastic makes of them; how many.
fn compare(path: &Path, records: &[Record], different: &mut Differences) -> usize {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let Ok(expected) = std::fs::read(path.with_file_name(format!("{stem}.expected.json"))) else { return 0 };
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let expected = expected["expected"].as_array().unwrap();
    assert_eq!(records.len(), expected.len(), "{stem}");
    for (place, (record, theirs)) in records.iter().zip(expected).enumerate() {
        let at = |path: &str| path.split('.').fold(theirs, |value, key| &value[key]).as_str();
        let (ours, mut same) = (views(record), BTreeMap::new());
        // They shorten to what they can parse; of milliseconds some of their times have none.
        same.insert("time", at("@timestamp").is_none_or(|time| ours["time"].as_deref() == Some(time)));
        same.insert("outcome", at("event.outcome").is_none_or(|outcome| ours["outcome"].as_deref() == Some(outcome)));
        let valid = |ip: &String| ip.parse::<std::net::IpAddr>().is_ok_and(|ip| !ip.is_unspecified());
        let ip = ours["ip"].clone().filter(valid);
        same.insert("ip", at("source.ip").map(str::to_owned) == ip);
        for (field, paths) in [
            (
                "user",
                &[
                    "azure.signinlogs.properties.user_principal_name",
                    "azure.identityprotection.properties.user_principal_name",
                ][..],
            ),
            ("user", &["azure.auditlogs.properties.initiated_by.user.userPrincipalName"]),
            ("user id", &["user.id"]),
            ("user name", &["user.full_name", "azure.identityprotection.properties.user_display_name"]),
        ] {
            if let Some(theirs) = paths.iter().find_map(|path| at(path)) {
                same.insert(field, ours[field].as_deref() == Some(theirs));
            }
        }
        for (field, _) in same.into_iter().filter(|(_, same)| !same) {
            different.insert((stem.to_owned(), place, field), format!("ours {ours:?}, theirs {theirs}"));
        }
    }
    expected.len()
}

/// What is compared, as we see it.
fn views(record: &Record) -> BTreeMap<&'static str, Option<String>> {
    let user = record.targets.iter().find(|target| target.kind.as_str() == "user");
    let actor = record.actor.as_ref();
    let own = record.own_time().map(|at| at.to_string());
    BTreeMap::from([
        ("time", own),
        ("outcome", record.result.clone()),
        ("ip", actor.and_then(|actor| actor.ip.clone()).or_else(|| record.details.get("ipAddress").cloned())),
        ("user", actor.map_or_else(|| user.and_then(|user| user.upn.clone()), |actor| actor.upn.clone())),
        ("user id", actor.and_then(|actor| actor.id.clone())),
        ("user name", actor.map_or_else(|| user.and_then(|user| user.name.clone()), |actor| actor.name.clone())),
    ])
}
