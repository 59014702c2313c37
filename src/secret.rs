//! Owns `Secret`: text that must never be printed, and where it stands.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most bytes of a secret's file; a key or token is far below.
const MAX_BYTES: u64 = 64 << 10;

/// A password, token or key. `Debug` prints `***`; there is no `Display` and no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads `file`, white space around it cut off (editors and `echo` leave a line break). The error says what is wrong
    /// with the file and holds nothing of it.
    pub fn read(file: &Path) -> Result<Self, String> {
        let mut text = String::new();
        std::fs::File::open(file)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(|error| format!("cannot be read: {error}"))?;
        match text.trim() {
            "" => Err("is empty: write the secret into it".into()),
            _ if text.len() as u64 > MAX_BYTES => {
                Err(format!("is larger than {} KiB: is it the right file?", MAX_BYTES >> 10))
            }
            text if text.contains(char::is_control) => Err("holds more than one line: write the secret alone".into()),
            text => Ok(Self::new(text)),
        }
    }

    /// The text itself; call it only where it leaves the process.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Where a secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the configuration.
    Here(Secret),
    /// In a file, read again at each use: Kubernetes and systemd put a new secret in its place while we run.
    File(PathBuf),
}

impl Source {
    /// The secret as it is now. Blocks on a file. The error names the file and holds nothing of it.
    pub fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Here(secret) => Ok(secret.clone()),
            Self::File(file) => Secret::read(file).map_err(|message| format!("`{}` {message}", file.display())),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_file_is_trimmed_and_never_quoted_in_an_error() {
        let directory = tempfile::tempdir().unwrap();
        for (content, expected) in [
            ("hunter2\n", Ok("hunter2")),
            (" 007 \r\n", Ok("007")),
            ("two words", Ok("two words")),
            ("", Err("is empty")),
            (" \n\t", Err("is empty")),
            ("canary\ncanary", Err("holds more than one line")),
        ] {
            let file = directory.path().join("secret");
            std::fs::write(&file, content).unwrap();
            match (Secret::read(&file), expected) {
                (Ok(secret), Ok(expected)) => assert_eq!(secret.expose(), expected),
                (Err(message), Err(expected)) => {
                    assert!(message.starts_with(expected), "{content:?}: {message}");
                    assert!(!message.contains("canary"));
                }
                (got, expected) => panic!("{content:?}: {got:?}, not {expected:?}"),
            }
        }
        assert!(Secret::read(directory.path()).is_err(), "a directory is no secret");
        assert_eq!(format!("{:?}", Secret::new("canary")), "***");
    }
}
