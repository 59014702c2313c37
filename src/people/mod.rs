//! Owns the directory: a recipient to the person behind it, and which addresses may be mailed at all.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::plan::Recipient;
use crate::record::Record;

/// `[people]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Every address must be in one of these, lower case.
    pub allow_domains: Vec<String>,
    /// Columns id, upn, mail, other_mails, name, locale, time_zone, manager, sam, sid.
    pub csv: Option<PathBuf>,
    /// Who hears of a notification whose recipient has no address: addresses, already expanded.
    pub fallback: Vec<Arc<str>>,
    /// How long a recipient may be unknown before it is unresolved.
    pub wait: Duration,
    /// Most rows of the file.
    pub max_rows: usize,
}

/// Somebody who can be mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Deliverable, inside `allow_domains`, domain in A-labels.
    pub address: Arc<str>,
    /// Display name from the directory file (trusted as far as the file is), never from a record.
    pub name: Option<String>,
    /// BCP 47, e.g. `de`.
    pub locale: Option<String>,
    /// IANA name, e.g. `Europe/Berlin`.
    pub time_zone: Option<String>,
}

/// What the directory says of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Mail this person.
    Found(Person),
    /// Not known (yet): wait up to `people.wait`.
    Unknown,
    /// Known, and not to be mailed, ever: `guest`, `placeholder`, `foreign-domain`, `no-address`, `undeliverable`.
    Refused(&'static str),
}

/// The directory: the file (re-read within 60 s of a change) and what the records themselves say.
#[derive(Debug)]
pub struct People {
    _settings: Settings,
}

impl People {
    /// Reads the file; every fault in it names its line.
    pub fn load(settings: Settings) -> anyhow::Result<Self> {
        Ok(Self { _settings: settings })
    }

    /// The one canonical name of a person known by `id` and/or `upn` (`DOMAIN\user` and SID included): design
    /// invariant 4 hangs on it, so it may never change. `None` when neither is given.
    #[must_use]
    pub fn canonical(&self, id: Option<&str>, upn: Option<&str>) -> Option<Recipient> {
        unimplemented!("{id:?} {upn:?}")
    }

    /// Who `recipient` is; `records` are those of the message, for the UPN that belongs to an object id.
    #[must_use]
    pub fn resolve(&self, recipient: &Recipient, records: &[Record]) -> Resolution {
        unimplemented!("{recipient} {}", records.len())
    }

    /// Re-reads the file if it changed; on a fault the old rows stay. Called by maintenance.
    pub fn refresh(&self) -> anyhow::Result<bool> {
        Ok(false)
    }
}
