//! Owns the SQLite file: opening it safely, refusing what is not ours, and what SQLite's errors mean to the store.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{StoreError, sql};
use crate::crash;

/// "Abel" in ASCII: marks the file as ours (`PRAGMA application_id`).
const APPLICATION_ID: i64 = 0x4162_656c;
/// Migration n brings the file to `PRAGMA user_version` n.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001.sql")];
/// Earlier versions can corrupt a WAL that is reset while it is read (sqlite.org/wal.html#walresetbug).
const OLDEST_SQLITE: i32 = 3_051_003;
/// How long a statement waits for another process, e.g. `messages retry` beside a daemon.
const BUSY: Duration = Duration::from_secs(5);
/// Above this size the check at start would delay it by seconds; `store check` does it on demand.
const QUICK_CHECK_LIMIT: u64 = 1 << 30;
/// More than there are statements, so that none is ever prepared twice.
const STATEMENTS: usize = 128;

/// A reader's page cache, in KiB below zero as SQLite wants it.
const READER_CACHE: i64 = -2_048;

/// Set and read back on every connection. FULL: NORMAL loses acknowledged commits in a power cut. Checkpoints are made
/// by a reader, so the writer never does it inside a commit. A cache of 8 MiB holds what thousands of messages touch between
/// their acceptance and their verdict: the ids of the ledger lie at random places.
const PRAGMAS: [(&str, &str, &str); 10] = [
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", "2"),
    ("wal_autocheckpoint", "0", "0"),
    ("journal_size_limit", "67108864", "67108864"),
    ("mmap_size", "0", "0"),
    ("cache_size", "-8192", "-8192"),
    ("temp_store", "MEMORY", "2"),
    ("trusted_schema", "OFF", "0"),
    ("cell_size_check", "ON", "1"),
    ("secure_delete", "FAST", "2"),
];

/// What [`create_or_open`] would refuse before it makes anything.
pub(super) fn examine(path: &Path) -> Result<(), StoreError> {
    refuse_directory(path)?;
    refuse_other_files(path)
}

/// Opens the file at `path`, creates it where there is none, brings it to this version's tables.
pub(super) fn create_or_open(path: &Path, thorough: bool) -> Result<Connection, StoreError> {
    create(path, thorough).map_err(|error| about(path, error))
}

/// SQLite's own words name no file and no remedy.
fn about(path: &Path, error: StoreError) -> StoreError {
    let path = path.display().to_string();
    match error {
        StoreError::Damaged(text) if !text.contains(&path) => {
            StoreError::Damaged(format!("{path}: {text}; check the disk, and restore the file from a backup"))
        }
        StoreError::Busy(text) if !text.contains(&path) => StoreError::Busy(format!("{path}: {text}")),
        StoreError::Other(error) => StoreError::Other(error.context(path)),
        told => told,
    }
}

fn create(path: &Path, thorough: bool) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(StoreError::Refused(format!(
            "SQLite {} is too old, 3.51.3 or newer is needed: build with the bundled one",
            rusqlite::version()
        )));
    }
    examine(path)?;
    // Created by us, so that only our user can read what SQLite puts into it and beside it.
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::Refused(format!("{}: {error}", path.display())))?;
    let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    migrate(&mut conn, path)?;
    if thorough && std::fs::metadata(path).is_ok_and(|file| file.len() < QUICK_CHECK_LIMIT) {
        quick_check(&conn, path)?;
    }
    Ok(conn)
}

/// A second connection for reading (and checkpoints) to a file that is open already.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let open = || {
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.pragma_update(None, "query_only", "ON")?;
        // Whatever the writer commits empties it.
        conn.pragma_update(None, "cache_size", READER_CACHE)?;
        Ok(conn)
    };
    open().map_err(|error| about(path, error))
}

/// Opens a store that exists, for looking only; refuses what `create_or_open` refuses.
pub(super) fn read_only(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Refused(format!("{}: there is no store; `auditbell run` makes it", path.display())));
    }
    refuse_other_files(path)?;
    let conn = reader(path)?;
    match versions(&conn)? {
        (APPLICATION_ID, version) if version == newest() => Ok(conn),
        found => Err(refusal(path, found)),
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // A WAL is copied back when the writer says so, not by whoever happens to be the last to close: it may have found damage.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Before any setting: a file that is not ours must not even be switched to WAL.
    recognise(&conn, path)?;
    for (pragma, value, expected) in PRAGMAS {
        let not_synced = pragma == "synchronous" && crash::planted("not-synced");
        let (value, expected) = if not_synced { ("NORMAL", "1") } else { (value, expected) };
        conn.pragma_update(None, pragma, value)?;
        let got = conn.pragma_query_value(None, pragma, |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                other => other.as_str()?.to_owned(),
            })
        })?;
        if got != expected {
            return Err(StoreError::Refused(format!("{}: {pragma} stays {got}, not {expected}", path.display())));
        }
    }
    Ok(conn)
}

fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn versions(conn: &Connection) -> rusqlite::Result<(i64, i64)> {
    Ok((
        conn.pragma_query_value(None, "application_id", |row| row.get(0))?,
        conn.pragma_query_value(None, "user_version", |row| row.get(0))?,
    ))
}

