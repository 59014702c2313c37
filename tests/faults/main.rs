//! The fault suite: the real binary while the world around it breaks. Disks fill, fail, slow down and lose their power,
//! clocks jump, the process is frozen, starved, stopped and stopped again. What counts is always the same: the list of what
//! was produced against the relay's journal (`books`), and `auditbell store check`.
//!
//! What needs root, `strace` or `faketime` is ignored with that reason, and run by `.ci/run` where they are. The numbers
//! T42 to T62 are those of `docs/testing.md`.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy.toml exempts only #[test] functions, not what they call"
)]
#![expect(dead_code, reason = "shares the stand-ins of the other suites, and does not need all of them")]

mod backlog;
#[path = "../crash/books.rs"]
mod books;
mod clock;
#[path = "../it/cluster.rs"]
mod cluster;
mod damage;
mod disk;
#[path = "../it/harness.rs"]
mod harness;
mod large;
mod limits;
mod power;
#[path = "../crash/run.rs"]
mod run;
#[path = "../it/smtp_server/mod.rs"]
mod smtp_server;
mod stop;
mod syscalls;
#[path = "../crash/topic.rs"]
mod topic;
mod world;

/// Makes what waits due at once: nobody waits for a minute, or for a channel that pauses.
const DUE_NOW: &str = "UPDATE due SET due_at = 0";

/// Runs `case` for each of `inputs`, `at_once` at a time, each in a runtime of its own: they mostly wait for a group to form.
fn each<T: Copy + Sync>(inputs: &[T], at_once: usize, case: impl AsyncFn(T) + Copy + Send + Sync) {
    for some in inputs.chunks(at_once) {
        std::thread::scope(|scope| {
            for input in some {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                    runtime.unwrap().block_on(case(*input));
                });
            }
        });
    }
}

/// A number from `from` to `to`, another one each time.
fn random(from: usize, to: usize) -> usize {
    from + getrandom::u32().unwrap() as usize % (to - from + 1)
}
