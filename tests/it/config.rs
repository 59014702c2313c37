//! The configuration through its door: files and variables in, a `Config` or every fault with its place out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use auditbell::config::{self, Report};

use crate::smtp_server::Relay;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn examine(path: &Path) -> Report {
    config::examine(path, &BTreeMap::new())
}

#[test]
fn every_good_configuration_loads() {
    for entry in fs::read_dir(shipped("tests/configs/good")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            assert_eq!(examine(&path).faults, [], "{}", path.display());
        }
    }
}

#[test]
fn the_smallest_file_of_the_readme_loads() {
    let readme = fs::read_to_string(shipped("README.md")).unwrap();
    let (_, block) = readme.split_once("```toml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    fs::write(&path, block).unwrap();
    fs::write(directory.path().join("smtp-password"), "not-a-real-password\n").unwrap();
    let report = examine(&path);
    assert_eq!((report.faults, report.warnings), (vec![], vec![]));
}

#[test]
fn what_the_deployment_for_kubernetes_holds_passes_without_a_warning() {
    let manifest = fs::read_to_string(shipped("deploy/kubernetes.yaml")).unwrap();
    let (_, after) = manifest.split_once("  auditbell.toml: |\n").unwrap();
    let (block, _) = after.split_once("\n---").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auditbell.toml");
    // The Secret is mounted there.
    fs::write(&path, block.replace("/run/secrets/auditbell/", "")).unwrap();
    fs::write(directory.path().join("smtp-password"), "not-a-real-password\n").unwrap();
    let report = examine(&path);
    assert_eq!((report.faults, report.warnings), (vec![], vec![]));
}

#[test]
fn a_live_rule_that_tells_people_without_a_brake_is_a_warning() {
    let example = fs::read_to_string(shipped("config.example.toml")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let brakes = |text: &str| {
        fs::write(&path, text).unwrap();
        let report = examine(&path);
        assert_eq!(report.faults, []);
        report.warnings.iter().filter(|warning| warning.message.contains("has no brake")).count()
    };
    assert_eq!(brakes(&example), 0);
    let brake = "throttle = { max = 100, per = \"10m\", overflow = \"hold\" }\n";
    assert!(example.contains(brake));
    assert_eq!(brakes(&example.replace(brake, "")), example.matches("\n[[rule]]\n").count());
    assert_eq!(
        brakes(
            &example
                .replace(brake, "")
                .replace("# mode = \"live\"", "mode = \"shadow\"")
                .replace("[\"target\"]", "[\"list:soc\"]")
        ),
        0
    );
}

/// Each `bad/NAME.toml` has its faults and warnings in `bad/NAME.expected`, a line each; write them with `INSTA_UPDATE=always`.
#[test]
fn every_bad_configuration_gives_its_expected_faults() {
    let directory = shipped("tests/configs/bad");
    let update = std::env::var_os("INSTA_UPDATE").is_some_and(|value| value == "always");
    let mut seen = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let report = examine(&path);
        assert!(report.config.is_none(), "{}", path.display());
        let prefix = format!("{}/", directory.display());
        let lines = report.faults.iter().map(|fault| format!("{fault}\n").replace(&prefix, ""));
        let got: String = lines.collect();
        let expected = path.with_extension("expected");
        if update {
            fs::write(&expected, &got).unwrap();
        }
        assert_eq!(got, fs::read_to_string(&expected).unwrap(), "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn the_command_says_every_fault_with_its_place_and_exits_78() {
    let run = |file: &str, more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_auditbell"));
        let output = command.arg("check").arg(shipped(file)).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run("tests/configs/bad/slips.toml", &[]);
    assert_eq!(code, Some(78));
    assert!(text.contains("slips.toml:4: source.entra.topic: unknown key; did you mean `topics`?"), "{text}");
    let (code, text) = run("tests/configs/bad/slips.toml", &["-o", "json"]);
    assert_eq!(code, Some(78));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["faults"][0]["line"], 2);
    assert_eq!(run("config.example.toml", &[]).0, Some(0));
    assert_eq!(run("config.example.toml", &["--strict"]).0, Some(0));
    assert_eq!(run("tests/configs/good/minimal.toml", &["--strict"]).0, Some(78), "no rule is a warning");
}

#[test]
fn check_names_the_line_at_which_a_people_file_breaks_off_inside_a_quote() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auditbell.toml");
    let text = fs::read_to_string(shipped("tests/configs/good/minimal.toml")).unwrap();
    fs::write(&path, text.replace("[people]", "[people]\ncsv = \"people.csv\"")).unwrap();
    fs::write(directory.path().join("people.csv"), "upn,name\na@example.com,A\nb@example.com,\"B, the").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_auditbell")).arg("check").arg(&path).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("people.csv: line 3: the file ends inside a quote"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_connect_tries_the_relay_and_exits_1_when_something_cannot_be_used() {
    let relay = Relay::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auditbell.toml");
    // Nobody listens there: the port was free a moment ago and is not asked for again.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = fs::read_to_string(shipped("tests/configs/good/minimal.toml")).unwrap();
    let text = text.replace("smtp+plain://127.0.0.1:2525", &relay.url());
    fs::write(&path, text.replace("localhost:9092", &closed.to_string())).unwrap();
    let check = |path: PathBuf| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_auditbell"))
            .arg("check")
            .arg(path)
            .arg("--connect")
            .output();
        output.map(|output| (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())).unwrap()
    };
    let (code, text) = tokio::task::spawn_blocking(move || check(path)).await.unwrap();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("source.entra: cannot be used"), "{text}");
    assert!(!text.contains("channel.email"), "the relay answers: {text}");
}