fn refusal(path: &Path, (application, version): (i64, i64)) -> StoreError {
    let path = path.display();
    StoreError::Refused(if application != APPLICATION_ID {
        format!("{path}: this SQLite file belongs to another program; name another file in [store] url")
    } else if version > newest() {
        format!("{path}: made by a newer auditbell (version {version}, this one knows {}); update", newest())
    } else {
        format!("{path}: made by an older auditbell; `auditbell run` brings it up to date")
    })
}

/// The version of a file that is ours or empty; anything else is refused.
fn recognise(conn: &Connection, path: &Path) -> Result<i64, StoreError> {
    let (application, version) = versions(conn)?;
    let tables = sql::first::<i64>(conn, "SELECT count(*) FROM sqlite_schema", &[])?;
    let ours = application == APPLICATION_ID || (application, version, tables) == (0, 0, Some(0));
    if ours && version <= newest() { Ok(version) } else { Err(refusal(path, (application, version))) }
}

/// Brings the tables to the newest version in one transaction; two processes may try at once.
fn migrate(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    if versions(conn)? == (APPLICATION_ID, newest()) {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = recognise(&tx, path)?;
    for text in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        tx.execute_batch(text)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", newest())?;
    Ok(tx.commit()?)
}

/// The first fault SQLite finds in the file, if there is one.
pub(super) fn quick_check(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    match sql::first::<String>(conn, "PRAGMA quick_check(1)", &[])? {
        Some(answer) if answer == "ok" => Ok(()),
        answer => Err(StoreError::Damaged(format!(
            "{}: damaged ({}); restore it from a backup",
            path.display(),
            answer.unwrap_or_default()
        ))),
    }
}

/// A file that is there and is not SQLite's is never written to. An empty one is new, unless a WAL lies beside it: then
/// somebody emptied a store.
fn refuse_other_files(path: &Path) -> Result<(), StoreError> {
    let Ok(mut file) = std::fs::File::open(path) else { return Ok(()) };
    let mut head = Vec::new();
    let read = file.by_ref().take(16).read_to_end(&mut head);
    read.map_err(|error| StoreError::Refused(format!("{}: {error}", path.display())))?;
    if head.is_empty() {
        let wal = beside(path, "-wal");
        return match std::fs::metadata(&wal) {
            Ok(wal_file) if wal_file.len() > 0 => Err(StoreError::Damaged(format!(
                "{} is empty but {} is not: restore it from a backup",
                path.display(),
                wal.display()
            ))),
            _ => Ok(()),
        };
    }
    if head != b"SQLite format 3\0" {
        return Err(StoreError::Refused(format!(
            "{}: not a SQLite file; name another file in [store] url",
            path.display()
        )));
    }
    Ok(())
}

/// `path` with `suffix` after its whole name: SQLite's own way of naming what lies beside a database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How much the store at `path` takes, its WAL included.
pub(super) fn bytes(path: &Path) -> u64 {
    let files = ["", "-wal", "-shm"].map(|suffix| beside(path, suffix));
    files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum()
}

/// The directory of `path`.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The directory must be there, and SQLite's locks must hold in it.
fn refuse_directory(path: &Path) -> Result<(), StoreError> {
    let directory = directory(path);
    let remedy = "create the directory for auditbell's user, or name another file in [store] url";
    let found = rustix::fs::statfs(directory)
        .map_err(|error| StoreError::Refused(format!("{}: {error}; {remedy}", directory.display())))?;
    match network_file_system(found.f_type) {
        Some(name) => Err(StoreError::Refused(format!(
            "{} is on {name}: SQLite's locks do not hold there; use a local disk",
            directory.display()
        ))),
        None => Ok(()),
    }
}

/// The name of the network file system with this statfs magic (statfs(2)); C libraries differ in its width and sign.
fn network_file_system(magic: impl Into<i64>) -> Option<&'static str> {
    match magic.into() & 0xFFFF_FFFF {
        0x6969 => Some("NFS"),
        0x517B => Some("SMB"),
        0xFF53_4D42 => Some("CIFS"),
        0xFE53_4D42 => Some("SMB2"),
        _ => None,
    }
}

/// What an error of SQLite means to whoever called the store.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&rusqlite::Error> for StoreError {
    fn from(error: &rusqlite::Error) -> Self {
        let text = format!("SQLite: {error}");
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure) => {
                Self::Damaged(text)
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(text),
            // SQLite keeps the system's reason to itself.
            Some(ErrorCode::CannotOpen) => Self::Other(anyhow::anyhow!(
                "{text}; its directory must be writable, and the limit on open files must leave room"
            )),
            _ => Self::Other(anyhow::anyhow!(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T50.
    #[test]
    fn network_file_systems_are_known_by_their_magic() {
        for (magic, name) in [
            (0x6969_i64, Some("NFS")),
            (0x517B, Some("SMB")),
            (0xFF53_4D42, Some("CIFS")),
            (0xFE53_4D42, Some("SMB2")),
            // The same as a negative 32-bit number, as some C libraries give it.
            (i64::from(0xFE53_4D42_u32.cast_signed()), Some("SMB2")),
            // ext4, xfs, tmpfs, overlayfs.
            (0xEF53, None),
            (0x5846_5342, None),
            (0x0102_1994, None),
            (0x794C_7630, None),
        ] {
            assert_eq!(network_file_system(magic), name, "{magic:x}");
        }
    }

    #[test]
    fn the_bundled_sqlite_is_new_enough() {
        assert!(rusqlite::version_number() >= OLDEST_SQLITE);
    }
}
