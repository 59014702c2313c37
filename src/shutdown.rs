//! Owns the order to stop: a soft token (begin nothing new), a hard token (cut off what still runs), and why the process ends.
//!
//! The trigger is a parameter: the command line connects it to signals, a test or the demo calls [`Shutdown::begin`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// From the soft token to the hard one. With what is left of 25 s outcomes are recorded and the store is closed; systemd and
/// Kubernetes kill after 30 s or later.
pub const DRAIN: Duration = Duration::from_secs(20);

/// Why the process ends when nobody asked it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// `EX_IOERR` 74, `EX_TEMPFAIL` 75, `EX_CONFIG` 78, or 1 where a loop died.
    pub exit: u8,
    /// For the operator, with the remedy; no secrets.
    pub message: String,
}

/// The order to stop. Cheap to clone; every clone is the same order.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    ending: Arc<OnceLock<Ending>>,
}

impl Shutdown {
    /// Begin nothing new.
    pub fn begin(&self) {
        self.soft.cancel();
    }

    /// Do not wait any longer.
    pub fn cut(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Stops because going on is wrong. The first reason is kept.
    pub fn fail(&self, exit: u8, message: impl Into<String>) {
        let ending = Ending { exit, message: message.into() };
        if self.ending.set(ending.clone()).is_ok() {
            tracing::error!(exit, "{}", ending.message);
        }
        self.begin();
    }

    /// Resolves at the soft order.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Resolves at the hard order.
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Why, if not because somebody asked.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }

    /// Cuts this long after the soft order; the daemon gives [`DRAIN`].
    pub async fn cut_after(&self, drain: Duration) {
        self.soft.cancelled().await;
        tokio::time::sleep(drain).await;
        self.cut();
    }
}

/// Turns SIGTERM and SIGINT into the order; a second one cuts.
pub async fn signals(shutdown: Shutdown) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for order in [Shutdown::begin, Shutdown::cut] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        order(&shutdown);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_hard_order_follows_the_soft_one_after_the_drain_time() {
        let shutdown = Shutdown::default();
        let drain = Duration::from_millis(50);
        let cutter = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.cut_after(drain).await }
        });
        let began = tokio::time::Instant::now();
        shutdown.begin();
        assert!(!shutdown.hard().is_cancelled());
        cutter.await.unwrap();
        assert!(shutdown.hard().is_cancelled() && began.elapsed() >= drain);
    }

    #[test]
    fn the_first_reason_to_end_is_kept() {
        let shutdown = Shutdown::default();
        shutdown.fail(74, "the disk");
        shutdown.fail(1, "a consequence");
        assert_eq!(shutdown.ending().map(|ending| ending.exit), Some(74));
        assert!(shutdown.soft().is_cancelled() && !shutdown.hard().is_cancelled());
    }
}
