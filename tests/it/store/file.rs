//! The file itself: what is refused and left as it is, what survives, and who may open it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

fn refused(file: &File) -> (String, StoreError) {
    for daemon in [false, true] {
        if let Ok(_store) = Store::open(&file.settings(), daemon) {
            panic!("opened");
        }
    }
    let error = Store::open(&file.settings(), true).err().unwrap();
    (error.to_string(), error)
}

/// What is in the file, and that nothing was made beside it but the lock.
fn bytes(file: &File) -> Vec<u8> {
    std::fs::read(file.settings().path).unwrap()
}

#[tokio::test]
async fn what_was_accepted_and_settled_survives_without_a_goodbye() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    store.accept(batch(1, 2, &[send(2)]), NOW).await.unwrap();
    store.settle(sent(&one)).await.unwrap();
    drop(store);
    let store = file.open();
    assert_eq!(next(&store).await, 2);
    assert_eq!(file.column("SELECT state FROM message ORDER BY id"), [1, 0]);
    assert_eq!(load(&store, 10).await[0].key, id(2));
    assert_eq!(store.accept(batch(2, 3, &[send(1), send(2)]), NOW).await.unwrap().duplicates.len(), 2);
}

#[tokio::test]
async fn opening_again_changes_neither_tables_nor_versions() {
    let file = File::new();
    let schema = || -> String { file.query("SELECT group_concat(sql, ';') FROM sqlite_schema", |row| row.get(0)) };
    drop(file.open());
    let first = schema();
    for _ in 0..3 {
        drop(file.open());
        assert_eq!(schema(), first);
    }
    assert_eq!(file.column("PRAGMA user_version"), [1]);
    assert_eq!(file.column("PRAGMA application_id"), [0x4162_656c]);
}

/// T49.
#[test]
fn a_second_daemon_is_told_which_process_has_the_store() {
    let file = File::new();
    let first = file.open();
    let error = Store::open(&file.settings(), true).err().unwrap();
    assert!(matches!(&error, StoreError::Busy(text) if text.contains(&std::process::id().to_string())), "{error}");
    Store::open(&file.settings(), false).expect("a command may look in beside it");
    drop(first);
    file.open();
}

#[tokio::test]
async fn only_our_user_can_read_the_store() {
    let file = File::new();
    let store = file.open();
    store.maintain(NOW).await.unwrap();
    for beside in ["", "-wal", "-shm", ".lock", ".reserve"] {
        let path = PathBuf::from(format!("{}{beside}", file.settings().path.display()));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[test]
fn a_sqlite_file_of_another_program_is_refused_and_left_as_it_is() {
    let file = File::new();
    let other = file.connection();
    other.execute_batch("CREATE TABLE message(id); INSERT INTO message VALUES(1); PRAGMA user_version=1;").unwrap();
    drop(other);
    let before = bytes(&file);
    let (text, error) = refused(&file);
    assert!(matches!(error, StoreError::Refused(_)) && text.contains("another program"), "{text}");
    assert_eq!(bytes(&file), before);
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let file = File::new();
    drop(file.open());
    file.execute_all("PRAGMA user_version=2; PRAGMA wal_checkpoint(TRUNCATE);");
    let before = bytes(&file);
    let (text, error) = refused(&file);
    assert!(matches!(error, StoreError::Refused(_)) && text.contains("newer auditbell"), "{text}");
    assert_eq!(bytes(&file), before);
}

#[test]
fn a_file_that_is_not_sqlites_is_refused_and_left_as_it_is() {
    let file = File::new();
    std::fs::write(file.settings().path, "dear diary, today I was a text file").unwrap();
    let (text, error) = refused(&file);
    assert!(matches!(error, StoreError::Refused(_)) && text.contains("not a SQLite file"), "{text}");
    assert_eq!(bytes(&file), b"dear diary, today I was a text file");
}

#[tokio::test]
async fn a_truncated_store_is_damaged_and_never_made_anew() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let many: Vec<Intent> = (0..500).map(send).collect();
    store.accept(batch(0, 500, &many), NOW).await.unwrap();
    store.close().await;
    let whole = bytes(&file);
    std::fs::write(file.settings().path, &whole[..whole.len() / 2 / 4096 * 4096]).unwrap();
    let error = Store::open(&file.settings(), true).err().unwrap();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    // Zeroes in the middle of the pages.
    let mut zeroed = whole.clone();
    zeroed[8_192..8_192 + 600].fill(0);
    std::fs::write(file.settings().path, &zeroed).unwrap();
    let error = Store::open(&file.settings(), true).err().unwrap();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
}

#[test]
fn an_emptied_store_with_its_wal_still_there_is_damaged_and_not_new() {
    let file = File::new();
    std::fs::write(file.settings().path, "").unwrap();
    std::fs::write(format!("{}-wal", file.settings().path.display()), "frames").unwrap();
    let (text, error) = refused(&file);
    assert!(matches!(error, StoreError::Damaged(_)) && text.contains("-wal"), "{text}");
}

#[test]
fn a_directory_that_is_not_there_is_named_with_the_remedy() {
    let file = File::new();
    let settings = Settings { path: file.settings().path.join("deep/a.db"), ..file.settings() };
    for daemon in [false, true] {
        let error = Store::open(&settings, daemon).err().unwrap();
        assert!(matches!(&error, StoreError::Refused(text) if text.contains("create the directory")), "{error}");
    }
}

#[tokio::test]
async fn a_closed_store_answers_with_an_error_and_does_not_hang() {
    let file = File::new();
    let store = file.open();
    let clone = store.clone();
    assert!(store.is_alive());
    store.close().await;
    assert!(!clone.is_alive());
    assert!(clone.lost().await.is_err());
    assert!(matches!(clone.accept(batch(0, 1, &[]), NOW).await, Err(AcceptError::Store(_))));
    let wal = std::fs::metadata(format!("{}-wal", file.settings().path.display()));
    assert!(wal.map_or(0, |wal| wal.len()) == 0, "the WAL was copied back");
}

#[tokio::test]
async fn hundreds_of_callers_at_once_are_all_answered() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..600 {
        let (store, intent) = (store.clone(), send(n));
        callers.spawn(async move {
            let alone = Batch { fences: vec![], ..batch(0, 1, &[intent]) };
            store.accept(alone, NOW).await.unwrap().messages
        });
    }
    assert_eq!(callers.join_all().await.into_iter().sum::<u64>(), 600);
    assert_eq!(count(&file, "due"), 600);
}

#[tokio::test]
async fn an_error_of_one_command_leaves_those_beside_it_alone() {
    let file = File::new();
    let store = file.open();
    place(&store, 0).await;
    let fenced = store.accept(batch(99, 100, &[send(1)]), NOW);
    let alone = store.accept(Batch { fences: vec![], ..batch(0, 1, &[send(2)]) }, NOW);
    let (fenced, alone) = tokio::join!(fenced, alone);
    assert!(matches!(fenced, Err(AcceptError::Fenced { .. })));
    assert_eq!(alone.unwrap().messages, 1);
    assert_eq!(count(&file, "message"), 1);
}
