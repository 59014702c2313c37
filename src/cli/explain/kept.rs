//! `--id` and `--person`: the records that the store and the topics hold, found by an id or by whom they name.

use std::collections::HashSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use regex::bytes::{Regex, RegexBuilder};

use super::Desk;
use super::answer::{Explanation, Subject};
use crate::cli::exit;
use crate::cli::input::Output;
use crate::cli::messages::key;
use crate::cli::store::Opened;
use crate::clock::Timestamp;
use crate::people::People;
use crate::record::envelope::{self, Item};
use crate::record::{Dialect, Identity, Position, Record};
use crate::source::{self, Ended, Envelope};
use crate::store::operate::{Names, Told};

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_millis(200);

impl Desk {
    /// Explains the record of `id`, or those: one id may come again with another revision.
    pub(super) fn of_id(
        &self,
        id: &str,
        since: Option<Timestamp>,
        most: u32,
        within: Duration,
    ) -> Result<ExitCode, ExitCode> {
        let mut search = Search::new(most);
        let is_it = |record: &Record| record.id.eq_ignore_ascii_case(id);
        let shown = self.store.as_ref().map_or(Ok(Ok(())), |store| self.of_store(store, id, &is_it, &mut search))?;
        if let Some(since) = since.filter(|_| search.found.is_empty() && shown.is_ok()) {
            let filter = finds([id.to_owned()].iter())?;
            return Ok(self.topics(since, within, search, &filter, &is_it));
        }
        let code = if search.found.is_empty() {
            if self.store.is_some() {
                eprintln!(
                    "{id}: the store keeps no such record, notification or message; --since looks into the topics too"
                );
            }
            ExitCode::from(exit::FAILED)
        } else {
            ExitCode::SUCCESS
        };
        Ok(search.output.end(shown, code))
    }

    /// Explains what the store has of `id`: the record of a notification or a message, else the records that are it.
    fn of_store(
        &self,
        store: &Opened,
        id: &str,
        is_it: &dyn Fn(&Record) -> bool,
        search: &mut Search,
    ) -> Result<io::Result<()>, ExitCode> {
        if let Ok(key) = key(id)
            && let Some(told) = store.ask(|store| async move { store.told_by(key).await })?
        {
            return Ok(self.told(told, search));
        }
        // A record without an id of its own has one that its content does not hold.
        let text = if id.starts_with("sha256:") { String::new() } else { id.to_owned() };
        let mut before = Some(i64::MAX);
        let mut shown = Ok(());
        while let Some(from) = before.take_if(|_| search.wants_more()) {
            let text = text.clone();
            let (found, next) = store.ask(|store| async move { store.holding(text, from).await })?;
            let found = found.into_iter().filter(|told| self.read(told).as_ref().is_some_and(is_it));
            shown = shown.and_then(|()| found.into_iter().try_for_each(|told| self.told(told, search)));
            before = next;
        }
        Ok(shown)
    }

    /// Explains every record since `since` that is about `person`.
    pub(super) fn of_person(
        &self,
        person: &str,
        since: Timestamp,
        most: u32,
        within: Duration,
    ) -> Result<ExitCode, ExitCode> {
        let people = &self.explainer.people;
        let known = people.names(person);
        let wanted = ledger_names(people, known.iter());
        let mut search = Search::new(most);
        let told = match &self.store {
            Some(store) => store.ask(|store| async move { store.told_of(wanted, since, most).await })?,
            None => Vec::new(),
        };
        let shown = told.into_iter().try_for_each(|told| self.told(told, &mut search));
        if shown.is_err() {
            return Ok(search.output.end(shown, ExitCode::SUCCESS));
        }
        let filter = finds(known.iter())?;
        let is_about = |record: &Record| filter.is_match(record.raw.to_string().as_bytes());
        Ok(self.topics(since, within, search, &filter, &is_about))
    }

    /// One record of the store, with what became of it.
    fn told(&self, told: Told, search: &mut Search) -> io::Result<()> {
        search.found.insert(told.identity);
        if let Some(record) = self.read(&told) {
            return self.record(record, told.kept.broker_time, &mut search.output);
        }
        let forgotten = Explanation {
            record: Subject::Forgotten(told.kept.position, self.dialect(&told.kept.dialect), told.kept.at),
            outcome: None,
            rules: Vec::new(),
            notifications: Vec::new(),
            history: told.history,
        };
        self.show(forgotten, &mut search.output)
    }

