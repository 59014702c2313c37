//! Time that jumps, and a process that time passes by.

use crate::run::Run;
use crate::smtp_server::{Action, Command};
use crate::world::WallClock;

impl Run {
    /// A run whose daemon believes in `clock`.
    async fn under(clock: &WallClock) -> Self {
        let mut run = Self::new().await;
        run.bench.environment.extend(clock.environment());
        run
    }
}

/// T55. A clock that is an hour ahead, and one that comes back: what waits for a retry is tried once more and not in a burst,
/// and the way back starves nobody.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs faketime"]
async fn an_hour_ahead_and_back_neither_bursts_nor_starves() {
    let clock = WallClock::new();
    let mut run = Run::under(&clock).await;
    run.bench.replace("retry = [\"1s\"]", "retry = [\"30m\"]");
    run.bench.relay.on(Command::Rcpt, Action::Reply("451 4.7.1 come back later"));
    run.produce().await;
    run.produce().await;
    run.bench.start().await;
    run.accepted().await;
    let mails = run.number("SELECT count(*) FROM message").unwrap();
    let tried = |run: &Run| run.number("SELECT count(*) FROM due WHERE attempt > 0 AND owner = 0").unwrap();
    run.bench.until("every mail tried", |_| (tried(&run) == mails).then_some(())).await;
    let before = run.bench.relay.count("RCPT");

    clock.set("+3600");
    let again = usize::try_from(mails).unwrap();
    run.bench.until("the retries", |bench| (bench.relay.count("RCPT") >= before + again).then_some(())).await;
    run.bench
        .until("their outcome", |_| {
            (run.number("SELECT min(attempt) FROM due WHERE owner = 0") == Some(2) && tried(&run) == mails)
                .then_some(())
        })
        .await;
    assert_eq!(run.bench.relay.count("RCPT"), before + again, "once each");
    assert!(run.bench.relay.most_open() <= 2, "no more connections than ever");

    // Back: the retries, due in an hour and a half by now, are due in a minute.
    clock.set("+0");
    run.bench.until("the step", |bench| bench.log().contains("retries are due in a minute").then_some(())).await;
    run.bench.relay.calm(Command::Rcpt);
    let soon = "SELECT count(*) FROM due WHERE due_at > (unixepoch() + 61) * 1000";
    // The word comes before the store has it.
    run.bench.until("nobody waits longer than a minute", |_| (run.number(soon) == Some(0)).then_some(())).await;
    assert!(run.bench.stop().await.success());
    run.edit_store(crate::DUE_NOW);
    run.drain().await;
    run.is_whole("an hour ahead and back");
}

/// T55. A clock that jumps to 2038, and to 1970, while it runs: no such step is believed at once. Time goes on as it did; nothing
/// expires, nothing is purged, nothing is refused as too old, nobody waits.
#[test]
#[ignore = "needs faketime"]
fn a_step_of_years_is_not_believed_at_once() {
    crate::each(&["@2038-01-19 03:14:20", "@1970-01-01 00:10:00"], 2, async |year| {
        let clock = WallClock::new();
        let mut run = Run::under(&clock).await;
        run.produce().await;
        run.bench.start().await;
        run.done().await;
        clock.set(year);
        run.bench.until("a word about it", |bench| bench.log().contains("is not believed").then_some(())).await;
        run.produce_all().await;
        run.done().await;
        assert!(run.bench.get("/readyz").starts_with("HTTP/1.1 200"));
        clock.set("+0");
        run.bench.until("a word about it", |bench| bench.log().contains("is believed again").then_some(())).await;
        assert!(run.bench.stop().await.success());
        run.bench.environment.clear();
        run.drain().await;
        run.is_whole(year);
        run.replays_silently(year).await;
    });
}

/// T55. A clock that was never set: before this program was built nothing can have happened.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs faketime"]
async fn in_1970_it_does_not_start() {
    let clock = WallClock::new();
    let run = Run::under(&clock).await;
    clock.set("@1970-01-01 00:10:00");
    let status = run.bench.ended(&mut run.bench.spawn()).await;
    assert_eq!(status.code(), Some(75), "{}", run.bench.log());
    assert!(run.bench.log().contains("before this program was built"), "{}", run.bench.log());
    assert!(!run.bench.store.exists(), "nothing was made");
}

/// T56. The machine sleeps for ten minutes in the middle of the work: the process stands still, and when it goes on the wall
/// clock has jumped. Its claims are its own all the same.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs faketime"]
async fn a_suspended_machine_goes_on_where_it_was() {
    let clock = WallClock::new();
    let mut run = Run::under(&clock).await;
    run.bench.relay.on(Command::Dot, Action::Delay(std::time::Duration::from_millis(50)));
    run.produce_all().await;
    run.bench.start().await;
    run.bench.relay.wait_for(5).await;
    run.bench.signal("STOP");
    clock.set("+600");
    run.bench.signal("CONT");
    run.done().await;
    assert!(run.bench.stop().await.success());
    run.bench.books_balance();
    run.is_whole("suspended for ten minutes");
    assert_eq!(run.findings().copies, 0, "nobody took its claims for those of a dead worker");
    assert_eq!(run.number("SELECT count(*) FROM attempt"), Some(0), "every mail went at the first try");
}
