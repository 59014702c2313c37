//! Owns the configuration: files and environment to one valid `Config`, or every fault with its place and remedy.
//!
//! `files` reads the main file and what it includes; `walk` holds each table against `schema` and keeps the good values;
//! `layers` lays defaults, files and environment over each other; `laid` finds what is then still missing; `build` makes each part's settings of the result;
//! `ruleset` reads the rules. Faults are collected all the way and the configuration exists only if there is none.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::lookup::Lookups;
use crate::record::Dialects;
use crate::rules::parse::Scope;
use crate::rules::{ListEntry, Rule, Rules};
use crate::{channels, compose, people, source, store};

mod azure;
mod build;
mod channel;
mod dialects;
mod doubts;
mod fallback;
mod fault;
mod files;
mod laid;
mod layers;
mod one;
mod reading;
mod rule_test;
mod ruleset;
mod schema;
mod tables;
mod test_doubts;
mod used;
mod values;
mod walk;

#[cfg(test)]
mod tests;

pub use fault::{Fault, Place};
pub use rule_test::{Expected, Given, RuleTest};
pub use values::start;

/// A whole and valid configuration. It cannot be had otherwise.
#[derive(Clone, Debug)]
pub struct Config {
    /// The main file.
    pub path: PathBuf,
    /// blake3 over all files and the environment's part, secrets left out: which config decided.
    pub hash: [u8; 32],
    /// `[source.*]`.
    pub sources: Vec<source::Settings>,
    /// `[store]`.
    pub store: store::Settings,
    /// `[http] listen`.
    pub http: SocketAddr,
    /// `[channel.*]`.
    pub channels: Vec<ChannelSettings>,
    /// `[people]`.
    pub people: people::Settings,
    /// `[log]`.
    pub log: Log,
    /// `[brand]`.
    pub brand: compose::Brand,
    /// `[templates] dir`.
    pub templates: Option<PathBuf>,
    /// `[dialect.*]`, and the mapping tables that we ship.
    pub dialects: Dialects,
    /// Enabled rules, in config order.
    pub rules: Rules,
    /// `[lookup.*]`.
    pub lookups: Lookups,
    /// All rules, with where they stand and what their authors say of them, in config order.
    pub listed: Vec<Listed>,
    /// `[list]`.
    pub lists: BTreeMap<Arc<str>, Vec<ListEntry>>,
    /// Where each key was set.
    places: fault::Places,
}

impl Config {
    /// A fault of what `key` (dotted) names, with the place where it, or else its table, was set.
    #[must_use]
    pub fn fault(&self, key: &str, message: impl Into<String>) -> Fault {
        Fault::at(&self.places.of(key), key, message)
    }

    /// The ids of the enabled rules.
    #[must_use]
    pub fn rule_ids(&self) -> Arc<HashSet<Arc<str>>> {
        Arc::new(self.rules.iter().map(|rule| rule.id.clone()).collect())
    }
}

/// A `[[rule]]` of the files.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What it says.
    pub rule: Rule,
    /// `enabled`: the others are not among the rules that act.
    pub enabled: bool,
    /// Where it stands; of a pack's rule that is changed, where the change does.
    pub place: Place,
    /// The pack that it came from.
    pub pack: Option<Arc<str>>,
    /// `[[rule.test]]`.
    pub tests: Vec<RuleTest>,
}

/// `[channel.NAME]`.
#[derive(Clone, Debug)]
pub struct ChannelSettings {
    /// The table's name.
    pub name: Arc<str>,
    /// From, Reply-To, try-out address of a personal channel; `None`: it is a room.
    pub sender: Option<compose::Sender>,
    /// Wait before each retry, then the last one again; jittered.
    pub retry: Vec<std::time::Duration>,
    /// By `type`.
    pub settings: channels::Settings,
    /// Who hears of what it gives up: `fallback`, else `people.fallback` through this channel, else (a room) nobody.
    pub fallback: Vec<Instead>,
}

/// Somebody, or a room, who hears in another's place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instead {
    /// Through which channel.
    pub channel: Arc<str>,
    /// Of a person; `None`: the channel is a room.
    pub address: Option<Arc<str>>,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `format = "json"`, else for people.
    pub json: bool,
    /// An env-filter directive, e.g. `info`.
    pub level: String,
}

/// What `check` tells: the configuration if there is no fault, and everything that was found.
#[derive(Debug)]
pub struct Report {
    /// `None` if there is any fault.
    pub config: Option<Config>,
    /// Sorted by file and line.
    pub faults: Vec<Fault>,
    /// What is allowed and probably not meant. Sorted by file and line.
    pub warnings: Vec<Fault>,
}

/// Reads `path`, what it includes and the process's environment. All faults, not only the first.
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    let report = examine(path, &environment());
    report.config.ok_or(report.faults)
}

/// As [`load`], with the files of the directory `rules` in place of the main file's own rules and of every file that it
/// includes. Packs stay.
pub fn load_with_rules(path: &Path, rules: &Path) -> Result<Config, Vec<Fault>> {
    let report = examine_with(path, Some(rules), &environment());
    report.config.ok_or(report.faults)
}

/// The process's environment. What is no UTF-8 holds U+FFFD instead, which no value of ours may hold: a password must not
/// be changed in silence.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Reads `path`, what it includes and `variables`: faults and warnings.
#[must_use]
pub fn examine(path: &Path, variables: &BTreeMap<String, String>) -> Report {
    examine_with(path, None, variables)
}

fn examine_with(path: &Path, rules: Option<&Path>, variables: &BTreeMap<String, String>) -> Report {
    let mut faults = Vec::new();
    let mut warnings = Vec::new();
    let mut config = read((path, rules), variables, &mut faults, &mut warnings);
    for list in [&mut faults, &mut warnings] {
        list.sort();
        list.dedup();
    }
    if !faults.is_empty() {
        config = None;
    }
    Report { config, faults, warnings }
}

