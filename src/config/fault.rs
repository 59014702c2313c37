//! Owns `Fault`: something wrong in the configuration, with its place and its remedy.

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
