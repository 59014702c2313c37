//! The crash suite: the real binary is killed at exactly the n-th passage of each named step between poll and settle, and
//! started again. Then the independent list of what was produced is compared with the relay's journal: nothing lost, nothing
//! unexpected, copies within the documented number, all copies of one mail with one Message-ID and the same bytes.
//!
//! Planted bugs must make this checker report them (`planted`): if one does not, the suite proves nothing.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy.toml exempts only #[test] functions, not what they call"
)]
#![expect(dead_code, reason = "shares the stand-ins of the integration tests, and does not need all of them")]

mod books;
#[path = "../it/cluster.rs"]
mod cluster;
#[path = "../it/harness.rs"]
mod harness;
mod own_records;
mod planted;
mod run;
#[path = "../it/smtp_server/mod.rs"]
mod smtp_server;
mod topic;

use auditbell::crash::STEPS;
use run::Run;
use smtp_server::{Action, Command};

/// Runs `case` for each of `inputs` at the same time; they share nothing, and mostly wait for a group to form.
fn each<T: Copy + Sync>(inputs: &[T], case: impl AsyncFn(T) + Copy + Send + Sync) {
    std::thread::scope(|scope| {
        for input in inputs {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                runtime.unwrap().block_on(case(*input));
            });
        }
    });
}

macro_rules! survives {
    ($($step:ident: $($n:literal)*;)*) => {
        /// Whoever adds a step adds its row.
        #[test]
        fn every_step_has_its_test() {
            assert_eq!(STEPS, [$(stringify!($step)),*]);
        }
        $(
            mod $step {
                #[test]
                fn nothing_is_lost_nothing_is_told_that_should_not_and_a_replay_is_silent() {
                    super::each(&[$($n),*], async |n| super::survives(stringify!($step), n).await);
                }
            }
        )*
    };
}

// Which passages. A batch is passed once for each of the seven waves, or more often; a mail once for each of some fifty.
survives! {
    after_poll: 1 2 6;
    before_accept: 1 2 6;
    accept_before_commit: 1 2 6;
    accept_after_commit: 1 2 6;
    after_store_offset: 1 2 6;
    after_claim: 1 2 6;
    before_dot: 1 5 25;
    after_dot: 1 5 25;
    after_250: 1 5 25;
    settle_before_commit: 1 2 6;
    settle_after_commit: 1 2 6;
    before_internal: ; // own_records.rs: no message of the topic is given up
}

async fn survives(step: &str, n: usize) {
    let case = format!("{step}:{n}");
    let mut run = Run::new().await;
    run.produce().await;
    run.killed_at(step, n).await;
    run.drain().await;
    run.is_whole(&case);
    run.replays_silently(&case).await;
}

/// The second kill comes while the daemon picks up what the first has left.
#[test]
fn a_kill_during_recovery_costs_no_more_than_another_kill() {
    let pairs = [
        (("after_claim", 2), "after_claim"),
        (("after_250", 5), "after_250"),
        (("accept_before_commit", 2), "accept_after_commit"),
        (("settle_before_commit", 2), "settle_before_commit"),
        (("after_dot", 3), "before_dot"),
        (("accept_after_commit", 3), "before_accept"),
    ];
    each(&pairs, async |((first, n), second)| {
        let mut run = Run::new().await;
        run.produce().await;
        run.killed_at(first, n).await;
        run.produce_all().await;
        run.killed_at(second, 1).await;
        run.drain().await;
        run.is_whole(&format!("{first}:{n}, {second}:1"));
    });
}

/// RFC 1047: the relay takes the first mail and hangs up, and the daemon dies before or after it has written that down.
/// Afterwards the mails look different, but not this one: its bytes are frozen.
#[test]
fn a_kill_on_top_of_a_lost_answer_makes_a_copy_and_nothing_worse() {
    each(&["settle_before_commit", "settle_after_commit"], async |step| {
        let mut run = Run::new().await;
        run.bench.relay.once(Command::Dot, Action::Close);
        run.produce().await;
        run.allow_copy();
        run.killed_at(step, 1).await;
        let frozen = run
            .edit_store("UPDATE due SET due_at = 0 WHERE message IN (SELECT id FROM message WHERE body IS NOT NULL)");
        assert_eq!(frozen, usize::from(step == "settle_after_commit"), "{step}: whether the bytes are on disk");
        if frozen == 1 {
            run.bench.replace("name = \"Example\"", "name = \"Renamed\"");
        }
        run.drain().await;
        run.is_whole(step);
        assert!(run.findings().copies >= 1, "{step}: the lost answer made no copy");
    });
}

/// T01: kills from outside, at moments nobody has chosen.
#[test]
fn kills_at_any_moment_lose_nothing() {
    each(&[1, 4, 9, 20], async |mails| {
        let mut run = Run::new().await;
        run.produce_all().await;
        run.killed_after(mails).await;
        run.killed_after(mails).await;
        run.drain().await;
        run.is_whole(&format!("killed twice after {mails}"));
    });
}