    /// Explains what the topics hold since `since`, `filter` finds, `wanted` wants, and was not shown. 75 if the brokers
    /// cannot be asked, 1 if nothing was found or not everything was read.
    fn topics(
        &self,
        since: Timestamp,
        within: Duration,
        mut search: Search,
        filter: &Regex,
        wanted: &dyn Fn(&Record) -> bool,
    ) -> ExitCode {
        let end = Instant::now() + within;
        let mut whole = true;
        let mut shown = Ok(());
        let mut progress = Progress::new();
        for settings in &self.config.sources {
            let left = end.saturating_duration_since(Instant::now());
            let read = source::read_since(settings, since, left, &mut |envelope, left| {
                progress.count(left, search.found.len());
                shown = self.message(&settings.name, &envelope, &mut search, (filter, wanted));
                if shown.is_ok() && search.wants_more() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            progress.clear();
            match read {
                Ok(Ended::AtEnd) => {}
                Ok(Ended::Enough) if shown.is_err() => return search.output.end(shown, ExitCode::SUCCESS),
                Ok(Ended::Enough) => {
                    eprintln!("{} records were found, and there may be more: raise --most", search.most);
                    whole = false;
                    break;
                }
                Ok(Ended::OutOfTime) => {
                    eprintln!("[source.{}] was not read to its end: raise --within, or begin later", settings.name);
                    whole = false;
                }
                Err(error) => {
                    eprintln!("[source.{}] {error:#}", settings.name);
                    return search.output.end(shown, ExitCode::from(exit::TRY_AGAIN));
                }
            }
        }
        if search.found.is_empty() && whole {
            eprintln!("nothing was found");
        }
        let code = if whole && !search.found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) };
        search.output.end(shown, code)
    }

    /// Explains the records of one Kafka message that are wanted.
    fn message(
        &self,
        source: &std::sync::Arc<str>,
        envelope: &Envelope,
        search: &mut Search,
        (filter, wanted): (&Regex, &dyn Fn(&Record) -> bool),
    ) -> io::Result<()> {
        let payload = envelope.payload.as_deref();
        let may_hold = |bytes: &[u8]| filter.is_match(bytes) || bytes.windows(2).any(|pair| pair == b"\\u");
        if !payload.is_some_and(may_hold) {
            return Ok(());
        }
        for (index, item) in (0..).zip(envelope::decode(payload)) {
            let Item::Record(raw) = item else { continue };
            if !may_hold(raw.json.as_bytes()) {
                continue;
            }
            let position = Position {
                source: source.clone(),
                topic: Some(envelope.topic.clone()),
                partition: Some(envelope.partition),
                offset: Some(envelope.offset),
                index,
            };
            let record = raw.read(&self.config.dialects, position, envelope.timestamp);
            if search.wants_more() && wanted(&record) && search.found.insert(record.identity()) {
                self.record(record, envelope.timestamp, &mut search.output)?;
            }
        }
        Ok(())
    }

    /// The record as it reads today; `None` past the content retention.
    fn read(&self, told: &Told) -> Option<Record> {
        let body = String::from_utf8_lossy(told.kept.body.as_ref()?);
        Some(self.config.dialects.read(&body, told.kept.position.clone(), told.kept.broker_time))
    }

    /// The dialect of this name; `None`: of a mapping table that is no more.
    fn dialect(&self, name: &str) -> Option<Dialect> {
        let mut all = Dialect::BUILT_IN.iter().copied().chain(self.config.dialects.iter());
        all.find(|dialect| dialect.as_str() == name)
    }
}

/// What was found so far.
struct Search {
    found: HashSet<Identity>,
    most: usize,
    output: Output,
}

impl Search {
    fn new(most: u32) -> Self {
        Self { found: HashSet::new(), most: usize::try_from(most).unwrap_or(usize::MAX), output: Output::new() }
    }

    fn wants_more(&self) -> bool {
        self.found.len() < self.most
    }
}

/// Finds any of `names`, whole and in any case, in a record's text. A backslash stands there twice.
fn finds<'a>(names: impl Iterator<Item = &'a String>) -> Result<Regex, ExitCode> {
    let names: Vec<String> = names.map(|name| regex::escape(&name.replace('\\', "\\\\"))).collect();
    let pattern = format!(r"(?:^|[^\w.+-])(?:{})(?:$|[^\w-])", names.join("|"));
    RegexBuilder::new(&pattern).case_insensitive(true).build().map_err(|_| {
        eprintln!("the name is too long to be looked for");
        ExitCode::from(exit::USAGE)
    })
}

/// The recipients and addresses that the ledger may have for somebody with these names.
fn ledger_names<'a>(people: &People, names: impl Iterator<Item = &'a String>) -> Names {
    let mut wanted = Names::default();
    for name in names {
        let canonical = [people.canonical(Some(name), None), people.canonical(None, Some(name))];
        wanted.recipients.extend(canonical.into_iter().flatten().map(|recipient| recipient.to_string()));
        wanted.recipients.extend([format!("user:{name}"), format!("addr:{name}")]);
        if name.contains('@') {
            wanted.addresses.insert(name.clone());
        }
    }
    wanted
}

/// A line on stderr that is written again and again, where that is a terminal.
struct Progress {
    shown: Option<Instant>,
    read: u64,
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self { shown: None, read: 0, terminal: io::stderr().is_terminal() }
    }

    fn count(&mut self, left: u64, found: usize) {
        self.read += 1;
        if self.terminal && self.shown.is_none_or(|shown| shown.elapsed() >= PROGRESS) {
            self.shown = Some(Instant::now());
            eprint!("\r{} messages read, {left} to come, {found} records found \u{1b}[K", self.read);
        }
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            eprint!("\r\u{1b}[K");
            // It is only for the eye.
            let _ = io::stderr().flush();
        }
    }
}
