//! Owns the one judgement that a single "not now" does not allow: whether it is said of the way out (a relay, an endpoint),
//! or of the one message that it was said to. Only what others are told meanwhile can tell. Pure.
//!
//! | what was told "not now" | is to blame |
//! |---|---|
//! | the fifth different one in a row, or the first while the breaker is open | the way |
//! | one that was told so before, or whose recipient was, while others have been answered (taken, or refused for good) since | itself |
//! | any other | nobody yet: it waits alone, and keeps no other waiting |

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;

/// So many different ones in a row, nobody else answered in between, make it the way's.
const MANY: usize = 5;
/// Told so often in a row, while nobody else was answered, one is enough to say that the way does not work: whether it does
/// is not known, but somebody should look.
const OFTEN: u32 = 3;
/// The wait of the first time; doubled with each in a row. As soon as the first retry of a webhook's own schedule.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// As long as the longest window of a breaker.
const LONGEST_WAIT: Duration = Duration::from_mins(10);
/// So many are known to be to blame for themselves; whoever is forgotten waits once more for free.
const MOST_KNOWN: usize = 1_000;
/// So long after the last time: what was true of one need not be when everybody is told so some other day.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// Who waits alone is told again before this: an hour that the other side asked for, and the longest wait with a window of the
/// breaker. Who was not is there no more: cancelled, moved, expired.
const GONE_AFTER: Duration = Duration::from_mins(90);

/// Who is to blame for a "not now".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The message: it costs an attempt, and the schedule says when it is tried again.
    Itself,
    /// The way: it costs nobody an attempt, and everybody waits. What was told waits so much longer than the others, so
    /// that these are tried first: several that are to blame for themselves must not be in front at each opening.
    Way(Duration),
    /// Nobody knows: it costs nothing, and the message waits so long, alone. While the breaker is open the way counts as
    /// mended: else one message, tried again and again, would keep out all that come.
    Nobody(Duration),
}

/// What is told: a message, and its recipient where there are many.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The message's key.
    pub key: &'a str,
    /// The address.
    pub to: Option<&'a str>,
}

/// The "not now" of one way.
#[derive(Debug, Default)]
pub struct Doubts {
    /// What was told, while nobody else was answered; at most [`MANY`].
    row: Vec<Told>,
    /// Keys and addresses that were told while others were answered, and when last; the longest known first.
    known: VecDeque<(Box<str>, Timestamp)>,
}

#[derive(Debug)]
struct Told {
    key: Box<str>,
    to: Option<Box<str>>,
    times: u32,
    why: &'static str,
    /// The last time.
    at: Timestamp,
}

impl Doubts {
    /// `who` was told "not now", because of `why`. `broken`: the breaker of the way is open or half-open.
    pub fn told(&mut self, who: Who<'_>, why: &'static str, broken: bool, now: Timestamp) -> Blame {
        self.forget(now);
        self.known.retain(|(_, at)| now.since(*at) < KNOWN_FOR);
        let mut is_known = false;
        for (name, at) in &mut self.known {
            if **name == *who.key || Some(&**name) == who.to {
                (*at, is_known) = (now, true);
            }
        }
        if is_known && !broken && self.row.len() < MANY {
            return Blame::Itself;
        }
        let times = if let Some(told) = self.row.iter_mut().find(|told| *told.key == *who.key) {
            (told.times, told.at) = (told.times.saturating_add(1), now);
            told.times
        } else {
            if self.row.len() < MANY {
                self.row.push(Told { key: who.key.into(), to: who.to.map(Into::into), times: 1, why, at: now });
            }
            1
        };
        let wait = FIRST_WAIT.saturating_mul(1 << (times - 1).min(16)).min(LONGEST_WAIT);
        if self.row.len() >= MANY || broken && times == 1 {
            Blame::Way(wait)
        } else if is_known {
            Blame::Itself
        } else {
            Blame::Nobody(wait)
        }
    }

