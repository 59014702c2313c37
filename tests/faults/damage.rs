//! T48: a store that is not what it was. It is refused by name with the remedy, nothing is written into it, and Kafka's offsets
//! stay where they are.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::large::{Rows, add};
use crate::run::Run;

fn beside(store: &Path, suffix: &str) -> PathBuf {
    format!("{}{suffix}", store.display()).into()
}

fn overwrite(store: &Path, at: u64, bytes: &[u8]) {
    fs::File::options().write(true).open(store).unwrap().write_all_at(bytes, at).unwrap();
}

/// A number in SQLite's header, big endian.
fn header(store: &Path, at: u64, number: u32) {
    overwrite(store, at, &number.to_be_bytes());
}

/// The WAL of another store: its pages lie over others of this one. (One that fits, such as a later WAL of the same store,
/// nobody can tell.)
fn another_wal(store: &Path) {
    let other = store.with_file_name("other.db");
    let _ = fs::remove_file(&other);
    add(&other, &Rows { from: 1_000, count: 300, age: 0, pending: true });
    let conn = Connection::open(&other).unwrap();
    conn.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    conn.execute("UPDATE message SET title = 'other' ", []).unwrap();
    fs::copy(beside(&other, "-wal"), beside(store, "-wal")).unwrap();
}

type Damage = (&'static str, fn(&Path), i32, &'static str);

const DAMAGES: &[Damage] = &[
    ("600 bytes flipped", |store| overwrite(store, 8_192, &[0xFF; 600]), 74, "from a backup"),
    (
        "cut to half its pages",
        |store| {
            let pages = fs::metadata(store).unwrap().len() / 4_096;
            fs::File::options().write(true).open(store).unwrap().set_len(pages / 2 * 4_096).unwrap();
        },
        74,
        "from a backup",
    ),
    ("zeroed header", |store| overwrite(store, 0, &[0; 100]), 78, "name another file in [store] url"),
    ("another program's file", |store| header(store, 68, 0x1234_5678), 78, "name another file in [store] url"),
    ("a newer version's file", |store| header(store, 60, 99), 78, "made by a newer auditbell"),
    ("another store's WAL", another_wal, 74, "from a backup"),
    (
        "emptied, its WAL still there",
        |store| {
            another_wal(store);
            fs::write(store, "").unwrap();
        },
        74,
        "from a backup",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_refused_by_name_and_nothing_is_touched() {
    let mut run = Run::new().await;
    run.produce_all().await;
    run.drain().await;
    let store = run.bench.store.clone();
    let whole = fs::read(&store).unwrap();
    let committed = [0, 1].map(|partition| run.bench.kafka.committed(partition));
    let told = run.bench.relay.accepted().len();
    for (what, damage, exit, remedy) in DAMAGES {
        fs::write(&store, &whole).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&store, suffix));
        }
        damage(&store);
        let state = || (fs::read(&store).unwrap(), fs::read(beside(&store, "-wal")).unwrap_or_default());
        let before = state();
        let log = run.bench.log().len();
        let status = run.bench.ended(&mut run.bench.spawn()).await;
        let log = run.bench.log().split_off(log);
        assert_eq!(status.code(), Some(*exit), "{what}: {log}");
        assert!(log.contains("auditbell.db") && log.contains(remedy), "{what}: {log}");
        assert!(state() == before, "{what}: `run` wrote into it");
        let output = run.bench.command(&["store", "check"]).output().unwrap();
        assert!(!output.status.success(), "{what}: store check finds nothing");
        assert!(state() == before, "{what}: `store check` wrote into it");
    }
    assert_eq!([0, 1].map(|partition| run.bench.kafka.committed(partition)), committed);
    assert_eq!(run.bench.relay.accepted().len(), told);
    fs::write(&store, &whole).unwrap();
    let _ = fs::remove_file(beside(&store, "-wal"));
    let _ = fs::remove_file(beside(&store, "-shm"));
    run.bench.start().await;
    assert!(run.bench.stop().await.success());
    run.bench.books_balance();
}
