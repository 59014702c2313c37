//! Owns what the process keeps of the memory that it has freed: few heaps, and now and then what is free in them goes back to
//! the system.
//!
//! glibc gives every thread a heap of its own until there are eight for each processor, and of what was freed in one gives back
//! only the end: after a million records that were 80 MiB beside 19 in use.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Heaps for each processor. Eight, which is glibc's, keep more of a backlog and are no faster; with one, threads wait for each
/// other (docs/performance.md).
const HEAPS: usize = 2;
/// How often. A round walks over the heaps: 1 to 10 ms of one thread for 100 MiB.
const EVERY: Duration = Duration::from_secs(5);

/// Bounds the heaps, unless the environment does. Before there are threads: it takes none away.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "glibc's own call, and nobody has a safe one")]
pub fn bound() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() {
        return;
    }
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let heaps = libc::c_int::try_from(processors.saturating_mul(HEAPS)).unwrap_or(libc::c_int::MAX);
    // SAFETY: it takes two numbers and sets one (mallopt(3)); a number that it does not know it leaves alone.
    let _whether_known = unsafe { libc::mallopt(libc::M_ARENA_MAX, heaps) };
}

/// Other C libraries have heaps of another kind.
#[cfg(not(target_env = "gnu"))]
pub fn bound() {}

/// Gives back what is free, until `stop`.
pub async fn upkeep(stop: CancellationToken) {
    while stop.run_until_cancelled(sleep(EVERY)).await.is_some() {
        // Not here: it would hold up what else this thread has to do.
        if tokio::task::spawn_blocking(give_back).await.is_err() {
            tracing::error!("giving memory back panicked");
        }
    }
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "glibc's own call, and nobody has a safe one")]
fn give_back() {
    // SAFETY: it takes a number and locks each heap that it works on (malloc_trim(3): MT-Safe).
    let _whether_anything = unsafe { libc::malloc_trim(0) };
}

/// Other C libraries give memory back of their own accord, or not at all.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}
