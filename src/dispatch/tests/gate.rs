//! What a lane claims, and what it leaves alone, by what its channel says of itself.

use super::*;
use crate::channels::{Attempt, Verdict};

/// A channel that says what it is told to, and takes everything. A probe shuts it for an hour, as a breaker does.
struct Gated {
    gate: Mutex<Gate>,
    /// Whether each message was urgent.
    attempts: Mutex<Vec<bool>>,
}

impl Gated {
    fn new(gate: Gate) -> Arc<Self> {
        Arc::new(Self { gate: Mutex::new(gate), attempts: Mutex::default() })
    }

    fn set(&self, gate: Gate) {
        *self.gate.lock().unwrap() = gate;
    }

    fn attempts(&self) -> usize {
        self.attempts.lock().unwrap().len()
    }
}

impl Channel for Gated {
    fn attempt<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>> {
        self.attempts.lock().unwrap().push(outgoing.urgent);
        let mut gate = self.gate.lock().unwrap();
        let until = now.plus(HOUR);
        let verdict = match *gate {
            Gate::Probe => {
                *gate = Gate::Shut { until, why: "connect" };
                Verdict::Hold { until, why: "connect" }
            }
            Gate::Few(left) => {
                *gate = if left > 1 { Gate::Few(left - 1) } else { Gate::Shut { until, why: "rate" } };
                Verdict::Sent { reference: None }
            }
            _ => Verdict::Sent { reference: None },
        };
        Box::pin(async { Attempt { verdict, code: None, reply: String::new(), receipt: None } })
    }

    fn connections(&self, _waiting: usize) -> usize {
        5
    }

    fn gate(&self, _urgent: bool, _now: Timestamp) -> Gate {
        *self.gate.lock().unwrap()
    }

    fn broken(&self) -> Option<&'static str> {
        None
    }

    fn probe(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

/// Twenty messages, and a lane that would send them.
struct Scene {
    _directory: tempfile::TempDir,
    store: Store,
    clock: Clock,
    _permission: watch::Sender<Permission>,
    lane: Arc<Lane>,
    running: tokio::task::JoinHandle<()>,
}

impl Scene {
    async fn begin(channel: Arc<Gated>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_769_105_702_387);
        let store = messages(directory.path().join("a.db"), now, 20).await;
        let worker = store.register("test", now).await.unwrap();
        let (permission, permitted) = watch::channel(Permission::Go);
        let parts = Parts { clock: Clock::manual(now), ..parts(store.clone(), worker, permitted) };
        let clock = parts.clock.clone();
        let sender = Sender { from: "Bell <bell@example.com>".into(), reply_to: None, redirect_to: None };
        let lane = Arc::new(Lane::new(parts, opened("email", channel), Some(sender), policy(Vec::new())));
        let running = tokio::spawn(lane.clone().run());
        Self { _directory: directory, store, clock, _permission: permission, lane, running }
    }

    /// Moves the clock, and waits until the lane has looked around twice by the new time.
    async fn pass(&self, span: Duration) {
        for _ in 0..2 {
            self.clock.advance(span / 2);
            let now = self.clock.now();
            let turned = async {
                while self.lane.turned_at() < now {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    // The lane may have counted its pause from the new time, and would wait for it with us.
                    self.clock.advance(Duration::from_millis(50));
                }
            };
            tokio::time::timeout(Duration::from_secs(30), turned).await.expect("the lane turns");
        }
    }

    /// (free, claimed).
    async fn rows(&self) -> (u64, u64) {
        let upkeep = self.store.maintain(self.clock.now()).await.unwrap();
        let of = |wanted| upkeep.messages.iter().filter(|(_, state, _)| *state == wanted).map(|(_, _, n)| n).sum();
        (of("free"), of("claimed"))
    }

    async fn until(&self, what: &str, reached: impl AsyncFn() -> bool) {
        let waits = async {
            while !reached().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waits).await.unwrap_or_else(|_| panic!("{what}"));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.running.abort();
    }
}

