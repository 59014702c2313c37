//! Owns what the process keeps of the memory that it has freed: now and then it gives that back to the system.
//!
//! glibc keeps a heap for every few threads, and of what was freed in one only the end: after a million records 80 MiB
//! beside 19 in use.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often. A round walks over the heaps: 2 to 10 ms of one thread for 100 MiB.
const EVERY: Duration = Duration::from_secs(5);

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
