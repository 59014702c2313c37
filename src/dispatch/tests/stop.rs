//! What becomes of an attempt when the stop does not wait for it or another lane takes over, and of a message that waited
//! too long for its turn.

use super::*;
use crate::channels::{Attempt, Verdict};
use crate::store::operate::{self, Detail, Filter};

/// A channel that goes as far as it is told to and then waits.
#[derive(Default)]
struct Waits {
    hands_over: bool,
    /// An attempt has come as far as it goes.
    reached: Notify,
    /// It may go on, and comes to nothing.
    go: Notify,
    /// For good.
    refuses: bool,
    closed: AtomicBool,
}

impl Channel for Waits {
    fn attempt<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        _now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>> {
        Box::pin(async {
            if self.hands_over {
                assert!(outgoing.handover.begin());
            }
            self.reached.notify_one();
            self.go.notified().await;
            let refused = Verdict::Never { reason: "recipient-refused" };
            let verdict = if self.refuses { refused } else { Verdict::Later { not_before: None } };
            Attempt { verdict, code: None, reply: String::new(), receipt: None }
        })
    }

    fn connections(&self, _waiting: usize) -> usize {
        1
    }

    fn gate(&self, _urgent: bool, _now: Timestamp) -> Gate {
        Gate::Open
    }

    fn broken(&self) -> Option<&'static str> {
        None
    }

    fn probe(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async { self.closed.store(true, Ordering::Relaxed) })
    }
}

/// A lane over a store with the messages 1..=`count`, and whoever may stop it.
struct Scene {
    _directory: tempfile::TempDir,
    store: Store,
    clock: Clock,
    shutdown: Shutdown,
    permission: watch::Sender<Permission>,
    channel: Arc<Waits>,
    lane: Arc<Lane>,
    running: tokio::task::JoinHandle<()>,
}

impl Scene {
    async fn begin(count: u8, channel: Waits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_769_105_702_387);
        let store = messages(directory.path().join("a.db"), now, count).await;
        let worker = store.register("test", now).await.unwrap();
        let (permission, permitted) = watch::channel(Permission::Go);
        let parts = Parts { clock: Clock::manual(now), ..parts(store.clone(), worker, permitted) };
        let (clock, shutdown, channel) = (parts.clock.clone(), parts.shutdown.clone(), Arc::new(channel));
        let policy = super::policy(Vec::new());
        let sender = Sender { from: "Bell <bell@example.com>".into(), reply_to: None, redirect_to: None };
        let lane = Arc::new(Lane::new(parts, opened("email", channel.clone()), Some(sender), policy));
        let running = tokio::spawn(lane.clone().run());
        Self { _directory: directory, store, clock, shutdown, permission, channel, lane, running }
    }

    /// The soft order, as the heartbeat passes it on.
    fn stop(&self) {
        self.shutdown.begin();
        self.permission.send_replace(Permission::Stopping);
    }

    /// What is in the store once the lane has ended.
    async fn after(self) -> Detail {
        self.running.await.unwrap();
        self.store.message(key(1)).await.unwrap().unwrap()
    }
}

/// (claimed, attempts, verdicts written, frozen address).
fn said(detail: &Detail) -> (bool, u32, Vec<&'static str>, bool) {
    let verdicts = detail.tries.iter().map(|one| one.verdict).collect();
    (detail.message.claimed, detail.message.attempts, verdicts, detail.message.address.is_some())
}

/// Only the paused clock of the runtime passes the moment that a session has for its question: no test waits for it.
#[tokio::test(start_paused = true)]
async fn a_stop_takes_back_an_attempt_that_stalls_before_the_handover_and_it_costs_nothing() {
    let scene = Scene::begin(1, Waits::default()).await;
    scene.channel.reached.notified().await;
    scene.stop();
    let shutdown = scene.shutdown.clone();
    assert_eq!(said(&scene.after().await), (false, 0, vec![], false));
    assert!(!shutdown.hard().is_cancelled(), "it did not wait for the hard order");
}

#[tokio::test]
async fn a_hard_stop_before_the_handover_costs_nothing_either() {
    let scene = Scene::begin(1, Waits::default()).await;
    scene.channel.reached.notified().await;
    scene.stop();
    scene.shutdown.cut();
    assert_eq!(said(&scene.after().await), (false, 0, vec![], false));
}

