//! Owns the store's disk: when it is too full to accept more, and the reserve that lets verdicts be written even then.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{AcceptError, sqlite};

/// Given up when the disk is nearly full, so that what was sent can still be recorded as sent.
const RESERVE: u64 = 16 << 20;
/// Below this, or a tenth of the disk if that is less, nothing new is accepted.
const WATERMARK: u64 = 512 << 20;

/// Free and total bytes of the store's file system, as last asked.
pub(super) struct Disk {
    store: PathBuf,
    directory: PathBuf,
    reserve: PathBuf,
    pub free: u64,
    pub total: u64,
}

impl Disk {
    /// The disk of the store at `path`.
    pub(super) fn new(path: &Path) -> Self {
        let directory = sqlite::directory(path).to_owned();
        let reserve = sqlite::beside(path, ".reserve");
        let mut disk = Self { store: path.to_owned(), directory, reserve, free: u64::MAX, total: u64::MAX };
        disk.refresh();
        disk
    }

    /// Asks again; gives the reserve up when it is needed. An unanswered question leaves the last answer.
    pub(super) fn refresh(&mut self) {
        match rustix::fs::statvfs(&self.directory) {
            Ok(found) => (self.free, self.total) = (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize),
            Err(error) => tracing::warn!(%error, "cannot ask how much of the store's disk is free"),
        }
        if self.free < RESERVE.min(watermark(self.total)) && self.reserve.exists() {
            tracing::error!(reserve = %self.reserve.display(), free_bytes = self.free, "the store's disk is full: giving up the reserve file");
            if let Err(error) = std::fs::remove_file(&self.reserve) {
                tracing::error!(%error, "cannot remove the reserve file");
            }
        }
    }

    /// Is there too little left to accept more?
    pub(super) fn is_low(&self) -> bool {
        self.free < watermark(self.total)
    }

    /// Why nothing more is accepted.
    pub(super) fn low(&self) -> AcceptError {
        AcceptError::DiskLow { path: self.store.clone(), free: self.free }
    }

    /// Makes the reserve file, if there is none and there is space for it above the watermark.
    pub(super) fn keep_reserve(&self) {
        if self.free < watermark(self.total).saturating_add(RESERVE) || self.reserve.exists() {
            return;
        }
        if let Err(error) = write_reserve(&self.reserve) {
            tracing::warn!(%error, "cannot write the reserve file");
            // A part of it is of no use, and may not exist at all.
            let _ = std::fs::remove_file(&self.reserve);
        }
    }
}

/// Written out, not punched: a sparse file reserves nothing.
fn write_reserve(path: &Path) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    let block = vec![0xAB_u8; 1 << 16];
    for _ in 0..RESERVE / (1 << 16) {
        file.write_all(&block)?;
    }
    file.sync_all()
}

/// Free bytes below which nothing new is accepted, on a disk of `total` bytes.
fn watermark(total: u64) -> u64 {
    WATERMARK.min(total / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_is_half_a_gibibyte_or_a_tenth_of_a_small_disk() {
        assert_eq!(watermark(1 << 40), 512 << 20);
        assert_eq!(watermark(1 << 30), (1 << 30) / 10);
    }

    #[test]
    fn the_reserve_is_kept_while_there_is_space_and_given_up_when_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let mut disk = Disk::new(&path);
        (disk.free, disk.total) = (0, 1 << 40);
        disk.keep_reserve();
        assert!(!disk.reserve.exists(), "no reserve on a full disk");
        disk.free = 1 << 40;
        disk.keep_reserve();
        assert_eq!(std::fs::metadata(&disk.reserve).unwrap().len(), RESERVE);
        assert!(!disk.is_low());
    }
}
