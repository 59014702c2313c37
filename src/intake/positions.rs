//! Owns what this reader last saw accepted of each partition, and the fences that follow from it. Pure.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use super::read::Message;
use crate::store::Fence;

/// So many bad messages in a row hold the source: something is wrong upstream, and an operator shall look.
pub(super) const BAD_LIMIT: u32 = 200;

type Key = (Arc<str>, i32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The next offset to accept.
    next: i64,
    /// Bad messages in a row before `next`.
    bad: u32,
}

/// The assigned partitions.
#[derive(Debug, Default)]
pub(super) struct Positions(BTreeMap<Key, Place>);

impl Positions {
    pub fn assign(&mut self, topic: Arc<str>, partition: i32, next: i64, bad: u32) {
        self.0.insert((topic, partition), Place { next, bad });
    }

    pub fn revoke(&mut self, topic: &Arc<str>, partition: i32) {
        self.0.remove(&(topic.clone(), partition));
    }

    /// The store moved a position. Ignored where the partition was assigned anew meanwhile: then the store's word is newer.
    pub fn moved(&mut self, fence: &Fence) {
        if let Some(place) = self.0.get_mut(&(fence.topic.clone(), fence.partition))
            && place.next == fence.from
        {
            *place = Place { next: fence.to, bad: fence.bad };
        }
    }

    /// The first partition with too many bad messages in a row.
    pub fn blocked(&self) -> Option<(Arc<str>, i32)> {
        self.0.iter().find(|(_, place)| place.bad >= BAD_LIMIT).map(|(key, _)| key.clone())
    }

    /// An operator has looked at this partition; others stay blocked until he has looked at them too.
    pub fn release(&mut self, topic: &Arc<str>, partition: i32) {
        if let Some(place) = self.0.get_mut(&(topic.clone(), partition)) {
            place.bad = 0;
        }
    }

    pub fn fences(&self, source: &Arc<str>) -> Fences<'_> {
        Fences { positions: self, source: source.clone(), moves: BTreeMap::new() }
    }
}

/// The fences of one batch in the making.
pub(super) struct Fences<'a> {
    positions: &'a Positions,
    source: Arc<str>,
    moves: BTreeMap<Key, Fence>,
}