fn read(
    (path, instead): (&Path, Option<&Path>),
    variables: &BTreeMap<String, String>,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<Fault>,
) -> Option<Config> {
    let files = files::read(path, instead, faults);
    let mut walked = walk::Walked::default();
    let (packs, own): (Vec<_>, Vec<_>) = files.iter().enumerate().partition(|(_, file)| file.pack().is_some());
    for (index, file) in own.into_iter().chain(packs) {
        if let Some(table) = file.parse(faults) {
            walk::walk(&mut walked, faults, (index, file), table.into_inner());
        }
    }
    walked.rules.sort_by_key(|(file, _)| *file);
    if instead.is_some() {
        walked.rules.retain(|(file, _)| *file != 0); // the main file's
    }
    // Where a file is missing or unreadable, what it holds would be reported as missing, and is not.
    let whole = !faults.iter().any(|fault| fault.key.is_empty() || fault.key == "include");
    let ours = layers::Variables::read(variables, faults);
    if !whole {
        return None;
    }
    let root = match layers::lay(&walked.tree, &ours) {
        Ok(root) => root,
        Err(error) => {
            let place = Place { file: path.display().to_string(), line: None };
            faults.push(Fault::at(&place, "", format!("the layers do not fit together: {error:#}")));
            return None;
        }
    };
    let hash = hash(&files, &walked.secrets, &ours);
    let rules = std::mem::take(&mut walked.rules);
    let dialects = std::mem::take(&mut walked.dialects);
    let places = fault::Places { main: path.display().to_string(), files: walked.places, variables: ours.names };
    let mut reading = reading::Reading {
        root,
        main: path,
        places: &places,
        environment: variables,
        faults: Vec::new(),
        faulty_files: !faults.is_empty(),
        warnings: Vec::new(),
        now: Clock::system().now(),
    };
    let state = variables.get("STATE_DIRECTORY").and_then(|paths| paths.split(':').next()).map(PathBuf::from);
    let config = build(&mut reading, state, hash, &files, (&rules, &dialects));
    faults.append(&mut reading.faults);
    warnings.append(&mut reading.warnings);
    config
}

fn build(
    reading: &mut reading::Reading<'_>,
    state: Option<PathBuf>,
    hash: [u8; 32],
    files: &[files::File],
    (rules, dialects): (&[(usize, toml::Spanned<toml::de::DeTable<'_>>)], &[dialects::Found<'_>]),
) -> Option<Config> {
    let mut absent = Vec::new();
    laid::missing(&reading.root, &|path| reading.is_set(path), &mut |path, message| {
        absent.push((path.to_owned(), message));
    });
    for (path, message) in absent {
        reading.fault(&path, message);
    }
    let windows = tables::windows(reading);
    let lists = tables::lists(reading, &windows);
    let lookups = tables::lookups(reading);
    let policies = build::policies(reading);
    let sources = build::sources(reading);
    let store = build::store(reading, state);
    let http = reading.one("http.listen", values::socket);
    let mut channels = channel::channels(reading);
    let people = build::people(reading, &lists);
    if let Some(people) = &people {
        build::allowed(reading, people, &lists);
        fallback::fill(reading, &mut channels, &lists, people);
    }
    let log = build::log(reading);
    let brand = build::brand(reading);
    let templates = build::templates(reading);
    let (templates_of_rules, templates_for_rooms) = build::template_names(templates.as_deref()).unzip();
    let tables = dialects;
    let dialects = dialects::read(reading, files, tables);
    let scope = Scope {
        lists: lists.clone(),
        lookups: lookups.clone(),
        broken: tables::broken(reading, &lookups, &windows),
        windows,
        policies,
        channels: channel::names(reading),
        also_called: None,
        rooms: channel::rooms(reading),
        dialects: dialects::named(&dialects, tables),
        templates: templates_of_rules,
        templates_for_rooms: templates_for_rooms.unwrap_or_default(),
    };
    let around =
        ruleset::Around { scope, people: people.as_ref(), store: store.as_ref(), templates: templates.as_deref() };
    let listed = ruleset::read(reading, files, rules, &around);
    let enabled = listed.iter().filter(|listed| listed.enabled).map(|listed| listed.rule.clone()).collect();
    Some(Config {
        path: reading.main.to_owned(),
        hash: with_rows(hash, &lookups),
        sources,
        store: store?,
        http: http?,
        channels,
        people: people?,
        log: log?,
        brand,
        templates,
        dialects,
        rules: Rules::new(enabled),
        lookups,
        listed,
        lists,
        places: reading.places.clone(),
    })
}

/// With what the lookups hold, wherever they came from: it decides too.
fn with_rows(hash: [u8; 32], lookups: &Lookups) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&hash);
    for lookup in lookups.iter() {
        hasher.update(&lookup.digest());
    }
    *hasher.finalize().as_bytes()
}

/// Over every file's text with the secrets cut out, and over our variables but the secrets.
fn hash(files: &[files::File], secrets: &[(usize, std::ops::Range<usize>)], variables: &layers::Variables) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for (index, file) in files.iter().enumerate() {
        let mut cuts: Vec<_> = secrets.iter().filter(|(of, _)| *of == index).map(|(_, span)| span.clone()).collect();
        cuts.sort_by_key(|span| span.start);
        let mut from = 0;
        for cut in cuts {
            part(file.text.as_bytes().get(from..cut.start).unwrap_or_default());
            from = cut.end;
        }
        part(file.text.as_bytes().get(from..).unwrap_or_default());
    }
    for (name, value) in variables.public() {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    *hasher.finalize().as_bytes()
}
