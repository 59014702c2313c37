//! Owns the directory: a recipient to the person behind it, and which addresses may be mailed at all.

pub mod address;
mod file;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Context;

use crate::plan::Recipient;
use crate::record::Record;

pub use address::Refusal;
use file::{Row, Table, fold};

/// `[people]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Every address must be in one of these, lower case.
    pub allow_domains: Vec<String>,
    /// Columns id, upn, mail, `other_mails`, name, locale, `time_zone`, manager, sam, sid.
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
    /// Known, and not to be mailed, ever.
    Refused(Refusal),
}

/// The directory: the file (re-read within 60 s of a change) and what the records themselves say.
#[derive(Debug)]
pub struct People {
    settings: Settings,
    table: RwLock<Arc<Table>>,
    looks: Mutex<Looks>,
}

/// What was seen of the file.
#[derive(Debug, Default)]
struct Looks {
    /// As `table` was read from it.
    read: Option<Stamp>,
    /// At the last look.
    last: Option<Stamp>,
    /// So many looks in a row have found it changed.
    restless: u8,
}

/// Who writes it again and again has a new one by then, whole or with a fault that is told.
const RESTLESS: u8 = 4;

/// What changes when a file does.
type Stamp = (SystemTime, u64);

impl People {
    /// Reads the file; every fault in it names its line.
    pub fn load(mut settings: Settings) -> anyhow::Result<Self> {
        for domain in &mut settings.allow_domains {
            *domain =
                address::domain(domain).with_context(|| format!("people.allow_domains: `{domain}` is no domain"))?;
        }
        let people = Self { settings, table: RwLock::default(), looks: Mutex::default() };
        if let Some(stamp) = people.stamp()? {
            people.read(stamp, &mut people.looks())?;
        }
        Ok(people)
    }

    /// The one canonical name of a person known by `id` and/or `upn` (`DOMAIN\user` and SID included): design
    /// invariant 4 hangs on it, so it may never change. `None` when neither is given.
    ///
    /// The object id where it is known, directly or from the file; else the UPN; folded.
    #[must_use]
    pub fn canonical(&self, id: Option<&str>, upn: Option<&str>) -> Option<Recipient> {
        let given = |name: Option<&str>| name.map(fold).filter(|name| !name.is_empty());
        let (id, upn) = (given(id), given(upn));
        let table = self.table();
        let row = [&id, &upn].into_iter().flatten().find_map(|name| table.find(name));
        let filed = row.and_then(|row| row.id.as_deref().map(fold).or_else(|| row.upn.as_deref().map(fold)));
        // A record's own object id stands above the file's row for its UPN: a UPN is given to a successor, an id never.
        let object_id = id.clone().filter(|id| is_object_id(id));
        object_id.or(filed).or(id).or(upn).map(|name| Recipient::User(name.into()))
    }

    /// Whether the names `id` and `upn` of a record mean `recipient`. True also where the file has changed since the
    /// recipient was named after one of them.
    #[must_use]
    pub fn is(&self, recipient: &Recipient, id: Option<&str>, upn: Option<&str>) -> bool {
        let Recipient::User(name) = recipient else { return false };
        [id, upn].into_iter().flatten().any(|own| fold(own) == **name)
            || self.canonical(id, upn).is_some_and(|own| own == *recipient)
    }

    /// Who `recipient` is; `records` are those of the message, for the UPN that belongs to an object id.
    ///
    /// A row's `mail` decides alone; one without is mailed at the first of `other_mails` that may be, else, as somebody
    /// without a row, at the UPN.
    #[must_use]
    pub fn resolve(&self, recipient: &Recipient, records: &[Record]) -> Resolution {
        let table = self.table();
        let name = match recipient {
            Recipient::Address(address) => return self.person(address, table.find(address)),
            Recipient::User(name) => name,
            Recipient::Manager(of) => return self.managing(of),
            Recipient::Missing(_) => return Resolution::Refused(Refusal::NoValue),
            // A room has no address; dispatch does not ask.
            Recipient::Room(_) => return Resolution::Refused(Refusal::NoAddress),
        };
        if let Some(row) = table.find(name) {
            return self.filed(row);
        }
        let upn = if name.contains('@') { None } else { self.upn_in(records, recipient) };
        let address = upn.as_deref().unwrap_or(name);
        match table.find(address) {
            // The row of a UPN that has gone to somebody else: mailing it would tell the wrong person.
            Some(row) if row.id.as_deref().is_some_and(|id| fold(id) != **name) => {
                Resolution::Refused(Refusal::NoAddress)
            }
            Some(row) => self.filed(row),
            None => self.person(address, None),
        }
    }

    /// Whether `address`, at which somebody was mailed before, may still be mailed: a reload may have taken its domain away.
    pub fn permits(&self, address: &str) -> Result<(), Refusal> {
        address::deliverable(address, &self.settings.allow_domains).map(drop)
    }

    /// The canonical name of the manager whom the file gives `of`.
    #[must_use]
    pub fn manager(&self, of: &Recipient) -> Option<Recipient> {
        let manager = self.table().find(of.name())?.manager.clone()?;
        self.canonical(None, Some(&manager))
    }

    /// The other addresses that the file gives `of`, in its order.
    #[must_use]
    pub fn alternates(&self, of: &Recipient) -> Vec<Arc<str>> {
        self.table().find(of.name()).map(|row| row.other_mails.clone()).unwrap_or_default()
    }

