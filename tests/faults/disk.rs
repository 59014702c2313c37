//! The disk is full: nothing is lost, nothing is sent that was not claimed on disk, and it goes on by itself.

use rusqlite::{Connection, OpenFlags};

use crate::run::Run;
use crate::smtp_server::{Action, Command};
use crate::world::Disk;

/// Every mail that the relay has was claimed in the store.
fn all_were_claimed(run: &Run) {
    let store = Connection::open_with_flags(&run.bench.store, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let text = "SELECT m.state=1 OR d.attempt>0 FROM message m LEFT JOIN due d ON d.message=m.id WHERE hex(m.key)=$1";
    for id in run.bench.relay.message_ids() {
        let key = id.split('@').next().unwrap().to_uppercase();
        let claimed: bool =
            store.query_row(text, [&key], |row| row.get(0)).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert!(claimed, "{id} was sent and never claimed");
    }
}

async fn held(run: &Run, value: u64) {
    let labels = ["reason=\"disk-low\""];
    run.bench
        .until(&format!("disk-low = {value}"), |bench| {
            (bench.metric("auditbell_source_held", &labels) == value).then_some(())
        })
        .await;
}

/// T44, on a disk that is large enough for the reserve: the outcomes of what is in hand are written although it is full.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: tmpfs"]
async fn on_a_full_disk_the_reserve_takes_the_outcomes_and_intake_waits_until_there_is_space() {
    let disk = Disk::in_memory(200 << 10);
    let mut run = Run::new().await;
    run.bench.store = disk.path("auditbell.db");
    run.bench.relay.on(Command::Dot, Action::Delay(std::time::Duration::from_millis(50)));
    for _ in 0..6 {
        run.produce().await;
    }
    run.bench.start().await;
    run.bench.until("the reserve", |_| disk.path("auditbell.db.reserve").exists().then_some(())).await;
    run.accepted().await;
    run.bench.relay.wait_for(1).await;
    disk.fill();
    run.done().await; // while it is full
    all_were_claimed(&run);
    assert!(!disk.path("auditbell.db.reserve").exists());
    run.produce_all().await;
    held(&run, 1).await;
    let log = run.bench.log();
    assert!(log.contains("giving up the reserve file") && log.contains("auditbell.db.reserve"), "{log}");
    assert!(run.bench.get("/livez").starts_with("HTTP/1.1 200"));
    disk.free();
    run.done().await;
    held(&run, 0).await;
    assert!(run.bench.stop().await.success());
    run.bench.books_balance();
    run.is_whole("full disk with a reserve");
}

/// T44, on a disk that is too small for a reserve: nothing can be written, so nothing is sent.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: tmpfs"]
async fn on_a_full_disk_without_a_reserve_nothing_is_sent_until_there_is_space() {
    let disk = Disk::in_memory(8 << 10);
    let mut run = Run::new().await;
    run.bench.store = disk.path("auditbell.db");
    run.produce().await;
    run.bench.start().await;
    run.done().await;
    let sent = run.bench.relay.accepted().len();
    disk.fill();
    run.produce_all().await;
    held(&run, 1).await;
    run.bench
        .until("a word with the place", |bench| {
            let log = bench.log();
            log.lines().any(|line| line.contains("bytes free") && line.contains("auditbell.db")).then_some(())
        })
        .await;
    assert_eq!(run.bench.relay.accepted().len(), sent, "nothing was accepted, so nothing can be sent");
    all_were_claimed(&run);
    assert!(run.bench.get("/livez").starts_with("HTTP/1.1 200"));
    disk.free();
    run.done().await;
    held(&run, 0).await;
    assert!(run.bench.stop().await.success());
    run.bench.books_balance();
    run.is_whole("full disk without a reserve");
}
