//! Owns `Fault`: something wrong in the configuration, with its place and its remedy.

use std::collections::BTreeMap;
use std::fmt;

/// Something wrong in the configuration. Holds no secret and no value of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Fault {
    /// File, or the environment variable's name.
    pub file: String,
    /// From 1; `None` for the environment and for a file that cannot be read.
    pub line: Option<usize>,
    /// Dotted key; empty where the file itself is meant.
    pub key: String,
    /// What is wrong and the remedy, one sentence or two.
    pub message: String,
}

impl Fault {
    /// A fault at `place`.
    pub fn at(place: &Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: place.file.clone(), line: place.line, key: key.into(), message: message.into() }
    }
}

/// `file:line: key: message`, what is unknown left out.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Where a key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File, or the environment variable's name.
    pub file: String,
    /// From 1; `None` for the environment.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// Where every key of a configuration was set.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// The main file.
    pub main: String,
    /// Dotted keys and tables that stand in files.
    pub files: BTreeMap<String, Place>,
    /// Dotted key to the variable that sets it.
    pub variables: BTreeMap<String, String>,
}

impl Places {
    /// Where a key, or else the nearest table around it, was set.
    pub fn of(&self, path: &str) -> Place {
        if let Some(name) = self.variables.get(path) {
            return Place { file: name.clone(), line: None };
        }
        if let Some(place) = self.files.get(path) {
            return place.clone();
        }
        // A table that no file has was made by the variables below it.
        let below = format!("{path}.");
        let made_by = self.variables.iter().find(|(key, _)| key.starts_with(&below));
        match (made_by, path.rsplit_once('.')) {
            (Some((_, name)), Some(_)) => Place { file: name.clone(), line: None },
            (_, Some((above, _))) => self.of(above),
            // What is nowhere is missing from the main file.
            (_, None) => Place { file: self.main.clone(), line: Some(1) },
        }
    }
}
