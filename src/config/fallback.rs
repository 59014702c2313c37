//! Owns who hears in a channel's place: `[channel.NAME] fallback` with its lists opened, or what stands for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::build::outside;
use super::channel;
use super::reading::Reading;
use super::tables::{Lists, expand};
use super::values::{self, Addressee};
use super::{ChannelSettings, Instead};
use crate::channels::Settings;
use crate::nearest::nearest;
use crate::people;

/// Fills in the `fallback` of each of `channels`.
pub(super) fn fill(
    reading: &mut Reading<'_>,
    channels: &mut [ChannelSettings],
    lists: &Lists,
    people: &people::Settings,
) {
    let rooms = channel::rooms(reading);
    for channel in channels.iter_mut() {
        channel.fallback = of(reading, &channel.name, &rooms, lists, people);
    }
    for channel in dead_ends(channels) {
        let message = "goes the way of the messages that it stands for: when that is down, nobody hears; name a second relay, \
                       a room, or a channel with another relay";
        reading.warn(&format!("channel.{channel}.fallback"), message);
    }
    for (channel, back) in circles(channels) {
        let message =
            format!("leads back to this channel (by way of `{back}`): harmless, for a fallback has no fallback");
        reading.warn(&format!("channel.{channel}.fallback"), message);
    }
}

/// What one entry of `fallback` names.
enum Entry {
    Channel(Arc<str>),
    People(Vec<Arc<str>>),
}

fn of(
    reading: &mut Reading<'_>,
    name: &Arc<str>,
    rooms: &[Arc<str>],
    lists: &Lists,
    people: &people::Settings,
) -> Vec<Instead> {
    let is_room = |channel: &Arc<str>| rooms.contains(channel);
    let through = |channel: &Arc<str>, addresses: &[Arc<str>]| -> Vec<Instead> {
        let person = |address: &Arc<str>| Instead { channel: channel.clone(), address: Some(address.clone()) };
        addresses.iter().map(person).collect()
    };
    let path = format!("channel.{name}.fallback");
    let Some(texts) = reading.many(&path, |text| Ok(text.to_owned())) else {
        return if is_room(name) { Vec::new() } else { through(name, &people.fallback) };
    };
    let mut channels = Vec::new();
    let mut addresses: Vec<Arc<str>> = Vec::new();
    let before = reading.faults.len();
    for text in &texts {
        match entry(reading, &path, name, text, lists) {
            Some(Entry::Channel(channel)) => channels.push(channel),
            Some(Entry::People(more)) => addresses.extend(more),
            None => {}
        }
    }
    for address in &addresses {
        if people::address::deliverable(address, &people.allow_domains).is_err() {
            reading.fault(&path, outside(address));
        }
    }
    if reading.faults.len() > before {
        return Vec::new(); // what follows of a half-read list would be no news
    }
    let mut personal: Vec<&Arc<str>> = channels.iter().filter(|channel| !is_room(channel)).collect();
    if personal.is_empty() && !addresses.is_empty() {
        if is_room(name) {
            reading.fault(
                &path,
                "names people, and this channel is a room: name the personal channel to tell them through",
            );
        }
        personal.push(name);
    }
    let told = if addresses.is_empty() { &people.fallback } else { &addresses };
    if told.is_empty() && !personal.is_empty() {
        let message = "names a personal channel and nobody to tell: add a \"list:NAME\" beside it, or people.fallback";
        reading.fault(&path, message);
    }
    let mut all: Vec<Instead> = channels
        .iter()
        .filter(|channel| is_room(channel))
        .map(|room| Instead { channel: room.clone(), address: None })
        .chain(personal.into_iter().flat_map(|channel| through(channel, told)))
        .collect();
    all.sort();
    all.dedup();
    all
}

fn entry(reading: &mut Reading<'_>, path: &str, own: &str, text: &str, lists: &Lists) -> Option<Entry> {
    if let Ok(addressee) = values::addressee(text) {
        if let Addressee::List(list) = &addressee
            && !lists.contains_key(list.as_str())
        {
            expand(reading, path, addressee, lists);
            return None;
        }
        return Some(Entry::People(expand(reading, path, addressee, lists)));
    }
    let known = channel::names(reading);
    if text == own {
        reading.fault(path, "names this very channel: name another one, a \"list:NAME\" or an address");
        return None;
    }
    if let Some(channel) = known.iter().find(|channel| ***channel == *text) {
        return Some(Entry::Channel(channel.clone()));
    }
    let remedy = match nearest(text, known.iter().map(|channel| &**channel)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "name a channel, a \"list:NAME\" or an address".to_owned(),
    };
    reading.fault(path, format!("names `{text}`, which is no channel: {remedy}"));
    None
}

/// Channels that have somebody to fall back to, but no other way to reach him: all go through one and the same relay.
fn dead_ends(channels: &[ChannelSettings]) -> Vec<Arc<str>> {
    let ways = |channel: &ChannelSettings| match &channel.settings {
        Settings::Smtp(smtp) => smtp.relays.iter().map(|relay| (relay.host.clone(), relay.port)).collect(),
        _ => vec![(channel.name.to_string(), 0)],
    };
    let only_one = |channel: &&ChannelSettings| {
        let instead = |other: &&ChannelSettings| channel.fallback.iter().any(|instead| instead.channel == other.name);
        let all: BTreeSet<_> = channels.iter().filter(instead).chain([*channel]).flat_map(ways).collect();
        !channel.fallback.is_empty() && all.len() == 1
    };
    channels.iter().filter(only_one).map(|channel| channel.name.clone()).collect()
}

/// Channels whose fallback leads back to them, each with the last one on the way.
fn circles(channels: &[ChannelSettings]) -> Vec<(Arc<str>, Arc<str>)> {
    let leads_to = |name: &str| -> Vec<Arc<str>> {
        let own = channels.iter().find(|channel| *channel.name == *name);
        let all = own.into_iter().flat_map(|channel| &channel.fallback).map(|instead| instead.channel.clone());
        all.filter(|other| **other != *name).collect()
    };
    let mut found = Vec::new();
    for channel in channels {
        let mut reached = leads_to(&channel.name);
        let mut at = 0;
        while let Some(other) = reached.get(at).cloned() {
            at += 1;
            for next in leads_to(&other) {
                if next == channel.name {
                    found.push((channel.name.clone(), other.clone()));
                } else if !reached.contains(&next) {
                    reached.push(next);
                }
            }
        }
    }
    found.dedup_by(|a, b| a.0 == b.0);
    found
}
