//! System calls that fail, dawdle or kill: a store that cannot be written stops the process or the sending, never the truth.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::run::Run;
use crate::world::Tracer;
use crate::{each, random};

const WRITES: &str = "pwrite64";
const SYNCS: &str = "fsync,fdatasync";
/// The long form of T47: each write up to this one, in place of some at random.
const EVERY_WRITE: &str = "AUDITBELL_EVERY_WRITE";

impl Run {
    /// Spoils system calls of the running daemon on the store's files.
    fn spoil(&self, faults: &[&str]) -> Tracer {
        let files = ["", "-wal"].map(|suffix| format!("{}{suffix}", self.bench.store.display()));
        let paths: Vec<&str> = files.iter().flat_map(|file| ["-P", file]).collect();
        Tracer::attach(self.bench.pid(), &[&paths, faults].concat())
    }

    /// A daemon that has told the first wave.
    async fn warm() -> Self {
        let mut run = Self::new().await;
        run.produce().await;
        run.bench.start().await;
        run.done().await;
        run
    }
}

/// T45: there is no space for a while, whatever `statvfs` says.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs strace"]
async fn writes_that_find_no_space_are_tried_again_until_they_do() {
    let mut run = Run::warm().await;
    let sent = run.bench.relay.accepted().len();
    let tracer = run.spoil(&["-e", &format!("inject={WRITES}:error=ENOSPC")]);
    run.produce_all().await;
    let held = ["reason=\"store\""];
    run.bench.metric_at_least("auditbell_source_held", &held, 1).await;
    assert_eq!(run.bench.relay.accepted().len(), sent, "nothing is sent that is not on disk");
    assert!(run.bench.get("/livez").starts_with("HTTP/1.1 200"));
    drop(tracer);
    run.done().await;
    assert!(run.bench.stop().await.success());
    run.bench.books_balance();
    run.is_whole("ENOSPC at write");
}

/// T45: a disk that fails ends the process with 74; the next one goes on where the disk allows it.
#[test]
#[ignore = "needs strace"]
fn a_disk_that_fails_ends_the_process_with_74_and_the_next_start_loses_nothing() {
    let cases = [(WRITES, "EIO"), (WRITES, "EROFS"), (SYNCS, "EIO"), (SYNCS, "EROFS")];
    each(&cases, 2, async |(calls, error)| {
        let case = format!("{error} at {calls}");
        let mut run = Run::warm().await;
        let tracer = run.spoil(&["-e", &format!("inject={calls}:error={error}:when={}+", random(1, 30))]);
        run.produce_all().await;
        let status = run.bench.exited().await;
        drop(tracer);
        assert_eq!(status.code(), Some(74), "{case}: {}", run.bench.log());
        let log = run.bench.log();
        assert!(log.contains("auditbell.db\"") && log.contains("from a backup"), "{case}: {log}");
        run.died(); // what was in hand when it ended may come again
        run.drain().await;
        run.is_whole(&case);
    });
}

/// T45, at the start: a file that cannot be made is named.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs strace"]
async fn a_store_that_cannot_be_made_is_refused_by_name() {
    for (file, error) in [("auditbell.db.lock", "ENOSPC"), ("auditbell.db", "EROFS"), ("auditbell.db", "ENOSPC")] {
        let mut run = Run::new().await;
        let path = run.bench.path(file).display().to_string();
        let inject = format!("inject=openat:error={error}");
        let wrap = ["strace", "-D", "-f", "-o", "/dev/null", "-P", &path, "-e", &inject];
        run.bench.wrap = wrap.map(str::to_owned).into();
        let status = run.bench.ended(&mut run.bench.spawn()).await;
        let log = run.bench.log();
        assert!(matches!(status.code(), Some(74 | 75 | 78)), "{file} {error}: {status} {log}");
        assert!(log.contains(&path), "{file} {error}: {log}");
    }
}

/// T46: 300 ms for each sync. It is slow, and nothing else: no claim is doubted, nothing comes twice.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs strace"]
async fn a_slow_disk_makes_it_slow_and_nothing_else() {
    let mut run = Run::warm().await;
    let began = Instant::now();
    let tracer = run.spoil(&["-e", &format!("inject={SYNCS}:delay_enter=300000")]);
    run.produce_all().await;
    run.done().await;
    println!("45 mails at 300 ms a sync: {:?}", began.elapsed());
    assert!(run.bench.get("/readyz").starts_with("HTTP/1.1 200"), "the heartbeats were in time");
    let stopping = Instant::now();
    assert!(run.bench.stop().await.success());
    assert!(stopping.elapsed() < Duration::from_secs(25), "{:?}", stopping.elapsed());
    drop(tracer);
    run.bench.books_balance();
    run.is_whole("slow fsync");
    assert!(!run.bench.log().contains("did not take the heartbeat"), "{}", run.bench.log());
}

/// A disk that hangs for good, and an order to stop: what can no longer be written is left behind in time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs strace"]
async fn a_stop_does_not_wait_for_a_disk_that_hangs() {
    let mut run = Run::warm().await;
    let tracer = run.spoil(&["-e", &format!("inject={SYNCS}:delay_enter=600000000")]);
    run.produce_all().await;
    let began = Instant::now();
    run.bench.signal("TERM");
    run.bench.until("its last word", |bench| bench.log().contains("\"stopped\"").then_some(())).await;
    let took = began.elapsed();
    // A thread that strace delays does not die before strace does; a process with nobody attached just ends.
    drop(tracer);
    assert!(run.bench.exited().await.success());
    assert!(took < Duration::from_secs(24), "{took:?}");
    println!("stopped with a hanging disk after {took:?}");
    run.died(); // as good as: the next start frees what it held
    run.drain().await;
    run.is_whole("stopped with a hanging disk");
}

/// T47: killed inside the N-th write or sync of the store. In the long form reloads write on when the story has come to its end
/// before; in the short one a story that makes fewer fails its case.
#[test]
#[ignore = "needs strace"]
fn a_kill_inside_any_write_to_the_store_loses_nothing() {
    let every = std::env::var(EVERY_WRITE).ok();
    let calls: Vec<_> = match &every {
        Some(last) => (1..=last.parse().unwrap()).map(|n| (WRITES, n)).collect(),
        // What it does makes at least so many of each, however many verdicts share a commit.
        None => (0..16).map(|n| if n % 4 == 0 { (SYNCS, random(1, 15)) } else { (WRITES, random(1, 70)) }).collect(),
    };
    each(&calls, 4, async |(calls, n)| {
        let case = format!("killed in {calls} number {n}");
        let mut run = Run::new().await;
        run.produce().await;
        run.bench.start().await;
        let tracer = run.spoil(&["-e", &format!("inject={calls}:signal=KILL:when={n}")]);
        run.produce_all().await;
        let pid = run.bench.pid().to_string();
        let reloads = async {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                // It may be dead by now: that is what we wait for.
                let _ = Command::new("kill").args(["-HUP", &pid]).stderr(std::process::Stdio::null()).status();
            }
        };
        let status = tokio::select! {
            status = run.bench.exited() => status,
            () = reloads, if every.is_some() => unreachable!("it ends with the daemon"),
        };
        drop(tracer);
        assert_eq!(status.signal(), Some(9), "{case}: {status}");
        run.died();
        run.drain().await;
        run.is_whole(&case);
    });
}
