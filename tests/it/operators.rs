//! What an operator does through the binary, beside a daemon and without one: the commands of `docs/operations.md`.

use serde_json::Value;

use crate::harness::{ALICE, BOB, Bench, RESET, envelope, reset, reset_of_number};
use crate::smtp_server::{Options, Reply, Rule};

/// Exit code, stdout, stderr.
fn run(bench: &Bench, arguments: &[&str]) -> (i32, String, String) {
    let output = bench.command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// One JSON object a line.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
