//! Owns reading one laid-out tree by dotted key: typed values out, faults with the place they came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Map, Value, ValueKind};

use super::fault::{Fault, Places};
use super::files;
use super::layers::split;
use crate::clock::Timestamp;
use crate::secret::{Secret, Source};

/// The layers laid over each other, and where everything in them came from.
pub(super) struct Reading<'a> {
    pub root: Map<String, Value>,
    /// The main file; relative paths start at its directory.
    pub main: &'a Path,
    pub places: &'a Places,
    /// All variables of the environment: some that are not ours say what need not be written.
    pub environment: &'a BTreeMap<String, String>,
    pub faults: Vec<Fault>,
    /// Whether the files had faults before they were laid out: what is not there may have been meant to be.
    pub faulty_files: bool,
    pub warnings: Vec<Fault>,
    /// The time of reading, for what is off by now.
    pub now: Timestamp,
}

impl Reading<'_> {
    pub fn fault(&mut self, path: &str, message: impl Into<String>) {
        let fault = Fault::at(&self.places.of(path), path, message);
        self.faults.push(fault);
    }

    /// Whether anything is wrong so far.
    pub fn faulty(&self) -> bool {
        self.faulty_files || !self.faults.is_empty()
    }

    pub fn warn(&mut self, path: &str, message: impl Into<String>) {
        let warning = Fault::at(&self.places.of(path), path, message);
        self.warnings.push(warning);
    }

    /// Is the key set anywhere, well or badly?
    pub fn is_set(&self, path: &str) -> bool {
        self.places.files.contains_key(path) || self.places.variables.contains_key(path) || self.get(path).is_some()
    }

    fn get(&self, path: &str) -> Option<&Value> {
        let mut words = path.split('.');
        let first = self.root.get(words.next()?)?;
        words.try_fold(first, |value, word| match &value.kind {
            ValueKind::Table(table) => table.get(word),
            _ => None,
        })
    }

    /// The keys of a table, sorted; empty where there is none.
    pub fn names(&self, path: &str) -> Vec<String> {
        match self.get(path).map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => {
                table.keys().cloned().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Text by free names, as `kafka = { … }` has it.
    pub fn map(&self, path: &str) -> BTreeMap<String, String> {
        let Some(ValueKind::Table(table)) = self.get(path).map(|value| &value.kind) else { return BTreeMap::new() };
        let text = |value: &Value| match &value.kind {
            ValueKind::String(text) => Some(text.clone()),
            _ => None,
        };
        table.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
    }

    /// The tables of a list: text by names.
    pub fn tables(&self, path: &str) -> Vec<BTreeMap<String, String>> {
        let Some(ValueKind::Array(items)) = self.get(path).map(|value| &value.kind) else { return Vec::new() };
        let text = |value: &Value| match &value.kind {
            ValueKind::String(text) => Some(text.clone()),
            _ => None,
        };
        let table = |item: &Value| match &item.kind {
            ValueKind::Table(table) => {
                Some(table.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect())
            }
            _ => None,
        };
        items.iter().filter_map(table).collect()
    }

    /// One value, read by `parse`; `None` where it is not set, or is bad (then there is a fault).
    pub fn one<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = match self.get(path).map(|value| &value.kind) {
            Some(ValueKind::String(text)) => text.clone(),
            _ => return None,
        };
        self.parsed(path, &text, parse)
    }

    /// One text.
    pub fn text(&mut self, path: &str) -> Option<String> {
        self.one(path, |text| Ok(text.to_owned()))
    }

    /// A list; a variable's is split at commas.
    pub fn many<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let texts: Vec<String> = match self.get(path).map(|value| &value.kind) {
            Some(ValueKind::String(text)) => split(text).map(str::to_owned).collect(),
            Some(ValueKind::Array(items)) => items.iter().filter_map(|item| item.clone().into_string().ok()).collect(),
            _ => return None,
        };
        texts.iter().map(|text| self.parsed(path, text, &parse)).collect()
    }

    fn parsed<T>(&mut self, path: &str, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(message) => {
                // The walk and the environment have said so already, unless a default of ours is bad.
                if !self.faults.iter().any(|fault| fault.key == path) {
                    self.fault(path, message);
                }
                None
            }
        }
    }

    /// A path; relative ones start at the main file.
    pub fn path(&mut self, path: &str) -> Option<PathBuf> {
        let text = self.text(path)?;
        Some(files::directory(self.main).join(text))
    }

    /// A regular file that can be read.
    pub fn file(&mut self, path: &str) -> Option<PathBuf> {
        let file = self.path(path)?;
        if let Err(message) = files::open(&file) {
            self.fault(path, format!("`{}` {message}", file.display()));
            return None;
        }
        Some(file)
    }

    /// The secret `path`, or what the file `path_file` holds now. Required: one of the two.
    pub fn secret(&mut self, path: &str) -> Option<Secret> {
        self.secret_source(path)?.read().ok()
    }

    /// Where the secret `path` stands: there, or in the file `path_file`, which holds a good one now. Required: one of the two.
    pub fn secret_source(&mut self, path: &str) -> Option<Source> {
        let twin = format!("{path}_file");
        match (self.is_set(path), self.is_set(&twin)) {
            (true, true) => {
                self.fault(&twin, format!("is set and so is `{path}`: keep one"));
                None
            }
            (true, false) => self.text(path).map(Secret::new).map(Source::Here),
            (false, true) => {
                let source = Source::File(self.file(&twin)?);
                source.read().map_err(|message| self.fault(&twin, message)).ok()?;
                Some(source)
            }
            (false, false) => {
                let name = twin.rsplit('.').next().unwrap_or_default();
                self.fault(path, format!("is missing: add `{name} = \"…\"`"));
                None
            }
        }
    }
}
