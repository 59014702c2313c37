//! Owns what the crash suite may do to the process: kill it at a named step, or plant a known bug in it. In a normal build
//! `at` is empty and `planted` is `false`.
//!
//! `AUDITBELL_CRASH=name:n` ends the process at exactly the n-th passage of the step `name`, as SIGKILL would: no
//! destructor runs, nothing is flushed. `AUDITBELL_PLANTED_BUG=name` makes it wrong in one way, which the suite must find:
//! the negative controls of its checks.

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
    "before_internal",
];

/// The bugs that can be planted, each with the check that must find it.
pub const BUGS: &[&str] = &[
    // The position is moved in a transaction of its own, before the rows: a kill between the two loses records.
    "position-first",
    // A 354 after the final dot is taken for a success: the mail is lost.
    "354-is-sent",
    // What may have been taken is worded anew for the next attempt: the copies differ.
    "new-bytes",
    // A refused login costs the message an attempt: it is charged for what nobody heard.
    "auth-costs",
    // A verdict is written whoever holds the claim by now: a late refusal ends what another is sending.
    "any-owner",
    // `synchronous=NORMAL`: a power cut loses acknowledged commits.
    "not-synced",
];

/// Is the bug `name` planted?
#[cfg(not(feature = "crash-points"))]
#[inline]
#[must_use]
pub fn planted(_name: &'static str) -> bool {
    false
}

/// Is the bug `name` planted?
#[cfg(feature = "crash-points")]
#[must_use]
pub fn planted(name: &'static str) -> bool {
    use std::sync::LazyLock;
    static BUG: LazyLock<Option<String>> = LazyLock::new(|| {
        let bug = std::env::var("AUDITBELL_PLANTED_BUG").ok()?;
        assert!(BUGS.contains(&bug.as_str()), "no such bug: {bug}");
        Some(bug)
    });
    debug_assert!(BUGS.contains(&name), "{name} is not in BUGS");
    BUG.as_deref() == Some(name)
}

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
