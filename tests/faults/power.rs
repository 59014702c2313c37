//! The power goes: what was acknowledged is on the disk, and only that the disk really keeps it makes it so.

use rusqlite::{Connection, OpenFlags};

use crate::run::Run;
use crate::world::Disk;
use crate::{each, random};

/// What a store says that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
struct Acknowledged {
    positions: i64,
    notifications: i64,
    sent: i64,
}

impl Acknowledged {
    /// A store that cannot be read says nothing.
    fn of(run: &Run) -> Self {
        let text = "SELECT (SELECT coalesce(sum(next),0) FROM position), (SELECT count(*) FROM notification), \
            (SELECT count(*) FROM message WHERE state=1)";
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        Connection::open_with_flags(&run.bench.store, flags)
            .and_then(|store| {
                store.query_row(text, [], |row| {
                    Ok(Self { positions: row.get(0)?, notifications: row.get(1)?, sent: row.get(2)? })
                })
            })
            .unwrap_or_default()
    }
}

/// A daemon whose disk loses its power after so many mails; what it had acknowledged before, and what the disk has after.
async fn cut(disk: &Disk, mails: usize, bug: Option<&str>) -> (Run, Acknowledged, Acknowledged) {
    let mut run = Run::new().await;
    run.bench.store = disk.path("auditbell.db");
    run.bench.environment.extend(bug.map(|bug| ("AUDITBELL_PLANTED_BUG".to_owned(), bug.to_owned())));
    run.produce_all().await;
    run.bench.start().await;
    run.bench.relay.wait_for(mails).await;
    let before = Acknowledged::of(&run);
    disk.cut_power();
    run.bench.kill();
    run.died();
    disk.power_on();
    let after = Acknowledged::of(&run);
    (run, before, after)
}

/// T42.
#[test]
#[ignore = "needs root: loop devices, mkfs.ext4, mkfs.xfs and xfs_io"]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    // Twenty moments of the run; 46 mails in all.
    let cases: Vec<_> = (0..20).map(|n| (["ext4", "xfs"][n % 2], random(1, 44))).collect();
    each(&cases, 4, async |(kind, mails)| {
        let case = format!("power cut on {kind} after {mails} mails");
        let disk = Disk::on_loop(kind);
        let (mut run, before, after) = cut(&disk, mails, None).await;
        let kept = after.positions >= before.positions
            && after.notifications >= before.notifications
            && after.sent >= before.sent;
        assert!(kept, "{case}: acknowledged {before:?}, on the disk {after:?}");
        for partition in 0..crate::topic::PARTITIONS {
            let committed = run.bench.kafka.committed(partition);
            let next = run.position(partition);
            assert!(committed.is_none_or(|committed| committed <= next), "{case}: Kafka {committed:?}, store {next}");
        }
        run.bench.books_balance();
        run.drain().await;
        run.is_whole(&case);
    });
}

/// T43, the negative control of T42: the same cut, with commits that are not synced.
#[test]
#[ignore = "needs root: loop devices, mkfs.ext4, mkfs.xfs and xfs_io"]
fn without_synced_commits_the_same_power_cut_loses_rows() {
    each(&["ext4", "xfs"], 2, async |kind| {
        let disk = Disk::on_loop(kind);
        let (_run, before, after) = cut(&disk, 20, Some("not-synced")).await;
        assert!(after.notifications < before.notifications && after.sent < before.sent, "{kind}: the cut cuts nothing");
        println!("{kind}, not synced: acknowledged {before:?}, on the disk {after:?}");
    });
}