    /// The manager of `of`. Without a row of theirs it may come; a row that names none is final.
    fn managing(&self, of: &str) -> Resolution {
        let table = self.table();
        let Some(row) = table.find(of) else { return Resolution::Unknown };
        let Some(manager) = row.manager.as_deref() else { return Resolution::Refused(Refusal::NoManager) };
        match table.find(manager) {
            Some(row) => self.filed(row),
            None => self.person(manager, None),
        }
    }

    fn filed(&self, row: &Row) -> Resolution {
        let may_be_mailed = |text: &&str| address::deliverable(text, &self.settings.allow_domains).is_ok();
        let other = row.other_mails.iter().map(|mail| &**mail).find(may_be_mailed);
        match row.mail.as_deref().or(other).or(row.upn.as_deref()) {
            Some(address) => self.person(address, Some(row)),
            None => Resolution::Refused(Refusal::NoAddress),
        }
    }

    /// Whether the file has a row for `recipient`.
    #[must_use]
    pub fn lists(&self, recipient: &Recipient) -> bool {
        self.table().find(recipient.name()).is_some()
    }

    /// Everything that somebody may be called who is called `name` (object id, UPN, address, `DOMAIN\user`, SID), folded:
    /// the name itself and what the file has of its row. Walks the file.
    #[must_use]
    pub fn names(&self, name: &str) -> BTreeSet<String> {
        self.table().names(name).into_iter().chain([fold(name)]).collect()
    }

    /// Re-reads the file if it changed and has not changed since the last call: whoever writes it in place may be in the middle,
    /// and of half a file people would be mailed, and named, otherwise. One that changes at every look is read at the fourth.
    /// On a fault the old rows stay. Called by maintenance.
    pub fn refresh(&self) -> anyhow::Result<bool> {
        let Some(now) = self.stamp()? else { return Ok(false) };
        let mut looks = self.looks();
        let is_still = looks.last.replace(now) == Some(now);
        looks.restless = if is_still { 0 } else { looks.restless.saturating_add(1) };
        if looks.read == Some(now) || !is_still && looks.restless < RESTLESS {
            return Ok(false);
        }
        looks.restless = 0;
        self.read(now, &mut looks)?;
        Ok(true)
    }

    /// `None`: there is no file.
    fn stamp(&self) -> anyhow::Result<Option<Stamp>> {
        let Some(path) = &self.settings.csv else { return Ok(None) };
        let metadata = std::fs::metadata(path).with_context(|| format!("people file {}", path.display()))?;
        Ok(Some((metadata.modified()?, metadata.len())))
    }

    fn read(&self, stamp: Stamp, looks: &mut Looks) -> anyhow::Result<()> {
        let Some(path) = &self.settings.csv else { return Ok(()) };
        let table = Arc::new(Table::read(path, self.settings.max_rows)?);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        looks.read = Some(stamp);
        Ok(())
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn person(&self, text: &str, row: Option<&Row>) -> Resolution {
        if is_directory_name(text) {
            return Resolution::Unknown;
        }
        if let Some(refusal) = no_mailbox(text) {
            return Resolution::Refused(refusal);
        }
        let own = |value: fn(&Row) -> &Option<Box<str>>| row.and_then(|row| value(row).as_deref().map(str::to_owned));
        match address::deliverable(text, &self.settings.allow_domains) {
            Err(refusal) => Resolution::Refused(refusal),
            Ok(address) => Resolution::Found(Person {
                address,
                name: own(|row| &row.name),
                locale: own(|row| &row.locale),
                time_zone: own(|row| &row.time_zone),
            }),
        }
    }

    /// The UPN that stands beside the recipient's object id in a record.
    fn upn_in(&self, records: &[Record], recipient: &Recipient) -> Option<String> {
        let parties = records.iter().flat_map(|record| {
            let targets = record.targets.iter().map(|target| (target.id.as_deref(), target.upn.as_deref()));
            let actor = record.actor.iter().map(|actor| (actor.id.as_deref(), actor.upn.as_deref()));
            targets.chain(actor)
        });
        parties
            .filter(|(id, upn)| upn.is_some_and(|upn| !upn.trim().is_empty()) && self.is(recipient, *id, *upn))
            .find_map(|(_, upn)| upn.map(str::to_owned))
    }
}

/// A GUID, as Entra writes object ids.
fn is_object_id(name: &str) -> bool {
    let groups = name.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12]) && name.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// A name that only a directory can turn into an address: object id, SID, `DOMAIN\user`.
fn is_directory_name(name: &str) -> bool {
    let name = fold(name);
    is_object_id(&name) || name.starts_with("s-1-") || (name.contains('\\') && !name.contains('@'))
}

/// UPNs that look like addresses, or stand where one should be, and have no mailbox behind them.
fn no_mailbox(upn: &str) -> Option<Refusal> {
    let upn = upn.trim();
    let (local, _) = upn.rsplit_once('@').unwrap_or((upn, ""));
    // Entra puts the 32 hex digits of the object id before the UPN of a deleted user.
    let deleted = local.len() > 32 && local.bytes().take(32).all(|byte| byte.is_ascii_hexdigit());
    let masked = local.contains('*') || (local.len() > 3 && local.bytes().all(|byte| matches!(byte, b'X' | b'x')));
    if upn.to_ascii_uppercase().contains("#EXT#") {
        Some(Refusal::Guest)
    } else if !upn.contains('@') || deleted || masked {
        Some(Refusal::Placeholder)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
