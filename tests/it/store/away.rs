//! What dispatch does while the store does not take what it has to say: a trigger refuses it for a moment.

use auditbell::channels::Permission;
use auditbell::clock::Clock;
use auditbell::dispatch::worker;
use auditbell::shutdown::Shutdown;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;

async fn until(what: &str, reached: impl AsyncFn() -> bool) {
    let waits = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waits).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

/// T55: the step is seen once, and the store must hear of it.
#[tokio::test]
async fn a_step_back_of_the_clock_is_told_until_the_store_took_it() {
    let file = File::new();
    let store = file.open();
    let one = claimed(&store).await;
    store.settle(later(&one, at(90_000))).await.unwrap();
    let clock = Clock::manual(at(7_200));
    let me = store.register("test", at(7_200)).await.unwrap();
    clock.set_back(Duration::from_hours(1));
    file.execute("CREATE TRIGGER away BEFORE UPDATE OF due_at ON due BEGIN SELECT RAISE(ABORT, 'away'); END");
    let (permission, permitted) = watch::channel(Permission::Go);
    let done = CancellationToken::new();
    let beating = tokio::spawn(worker::heartbeat(
        store.clone(),
        me,
        clock.clone(),
        permission,
        Shutdown::default(),
        done.clone(),
    ));
    let seen = at(3_600).as_millis();
    until("the first beat", async || file.column("SELECT seen_at FROM worker") == [seen]).await;
    file.execute("DROP TRIGGER away");
    assert_eq!(file.column("SELECT due_at FROM due"), [at(90_000).as_millis()]);
    until("the step", async || file.column("SELECT due_at FROM due") == [at(3_660).as_millis()]).await;
    done.cancel();
    beating.await.unwrap();
    drop(permitted);
}
