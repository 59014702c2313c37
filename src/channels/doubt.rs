//! Owns the one judgement that a single "not now" does not allow: whether it is said of the way out (a relay, an endpoint),
//! or of the one message that it was said to. Only what others are told meanwhile can tell. Pure.
//!
//! | who was told "not now" | is to blame |
//! |---|---|
//! | the fifth different one in a row, or anybody while the breaker is open | the way |
//! | one who was told so before, while others have been answered (taken, or refused for good) since | itself |
//! | any other | nobody yet: it waits alone, and keeps no other waiting |

use std::collections::VecDeque;
use std::time::Duration;

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

/// Who is to blame for a "not now".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The message: it costs an attempt, and the schedule says when it is tried again.
    Itself,
    /// The way: it costs nobody an attempt, and everybody waits. Whoever was told waits so much longer than the others, so
    /// that these are tried first: several that are to blame for themselves must not be in front at each opening.
    Way(Duration),
    /// Nobody knows: it costs nothing, and the message waits so long, alone.
    Nobody(Duration),
}

/// The "not now" of one way, each said to `who`: the recipient where they are many, else the message.
#[derive(Debug, Default)]
pub struct Doubts {
    /// Who was told, while nobody else was answered; at most [`MANY`].
    row: Vec<Told>,
    /// Who was told while others were answered; the longest known first.
    known: VecDeque<Box<str>>,
}

#[derive(Debug)]
struct Told {
    who: Box<str>,
    times: u32,
    why: &'static str,
}

impl Doubts {
    /// `who` was told "not now", because of `why`. `broken`: the breaker of the way is open or half-open.
    pub fn told(&mut self, who: &str, why: &'static str, broken: bool) -> Blame {
        let all = |row: &[Told]| broken || row.len() >= MANY;
        if !all(&self.row) && self.known.iter().any(|known| **known == *who) {
            return Blame::Itself;
        }
        let times = if let Some(told) = self.row.iter_mut().find(|told| *told.who == *who) {
            told.times = told.times.saturating_add(1);
            told.times
        } else {
            if self.row.len() < MANY {
                self.row.push(Told { who: who.into(), times: 1, why });
            }
            1
        };
        let wait = FIRST_WAIT.saturating_mul(1 << (times - 1).min(16)).min(LONGEST_WAIT);
        if all(&self.row) { Blame::Way(wait) } else { Blame::Nobody(wait) }
    }

    /// `who` was taken, or refused for good: the way works, and whoever was told "not now" before is to blame for itself from
    /// the next time on.
    pub fn answered(&mut self, who: &str) {
        self.known.retain(|known| **known != *who);
        for told in self.row.drain(..).filter(|told| *told.who != *who) {
            if self.known.len() == MOST_KNOWN {
                self.known.pop_front();
            }
            self.known.push_back(told.who);
        }
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

    fn told(doubts: &mut Doubts, who: &str) -> Blame {
        doubts.told(who, "closing", false)
    }

    #[test]
    fn one_among_others_is_to_blame_from_the_second_time_on() {
        let mut doubts = Doubts::default();
        assert_eq!(told(&mut doubts, "poison"), Nobody(seconds(5)), "nobody knows yet");
        doubts.answered("alice");
        assert_eq!(told(&mut doubts, "poison"), Itself);
        assert_eq!(told(&mut doubts, "poison"), Itself, "also twice in a row");
        assert_eq!(doubts.stuck(), None);
        doubts.answered("poison");
        assert_eq!(told(&mut doubts, "poison"), Nobody(seconds(5)), "it was answered meanwhile");
    }

    #[test]
    fn one_alone_waits_ever_longer_and_is_said_to_be_stuck() {
        let mut doubts = Doubts::default();
        let waits: Vec<_> = (0..9).map(|_| told(&mut doubts, "a")).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600].map(|wait| Nobody(seconds(wait))));
        assert_eq!(doubts.stuck(), Some("closing"));
        doubts.answered("b");
        assert_eq!((doubts.stuck(), told(&mut doubts, "a")), (None, Itself), "others get theirs");
        let mut doubts = Doubts::default();
        told(&mut doubts, "a");
        told(&mut doubts, "a");
        assert_eq!(doubts.stuck(), None, "twice is not often");
        doubts.answered("a");
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
        doubts.answered("g");
        assert_eq!([told(&mut doubts, "a"), told(&mut doubts, "f")], [Itself, Nobody(seconds(5))]);
        for who in ["h", "i", "j"] {
            assert_eq!(told(&mut doubts, who), Nobody(seconds(5)));
        }
        assert_eq!(told(&mut doubts, "k"), Way(seconds(5)));
        assert_eq!(told(&mut doubts, "a"), Way(seconds(5)), "while everybody is told so, also who was known before");
        assert_eq!(Doubts::default().told("a", "closing", true), Way(seconds(5)), "the breaker is open");
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
                among.answered("another");
                prop_assert_ne!(alone.told(&who.to_string(), "closing", broken), Itself);
                prop_assert!(alone.row.len() <= MANY && among.known.len() <= MOST_KNOWN);
            }
        }
    }
}
