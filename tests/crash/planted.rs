//! The permanent negative controls: the real daemon with one known bug in it (`auditbell::crash::BUGS`). The check that finds
//! nothing in the same story without the bug must find it.

use crate::books::Findings;
use crate::each;
use crate::run::Run;
use crate::smtp_server::{Action, Command, Options, Tls};

/// Makes what waits due at once: nobody waits for a minute, or for a channel that pauses.
const DUE_NOW: &str = "UPDATE due SET due_at = 0";

/// Runs `plot` twice, with `bug` and without, each until everything is told, and gives what the check says of the former.
/// Of the latter it must say nothing.
fn found(bug: &'static str, relay: fn() -> Options, plot: impl AsyncFn(&mut Run) + Copy + Send + Sync) -> Findings {
    let findings = std::sync::Mutex::default();
    each(&[None, Some(bug)], async |planted| {
        let mut run = Run::with(relay()).await;
        run.bench.environment.extend(planted.map(|bug| ("AUDITBELL_PLANTED_BUG".to_owned(), bug.to_owned())));
        plot(&mut run).await;
        run.drain().await;
        if planted.is_some() {
            *findings.lock().unwrap() = run.findings();
        } else {
            run.is_whole(bug);
        }
    });
    findings.into_inner().unwrap()
}

/// With the bug, the position is on disk at this moment and the rows are not: the books balance, and only the comparison
/// knows.
#[test]
fn a_position_moved_before_its_rows_is_found_as_a_loss() {
    // The first two batches hold records that come only once, whatever the polls come to.
    each(&[1, 2], async |n| {
        let mut run = Run::new().await;
        run.bench.environment.push(("AUDITBELL_PLANTED_BUG".into(), "position-first".into()));
        run.produce().await;
        run.killed_at("accept_before_commit", n).await;
        // What is lost is lost by now: the daemon that finishes is a sound one.
        run.bench.environment.clear();
        run.drain().await;
        let findings = run.findings();
        assert!(!findings.lost.is_empty(), "the checker is blind: {findings:?}");
        println!("planted bug, batch {n}: LOST {}", findings.lost.len());
    });
}

/// T28. A relay that answers the final dot with another 354 has not taken the mail.
#[test]
fn a_354_after_the_dot_taken_for_a_success_is_found_as_a_loss() {
    let findings = found("354-is-sent", Options::default, async |run| {
        run.bench.relay.once(Command::Dot, Action::Reply("354 go on"));
        run.produce().await;
        run.runs_until("the answer to the dot", |log| log.contains("\"attempted\"")).await;
        run.edit_store(DUE_NOW);
    });
    assert_eq!(findings.lost.len(), 1, "the checker is blind: {findings:?}");
}

/// RFC 1047. Between the two attempts the organisation got another name, so that a new wording is a different one.
#[test]
fn new_bytes_after_an_ambiguous_outcome_are_found_as_an_altered_copy() {
    let findings = found("new-bytes", Options::default, async |run| {
        run.bench.relay.once(Command::Dot, Action::Close);
        run.allow_copy();
        run.produce().await;
        run.runs_until("the lost answer", |log| log.contains("\"ambiguous\"")).await;
        run.edit_store(DUE_NOW);
        run.bench.replace("name = \"Example\"", "name = \"Renamed\"");
    });
    assert_eq!(findings.altered.len(), 1, "the checker is blind: {findings:?}");
}

/// A password that is wrong for a while.
#[test]
fn a_refused_login_that_costs_an_attempt_is_found_as_overcharged() {
    let account = || Options { tls: Tls::Implicit, account: Some(("bell", "secret")), ..Options::default() };
    let findings = found("auth-costs", account, async |run| {
        let login = format!(
            "retry = [\"1s\"]\nca_file = \"{}\"\nauth = {{ user = \"bell\", password = \"secret\" }}",
            run.bench.relay.ca_file().display()
        );
        run.bench.replace("retry = [\"1s\"]", &login);
        run.bench.relay.on(Command::Auth, Action::Reply("535 5.7.8 no"));
        run.produce().await;
        run.runs_until("the refusal", |log| log.contains("\"attempted\"")).await;
        run.bench.relay.calm(Command::Auth);
        run.edit_store(DUE_NOW);
    });
    assert_eq!(findings.overcharged.len(), 1, "the checker is blind: {findings:?}");
}

/// While the relay drips its refusal, another worker gets the claim (as on PostgreSQL, when this one was not seen for 30 s):
/// the refusal is of no account any more.
#[test]
fn a_verdict_written_whoever_holds_the_claim_is_found_as_a_loss() {
    let findings = found("any-owner", Options::default, async |run| {
        let slowly = std::time::Duration::from_millis(200);
        run.bench.relay.once(Command::Rcpt, Action::Drip(b"550 5.1.1 no such user\r\n", slowly));
        run.produce().await;
        run.bench.start().await;
        run.bench.until("the claim in hand", |bench| (bench.relay.count("RCPT") == 1).then_some(())).await;
        run.edit_store("INSERT INTO worker(id, name, seen_at) VALUES(4711, 'another', 9000000000000)");
        run.edit_store("UPDATE due SET owner = 4711, attempt = attempt + 1");
        run.bench.until("the refusal", |bench| bench.log().contains("\"attempted\"").then_some(())).await;
        assert!(run.bench.stop().await.success());
        run.edit_store(DUE_NOW);
        run.allow_attempt();
    });
    assert_eq!(findings.lost.len(), 1, "the checker is blind: {findings:?}");
}
