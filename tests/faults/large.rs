//! Large stores: a restart with a million messages that wait, and a purge beside the work. The rows are made by plain SQL.

use std::path::Path;
use std::time::{Duration, Instant};

use auditbell::clock::Clock;
use auditbell::store::{Settings, Store};
use rusqlite::{Connection, params};

use crate::harness::{Bench, envelope, reset_of_number};

const DAY: i64 = 24 * 3_600 * 1_000;

/// Some messages of one kind, numbered from `from`.
pub struct Rows {
    pub from: i64,
    pub count: i64,
    /// Milliseconds before now.
    pub age: i64,
    pub pending: bool,
}

/// Makes the store at `path` where there is none, and adds `rows`: each message with its notification, a hundred messages to a
/// record.
pub fn add(path: &Path, rows: &Rows) {
    let retention = Duration::from_hours(90 * 24);
    let settings = Settings { path: path.to_owned(), ledger: retention, content: retention };
    drop(Store::open(&settings, true).unwrap());
    let store = Connection::open(path).unwrap();
    store.execute_batch("PRAGMA synchronous=OFF; BEGIN").unwrap();
    let now = Clock::system().now().as_millis();
    let at = now - rows.age;
    let (first, last) = (rows.from, rows.from + rows.count - 1);
    let body = reset_of_number(1).to_string();
    let series = "WITH RECURSIVE n(n) AS (SELECT $1 UNION ALL SELECT n+1 FROM n WHERE n<$2) INSERT INTO ";
    // The day of the record, and the number.
    let id = "unhex(printf('%08x%024x', $3/86400000, n))";
    let run = |text: String| store.execute(&text, params![first, last, at]).unwrap();
    store
        .execute(
            &format!(
                "{series} record(id,key,at,accepted_at,broker_at,dialect,origin,body) \
                SELECT n, zeroblob(32), $3, $3, $3, 'entra.audit', 'entra:t:0:'||n||':0', $4 FROM n"
            ),
            params![first / 100, last / 100, at, body.as_bytes()],
        )
        .unwrap();
    run(format!(
        "{series} notification(id,at,record,message,rule,config,verdict) \
        SELECT {id}, $3, n/100, n, 'password-reset', 1, 0 FROM n"
    ));
    let (state, done) = if rows.pending { (0, "NULL") } else { (1, "$3") };
    run(format!(
        "{series} message(id,key,channel,recipient,rule,rank,template,kind,title,severity,created_at,expires_at,state,\
            done_at,attempts) \
        SELECT n, {id}, 'email', 'addr:user-'||n||'@example.com', 'password-reset', 0, 'password-reset', 0, 'title', 2, $3, \
            $3+{DAY}*3, {state}, {done}, 0 FROM n"
    ));
    if rows.pending {
        run(format!(
            "{series} due(channel,lane,due_at,message,owner,attempt,suspect,joined) \
            SELECT 'email', 1, $3, n, 0, 0, 0, 1 FROM n"
        ));
    }
    store.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// T61: a million messages wait, as after a weekend without a relay.
#[tokio::test(flavor = "multi_thread")]
async fn a_million_waiting_messages_do_not_delay_a_start() {
    let mut bench = Bench::new().await;
    bench.replace("level = \"debug\"", "level = \"info\"");
    add(&bench.store, &Rows { from: 1_000, count: 1_000_000, age: 3_600_000, pending: true });
    let began = Instant::now();
    bench.start().await;
    let ready = began.elapsed();
    bench.relay.wait_for(1).await;
    let first = began.elapsed();
    let mib = std::fs::metadata(&bench.store).unwrap().len() >> 20;
    println!("a store of {mib} MiB: ready after {ready:?}, the first mail after {first:?}");
    assert!(ready < Duration::from_secs(10), "{ready:?}");
    assert!(first < ready + Duration::from_secs(2), "{first:?}");
    // The upkeep beside it, which looks at all that is due, delays no stop either.
    bench.relay.wait_for(200).await;
    let began = Instant::now();
    assert!(bench.stop().await.success());
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

/// T62: the purge works while mails are sent: what is not finished stays, and what is finished stays as long as it must.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_beside_the_work_takes_what_is_old_and_finished_and_nothing_else() {
    let mut bench = Bench::new().await;
    bench.replace("level = \"debug\"", "level = \"info\"");
    bench.replace("[store]", "[store]\nledger = \"90d\"");
    let old = Rows { from: 1_000, count: 30_000, age: 91 * DAY, pending: false };
    let young = Rows { from: 40_000, count: 2_000, age: 88 * DAY, pending: false };
    let waiting = Rows { from: 50_000, count: 1_000, age: 3_600_000, pending: true };
    for rows in [&old, &young, &waiting] {
        add(&bench.store, rows);
    }
    bench.start().await;
    let records: Vec<_> = (0..500).map(reset_of_number).collect();
    for message in records.chunks(10) {
        bench.publish(envelope(message)).await;
    }
    let path = bench.store.clone();
    let count = |condition: &str| -> i64 {
        let store = Connection::open(&path).unwrap();
        store.query_row(&format!("SELECT count(*) FROM message WHERE {condition}"), [], |row| row.get(0)).unwrap()
    };
    bench.until("the purge", |_| (count("id < 31000") == 0).then_some(())).await;
    bench.until("every mail", |bench| (bench.relay.accepted().len() >= 1_500).then_some(())).await;
    assert!(bench.stop().await.success());
    assert_eq!(count("id BETWEEN 40000 AND 41999"), 2_000, "nothing goes too early");
    assert_eq!(count("state = 1 AND id >= 50000"), 1_500, "everything was told");
    let store = Connection::open(&bench.store).unwrap();
    let ids: i64 = store.query_row("SELECT count(*) FROM notification", [], |row| row.get(0)).unwrap();
    assert_eq!(ids, 3_500, "an id for each that is left");
    drop(store);
    assert_eq!(bench.relay.accepted().len(), 1_500, "each once");
    bench.books_balance();
}
