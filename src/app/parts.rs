//! Owns what a configuration makes of its files before anything runs: the directory, the wording, the opened channels.
//! Whole, or every fault; the same for `check`, a start and a reload.

use std::path::Path;
use std::sync::Arc;

use crate::channels::past::{Logins, Past};
use crate::compose::Composer;
use crate::config::{ChannelSettings, Config, Fault};
use crate::dispatch::Opened;
use crate::people::People;
use crate::{channels, logging, source};

/// What a configuration makes.
pub struct Parts {
    /// Who is who.
    pub people: Arc<People>,
    /// The wording.
    pub composer: Arc<Composer>,
    /// One per channel, in config order.
    pub channels: Vec<Kept>,
}

/// An opened channel with what it was made of: kept as it is by a reload that changes nothing of it.
#[derive(Clone)]
pub struct Kept {
    /// The channel.
    pub opened: Opened,
    settings: channels::Settings,
    past: Past,
    /// blake3 of the files that the settings name: a certificate is renewed without a change of its path.
    files: [u8; 32],
}

/// Builds everything that `config` makes; reads its files. An opened channel of `before` is kept if nothing about it has
/// changed. `logins` are those of the process. All faults, not only the first.
pub fn build(config: &Config, before: &[Kept], logins: &Logins) -> Result<Parts, Vec<Fault>> {
    let mut faults = Vec::new();
    let people = People::load(config.people.clone())
        .map_err(|error| faults.push(config.fault("people.csv", format!("{error:#}"))))
        .ok();
    let composer = Composer::load(config.templates.as_deref(), &config.brand, &config.lookups)
        .map_err(|found| faults.extend(found.into_iter().map(of_template)))
        .ok();
    for settings in &config.sources {
        if let Err(refusal) = source::examine(settings) {
            faults.push(config.fault(&format!("source.{}.{}", settings.name, refusal.key), refusal.reason));
        }
    }
    if let Err(error) = logging::filter(&config.log) {
        faults.push(config.fault("log.level", format!("{error:#}")));
    }
    let mut opened = Vec::new();
    for channel in &config.channels {
        match open(channel, before, logins) {
            Ok(one) => opened.push(one),
            Err(error) => faults.push(config.fault(&format!("channel.{}", channel.name), format!("{error:#}"))),
        }
    }
    match (people, composer) {
        (Some(people), Some(composer)) if faults.is_empty() => {
            Ok(Parts { people: Arc::new(people), composer: Arc::new(composer), channels: opened })
        }
        _ => Err(faults),
    }
}

fn open(channel: &ChannelSettings, before: &[Kept], logins: &Logins) -> anyhow::Result<Kept> {
    let ChannelSettings { name, settings, .. } = channel;
    let files = digest(channels::files(settings));
    let same_name = before.iter().find(|kept| kept.opened.name == *name);
    if let Some(same) = same_name.filter(|kept| kept.settings == *settings && kept.files == files) {
        return Ok(same.clone());
    }
    let past = same_name.map_or_else(|| Past::new(logins.clone()), |kept| kept.past.clone());
    let opened = channels::open(name, settings, &past)?;
    let opened = match same_name {
        Some(before) => before.opened.anew(opened),
        None => Opened::new(name.clone(), opened, Arc::default()),
    };
    Ok(Kept { opened, settings: settings.clone(), past, files })
}

/// One that cannot be read counts as empty: opening the channel says what is wrong with it.
fn digest<'a>(files: impl IntoIterator<Item = &'a Path>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let content = std::fs::read(file).unwrap_or_default();
        hasher.update(blake3::hash(&content).as_bytes());
    }
    *hasher.finalize().as_bytes()
}

fn of_template(fault: crate::compose::Fault) -> Fault {
    Fault { file: fault.file, line: fault.line, key: String::new(), message: fault.message }
}
