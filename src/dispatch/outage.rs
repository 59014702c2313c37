//! Owns the moments at which a channel breaks and works again, seen by comparing what it says of itself before and after.

use std::sync::Arc;

use crate::metrics;

/// What a look at a channel found new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No way out works any more, because of this: the `why` of a hold.
    Broke(&'static str),
    /// One works again.
    Recovered,
}

/// What a channel was seen to be the last time. It begins as one that works.
#[derive(Debug)]
pub struct Outage {
    channel: Arc<str>,
    broken: Option<&'static str>,
    /// A process before this one said that it broke, and none that it works again.
    unsettled: bool,
    /// What the store did not take. One at most, for a break and its end take turns.
    untold: Option<Change>,
    /// The channel was opened anew and has not been tried: that it knows of no break says nothing.
    anew: bool,
    /// The configuration does not have it any more. Its last lane may look once more.
    removed: bool,
}

impl Outage {
    /// Of the channel of this name.
    pub fn of(channel: Arc<str>) -> Self {
        Self { channel, broken: None, unsettled: false, untold: None, anew: false, removed: false }
    }

    /// A process before this one said that the channel broke. Only a break or a success of our own says what it is now.
    pub fn resume(&mut self) {
        self.unsettled = self.broken.is_none();
    }

    /// The channel was opened anew, by other settings: what was said of it stands until it breaks again or something is sent.
    pub fn anew(&mut self) {
        self.anew = self.broken.is_some();
    }

    /// Something was sent. News only where a process, or a channel, before this one was said to be broken.
    pub fn sent(&mut self) -> Option<Change> {
        if std::mem::take(&mut self.anew) {
            return self.see(None);
        }
        let recovered = std::mem::take(&mut self.unsettled) && self.broken.is_none();
        recovered.then(|| {
            tracing::info!(channel = %self.channel, "the channel works again");
            Change::Recovered
        })
    }

    /// What is to be told now that `change` was seen: it, or what could not be told before. Of a break whose end comes before
    /// anybody was told of it, nobody is told anything, nor of an end that did not last.
    pub fn to_tell(&mut self, change: Option<Change>) -> Option<Change> {
        match (self.untold.take(), change) {
            (Some(_), Some(_)) => None,
            (before, now) => before.or(now),
        }
    }

    /// `change` could not be told.
    pub fn keep(&mut self, change: Change) {
        self.untold = self.to_tell(Some(change));
    }

    /// Takes `channel_open` back for good, for nobody looks any more.
    pub fn remove(&mut self) {
        self.removed = true;
        if let Some(why) = self.broken.take() {
            metrics::channel_open(self.channel.clone(), why).set(0.0);
        }
        self.untold = None;
    }

    /// Compares with the last look, keeps `channel_open` true, and says in the log what is new. Another reason for the same
    /// break is none.
    pub fn see(&mut self, broken: Option<&'static str>) -> Option<Change> {
        if self.removed || self.anew && broken.is_none() {
            return None;
        }
        self.anew = false;
        let before = std::mem::replace(&mut self.broken, broken);
        if before == broken {
            return None;
        }
        for (why, value) in [(before, 0.0), (broken, 1.0)] {
            if let Some(why) = why {
                metrics::channel_open(self.channel.clone(), why).set(value);
            }
        }
        match (before, broken) {
            (None, Some(why)) => {
                let known = std::mem::take(&mut self.unsettled);
                tracing::error!(channel = %self.channel, why, "the channel is broken: messages wait, one is tried now and then");
                (!known).then_some(Change::Broke(why))
            }
            (Some(_), None) => {
                tracing::info!(channel = %self.channel, "the channel works again");
                Some(Change::Recovered)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_before_said_of_a_break_is_not_said_again_and_its_end_is() {
        let resumed = || {
            let mut outage = Outage::of("email".into());
            outage.resume();
            outage
        };
        let mut goes_on = resumed();
        assert_eq!(goes_on.see(None), None, "nothing is known yet");
        assert_eq!(goes_on.see(Some("connect")), None, "it goes on");
        assert_eq!(goes_on.sent(), None, "of a session from before");
        assert_eq!(goes_on.see(None), Some(Change::Recovered));
        let mut over = resumed();
        assert_eq!((over.sent(), over.sent()), (Some(Change::Recovered), None));
        assert_eq!(over.see(Some("connect")), Some(Change::Broke("connect")), "the next one is another");
        over.resume();
        assert_eq!(over.see(None), Some(Change::Recovered), "a reload brings nothing new");
        assert_eq!(over.sent(), None);
    }

    #[test]
    fn what_could_not_be_told_is_told_later_unless_it_is_over() {
        let mut outage = Outage::of("email".into());
        let broke = Change::Broke("connect");
        outage.keep(broke);
        assert_eq!([outage.to_tell(None), outage.to_tell(None)], [Some(broke), None]);
        outage.keep(broke);
        assert_eq!([outage.to_tell(Some(Change::Recovered)), outage.to_tell(None)], [None, None]);
        assert_eq!(outage.to_tell(Some(broke)), Some(broke));
    }

    #[test]
    fn a_channel_that_is_opened_anew_is_as_broken_as_before_until_something_is_sent() {
        let broken = || {
            let mut outage = Outage::of("email".into());
            outage.see(Some("auth"));
            outage.anew();
            outage
        };
        let mut mended = broken();
        assert_eq!(mended.see(None), None, "it has not been tried");
        assert_eq!((mended.sent(), mended.sent()), (Some(Change::Recovered), None));
        let mut same = broken();
        assert_eq!((same.see(None), same.see(Some("auth"))), (None, None), "nothing new");
        assert_eq!(same.see(None), Some(Change::Recovered));
        let mut works = Outage::of("email".into());
        works.anew();
        assert_eq!((works.sent(), works.see(Some("auth"))), (None, Some(Change::Broke("auth"))));
    }

    #[test]
    fn a_channel_that_is_removed_alarms_nobody_whoever_looks_once_more() {
        let mut outage = Outage::of("email".into());
        outage.see(Some("connect"));
        outage.keep(Change::Broke("connect"));
        outage.remove();
        assert_eq!((outage.see(Some("connect")), outage.to_tell(None)), (None, None));
        assert_eq!(outage.broken, None, "the gauge stays down");
    }

    #[test]
    fn a_break_and_a_recovery_are_each_seen_once() {
        let mut outage = Outage::of("email".into());
        let looks = [None, Some("connect"), Some("connect"), Some("auth"), None, None];
        let seen: Vec<_> = looks.into_iter().map(|broken| outage.see(broken)).collect();
        assert_eq!(seen, [None, Some(Change::Broke("connect")), None, None, Some(Change::Recovered), None]);
    }
}