#[tokio::test]
async fn while_it_is_shut_nothing_is_claimed_and_a_probe_is_one_message() {
    let until = Timestamp::from_millis(i64::MAX);
    let channel = Gated::new(Gate::Shut { until, why: "connect" });
    let scene = Scene::begin(channel.clone()).await;
    scene.pass(Duration::from_secs(20)).await;
    assert_eq!((scene.rows().await, channel.attempts()), ((20, 0), 0), "shut");

    channel.set(Gate::Probe);
    scene.pass(Duration::from_secs(20)).await;
    scene.until("the probe", async || channel.attempts() == 1 && scene.rows().await == (20, 0)).await;
    scene.pass(Duration::from_secs(20)).await;
    assert_eq!(channel.attempts(), 1, "and no second one in its window");

    channel.set(Gate::Open);
    scene.pass(HOUR + Duration::from_mins(1)).await;
    scene.until("all of them", async || scene.rows().await == (0, 0)).await;
    assert_eq!(channel.attempts(), 21);
}

/// Else urgent ones that are refused for their own sake keep out all others until they expire.
#[tokio::test]
async fn at_a_probe_the_lanes_take_turns() {
    let channel = Gated::new(Gate::Probe);
    let scene = Scene::begin(channel.clone()).await;
    for probes in 1..=3 {
        scene.until("a probe", async || channel.attempts() == probes && scene.rows().await == (20, 0)).await;
        channel.set(Gate::Probe);
        scene.pass(Duration::from_secs(4)).await;
    }
    scene.until("the fourth", async || channel.attempts() == 4).await;
    assert_eq!(channel.attempts.lock().unwrap()[..4], [true, false, true, false]);
}

#[tokio::test]
async fn of_a_ration_no_more_are_claimed_than_are_left() {
    let channel = Gated::new(Gate::Few(3));
    let scene = Scene::begin(channel.clone()).await;
    scene.until("three", async || channel.attempts() == 3 && scene.rows().await == (17, 0)).await;
    scene.pass(Duration::from_secs(20)).await;
    assert_eq!((scene.rows().await, channel.attempts()), ((17, 0), 3), "what is not claimed is not held either");
}

#[tokio::test]
async fn what_expires_in_a_shut_channel_is_ended_by_its_own_policy() {
    let directory = tempfile::tempdir().unwrap();
    let now = Clock::system().now();
    let store = messages(directory.path().join("a.db"), now.minus(73 * HOUR), 3).await;
    let worker = store.register("test", now).await.unwrap();
    let (_permission, permitted) = watch::channel(Permission::Go);
    let parts = parts(store.clone(), worker, permitted);
    let lane = |name: &str, gate, told: &str| {
        let recipient = Recipient::Address("soc@example.com".into());
        let fallback = vec![state::StandIn { channel: told.into(), recipient }].into();
        let policy = state::Policy { fallback, ..policy(Vec::new()) };
        let sender = Some(Sender { from: "Bell <bell@example.com>".into(), reply_to: None, redirect_to: None });
        Arc::new(Lane::new(parts.clone(), opened(name, Gated::new(gate)), sender, policy))
    };
    let shut = Gate::Shut { until: now.plus(HOUR), why: "connect" };
    let all = vec![lane("other", Gate::Open, "wrong"), lane("email", shut, "right")];
    let lanes = Arc::new(Lanes { parts: parts.clone(), all });
    let maintained = tokio::spawn(worker::maintenance(move || lanes.clone()));
    let told = async {
        while store.next_due("right").await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("the channel's own stand-in hears of them");
    assert_eq!(store.next_due("wrong").await.unwrap(), None);
    parts.shutdown.begin();
    tokio::time::timeout(Duration::from_secs(10), maintained).await.expect("it stops").unwrap();
}
