//! `demo`, as a newcomer types it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn demo(temp: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditbell"));
    command.args(["demo", "--listen", "127.0.0.1:0"]).env("TMPDIR", temp).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn once_delivers_every_expected_mail_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let output = demo(temp.path()).arg("--once").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("15 of 15 expected mails arrived, 0 others."), "{said}");
    assert!(said.contains("7.1 (unreadable)  → kept in the dead letters: not-json"), "{said}");
    assert!(said.contains("3.0 Reset user password  → rule password-reset does not match: result"), "{said}");
    let guest = "8.0 Reset user password  → nobody can be mailed (guest): the fallback list hears instead (rule password-reset)";
    assert!(said.contains(guest), "{said}");
    assert!(said.contains("8.2 Reset user password  → nobody can be mailed (unknown): the fallback list"), "{said}");
    assert!(said.contains("2.0 Reset user password  → will be told by mail (rule password-reset)"), "{said}");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "something was left behind");
}

#[test]
fn the_inbox_shows_a_mail_beside_its_records_and_ctrl_c_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let mut child = demo(temp.path()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let address = first.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    assert!(get(&address, "/").contains("No mail yet"), "an empty inbox says so");

    let until = Instant::now() + Duration::from_mins(1);
    let line = lines.find(|line| line.as_ref().unwrap().contains("mail to alice@example.com: Your password was reset"));
    assert!(line.is_some() && Instant::now() < until, "no mail came");
    let page = get(&address, "/");
    assert!(page.contains("Why it was sent") && page.contains("password-reset"), "{page}");
    assert!(page.contains("Reset password (by admin)"), "the record stands beside the mail: {page}");
    let body = page.split("<iframe src=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mail = get(&address, &body);
    assert!(mail.contains("content-security-policy: default-src 'none'"), "{mail}");
    assert!(mail.contains("Your password was reset"), "{mail}");
    assert!(get(&address, "/mail/nothing").starts_with("HTTP/1.1 404"));

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // The reader must not stay open, or a full pipe could hold the child.
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "something was left behind");
}
