//! Owns what of a record a message is about: all of it, or the elements of which its notifications are (`each`).

use std::sync::Arc;

use crate::record::{Change, Record};
use crate::rules::{List, Part, elements};

use super::Recipient;

/// What of a record a message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The record.
    Whole,
    /// Elements, by their identities ([`super::Intent::element`]).
    Elements(Vec<Arc<str>>),
}

impl Extent {
    /// That of one notification.
    #[must_use]
    pub fn of(element: Option<Arc<str>>) -> Self {
        element.map_or(Self::Whole, |element| Self::Elements(vec![element]))
    }

    /// Adds another notification of the same record; what is about all of it stays so.
    pub fn add(&mut self, element: Option<Arc<str>>) {
        match (self, element) {
            (Self::Elements(known), Some(element)) => known.push(element),
            (whole, _) => *whole = Self::Whole,
        }
    }

    /// `record` as `reader` is shown it: without the targets and changes that the message is not about. A person of the record
    /// keeps the targets: the view leaves only their own, and must know whose names to hide. An element at a path is neither
    /// target nor change, and leaves the record whole.
    #[must_use]
    pub fn shown(&self, mut record: Record, reader: &Recipient) -> Record {
        let Self::Elements(identities) = self else { return record };
        let is_meant = |list: &List| -> Vec<Part> {
            let all = elements(list, &record).into_iter();
            all.filter(|element| identities.contains(&element.identity)).map(|element| element.part).collect()
        };
        let (mut targets, mut changes) = (Vec::new(), Vec::new());
        for part in [is_meant(&List::Targets), is_meant(&List::Changes)].concat() {
            match part {
                Part::Target(place) => targets.push(place),
                Part::Change(place) => changes.push(place),
                Part::Raw(_) => {}
            }
        }
        if targets.is_empty() && changes.is_empty() {
            return record;
        }
        let of_target = |place: &usize| record.changes.get(*place).map(|change| change.target);
        let whole: Vec<usize> = targets.clone();
        targets.extend(changes.iter().filter_map(of_target));
        targets.sort_unstable();
        targets.dedup();
        let all = std::mem::take(&mut record.changes).into_iter().enumerate();
        let kept = all.filter(|(place, change)| changes.contains(place) || whole.contains(&change.target));
        record.changes = kept.map(|(_, change)| change).collect();
        if !matches!(reader, Recipient::User(_)) {
            let moved = |target: usize| targets.iter().position(|kept| *kept == target).unwrap_or_default();
            let changes = std::mem::take(&mut record.changes).into_iter();
            record.changes = changes.map(|change| Change { target: moved(change.target), ..change }).collect();
            let all = std::mem::take(&mut record.targets).into_iter().enumerate();
            record.targets = all.filter(|(place, _)| targets.contains(place)).map(|(_, target)| target).collect();
        }
        record
    }
}
