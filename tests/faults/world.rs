//! Owns the ways to break the world under a daemon: a disk of its own, a tracer that spoils system calls, a moved clock.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::harness::{Kafka, PATIENCE, TOPIC};

impl Kafka {
    /// What the daemon's group has committed of a partition.
    pub fn committed(&self, partition: i32) -> Option<i64> {
        let mut config = ClientConfig::new();
        let consumer: BaseConsumer =
            config.set("bootstrap.servers", &self.brokers).set("group.id", "auditbell").create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(TOPIC, partition);
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
        committed.elements()[0].offset().to_raw().filter(|offset| *offset >= 0)
    }
}

/// Runs a command that must succeed.
pub fn run(command: &str, arguments: &[&str]) {
    let output = Command::new(command).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} {arguments:?}: {said}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A small file system, mounted for as long as this lives.
pub struct Disk {
    directory: tempfile::TempDir,
    /// `mount`'s arguments before the directory.
    how: Vec<String>,
}

impl Disk {
    /// 400 MiB of `ext4` or `xfs` on a loop device.
    pub fn on_loop(kind: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        File::create(&image).unwrap().set_len(400 << 20).unwrap();
        run(&format!("mkfs.{kind}"), &[if kind == "ext4" { "-qF" } else { "-qf" }, text(&image)]);
        Self::mounted(directory, vec!["-o".into(), "loop".into(), text(&image).into()])
    }

    /// Memory that is full after so many KiB.
    pub fn in_memory(kib: u64) -> Self {
        let how = ["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"].map(str::to_owned);
        Self::mounted(tempfile::tempdir().unwrap(), how.into())
    }

    fn mounted(directory: tempfile::TempDir, how: Vec<String>) -> Self {
        fs::create_dir(directory.path().join("disk")).unwrap();
        let disk = Self { directory, how };
        disk.mount();
        disk
    }

    fn mount(&self) {
        let root = self.path("");
        let arguments: Vec<&str> = self.how.iter().map(String::as_str).chain([text(&root)]).collect();
        run("mount", &arguments);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("disk").join(name)
    }

    /// From this moment on nothing reaches the disk any more, as if the power were gone.
    pub fn cut_power(&self) {
        run("xfs_io", &["-x", "-c", "shutdown", text(&self.path(""))]);
    }

    /// The machine starts again. Nobody may use the disk any more.
    pub fn power_on(&self) {
        run("umount", &[text(&self.path(""))]);
        self.mount();
    }

    /// Takes every byte that is free now, in one call: what is freed meanwhile stays free.
    pub fn fill(&self) {
        let filler = File::create(self.path("filler")).unwrap();
        let found = rustix::fs::fstatvfs(&filler).unwrap();
        let mut blocks = found.f_bavail;
        let take =
            |blocks| rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, blocks * found.f_frsize);
        // The daemon may have been faster. What is free is not asked again: it may have given up its reserve, which is its own.
        while take(blocks).is_err() {
            blocks -= 1;
        }
    }

    /// Gives them back.
    pub fn free(&self) {
        fs::remove_file(self.path("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a test that fails leaves a daemon behind for a moment. An error leaves a mount, which `mount` shows.
        let _ = Command::new("umount").args(["-l", text(&self.path(""))]).output();
    }
}

/// `strace`, attached to all threads of a process, spoiling its system calls for as long as this lives.
pub struct Tracer {
    strace: Child,
    log: tempfile::NamedTempFile,
}

impl Tracer {
    /// `faults`: arguments such as `-e inject=fsync:error=EIO`.
    pub fn attach(pid: u32, faults: &[&str]) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null"]).args(faults).args(["-p", &pid.to_string()]);
        let spawned = command.stdin(Stdio::null()).stderr(log.reopen().unwrap()).spawn();
        let tracer = Self { strace: spawned.unwrap(), log };
        let began = Instant::now();
        loop {
            let said = fs::read_to_string(tracer.log.path()).unwrap();
            if said.contains("attached") {
                return tracer;
            }
            assert!(began.elapsed() < PATIENCE, "strace did not attach: {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // SIGINT makes it let go of the process; it has ended already if that has. In the middle of a delay it does not hear.
        let _ = Command::new("kill").args(["-INT", &self.strace.id().to_string()]).output();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            if !matches!(self.strace.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// A wall clock that a test moves under a running daemon; the monotonic clock goes on as ever.
pub struct WallClock(tempfile::NamedTempFile);

impl WallClock {
    /// The time it is, until it is moved.
    pub fn new() -> Self {
        let clock = Self(tempfile::NamedTempFile::new().unwrap());
        clock.set("+0");
        clock
    }

    /// What the daemon's environment needs.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
            ("FAKETIME_TIMESTAMP_FILE", text(self.0.path())),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// `+3600` (seconds beside the real time), or `@1970-01-01 00:10:00`.
    pub fn set(&self, to: &str) {
        // Replaced as a whole: the daemon may read it at any moment.
        let new = self.0.path().with_extension("new");
        fs::write(&new, format!("{to}\n")).unwrap();
        fs::rename(&new, self.0.path()).unwrap();
    }
}
