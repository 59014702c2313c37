//! Tests of what stands between the parts: the example file against the table of keys, layers, hash, secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use tempfile::TempDir;
use toml::{Table, Value};

use super::rule_test;
use super::schema::{self, Form, Key, Need, Shape};
use super::{Report, examine};
use crate::channels::Settings;
use crate::channels::smtp::{Auth, Limits, Proof, Timeouts};
use crate::channels::token::Credential;
use crate::record::mapped;
use crate::rules::parse;
use crate::secret::{Secret, Source};

/// The example with all its sections in force: of those that are not, one `#` is taken from each line.
static EXAMPLE: LazyLock<String> = LazyLock::new(|| {
    let mut out_of_force = false;
    let lines = include_str!("../../config.example.toml").lines().map(|line| {
        out_of_force = line.starts_with("#[") || out_of_force && !line.is_empty();
        if out_of_force { &line[1..] } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
});
const MINIMAL: &str = include_str!("../../tests/configs/good/minimal.toml");

/// A directory with `text` as its configuration, and every file and folder that the example names.
fn directory(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("auditbell.toml"), text).unwrap();
    for name in [
        "kafka-password",
        "kafka-ca.pem",
        "kafka-client.pem",
        "kafka-client.key",
        "smtp-password",
        "smtp-secret",
        "relay-ca.pem",
        "relay-client.pem",
        "relay-client.key",
        "people.csv",
        "logo.png",
        "graph-secret",
        "azure-token",
        "azure-ca.pem",
        "hook-authorization",
        "hook-ca.pem",
        "hook-client.pem",
        "hook-client.key",
    ] {
        fs::write(directory.path().join(name), "content").unwrap();
    }
    fs::write(directory.path().join("owners.csv"), "subscription,mail\n1,owner@example.com\n").unwrap();
    fs::write(directory.path().join("hook-url"), "https://hooks.example.com/T0/canary").unwrap();
    fs::write(directory.path().join("hook-secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    fs::create_dir(directory.path().join("templates")).unwrap();
    fs::create_dir(directory.path().join("rules.d")).unwrap();
    directory
}

fn load(text: &str, variables: &[(&str, &str)]) -> Report {
    let directory = directory(text);
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    examine(&directory.path().join("auditbell.toml"), &variables)
}

/// One line of the example that shows a key: its section, whether it is commented out, and its text without the `# `.
struct Shown {
    section: String,
    commented: bool,
    line: usize,
    table: Table,
}

fn shown() -> Vec<Shown> {
    let mut section = String::new();
    let mut found = Vec::new();
    for (line, text) in EXAMPLE.lines().enumerate() {
        if let Some(header) = text.strip_prefix('[') {
            section = header.trim_matches(['[', ']']).to_owned();
            continue;
        }
        let bare = text.strip_prefix("# ").unwrap_or(text);
        let key = bare.split(" = ").next().unwrap_or_default();
        if bare.contains(" = ") && key.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            let table = bare.parse().unwrap_or_else(|error| panic!("line {}: {error}", line + 1));
            found.push(Shown { section: section.clone(), commented: bare != text, line, table });
        }
    }
    found
}

/// Every dotted key of a table shown below a section.
fn keys_of(section: &str, table: &Table) -> Vec<String> {
    table
        .iter()
        .flat_map(|(key, value)| {
            let path = format!("{section}.{key}");
            let below = value
                .as_table()
                .filter(|_| {
                    !path.starts_with("dialect.")
                        && ![
                            "source.entra.kafka",
                            "channel.hook.headers",
                            "rule.when",
                            "rule.unless",
                            "rule.test.lists",
                        ]
                        .contains(&path.as_str())
                })
                .map(|table| keys_of(&path, table));
            below.unwrap_or_default().into_iter().chain([path])
        })
        .collect()
}

/// The example's own tables of a section, with the keys of each.
fn tables(section: &schema::Section) -> Vec<(String, &'static [Key])> {
    match (section.name, section.form) {
        ("source", _) => vec![("source.entra".into(), section.keys)],
        ("policy", _) => vec![("policy.personal".into(), section.keys)],
        ("lookup", _) => vec![("lookup.owners".into(), section.keys)],
        ("window", _) => vec![("window.office".into(), section.keys)],
        (_, Form::Typed(types)) => {
            let names = ["email", "m365", "hook"].map(|name| format!("channel.{name}"));
            assert_eq!(types.len(), names.len());
            names.into_iter().zip(types.iter().map(|(_, keys)| *keys)).collect()
        }
        (name, _) => vec![(name.into(), section.keys)],
    }
}

fn expected(prefix: &str, keys: &[Key], into: &mut BTreeMap<String, Need>) {
    for key in keys {
        let path = format!("{prefix}.{}", key.name);
        if let Shape::Table(below) = key.shape {
            expected(&path, below, into);
        }
        into.insert(path, key.need);
    }
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let mut known = BTreeMap::from([
        (".include".to_owned(), Need::Optional),
        ("list.soc".to_owned(), Need::Optional),
        ("list.oncall".to_owned(), Need::Optional),
    ]);
    for (prefix, keys) in schema::SECTIONS.iter().filter(|section| section.form != Form::Free).flat_map(tables) {
        expected(&prefix, keys, &mut known);
    }
    known.extend(mapped::parse::KEYS.iter().map(|key| (format!("dialect.doors.{key}"), Need::Optional)));
    let of_rules = parse::KEYS.iter().filter(|key| **key != "test").map(|key| format!("rule.{key}"));
    let of_tests = rule_test::KEYS.iter().map(|key| format!("rule.test.{key}"));
    known.extend(of_rules.chain(of_tests).map(|path| (path, Need::Optional)));
    let known: BTreeSet<String> = known.into_keys().collect();
    let shown: BTreeSet<String> = shown().iter().flat_map(|line| keys_of(&line.section, &line.table)).collect();
    assert_eq!(shown, known);
}

#[test]
fn the_example_shows_the_defaults_of_the_code() {
    let mut known = BTreeMap::new();
    for (prefix, keys) in schema::SECTIONS.iter().flat_map(tables) {
        expected(&prefix, keys, &mut known);
    }
    let text = |value: &Value| match value {
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(","),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let lines = shown();
    let mut compared = 0;
    for (path, need) in &known {
        let Need::Default(default) = need else { continue };
        let (section, key) = path.rsplit_once('.').unwrap();
        let line = lines.iter().find(|line| line.section == section && line.table.contains_key(key)).unwrap();
        assert!(line.commented, "{path} has a default, so the example leaves it commented out");
        assert_eq!(text(&line.table[key]), *default, "{path}");
        compared += 1;
    }
    assert!(compared >= 10, "{compared}");
    let of_rules = |key: &str| {
        lines
            .iter()
            .find(|line| line.section == "rule" && line.commented && line.table.contains_key(key))
            .map(|line| text(&line.table[key]))
    };
    assert_eq!(of_rules("max_age").map(|text| crate::clock::parse_duration(&text)), Some(Ok(parse::MAX_AGE)));
    assert_eq!(of_rules("mode").as_deref(), Some("live"));
    assert_eq!(of_rules("enabled").as_deref(), Some("true"));
}

#[test]
fn the_example_loads_as_it_is_and_with_each_commented_line_in_force() {
    assert_eq!(load(&EXAMPLE, &[]).faults, []);
    assert_eq!(load(include_str!("../../config.example.toml"), &[]).faults, []);
    // A certificate and its key only go together.
    let half = |table: &Table| table.contains_key("cert_file") || table.contains_key("key_file");
    let shown = shown();
    let halves: Vec<usize> = shown.iter().filter(|line| half(&line.table)).map(|line| line.line).collect();
    for line in shown.iter().filter(|line| line.commented) {
        let in_force = |number| number == line.line || half(&line.table) && halves.contains(&number);
        // A key takes the place of what is in force in its section: of itself, or of the file of the same secret.
        let key = |shown: &Shown| shown.table.keys().next().unwrap().trim_end_matches("_file").to_owned();
        let replaced = |number| {
            let other = shown.iter().find(|other| other.line == number && !other.commented);
            // A lookup's rows stand in a file or here; a test has one record or several.
            let one_of = |shown: &Shown| match key(shown).as_str() {
                "csv" => "rows".to_owned(),
                "record" => "records".to_owned(),
                other => other.to_owned(),
            };
            other.is_some_and(|other| other.section == line.section && one_of(other) == one_of(line))
        };
        let text: Vec<&str> = EXAMPLE
            .lines()
            .enumerate()
            .filter(|(number, _)| !replaced(*number))
            .map(|(number, text)| if in_force(number) { text.trim_start_matches("# ") } else { text })
            .collect();
        assert_eq!(load(&text.join("\n"), &[]).faults, [], "line {}", line.line + 1);
    }
}

#[test]
fn the_example_shows_the_limits_of_smtp_as_they_are() {
    let shown = shown();
    let line = shown.iter().find(|line| line.table.contains_key("timeouts")).unwrap();
    let written = load(&EXAMPLE.replacen("# timeouts", "timeouts", 1), &[]).config.unwrap();
    assert_eq!(line.table["timeouts"].as_table().unwrap().len(), 11);
    for config in [load(&EXAMPLE, &[]).config.unwrap(), written] {
        assert_eq!(smtp(&config, 0).timeouts, Timeouts::default());
        assert_eq!(smtp(&config, 0).limits, Limits::default());
    }
}

#[test]
fn the_examples_rules_watch_only_operations_that_were_seen() {
    let report = load(include_str!("../../config.example.toml"), &[]);
    assert_eq!(report.warnings, []);
    assert_eq!(report.config.unwrap().rules.iter().count(), 13);
}

#[test]
fn variables_win_over_files_and_files_over_defaults() {
    let text = MINIMAL.replace("[people]", "[http]\nlisten = \"127.0.0.1:1\"\n[people]");
    let config = load(&text, &[]).config.unwrap();
    assert_eq!(config.http.port(), 1);
    assert_eq!(smtp(&config, 0).connections, 5);
    let config = load(
        &text,
        &[
            ("AUDITBELL__HTTP__LISTEN", "127.0.0.1:2"),
            ("AUDITBELL__CHANNEL__EMAIL__CONNECTIONS", "7"),
            ("AUDITBELL__SOURCE__ENTRA__TOPICS", "one, two"),
            ("AUDITBELL__CHANNEL__SECOND_WAY__TYPE", "smtp"),
            ("AUDITBELL__CHANNEL__SECOND_WAY__RELAY", "smtps://relay.example.com"),
            ("AUDITBELL__CHANNEL__SECOND_WAY__FROM", "a@example.com"),
            ("AUDITBELL__CHANNEL__SECOND_WAY__AUTH__USER", "u"),
            ("AUDITBELL__CHANNEL__SECOND_WAY__AUTH__PASSWORD", "007"),
            ("AUDITBELL_UNRELATED", "x"),
        ],
    )
    .config
    .unwrap();
    assert_eq!(config.http.port(), 2);
    assert_eq!(config.sources[0].topics, ["one", "two"]);
    assert_eq!(config.channels.iter().map(|channel| &*channel.name).collect::<Vec<_>>(), ["email", "second-way"]);
    assert_eq!(smtp(&config, 0).connections, 7);
    let Some(Auth { user, proof: Proof::Password(password) }) = &smtp(&config, 1).auth else { panic!("no login") };
    assert_eq!((user.as_str(), password.read().unwrap().expose()), ("u", "007"), "a password keeps its zeros");
}

#[test]
fn a_bad_variable_is_a_fault_that_names_it() {
    for (name, value, says) in [
        ("AUDITBELL__HTTP__LISTNE", "127.0.0.1:1", "did you mean `listen`?"),
        ("AUDITBELL__HTPP__LISTEN", "127.0.0.1:1", "did you mean `http`?"),
        ("AUDITBELL__HTTP", "127.0.0.1:1", "known here: listen"),
        ("AUDITBELL__HTTP__LISTEN__X", "127.0.0.1:1", "nothing stands below"),
        ("AUDITBELL__HTTP__LISTEN", "127.0.0.1", "must be an IP address and a port"),
        ("AUDITBELL__CHANNEL__EMAIL__CONNECTIONS", "25.7", "must be a whole number"),
        ("AUDITBELL__CHANNEL__EMAIL__RETRY", "1m,soon", "is not a duration"),
        ("AUDITBELL__CHANNEL__EMAIL__AUTH__USER", "u", "is missing: add `password_file"),
        ("AUDITBELL__SOURCE__ENTRA__KAFKA__CHECK_CRCS", "true", "can be set only in a file"),
        ("AUDITBELL__LIST__SOC", "a@example.com", "can be set only in a file"),
        ("AUDITBELL__LOG__LEVEL", "", "must not be empty"),
        ("AUDITBELL__BRAND__NAME", "Caf\u{fffd}", "must be UTF-8"),
        ("AUDITBELL__STORE__CONTENT", "100d", "is longer than `ledger`"),
        ("AUDITBELL__PEOPLE__FALLBACK", "list:nobody", "does not exist"),
    ] {
        let report = load(MINIMAL, &[(name, value)]);
        assert!(report.config.is_none(), "{name}");
        let fault = report.faults.iter().find(|fault| fault.message.contains(says));
        let fault = fault.unwrap_or_else(|| panic!("{name}: {:?}", report.faults));
        assert!(fault.file.starts_with(name.rsplit_once("__").unwrap().0), "{fault}");
    }
}

#[test]
fn relative_paths_start_at_the_file_and_the_store_at_the_state_directory() {
    let directory = directory(&MINIMAL.replace("[people]", "[people]\ncsv = \"people.csv\""));
    let path = directory.path().join("auditbell.toml");
    let config = examine(&path, &BTreeMap::new()).config.unwrap();
    assert_eq!(config.people.csv, Some(directory.path().join("people.csv")));
    assert_eq!(config.store.path, Path::new("auditbell.db"));
    let state = BTreeMap::from([("STATE_DIRECTORY".to_owned(), "/var/lib/auditbell:/other".to_owned())]);
    assert_eq!(examine(&path, &state).config.unwrap().store.path, Path::new("/var/lib/auditbell/auditbell.db"));
}

#[test]
fn secrets_are_never_printed_and_do_not_change_the_hash() {
    let auth = |password: &str| {
        let text =
            MINIMAL.replace("[people]", &format!("auth = {{ user = \"u\", password = \"{password}\" }}\n[people]"));
        text.replace("smtp+plain://127.0.0.1:2525", "smtps://relay.example.com")
    };
    let first = load(&auth("canary-one"), &[]).config.unwrap();
    assert_eq!(smtp(&first, 0).auth.as_ref().unwrap().proof, Proof::Password(Source::Here(Secret::new("canary-one"))));
    let printed = format!("{first:?}");
    assert!(printed.contains("relay.example.com") && !printed.contains("canary"), "{printed}");
    assert_eq!(first.hash, load(&auth("canary-other"), &[]).config.unwrap().hash);
    let variable = ("AUDITBELL__CHANNEL__EMAIL__AUTH__PASSWORD", "canary-three");
    assert_eq!(first.hash, load(&auth("canary-one"), &[variable]).config.unwrap().hash);
    assert_ne!(first.hash, load(&auth("canary-one"), &[("AUDITBELL__LOG__LEVEL", "warn")]).config.unwrap().hash);
    assert_ne!(first.hash, load(&format!("{}#", auth("canary-one")), &[]).config.unwrap().hash);
}

#[test]
fn no_fault_repeats_a_secret() {
    for (why, line) in [
        ("a password of the wrong type", "auth = { user = \"u\", password = [\"canary\"] }"),
        ("a password with a line break", "auth = { user = \"u\", password = \"can\\nary canary\" }"),
        (
            "a password beside its file",
            "auth = { user = \"u\", password = \"canary\", password_file = \"smtp-password\" }",
        ),
        ("a password over a plain connection", "auth = { user = \"u\", password = \"canary\" }"),
        ("a password that is not closed", "auth = { user = \"u\", password = \"canary"),
        ("a password that stands twice", "auth.password = \"canary\"\nauth.password = \"canary\""),
        ("a password that stands in the relay", "relay = \"smtps://user:canary@relay.example.com\""),
        ("a password that stands in the table's place", "auth = \"canary\""),
        (
            "a webhook's URL with a password",
            "[channel.hook]\ntype = \"webhook\"\nurl = \"https://u:canary@example.com\"",
        ),
        ("a webhook's URL that is none", "[channel.hook]\ntype = \"webhook\"\nurl = \"canary\""),
        (
            "a webhook's key that is none",
            "[channel.hook]\ntype = \"webhook\"\nurl = \"https://example.com\"\nsecret = \"canary\"",
        ),
        (
            "a header that is none",
            "[channel.hook]\ntype = \"webhook\"\nurl = \"https://example.com\"\nheaders = { \"a b\" = \"canary\" }",
        ),
    ] {
        let report = load(&MINIMAL.replace("[people]", &format!("{line}\n[people]")), &[]);
        assert!(!report.faults.is_empty(), "{why}");
        let printed = format!("{report:?}") + &report.faults.iter().map(ToString::to_string).collect::<String>();
        assert!(!printed.contains("canary"), "{why}: {printed}");
    }
}

#[test]
fn a_key_of_another_type_is_a_fault_wherever_it_stands() {
    let webhook = "[channel.hook]\ntype = \"webhook\"\nurl = \"https://hooks.example.com\"\n";
    let graph = "[channel.m365]\ntype = \"graph-mail\"\nfrom = \"a@example.com\"\n\
                 auth = { oauth2 = { identity = \"managed\" } }\n";
    let whole = |more: &str| format!("{MINIMAL}\n{webhook}{graph}{more}");
    assert_eq!(load(&whole(""), &[]).faults, []);
    let file = load(&format!("{MINIMAL}\n{webhook}relay = \"smtps://relay.example.com\"\n"), &[]);
    assert!(file.faults.iter().any(|fault| fault.key == "channel.hook.relay" && fault.line.is_some()), "{file:?}");
    for (name, value, says) in [
        ("AUDITBELL__CHANNEL__EMAIL__ALLOW_HTTP", "true", "is no key of this type; known here: type, relay"),
        ("AUDITBELL__CHANNEL__HOOK__HELLO", "bell.example.com", "is no key of this type; known here: type, url"),
        ("AUDITBELL__CHANNEL__M365__AUTH__USER", "u", "is no key of this type; known here: oauth2"),
        ("AUDITBELL__CHANNEL__M365__CONNECTIONS", "5", "must be a whole number from 1 to 4"),
        ("AUDITBELL__CHANNEL__HOOK__ALLOW_HTTP", "yes", "must be true or false"),
        ("AUDITBELL__CHANNEL__EMAIL__TYPE", "webhook", "is no key of this type"),
        ("AUDITBELL__CHANNEL__THIRD__URL", "https://hooks.example.com", "is missing: add `type = …`"),
        ("AUDITBELL__AZURE__LOGIN_URL", "http://login.example.com", "must begin with https://"),
    ] {
        let report = load(&whole(""), &[(name, value)]);
        assert!(report.config.is_none(), "{name}");
        assert!(report.faults.iter().any(|fault| fault.message.contains(says)), "{name}: {:?}", report.faults);
    }
}

#[test]
fn the_defaults_of_a_channel_are_those_of_its_type() {
    let variables = [
        ("AUDITBELL__CHANNEL__HOOK__TYPE", "webhook"),
        ("AUDITBELL__CHANNEL__HOOK__URL", "https://hooks.example.com"),
        ("AUDITBELL__CHANNEL__HOOK__ALLOW_CIDRS", "10.0.0.0/8, fd00::/8"),
        ("AUDITBELL__CHANNEL__M365__TYPE", "graph-mail"),
        ("AUDITBELL__CHANNEL__M365__FROM", "Example <a@example.com>"),
        ("AUDITBELL__CHANNEL__M365__AUTH__OAUTH2__IDENTITY", "managed"),
    ];
    let config = load(MINIMAL, &variables).config.unwrap();
    let [_, hook, m365] = &config.channels[..] else { panic!("{:?}", config.channels) };
    let (Settings::Webhook(webhook), Settings::GraphMail(graph)) = (&hook.settings, &m365.settings) else { panic!() };
    assert_eq!((webhook.connections, webhook.content_type.as_str()), (5, "application/json"));
    assert_eq!(
        (webhook.web.allow_http, webhook.web.guard.allow_private, webhook.web.guard.allow.len()),
        (false, false, 2)
    );
    assert_eq!(hook.retry.first(), Some(&std::time::Duration::from_secs(5)));
    assert_eq!((graph.connections, graph.mailbox.as_str()), (4, "a@example.com"));
    assert_eq!(m365.retry.first(), Some(&std::time::Duration::from_secs(30)));
    assert!(hook.sender.is_none() && m365.sender.is_some());
}

#[test]
fn what_kubernetes_tells_a_workload_need_not_be_written() {
    let text = format!(
        "{MINIMAL}\n[channel.m365]\ntype = \"graph-mail\"\nfrom = \"a@example.com\"\n\
         auth = {{ oauth2 = {{ identity = \"workload\" }} }}\n"
    );
    let report = load(&text, &[]);
    for key in ["tenant", "client_id", "token_file"] {
        let path = format!("channel.m365.auth.oauth2.{key}");
        assert!(report.faults.iter().any(|fault| fault.key == path), "{key}: {:?}", report.faults);
    }
    let told = [
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "app-1"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token"),
    ];
    let config = load(&text, &told).config.unwrap();
    let Settings::GraphMail(graph) = &config.channels[1].settings else { panic!("{:?}", config.channels) };
    assert_eq!((graph.auth.tenant.as_str(), graph.auth.client_id.as_deref()), ("tenant-1", Some("app-1")));
    assert_eq!(graph.auth.credential, Credential::Federated(told[2].1.into()));
}

proptest::proptest! {
    /// Cut anything out of the example and put anything in its place.
    #[test]
    fn a_spoilt_file_gives_a_configuration_or_faults_and_never_a_panic(
        from in 0..EXAMPLE.len(), length in 0_usize..200, put in "[\\[\\]{}=\"'.,#a-z0-9\n -]{0,30}"
    ) {
        let (from, to) = (EXAMPLE.floor_char_boundary(from), EXAMPLE.ceil_char_boundary((from + length).min(EXAMPLE.len())));
        let report = load(&format!("{}{put}{}", &EXAMPLE[..from], &EXAMPLE[to..]), &[]);
        proptest::prop_assert_eq!(report.config.is_some(), report.faults.is_empty());
        proptest::prop_assert!(report.faults.iter().all(|fault| fault.line.is_some() && !fault.message.is_empty()), "{:?}", report.faults);
    }
}

fn smtp(config: &super::Config, channel: usize) -> &crate::channels::smtp::Settings {
    match &config.channels[channel].settings {
        crate::channels::Settings::Smtp(settings) => settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mapping_table_stands_in_any_file_once_and_its_faults_have_their_place() {
    let with = |tables: &str| load(&format!("{MINIMAL}\n{tables}"), &[]);
    let good = "detect = { badge = true }\noperation = \"kind\"\n";
    for name in ["acme.doors", "\"acme.doors\"", "\"acme\".doors"] {
        let config = with(&format!("[dialect.{name}]\n{good}")).config.unwrap();
        assert!(config.dialects.iter().any(|dialect| dialect.as_str() == "acme.doors"), "{name}");
    }
    let rule = "[[rule]]\nid = \"door\"\non = \"acme.doors\"\nto = [\"a@example.com\"]\nchannels = [\"email\"]\ntemplate = \"password-reset\"\n";
    assert_eq!(with(&format!("[dialect.acme.doors]\n{good}{rule}")).faults, []);
    let lines = MINIMAL.lines().count() + 1;
    for (what, text, line, key, says) in [
        ("a rule names what is not there", rule.to_owned(), 3, "rule.door.on", "unknown dialect"),
        (
            "a slip",
            format!("[dialect.doors]\n{good}severty = \"a\"\n"),
            4,
            "dialect.doors.severty",
            "did you mean `severity`?",
        ),
        (
            "a table with a fault is none that is not there",
            format!("[dialect.acme.doors]\n{good}severty = \"a\"\n{rule}"),
            4,
            "dialect.acme.doors.severty",
            "did you mean `severity`?",
        ),
        ("one of ours", format!("[dialect.\"entra.audit\"]\n{good}"), 1, "dialect.entra.audit", "of our own"),
        ("no table", "[dialect]\ndoors = 7\n".to_owned(), 2, "dialect.doors", "write [dialect.\"NAME\"]"),
        ("twice", format!("[dialect.a.b]\n{good}[dialect.\"a.b\"]\n{good}"), 4, "dialect.a.b", "stands twice"),
    ] {
        let faults = with(&text).faults;
        let fault = faults.iter().find(|fault| fault.key == key).unwrap_or_else(|| panic!("{what}: {faults:?}"));
        assert_eq!(fault.line, Some(lines + line), "{what}: {fault}");
        assert!(fault.message.contains(says), "{what}: {fault}");
        assert_eq!(faults.len(), 1, "{what}: {faults:?}");
    }
}
