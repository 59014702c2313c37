//! The command line itself: every command takes the options that it heeds, and no others.

use std::process::Command;

fn auditbell(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_auditbell")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Each command that does something, and whether it heeds `-c` and `-o`.
const COMMANDS: &[(&[&str], bool, bool)] = &[
    (&["run"], true, false),
    (&["demo"], false, false),
    (&["init"], false, false),
    (&["reload"], true, true),
    (&["check"], true, true),
    (&["inspect"], true, false),
    (&["explain"], true, true),
    (&["send-test"], true, true),
    (&["operations"], false, true),
    (&["rules"], true, true),
    (&["test"], true, true),
    (&["messages", "list"], true, true),
    (&["messages", "show"], true, true),
    (&["messages", "retry"], true, true),
    (&["messages", "cancel"], true, true),
    (&["messages", "move"], true, true),
    (&["messages", "release"], true, true),
    (&["messages", "discard"], true, true),
    (&["dead-letters", "list"], true, true),
    (&["dead-letters", "show"], true, true),
    (&["dead-letters", "replay"], true, true),
    (&["dead-letters", "discard"], true, true),
    (&["positions", "list"], true, true),
    (&["positions", "set"], true, true),
    (&["status"], true, true),
    (&["store", "check"], true, true),
    (&["schema"], false, false),
];

#[test]
fn help_offers_the_options_that_the_command_heeds() {
    for (command, config, output) in COMMANDS {
        let (code, help, _) = auditbell(&[command, &["--help"][..]].concat());
        assert_eq!(code, 0, "{command:?}");
        assert_eq!((help.contains("--config <FILE>"), help.contains("--output <")), (*config, *output), "{help}");
    }
}

#[test]
fn an_option_that_the_command_does_not_heed_is_a_usage_error() {
    for (command, config, output) in COMMANDS {
        for (option, heeded) in [(["-c", "x.toml"], config), (["-o", "json"], output)] {
            if !heeded {
                let (code, stdout, stderr) = auditbell(&[command, &option[..]].concat());
                assert_eq!((code, stdout.as_str()), (2, ""), "{command:?} {option:?}");
                assert!(stderr.contains("unexpected argument"), "{command:?} {option:?}: {stderr}");
            }
        }
    }
}

#[test]
fn a_configuration_is_named_after_the_command_or_between_its_parts() {
    for arguments in [
        &["run", "-c", "/nowhere.toml"][..],
        &["check", "-c", "/nowhere.toml", "-o", "json"],
        &["send-test", "-c", "/nowhere.toml", "--channel", "email", "--to", "me@example.com"],
        &["messages", "list", "-c", "/nowhere.toml"],
        &["messages", "-c", "/nowhere.toml", "list"],
    ] {
        let (code, stdout, stderr) = auditbell(arguments);
        assert_eq!(code, 78, "{arguments:?}");
        assert!(
            stdout.contains("/nowhere.toml") || stderr.contains("/nowhere.toml"),
            "{arguments:?}: {stdout}{stderr}"
        );
    }
}

#[test]
fn what_always_prints_json_says_so() {
    assert!(auditbell(&["inspect", "--help"]).1.contains("always as JSON"));
}
