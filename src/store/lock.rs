//! Owns the lock file: one daemon per store. Commands do not take it; SQLite's own locks serve them. A command that has to
//! find the daemon reads its process id there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{Settings, StoreError, sqlite};

/// Beside the file itself: whoever names the store by a symbolic link means the same store.
fn file_of(path: &Path) -> PathBuf {
    // There is none yet: it will be made where `path` says, or where the link there leads to.
    let to_be_made = || path.read_link().map_or_else(|_| path.to_owned(), |to| path.with_file_name(to));
    let place = path.canonicalize().unwrap_or_else(|_| to_be_made());
    sqlite::beside(&place, ".lock")
}

/// Takes `<path>.lock` and writes our process id into it. The lock lasts as long as the returned file, and ends with the
/// process however that ends.
pub(super) fn take(path: &Path) -> Result<File, StoreError> {
    let path = file_of(path);
    let refused = |error: std::io::Error| {
        StoreError::Refused(format!(
            "{}: {error}; auditbell's user must be able to write there, see [store] url",
            path.display()
        ))
    };
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            file.read_to_string(&mut owner).map_err(refused)?;
            return Err(StoreError::Busy(format!(
                "{}: another daemon uses this store (process {})",
                path.display(),
                owner.trim()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(refused(error)),
    }
    file.set_len(0).map_err(refused)?;
    writeln!(file, "{}", std::process::id()).map_err(refused)?;
    Ok(file)
}

/// The process id of the daemon that has the store of `settings`; `None`: there is none now.
pub fn holder(settings: &Settings) -> Result<Option<i32>, StoreError> {
    let path = file_of(&settings.path);
    let refused = |error: std::io::Error| {
        StoreError::Refused(format!("{}: {error}; run this as auditbell's user, or as root", path.display()))
    };
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    // A file without its lock is what a daemon left behind; the number in it may be anybody's by now. Ours is shared and gone
    // at once: a daemon that starts in this very moment says "try again".
    match file.try_lock_shared() {
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(refused(error)),
    }
    let mut owner = String::new();
    file.read_to_string(&mut owner).map_err(refused)?;
    Ok(owner.trim().parse().ok().filter(|pid| *pid > 0))
}
