//! Owns the crash points: named steps at which the crash suite kills the process. In a normal build `at` is empty.
//!
//! `AUDITBELL_CRASH=name:n` ends the process at exactly the n-th passage of the step `name`, as SIGKILL would: no
//! destructor runs, nothing is flushed.

/// The steps between poll and settle, in the order of a record's path.
pub const STEPS: &[&str] = &[
    "after_poll",
    "before_accept",
    "accept_before_commit",
    "accept_after_commit",
    "after_store_offset",
    "after_claim",
    "before_dot",
    "after_dot",
    "after_250",
    "settle_before_commit",
    "settle_after_commit",
];

/// Passes the step `name`.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn at(_name: &'static str) {}

/// Passes the step `name`; the n-th passage of the step that `AUDITBELL_CRASH` names does not return.
#[cfg(feature = "crash-points")]
pub fn at(name: &'static str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicI64, Ordering};
    static PLAN: LazyLock<Option<(String, AtomicI64)>> = LazyLock::new(|| {
        let plan = std::env::var("AUDITBELL_CRASH").ok()?;
        let (step, n) = plan.split_once(':')?;
        assert!(STEPS.contains(&step), "no such crash point: {step}");
        Some((step.to_owned(), AtomicI64::new(n.parse().ok()?)))
    });
    debug_assert!(STEPS.contains(&name), "{name} is not in STEPS");
    if let Some((step, left)) = &*PLAN
        && step == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // Unbuffered: the suite tells this death from any other SIGKILL by this line.
        eprintln!("crash point {}", std::env::var("AUDITBELL_CRASH").unwrap_or_default());
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}
