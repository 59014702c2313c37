//! A process that gets little: few file descriptors, little memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Bench, envelope, reset_of_number};
use crate::run::Run;

/// T60: with 64 file descriptors it works as ever; with too few it says so and does not start.
#[tokio::test(flavor = "multi_thread")]
async fn few_file_descriptors_are_enough_or_are_named() {
    let mut run = Run::new().await;
    run.bench.wrap = ["prlimit", "--nofile=64"].map(str::to_owned).into();
    run.produce_all().await;
    run.bench.start().await;
    run.done().await;
    assert!(run.bench.stop().await.success());
    run.bench.books_balance();
    run.is_whole("64 file descriptors");

    run.bench.wrap = ["prlimit", "--nofile=12"].map(str::to_owned).into();
    let before = run.bench.log().len();
    let status = run.bench.ended(&mut run.bench.spawn()).await;
    let log = run.bench.log();
    assert!(!status.success(), "{log}");
    // The system's words, or ours where SQLite was the one that found none left.
    assert!(log[before..].contains("open files"), "{log}");
    run.bench.wrap.clear();
    run.drain().await;
    run.is_whole("after too few");
}

/// A memory cgroup of a test, removed with it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(bytes: u64) -> Self {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, limit) =
            if v1.exists() { (v1, "memory.limit_in_bytes") } else { (Path::new("/sys/fs/cgroup"), "memory.max") };
        let cgroup = Self(root.join(format!("auditbell-{}", std::process::id())));
        fs::create_dir(&cgroup.0).unwrap();
        fs::write(cgroup.0.join(limit), bytes.to_string()).unwrap();
        cgroup
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Fails while a process is in it; then it is empty soon, and harmless.
        let _ = fs::remove_dir(&self.0);
    }
}

/// T60: 2,000 mails in 128 MiB of memory, on one processor.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: a memory cgroup"]
async fn little_memory_is_enough() {
    let cgroup = Cgroup::new(128 << 20);
    let mut bench = Bench::new().await;
    let join = format!("echo $$ > {}/cgroup.procs; exec taskset -c 0 \"$@\"", cgroup.0.display());
    bench.wrap = ["sh", "-c", &join, "sh"].map(str::to_owned).into();
    bench.replace("level = \"debug\"", "level = \"info\"");
    let people = 2_000;
    for message in (0..people).collect::<Vec<_>>().chunks(50) {
        let records: Vec<_> = message.iter().copied().map(reset_of_number).collect();
        bench.publish(envelope(&records)).await;
    }
    bench.start().await;
    bench.until("all of them", |bench| (bench.relay.accepted().len() >= people).then_some(())).await;
    assert!(bench.stop().await.success());
    bench.books_balance();
    assert_eq!(bench.relay.message_ids().len(), people);
    assert_eq!(bench.relay.accepted().len(), people);
    drop(bench);
    drop(cgroup);
}
