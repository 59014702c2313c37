//! Owns what outlives a lane: the channel, and what was seen of it so far.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::outage::Outage;
use super::pauses::Pauses;
use super::slots::Slots;
use crate::channels::Channel;

/// An opened channel. A reload that leaves its settings alone hands it from lane to lane, sessions and all.
#[derive(Clone)]
pub struct Opened {
    /// The channel's name.
    pub name: Arc<str>,
    /// Makes the attempts.
    pub channel: Arc<dyn Channel>,
    /// Notified when something new may be due.
    pub wake: Arc<Notify>,
    pub(super) slots: Arc<Slots>,
    pub(super) outage: Arc<Mutex<Outage>>,
    pub(super) pauses: Arc<Mutex<Pauses>>,
}

impl Opened {
    /// What is shared of `channel`.
    pub fn new(name: Arc<str>, channel: Arc<dyn Channel>, wake: Arc<Notify>) -> Self {
        let slots = Arc::new(Slots::new(channel.clone()));
        let outage = Arc::new(Mutex::new(Outage::of(name.clone())));
        let pauses = Arc::new(Mutex::new(Pauses::of(name.clone())));
        Self { name, channel, wake, slots, outage, pauses }
    }

    /// The channel of the same name, made anew of other settings. Whoever still accepts by the revision before wakes it; and
    /// what was broken before counts as broken until something is sent.
    #[must_use]
    pub fn anew(&self, channel: Arc<dyn Channel>) -> Self {
        let slots = Arc::new(Slots::new(channel.clone()));
        let Self { name, wake, outage, pauses, .. } = self.clone();
        outage.lock().unwrap_or_else(PoisonError::into_inner).anew();
        Self { name, channel, wake, slots, outage, pauses }
    }

    /// The configuration does not have it any more: nobody is to be alarmed about it.
    pub fn removed(&self) {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner).remove();
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner).remove();
    }
}
