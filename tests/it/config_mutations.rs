//! T86: two hundred ways to spoil a good configuration. None loads, and each fault names the file and the line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use auditbell::config::{self, Report};
use tempfile::TempDir;

const MAIN: &str = "full.toml";
const RULES: &str = "full.d/rules.toml";

/// What is done to one file.
struct Mutation {
    what: String,
    file: &'static str,
    text: String,
    /// Where the fault must stand: any of these lines.
    lines: Vec<usize>,
}

fn good(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/good").join(file)).unwrap()
}

fn copy() -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("full.d")).unwrap();
    for file in [MAIN, RULES, "full.d/password", "full.d/people.csv", "full.d/ca.pem"] {
        fs::write(copy.path().join(file), good(file)).unwrap();
    }
    copy
}

fn examine(directory: &Path) -> Report {
    config::examine(&directory.join(MAIN), &BTreeMap::new())
}

/// Every `key = value` line of a file: its number from 1, key and value.
fn lines(text: &str) -> Vec<(usize, String, String)> {
    let pairs = text.lines().enumerate().filter_map(|(number, line)| {
        let (key, value) = line.split_once(" = ")?;
        (!line.starts_with('#')).then(|| (number + 1, key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

fn with_line(text: &str, number: usize, line: &str) -> String {
    text.lines().enumerate().map(|(at, old)| if at + 1 == number { line } else { old }).collect::<Vec<_>>().join("\n")
        + "\n"
}

/// The line of the `[table]` that a line stands in.
fn header(text: &str, number: usize) -> usize {
    text.lines()
        .take(number)
        .enumerate()
        .filter(|(_, line)| line.starts_with('['))
        .map(|(at, _)| at + 1)
        .last()
        .unwrap_or(1)
}

/// Keys without which the good configuration is none.
const REQUIRED: &[&str] = &[
    "brokers",
    "topics",
    "mechanism",
    "user",
    "password_file",
    "type",
    "relay",
    "from",
    "allow_domains",
    "fallback",
    "by",
    "wait",
    "id",
    "on",
    "to",
    "channels",
    "template",
    "tenant",
    "client_id",
    "client_secret_file",
];

/// Misspelt, wrong type (twice), bad text, twice, and unfinished: of every line.
fn of_every_line(file: &'static str) -> Vec<Mutation> {
    let text = good(file);
    let mut mutations = Vec::new();
    for (number, key, value) in lines(&text) {
        // A list's name, and names below `kafka`, are the user's own choice.
        let free = key == "soc";
        let mut add = |what: &str, line: &str| {
            let spoilt = Mutation {
                what: format!("{file}:{number}: {what}: {line}"),
                file,
                text: with_line(&text, number, line),
                lines: vec![number],
            };
            mutations.push(spoilt);
        };
        if !free {
            add("misspelt key", &format!("{key}x = {value}"));
        }
        add("a float", &format!("{key} = 25.7"));
        add("a date", &format!("{key} = 2026-01-22"));
        add("an empty text", &format!("{key} = \"\""));
        add("an unfinished text", &format!("{key} = \"unfinished"));
        add("no value", &format!("{key} ="));
        let twice = format!("{key} = {value}\n{key} = {value}");
        mutations.push(Mutation {
            what: format!("{file}:{number}: twice"),
            file,
            text: with_line(&text, number, &twice),
            lines: vec![number, number + 1],
        });
        let optional_wait = key == "wait" && file == MAIN;
        if REQUIRED.contains(&key.as_str()) && !optional_wait {
            let lines = vec![header(&text, number)];
            mutations.push(Mutation {
                what: format!("{file}:{number}: no {key}"),
                file,
                text: with_line(&text, number, ""),
                lines,
            });
        }
    }
    mutations
}

/// Values that have the right type and are wrong.
const BAD: &[(&str, &str, &str)] = &[
    (MAIN, "include", r#"["../*.toml"]"#),
    (MAIN, "include", r#"["/etc/*.toml"]"#),
    (MAIN, "include", r#"["*/rules.toml"]"#),
    (MAIN, "include", r#"["full.d/*.toml", "full.d/rules.toml"]"#),
    (MAIN, "include", r#"["full.d/*.toml", "full.toml"]"#),
    (MAIN, "include", r#"["missing.toml"]"#),
    (MAIN, "include", r#"["missing.d/*.toml"]"#),
    (MAIN, "brokers", r#""kafka.example.com""#),
    (MAIN, "brokers", r#""kafka.example.com:99999""#),
    (MAIN, "topics", "[]"),
    (MAIN, "topics", r#"["a", "a"]"#),
    (MAIN, "start", r#""yesterday""#),
    (MAIN, "on_lost_store", r#""refused""#),
    (MAIN, "kafka", r#"{ "group.id" = "other" }"#),
    (MAIN, "kafka", r#"{ "ssl.key.password" = "x" }"#),
    (MAIN, "mechanism", r#""GSSAPI""#),
    (MAIN, "url", r#""postgres://localhost/auditbell""#),
    (MAIN, "ledger", r#""1d""#),
    (MAIN, "content", r#""61d""#),
    (MAIN, "listen", r#""localhost""#),
    (MAIN, "type", r#""slack""#),
    (MAIN, "relay", r#"["smtps://a.example.com", "smtps://a.example.com:465"]"#),
    (MAIN, "relay", r#"["smtp+plain://smtp.example.com"]"#),
    (MAIN, "relay", r#"["https://smtp.example.com"]"#),
    (MAIN, "from", r#""Example Security""#),
    (MAIN, "reply_to", r#""helpdesk""#),
    (MAIN, "hello", r#""not a host""#),
    (MAIN, "connections", "0"),
    (MAIN, "connections", "0x10"),
    (MAIN, "connections", "-1"),
    (MAIN, "rate", r#"["30 per minute"]"#),
    (MAIN, "rate", r#"["0/m"]"#),
    (MAIN, "rate", r#"["30/ms"]"#),
    (MAIN, "retry", r#"["1 minute"]"#),
    (MAIN, "allow_domains", r#"["@example.com"]"#),
    (MAIN, "csv", r#""missing.csv""#),
    (MAIN, "csv", r#""full.d""#),
    (MAIN, "fallback", r#""list:sok""#),
    (MAIN, "fallback", r#""lead@elsewhere.example""#),
    (MAIN, "format", r#""xml""#),
    (MAIN, "level", r#""info,=,""#),
    (MAIN, "report_url", r#""javascript:alert(1)""#),
    (MAIN, "soc", r#"["soc@elsewhere.example"]"#),
    (MAIN, "mailbox", r#"["security@example.com"]"#),
    (MAIN, "secret", r#""whsec_c2hvcnQ=""#),
    (MAIN, "secret", r#""MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw""#),
    (MAIN, "headers", r#"{ Webhook-Id = "1" }"#),
    (MAIN, "headers", r#"{ "X A" = "1" }"#),
    (MAIN, "content_type", r#""appl\u00efcation""#),
    (MAIN, "allow_cidrs", r#"["10.1.0.0/33"]"#),
    (MAIN, "allow_private", r#""true""#),
    (MAIN, "cloud", r#""germany""#),
    (MAIN, "graph_url", r#""http://graph.microsoft.us""#),
    (RULES, "by", r#"["colour"]"#),
    (RULES, "id", r#""Password Reset""#),
    (RULES, "on", r#""entra.audits""#),
    (RULES, "when", r#"{ operaton = "Reset user password" }"#),
    (RULES, "to", r#"["list:sok"]"#),
    (RULES, "to", r#"["someone@elsewhere.example"]"#),
    (RULES, "channels", r#"["emial"]"#),
    (RULES, "severity", r#""severe""#),
    (RULES, "max_age", r#""60d""#),
    (RULES, "policy", r#""personel""#),
];

fn of_bad_values() -> Vec<Mutation> {
    let bad = BAD.iter().map(|(file, key, value)| {
        let text = good(file);
        let (number, ..) = lines(&text).into_iter().find(|(_, found, _)| found == key).unwrap();
        let line = format!("{key} = {value}");
        Mutation { what: format!("{file}: {line}"), file, text: with_line(&text, number, &line), lines: vec![number] }
    });
    bad.collect()
}

/// Whole tables: misspelt, of the wrong form, and twice.
fn of_tables() -> Vec<Mutation> {
    let mut mutations = Vec::new();
    for file in [MAIN, RULES] {
        let text = good(file);
        for (at, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('[')) {
            let number = at + 1;
            let misspelt = line.replacen(['[', '.'], "[x", 1).replace("[x[", "[[x");
            mutations.push(Mutation {
                what: format!("{file}: {misspelt}"),
                file,
                text: with_line(&text, number, &misspelt),
                lines: vec![number],
            });
        }
    }
    let end = |text: &str, more: &str| format!("{text}{more}");
    let (main, rules) = (good(MAIN), good(RULES));
    for (file, text, more) in [
        (MAIN, &main, "[channel.Email]\n"),
        (MAIN, &main, "[nonsense]\n"),
        (RULES, &rules, "[list]\nsoc = [\"soc@example.com\"]\n"),
        (RULES, &rules, "[store]\ncontent = \"1d\"\n"),
        (RULES, &rules, "[lookup.owners]\ncsv = \"owners.csv\"\n"),
        (
            RULES,
            &rules,
            "[[rule]]\nid = \"password-reset\"\non = \"any\"\nto = \"target\"\nchannels = \"email\"\ntemplate = \"password-reset\"\n",
        ),
    ] {
        let last = text.lines().count();
        let lines = (last + 1..=last + 2).collect();
        mutations.push(Mutation { what: format!("{file}: + {more}"), file, text: end(text, more), lines });
    }
    mutations
}

#[test]
fn no_mutated_configuration_loads_and_each_fault_names_file_and_line() {
    let control = copy();
    assert_eq!(examine(control.path()).faults, [], "the unmutated control loads");
    assert!(examine(control.path()).config.is_some());

    let mut mutations = of_every_line(MAIN);
    mutations.extend(of_every_line(RULES));
    mutations.extend(of_bad_values());
    mutations.extend(of_tables());
    assert!(mutations.len() >= 200, "{}", mutations.len());

    let mut unnamed = Vec::new();
    for mutation in &mutations {
        let directory = copy();
        let path: PathBuf = directory.path().join(mutation.file);
        fs::write(&path, &mutation.text).unwrap();
        let report = examine(directory.path());
        let named = report.faults.iter().any(|fault| {
            fault.file == path.display().to_string() && fault.line.is_some_and(|line| mutation.lines.contains(&line))
        });
        if report.config.is_some() || !named {
            let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
            unnamed.push(format!("{}\n    {}", mutation.what, faults.join("\n    ")));
        }
    }
    assert!(unnamed.is_empty(), "{} of {}:\n{}", unnamed.len(), mutations.len(), unnamed.join("\n"));
}

#[test]
fn a_configuration_whose_files_cannot_be_read_names_them() {
    for spoil in ["missing", "a directory", "not UTF-8", "too large", "nested include", "link out of the directory"] {
        let directory = copy();
        let rules = directory.path().join(RULES);
        match spoil {
            "missing" => fs::remove_file(directory.path().join(MAIN)).unwrap(),
            "a directory" => {
                fs::remove_file(&rules).unwrap();
                fs::create_dir(&rules).unwrap();
            }
            "not UTF-8" => fs::write(&rules, b"# \xff\n").unwrap(),
            "too large" => fs::write(&rules, "#".repeat(5 << 20)).unwrap(),
            "nested include" => fs::write(&rules, format!("include = [\"more.toml\"]\n{}", good(RULES))).unwrap(),
            _ => {
                let outside = tempfile::NamedTempFile::new().unwrap();
                fs::remove_file(&rules).unwrap();
                std::os::unix::fs::symlink(outside.path(), &rules).unwrap();
            }
        }
        let report = examine(directory.path());
        assert!(report.config.is_none(), "{spoil}");
        let place = directory.path().display().to_string();
        assert!(report.faults.iter().any(|fault| fault.file.starts_with(&place)), "{spoil}: {:?}", report.faults);
    }
}
