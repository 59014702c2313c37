//! Owns what is said of the spans in which a channel begins nothing: a used-up ration in the log and as a count, and of each
//! until when, and why.

use std::sync::Arc;
use std::time::Duration;

use crate::channels::Gate;
use crate::clock::Timestamp;
use crate::metrics;

/// What `rate` makes a gate say.
const RATE: &str = "rate";
/// A ration that is used up again so soon is still the same one: a busy channel gets a sixtieth of it at a time.
const SAME: Duration = Duration::from_mins(1);

/// The pauses of one channel, as seen by looking at its gate.
#[derive(Debug)]
pub struct Pauses {
    channel: Arc<str>,
    /// The reason that the gauge shows.
    shown: Option<&'static str>,
    /// Until when the ration was used up the last time.
    used_up: Option<Timestamp>,
    /// The configuration does not have the channel any more. Its last lane may look once more.
    removed: bool,
}

impl Pauses {
    /// Of the channel of this name.
    pub fn of(channel: Arc<str>) -> Self {
        Self { channel, shown: None, used_up: None, removed: false }
    }

    /// Keeps the gauge true. Whether a ration is used up that was not before: that is logged and counted once.
    pub fn see(&mut self, ordinary: Gate, now: Timestamp) -> bool {
        let Gate::Shut { until, why } = ordinary else {
            self.over();
            return false;
        };
        if self.removed {
            return false;
        }
        if self.shown.is_some_and(|shown| shown != why) {
            self.over();
        }
        self.shown = Some(why);
        metrics::channel_paused_until(self.channel.clone(), why).set(seconds(until));
        if why != RATE {
            return false;
        }
        let same = self.used_up.is_some_and(|last| now <= last.plus(SAME));
        self.used_up = Some(until);
        if !same {
            metrics::channel_hold(self.channel.clone(), RATE).increment(1);
            tracing::warn!(
                channel = %self.channel, %until,
                "the channel's rate is used up: what is not urgent waits, and the urgent once their share is gone, too"
            );
        }
        !same
    }

    /// Nobody looks any more.
    pub fn remove(&mut self) {
        self.removed = true;
        self.over();
    }

    fn over(&mut self) {
        if let Some(why) = self.shown.take() {
            metrics::channel_paused_until(self.channel.clone(), why).set(0.0);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is f64; exact to the millisecond for 200,000 years")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn of_a_channel_that_is_removed_no_pause_is_shown_whoever_looks_once_more() {
        let mut pauses = Pauses::of("gone".into());
        let shut = Gate::Shut { until: at(90), why: "connect" };
        pauses.see(shut, at(1));
        pauses.remove();
        pauses.see(shut, at(2));
        assert_eq!(pauses.shown, None);
    }

    #[test]
    fn a_ration_that_is_used_up_is_said_once_however_often_a_little_of_it_is_free() {
        let mut pauses = Pauses::of("rationed".into());
        let shut = |until| Gate::Shut { until: at(until), why: RATE };
        for (what, gate, now, said) in [
            ("it works", Gate::Few(1), 0, false),
            ("used up", shut(61), 1, true),
            ("still", shut(61), 30, false),
            ("a sixtieth is free", Gate::Few(1), 61, false),
            ("and gone", shut(62), 61, false),
            ("broken meanwhile", Gate::Shut { until: at(90), why: "connect" }, 63, false),
            ("a minute later", shut(150), 122, false),
            ("after more than a minute of peace", shut(300), 211, true),
        ] {
            assert_eq!(pauses.see(gate, at(now)), said, "{what}");
        }
    }
}