    /// `who` was taken, or refused for good: the way works, and whatever was told "not now" before is to blame for itself from
    /// the next time on, and with it whoever else it was for.
    pub fn answered(&mut self, who: Who<'_>, now: Timestamp) {
        self.known.retain(|(name, _)| **name != *who.key && Some(&**name) != who.to);
        for Told { key, to, .. } in self.row.drain(..).filter(|told| *told.key != *who.key) {
            for name in std::iter::once(key).chain(to.filter(|to| Some(&**to) != who.to)) {
                if self.known.len() == MOST_KNOWN {
                    self.known.pop_front();
                }
                self.known.push_back((name, now));
            }
        }
    }

    /// Leaves out of the row who is there no more.
    pub fn forget(&mut self, now: Timestamp) {
        self.row.retain(|told| now.since(told.at) < GONE_AFTER);
    }

    /// Why nothing goes out, where those few that there are have been told "not now" again and again. It keeps nobody waiting.
    #[must_use]
    pub fn stuck(&self) -> Option<&'static str> {
        self.row.iter().find(|told| told.times >= OFTEN).map(|told| told.why)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Blame::{Itself, Nobody, Way};
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    /// One message for each recipient.
    const fn only(name: &str) -> Who<'_> {
        Who { key: name, to: Some(name) }
    }

    fn told(doubts: &mut Doubts, who: &str) -> Blame {
        doubts.told(only(who), "closing", false, NOW)
    }

    fn answered(doubts: &mut Doubts, who: &str) {
        doubts.answered(only(who), NOW);
    }

    #[test]
    fn one_among_others_is_to_blame_from_the_second_time_on() {
        let mut doubts = Doubts::default();
        assert_eq!(told(&mut doubts, "poison"), Nobody(seconds(5)), "nobody knows yet");
        answered(&mut doubts, "alice");
        assert_eq!(told(&mut doubts, "poison"), Itself);
        assert_eq!(told(&mut doubts, "poison"), Itself, "also twice in a row");
        assert_eq!(doubts.stuck(), None);
        answered(&mut doubts, "poison");
        assert_eq!(told(&mut doubts, "poison"), Nobody(seconds(5)), "it was answered meanwhile");
    }

    #[test]
    fn one_alone_waits_ever_longer_and_is_said_to_be_stuck() {
        let mut doubts = Doubts::default();
        let waits: Vec<_> = (0..9).map(|_| told(&mut doubts, "a")).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600].map(|wait| Nobody(seconds(wait))));
        assert_eq!(doubts.stuck(), Some("closing"));
        answered(&mut doubts, "b");
        assert_eq!((doubts.stuck(), told(&mut doubts, "a")), (None, Itself), "others get theirs");
        let mut doubts = Doubts::default();
        told(&mut doubts, "a");
        told(&mut doubts, "a");
        assert_eq!(doubts.stuck(), None, "twice is not often");
        answered(&mut doubts, "a");
        assert_eq!(told(&mut doubts, "a"), Nobody(seconds(5)), "its own answer makes it no culprit");
    }

    #[test]
    fn five_in_a_row_or_an_open_breaker_make_it_the_ways_fault_and_an_answer_ends_that() {
        let mut doubts = Doubts::default();
        for who in ["a", "b", "c", "d"] {
            assert_eq!(told(&mut doubts, who), Nobody(seconds(5)));
        }
        assert_eq!(told(&mut doubts, "e"), Way(seconds(5)));
        assert_eq!(told(&mut doubts, "a"), Way(seconds(10)), "and whoever else");
        assert_eq!(told(&mut doubts, "f"), Way(seconds(5)));
        answered(&mut doubts, "g");
        assert_eq!([told(&mut doubts, "a"), told(&mut doubts, "f")], [Itself, Nobody(seconds(5))]);
        for who in ["h", "i", "j"] {
            assert_eq!(told(&mut doubts, who), Nobody(seconds(5)));
        }
        assert_eq!(told(&mut doubts, "k"), Way(seconds(5)));
        assert_eq!(told(&mut doubts, "a"), Way(seconds(5)), "while everybody is told so, also who was known before");
    }

    #[test]
    fn one_alone_does_not_keep_a_breaker_open() {
        let mut doubts = Doubts::default();
        let broken = |doubts: &mut Doubts, who| doubts.told(only(who), "closing", true, NOW);
        assert_eq!(broken(&mut doubts, "a"), Way(seconds(5)), "it is the first to say so");
        assert_eq!(broken(&mut doubts, "a"), Nobody(seconds(10)));
        for who in ["b", "c", "d"] {
            assert_eq!(broken(&mut doubts, who), Way(seconds(5)));
        }
        assert_eq!(broken(&mut doubts, "e"), Way(seconds(5)));
        assert_eq!(broken(&mut doubts, "a"), Way(seconds(20)), "five in a row");
    }

    #[test]
    fn of_several_messages_to_one_mailbox_one_can_be_to_blame_or_all_or_none() {
        let to_soc = |key| Who { key, to: Some("soc") };
        let told = |doubts: &mut Doubts, key| doubts.told(to_soc(key), "closing", false, NOW);
        let mut doubts = Doubts::default();
        assert_eq!(told(&mut doubts, "1"), Nobody(seconds(5)));
        doubts.answered(to_soc("2"), NOW);
        assert_eq!([told(&mut doubts, "1"), told(&mut doubts, "3")], [Itself, Nobody(seconds(5))], "its content");
        let mut doubts = Doubts::default();
        assert_eq!(told(&mut doubts, "1"), Nobody(seconds(5)));
        answered(&mut doubts, "another");
        assert_eq!([told(&mut doubts, "1"), told(&mut doubts, "2")], [Itself, Itself], "the mailbox");
        let mut doubts = Doubts::default();
        let blames: Vec<_> = ["1", "2", "3", "4", "5", "6"].into_iter().map(|key| told(&mut doubts, key)).collect();
        let five = seconds(5);
        assert_eq!(blames, [Nobody(five), Nobody(five), Nobody(five), Nobody(five), Way(five), Way(five)], "the way");
    }

    #[test]
    fn what_was_known_is_forgotten_an_hour_after_the_last_time() {
        let mut doubts = Doubts::default();
        told(&mut doubts, "a");
        answered(&mut doubts, "b");
        let at = |doubts: &mut Doubts, minutes| {
            doubts.told(only("a"), "closing", false, NOW.plus(Duration::from_mins(minutes)))
        };
        assert_eq!(
            [at(&mut doubts, 59), at(&mut doubts, 118), at(&mut doubts, 178)],
            [Itself, Itself, Nobody(seconds(5))]
        );
    }

    #[test]
    fn one_that_is_there_no_more_leaves_nobody_stuck() {
        let mut doubts = Doubts::default();
        for _ in 0..3 {
            told(&mut doubts, "cancelled");
        }
        doubts.forget(NOW.plus(Duration::from_mins(72)));
        assert_eq!(doubts.stuck(), Some("closing"), "it may wait for an hour that it was asked for");
        doubts.forget(NOW.plus(GONE_AFTER));
        assert_eq!(doubts.stuck(), None);
    }

    proptest! {
        /// A way that answers others in between is never blamed, and one that answers nobody costs nobody an attempt.
        #[test]
        fn whoever_is_told_among_others_pays_and_nobody_pays_alone(steps in proptest::collection::vec((0..40_usize, any::<bool>()), 1..300)) {
            let (mut among, mut alone) = (Doubts::default(), Doubts::default());
            let mut before = std::collections::HashSet::new();
            for (who, broken) in steps {
                let expected = if before.insert(who) { Nobody(FIRST_WAIT) } else { Itself };
                prop_assert_eq!(told(&mut among, &who.to_string()), expected);
                answered(&mut among, "another");
                prop_assert_ne!(alone.told(only(&who.to_string()), "closing", broken, NOW), Itself);
                prop_assert!(alone.row.len() <= MANY && among.known.len() <= MOST_KNOWN);
            }
        }
    }
}