impl Fences<'_> {
    /// Accounts for `message`. `false`: it is not ours to accept (partition gone), or was accepted before.
    pub fn pass(&mut self, message: &Message) -> bool {
        let key = (message.topic.clone(), message.partition);
        let Some(place) = self.positions.0.get(&key) else { return false };
        let fence = match self.moves.entry(key) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(_) if message.offset < place.next => return false,
            btree_map::Entry::Vacant(entry) => entry.insert(Fence {
                source: self.source.clone(),
                topic: message.topic.clone(),
                partition: message.partition,
                from: place.next,
                to: place.next,
                bad: place.bad,
            }),
        };
        if message.offset < fence.to {
            return false;
        }
        fence.to = message.offset + 1;
        fence.bad = if message.is_bad() { fence.bad.saturating_add(1) } else { 0 };
        true
    }

    /// Whether `message`, just passed, was one bad message too many.
    pub fn is_blocked(&self, message: &Message) -> bool {
        let key = (message.topic.clone(), message.partition);
        self.moves.get(&key).is_some_and(|fence| fence.bad >= BAD_LIMIT)
    }

    /// Sorted, as the store wants them.
    pub fn into_moves(self) -> Vec<Fence> {
        self.moves.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::read::Tally;
    use crate::store::DeadLetter;

    fn message(partition: i32, offset: i64, bad: bool) -> Message {
        let topic: Arc<str> = "t".into();
        let mut message = Message { topic: topic.clone(), partition, offset, ..Message::default() };
        if bad {
            let body = bytes::Bytes::new();
            message.dead_letters = vec![DeadLetter {
                source: "s".into(),
                topic,
                partition,
                offset,
                item: -1,
                broker_time: None,
                error: "not-json",
                body,
            }];
        } else {
            message.tally = Tally { records: [("other", 1)].into(), ..Tally::default() };
        }
        message
    }

    fn positions(places: &[(i32, i64, u32)]) -> Positions {
        let mut positions = Positions::default();
        for (partition, next, bad) in places {
            positions.assign("t".into(), *partition, *next, *bad);
        }
        positions
    }

    /// (partition, from, to, bad) of each fence after passing (partition, offset, bad).
    fn moves(positions: &Positions, messages: &[(i32, i64, bool)]) -> Vec<(i32, i64, i64, u32)> {
        let mut fences = positions.fences(&"s".into());
        for (partition, offset, bad) in messages {
            fences.pass(&message(*partition, *offset, *bad));
        }
        fences.into_moves().iter().map(|fence| (fence.partition, fence.from, fence.to, fence.bad)).collect()
    }

    #[test]
    fn fences_go_from_the_last_accepted_to_the_last_in_hand() {
        let positions = positions(&[(0, 10, 0), (1, 5, 3)]);
        for (why, messages, expected) in [
            ("one message moves its partition by one", vec![(0, 10, false)], vec![(0, 10, 11, 0)]),
            ("a gap in the offsets is passed over", vec![(0, 10, false), (0, 14, false)], vec![(0, 10, 15, 0)]),
            ("the first may come later than wanted", vec![(0, 12, false)], vec![(0, 10, 13, 0)]),
            (
                "what was accepted before is not accepted again",
                vec![(0, 9, false), (0, 10, false)],
                vec![(0, 10, 11, 0)],
            ),
            ("nothing new is no fence at all", vec![(0, 3, false)], vec![]),
            ("a partition that is not ours is left alone", vec![(7, 1, false)], vec![]),
            ("fences are sorted", vec![(1, 5, false), (0, 10, false)], vec![(0, 10, 11, 0), (1, 5, 6, 0)]),
            ("a bad message adds to the run before it", vec![(1, 5, true), (1, 6, true)], vec![(1, 5, 7, 5)]),
            ("a good one ends the run", vec![(1, 5, true), (1, 6, false)], vec![(1, 5, 7, 0)]),
        ] {
            assert_eq!(moves(&positions, &messages), expected, "{why}");
        }
    }

    #[test]
    fn a_move_counts_only_while_the_assignment_is_the_same() {
        let mut positions = positions(&[(0, 10, 0)]);
        let fence = positions.fences(&"s".into());
        drop(fence);
        let moved = Fence { source: "s".into(), topic: "t".into(), partition: 0, from: 10, to: 20, bad: 0 };
        positions.moved(&moved);
        assert_eq!(moves(&positions, &[(0, 20, false)]), [(0, 20, 21, 0)]);
        positions.assign("t".into(), 0, 3, 0);
        positions.moved(&moved);
        assert_eq!(moves(&positions, &[(0, 3, false)]), [(0, 3, 4, 0)], "assigned anew meanwhile");
    }

    #[test]
    fn the_two_hundredth_bad_message_in_a_row_blocks_until_an_operator_has_looked() {
        let mut positions = positions(&[(0, 10, BAD_LIMIT - 2)]);
        let mut fences = positions.fences(&"s".into());
        assert!(fences.pass(&message(0, 10, true)));
        assert!(!fences.is_blocked(&message(0, 10, true)));
        assert!(fences.pass(&message(0, 11, true)));
        assert!(fences.is_blocked(&message(0, 11, true)));
        let moved = fences.into_moves().remove(0);
        positions.moved(&moved);
        assert_eq!(positions.blocked(), Some(("t".into(), 0)));
        positions.release(&"t".into(), 0);
        assert_eq!(positions.blocked(), None);
    }

    #[test]
    fn whoever_looked_at_one_partition_has_not_looked_at_the_other() {
        let mut positions = positions(&[(0, 10, BAD_LIMIT), (1, 10, BAD_LIMIT)]);
        positions.release(&"t".into(), 0);
        assert_eq!(positions.blocked(), Some(("t".into(), 1)));
    }
}