/// T58, without a relay.
#[tokio::test(start_paused = true)]
async fn after_the_handover_a_stop_waits_for_the_hard_order_and_then_it_is_ambiguous() {
    let scene = Scene::begin(1, Waits { hands_over: true, ..Waits::default() }).await;
    scene.channel.reached.notified().await;
    scene.stop();
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert!(!scene.running.is_finished(), "what may have arrived is waited for");
    scene.shutdown.cut();
    assert_eq!(said(&scene.after().await), (false, 1, vec!["ambiguous"], true));
}

#[tokio::test]
async fn a_message_that_expires_while_it_waits_for_a_slot_is_not_tried() {
    let scene = Scene::begin(2, Waits::default()).await;
    scene.channel.reached.notified().await;
    let all = |what: fn(&operate::Message) -> bool| {
        let (store, clock) = (scene.store.clone(), scene.clock.clone());
        let look = async move {
            let filter = || Filter { limit: 9, ..Filter::default() };
            while !store.messages(filter()).await.unwrap().iter().all(what) {
                clock.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), look)
    };
    all(|message| message.claimed).await.expect("both are in hand, and there is one slot");
    scene.clock.advance(73 * HOUR);
    scene.channel.go.notify_one();
    all(|message| message.state == "expired").await.expect("both are over");
    let tried = async |n| scene.store.message(key(n)).await.unwrap().unwrap().tries.len();
    let tried = [tried(1).await, tried(2).await];
    assert_eq!(tried.iter().sum::<usize>(), 1, "only the one that had the slot was tried: {tried:?}");
    scene.stop();
    scene.running.await.unwrap();
}

/// After a reload: the attempt that runs is finished here, what has not begun is the successor's at once, and whoever is the
/// last on the channel closes it.
#[tokio::test]
async fn a_lane_that_retires_finishes_what_it_has_begun_and_gives_back_the_rest() {
    for inherited in [true, false] {
        let scene = Scene::begin(3, Waits::default()).await;
        scene.channel.reached.notified().await;
        let claimed = async |wanted: usize| {
            let filter = || Filter { limit: 9, ..Filter::default() };
            let count = async || {
                let all = scene.store.messages(filter()).await.unwrap();
                all.iter().filter(|message| message.claimed).count()
            };
            while count().await != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = Duration::from_secs(30);
        tokio::time::timeout(patience, claimed(3)).await.expect("all are in hand, and there is one slot");
        scene.lane.retire(inherited, &Lanes { parts: scene.lane.parts.clone(), all: Vec::new() });
        tokio::time::timeout(patience, claimed(1)).await.expect("those that wait are given back");
        assert!(!scene.running.is_finished() && !scene.channel.closed.load(Ordering::Relaxed));
        scene.channel.go.notify_one();
        scene.running.await.unwrap();
        assert_eq!(scene.channel.closed.load(Ordering::Relaxed), !inherited);
        let mut tries = Vec::new();
        for n in 1..=3 {
            let detail = scene.store.message(key(n)).await.unwrap().unwrap();
            assert!(!detail.message.claimed);
            tries.push(detail.tries.len());
        }
        assert_eq!(tries.iter().sum::<usize>(), 1, "{tries:?}");
    }
}

/// A channel named in a fallback may be gone by the time at which the attempt ends: the fallback of now is told.
#[tokio::test]
async fn what_is_given_up_after_a_reload_is_told_to_the_fallback_of_now() {
    for (what, name, expected) in [("the channel is there", "email", "email"), ("it is gone as well", "mail", "mail")] {
        let scene = Scene::begin(1, Waits { refuses: true, ..Waits::default() }).await;
        scene.channel.reached.notified().await;
        let soc = state::StandIn { channel: name.into(), recipient: Recipient::Address("soc@example.com".into()) };
        let sender = Sender { from: "Bell <bell@example.com>".into(), reply_to: None, redirect_to: None };
        let parts = scene.lane.parts.clone();
        let policy = super::policy(vec![soc]);
        let next = Lane::new(parts.clone(), opened(name, Arc::new(Waits::default())), Some(sender), policy);
        scene.lane.retire(false, &Lanes { parts, all: vec![Arc::new(next)] });
        scene.channel.go.notify_one();
        let detail = scene.after().await;
        assert_eq!(detail.message.state, "failed", "{what}");
        let told: Vec<_> = detail.escalations.iter().map(|one| (&*one.channel, &*one.recipient)).collect();
        assert_eq!(told, [(expected, "addr:soc@example.com")], "{what}");
    }
}