/// `fallback = …` of a mail channel or of the room beside it, to whom it comes.
#[test]
fn a_fallback_names_rooms_and_people_and_the_channel_that_reaches_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let minimal = fs::read_to_string(shipped("tests/configs/good/minimal.toml")).unwrap();
    let people = "allow_domains = [\"example.com\"]\nfallback = \"night@example.com\"\n";
    assert!(minimal.contains("allow_domains = [\"example.com\"]\n"));
    let minimal = minimal.replace("allow_domains = [\"example.com\"]\n", people);
    let read = |email: &str, hook: &str| -> (Vec<String>, Vec<String>, usize) {
        let rest = format!(
            "\n[list]\nsoc = [\"soc@example.com\", \"lead@example.com\"]\n[channel.ops-hook]\ntype = \"webhook\"\n\
             url = \"https://hooks.example.com/x\"\n{hook}\n"
        );
        let text = minimal.replace("type = \"smtp\"\n", &format!("type = \"smtp\"\n{email}\n"));
        fs::write(&path, text + &rest).unwrap();
        let report = examine(&path);
        let circles = report.warnings.iter().filter(|warning| warning.message.contains("leads back")).count();
        let config = report.config.unwrap_or_else(|| panic!("{:#?}", report.faults));
        let of = |name: &str| {
            let channel = config.channels.iter().find(|channel| &*channel.name == name).unwrap();
            let told = |one: &config::Instead| format!("{}:{}", one.channel, one.address.as_deref().unwrap_or("room"));
            channel.fallback.iter().map(told).collect::<Vec<_>>()
        };
        (of("email"), of("ops-hook"), circles)
    };
    let list = ["email:lead@example.com", "email:soc@example.com"];
    for (why, email, hook, expected) in [
        (
            "without the key the people's own, and nobody for a room",
            "",
            "",
            (vec!["email:night@example.com"], vec![], 0),
        ),
        ("a room", "fallback = \"ops-hook\"", "", (vec!["ops-hook:room"], vec![], 0)),
        ("a list, through this channel", "fallback = [\"list:soc\"]", "", (list.to_vec(), vec![], 0)),
        (
            "both, each once",
            "fallback = [\"list:soc\", \"ops-hook\", \"soc@example.com\"]",
            "",
            ([&list[..], &["ops-hook:room"]].concat(), vec![], 0),
        ),
        (
            "a room's people through the channel named beside them",
            "",
            "fallback = [\"email\", \"list:soc\"]",
            (vec!["email:night@example.com"], list.to_vec(), 0),
        ),
        (
            "a personal channel alone: the people's own through it",
            "",
            "fallback = \"email\"",
            (vec!["email:night@example.com"], vec!["email:night@example.com"], 0),
        ),
        (
            "each other's: said, and harmless",
            "fallback = \"ops-hook\"",
            "fallback = \"email\"",
            (vec!["ops-hook:room"], vec!["email:night@example.com"], 2),
        ),
    ] {
        let (of_email, of_hook, circles) = read(email, hook);
        let texts = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!((of_email, of_hook, circles), (texts(expected.0), texts(expected.1), expected.2), "{why}");
    }
}
