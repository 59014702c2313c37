//! Whole lanes over a store: an outage of two hours, and who goes first.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use auditbell::channels::Outgoing;
use auditbell::clock::Clock;
use auditbell::compose::{Brand, Composer, Sender};
use auditbell::dispatch::{Lane, Opened, Parts, schedule::Schedule, state::Policy};
use auditbell::lookup::Lookups;
use auditbell::people::{self, People};
use auditbell::plan::{Fate, Intent, NotificationId, Recipient};
use auditbell::record::{Position, Severity};
use auditbell::shutdown::Shutdown;
use auditbell::store::{self, Batch, Planned, Store};
use bytes::Bytes;
use tokio::sync::Notify;

use super::*;
use crate::harness::{reset, text};

const DAY: Duration = Duration::from_hours(24);

/// The channel, and how many of its messages waited for their turn when that was last of interest.
struct Watched {
    channel: Smtp,
    waiting: AtomicUsize,
}

impl Channel for Watched {
    fn attempt<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>> {
        self.channel.attempt(outgoing, now)
    }

    fn connections(&self, waiting: usize) -> usize {
        if waiting < usize::MAX {
            self.waiting.store(waiting, Ordering::Relaxed);
        }
        self.channel.connections(waiting)
    }

    fn gate(&self, urgent: bool, now: Timestamp) -> Gate {
        self.channel.gate(urgent, now)
    }

    fn broken(&self) -> Option<&'static str> {
        self.channel.broken()
    }

    fn probe(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        self.channel.probe()
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.channel.close()
    }
}

/// A store and a lane that sends from it over SMTP, by a clock that stands.
struct Scene {
    directory: tempfile::TempDir,
    store: Store,
    clock: Clock,
    channel: Arc<Watched>,
    /// In every mail but the plain form.
    logo: Option<PathBuf>,
    /// Of every record.
    body: Bytes,
    permission: watch::Sender<Permission>,
    wake: Arc<Notify>,
}

impl Scene {
    fn begin(settings: &Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let store = Store::open(&store::Settings { path, ledger: 90 * DAY, content: 14 * DAY }, true).unwrap();
        let channel = Smtp::new(&"email".into(), settings).unwrap();
        let channel = Arc::new(Watched { channel, waiting: AtomicUsize::new(0) });
        let permission = watch::Sender::new(Permission::Go);
        let body = Bytes::from_static(b"\xff");
        Self {
            directory,
            store,
            clock: Clock::manual(NOW),
            channel,
            logo: None,
            body,
            permission,
            wake: Arc::default(),
        }
    }

    /// Accepts a message to Alice for each of `keys`, due now.
    async fn accept(&self, keys: std::ops::Range<u32>, severity: Severity) {
        self.accept_for(ALICE, keys, severity).await;
    }

    async fn accept_for(&self, address: &str, keys: std::ops::Range<u32>, severity: Severity) {
        let now = self.clock.now();
        let identity = |n: u32| std::array::from_fn(|at| n.to_be_bytes()[at % 4]);
        let intent = |n: u32| Intent {
            id: NotificationId(identity(n)[..16].try_into().unwrap()),
            rule: "rule".into(),
            channel: "email".into(),
            recipient: Some(Recipient::Address(address.into())),
            element: None,
            template: "password-reset".into(),
            title: "title".into(),
            severity,
            rank: 0,
            throttle: None,
            fate: Fate::Send { due_at: now, expires_at: now.plus(3 * DAY), group: None },
        };
        let record = |n: u32| Planned {
            identity: identity(n),
            at: now,
            dialect: "other",
            position: Position { source: "s".into(), topic: None, partition: None, offset: None, index: 0 },
            body: self.body.clone(),
            broker_time: None,
            intents: vec![intent(n)],
        };
        self.store.accept(Batch { records: keys.map(record).collect(), ..Batch::default() }, now).await.unwrap();
        self.wake.notify_one();
    }

    /// The lane begins to run.
    async fn run(&self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(self.lane().await.run())
    }

    async fn lane(&self) -> Arc<Lane> {
        let brand = Brand {
            name: Some("Example".into()),
            security_contact: Some("https://security.example.com".into()),
            address: None,
            logo_file: self.logo.clone(),
            helpdesk_url: None,
            report_url: None,
            review_url: None,
        };
        let allow_domains = vec!["example.com".into()];
        let people = people::Settings { allow_domains, csv: None, fallback: Vec::new(), wait: DAY, max_rows: 1 };
        let parts = Parts {
            store: self.store.clone(),
            people: Arc::new(People::load(people).unwrap()),
            composer: Arc::new(Composer::load(None, &brand, &Lookups::default()).unwrap()),
            dialects: auditbell::record::Dialects::shipped(),
            rules: Arc::new(std::iter::once("rule".into()).collect()),
            clock: self.clock.clone(),
            worker: self.store.register("test", NOW).await.unwrap(),
            permission: self.permission.subscribe(),
            shutdown: Shutdown::default(),
            unrecorded: Arc::default(),
        };
        let policy = Policy {
            schedule: Schedule::new(vec![seconds(30)]),
            wait: DAY,
            stand_ins: Vec::new().into(),
            fallback: Vec::new().into(),
        };
        let sender = Sender { from: "Bell <bell@example.com>".into(), reply_to: None, redirect_to: None };
        let opened = Opened::new("email".into(), self.channel.clone(), self.wake.clone());
        Arc::new(Lane::new(parts, opened, Some(sender), policy))
    }

    async fn claimed(&self) -> u64 {
        let upkeep = self.store.maintain(self.clock.now()).await.unwrap();
        upkeep.messages.iter().filter(|(_, state, _)| *state == "claimed").map(|(_, _, count)| count).sum()
    }

    /// How many messages a hold has put off.
    fn held(&self) -> i64 {
        self.ask("SELECT count(*) FROM due WHERE hold=1")
    }

    /// One number out of the store.
    fn ask(&self, query: &str) -> i64 {
        let file = rusqlite::Connection::open(self.directory.path().join("a.db")).unwrap();
        file.busy_timeout(seconds(5)).unwrap();
        file.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Moves the clock until the lane has looked around by a time that is new to it.
    async fn turn(&self, lane: &Lane) {
        let next = self.clock.now().plus(seconds(2));
        until_true("a turn", async || {
            self.clock.advance(seconds(1));
            lane.turned_at() >= next
        })
        .await;
    }

    async fn stop(self, running: tokio::task::JoinHandle<()>) {
        self.permission.send_replace(Permission::Stopping);
        running.await.unwrap();
        drop(self.directory);
    }
}

async fn until_true(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let waits = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(seconds(120), waits).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

/// T36: the relay hangs up on everybody for two hours while 2,000 messages wait.
#[tokio::test]
async fn an_outage_of_two_hours_costs_a_connection_per_window_and_ends_without_a_stampede() {
    const MESSAGES: u32 = 2_000;
    let relay = Relay::start().await;
    relay.on(Command::Connect, Close);
    let scene = Scene::begin(&settings(&relay));
    scene.accept(0..MESSAGES, Severity::Medium).await;
    let running = scene.run().await;
    let (mut tries, mut last) = (Vec::new(), 0);
    for second in 0..7_200 {
        // Whenever an attempt has a chance there is one, and it is over when the gate is shut again.
        let now = scene.clock.now();
        until_true("the attempt", async || matches!(scene.channel.gate(false, now), Gate::Shut { .. })).await;
        tries.extend(std::iter::repeat_n(second, relay.connections() - last));
        last = relay.connections();
        scene.clock.advance(seconds(1));
    }
    // 1, 2, 4 and 8 s, then 30 s doubling to ten minutes, each up to a fifth longer.
    assert!((14..=21).contains(&tries.len()), "{tries:?}");
    let late = tries.iter().filter(|second| **second >= 3_600).count();
    assert!(late <= 6, "one in ten minutes: {tries:?}");

    relay.calm(Command::Connect);
    let mut told = 0;
    until_true("all of them", async || {
        scene.clock.advance(seconds(1));
        let accepted = relay.accepted().len();
        told = told.max(accepted);
        accepted >= MESSAGES as usize
    })
    .await;
    assert_eq!((relay.accepted().len(), relay.message_ids().len()), (MESSAGES as usize, MESSAGES as usize));
    assert!(relay.most_open() <= 5, "{}", relay.most_open());
    scene.stop(running).await;
}

/// Our own record of the break is written once the store takes it, and once.
#[tokio::test]
async fn a_break_that_the_store_does_not_take_is_told_when_it_does() {
    let relay = Relay::start().await;
    relay.on(Command::Connect, Close);
    let scene = Scene::begin(&settings(&relay));
    let file = rusqlite::Connection::open(scene.directory.path().join("a.db")).unwrap();
    file.busy_timeout(seconds(5)).unwrap();
    let refuse = "CREATE TRIGGER away BEFORE INSERT ON internal BEGIN SELECT RAISE(ABORT, 'away'); END";
    file.execute(refuse, []).unwrap();
    scene.accept(0..1, Severity::Medium).await;
    let lane = scene.lane().await;
    let running = tokio::spawn(lane.clone().run());
    until_true("the break", async || {
        scene.turn(&lane).await;
        scene.channel.broken().is_some()
    })
    .await;
    // The look that finds it, and the one after: each asks the store in vain.
    scene.turn(&lane).await;
    scene.turn(&lane).await;
    file.execute("DROP TRIGGER away", []).unwrap();
    let told = || file.query_row("SELECT count(*) FROM internal", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(told(), 0);
    until_true("the record", async || {
        scene.turn(&lane).await;
        told() == 1
    })
    .await;
    scene.turn(&lane).await;
    assert_eq!(told(), 1);
    scene.stop(running).await;
}

/// R4, T24: one recipient for whom the relay says 421, in front of 100 others: these are told while the clock stands, and
/// that one is tried by the schedule until its end.
#[tokio::test]
async fn a_421_for_one_recipient_delays_no_other_and_ends_by_its_age() {
    for connections in [1, 5] {
        let relay = Relay::start().await;
        relay.on_recipient("poison@example.com", Command::Rcpt, Reply("421 4.7.0 try again later"));
        let scene = Scene::begin(&Settings { connections, ..settings(&relay) });
        scene.accept_for("poison@example.com", 1..2, Severity::Critical).await;
        scene.accept(2..102, Severity::Medium).await;
        let lane = scene.lane().await;
        let running = tokio::spawn(lane.clone().run());
        relay.wait_for(100).await;
        assert_eq!(scene.clock.now(), NOW, "nobody waits for anything");
        until_true("the hold", async || scene.held() == 1).await;
        for attempts in 1..=3 {
            until_true("an attempt", async || {
                scene.turn(&lane).await;
                scene.ask("SELECT count(*) FROM attempt") >= attempts
            })
            .await;
            assert_eq!(scene.ask("SELECT max(n) FROM attempt"), attempts, "{connections}");
        }
        scene.clock.advance(3 * DAY);
        until_true("the end", async || {
            scene.turn(&lane).await;
            scene.ask("SELECT count(*) FROM due") == 0
        })
        .await;
        let tried = relay.count("RCPT TO:<poison@");
        assert!((4..12).contains(&tried), "{tried} times in 3 days that were two minutes");
        scene.stop(running).await;
    }
}

#[tokio::test]
async fn an_urgent_message_overtakes_the_ordinary_ones_that_are_claimed_and_wait() {
    let relay = Relay::start().await;
    let scene = Scene::begin(&Settings { connections: 1, ..settings(&relay) });
    relay.on(Command::Dot, Stall);
    scene.accept(0..200, Severity::Medium).await;
    let running = scene.run().await;
    relay.wait_stalled(Command::Dot, 1).await;
    assert_eq!(scene.claimed().await, 64, "a window of ordinary ones is claimed");
    scene.accept(1_000..1_001, Severity::Critical).await;
    until_true("the claim beside a full window", async || scene.claimed().await == 65).await;
    until_true("all but the one at the dot in the queue", async || scene.channel.waiting.load(Ordering::Relaxed) == 64)
        .await;
    // Each dot waits for its release, so that the order is seen one by one.
    let urgent = NotificationId(std::array::from_fn(|at| 1_000_u32.to_be_bytes()[at % 4])).to_string();
    relay.release();
    let taken = relay.wait_for(2).await;
    assert!(taken[1].message_id.starts_with(&urgent), "{} came second", taken[1].message_id);
    relay.calm(Command::Dot);
    until_true("the rest", async || {
        relay.release();
        relay.accepted().len() == 201
    })
    .await;
    scene.stop(running).await;
}

/// Of a ration no lane claims what the other one will use up: nothing is claimed to be put off at once.
#[tokio::test]
async fn what_the_urgent_use_up_of_a_ration_is_not_claimed_for_the_ordinary_ones() {
    let relay = Relay::start().await;
    let rates = vec![Rate { count: 8, span: seconds(60) }];
    let scene = Scene::begin(&Settings { rates, ..settings(&relay) });
    scene.accept(0..20, Severity::Medium).await;
    scene.accept(1_000..1_020, Severity::Critical).await;
    let running = scene.run().await;
    until_true("the ration used up", async || relay.accepted().len() == 8 && scene.claimed().await == 0).await;
    assert_eq!(scene.held(), 0);
    scene.stop(running).await;
}

/// T34, T37: a mail that is too big for the relay that works waits a quarter of an hour for the other one, and then goes in
/// the plain form.
#[tokio::test]
async fn a_mail_too_big_for_the_relay_that_works_waits_a_quarter_of_an_hour_for_the_other_one() {
    let sized = Options { capabilities: vec!["PIPELINING", "SIZE 20000"], ..Options::default() };
    let small = Relay::start_with(sized).await;
    let relays = vec![settings(&small).relays[0].clone(), nowhere()];
    let mut scene = Scene::begin(&Settings { relays, ..settings(&small) });
    let logo = scene.directory.path().join("logo.png");
    std::fs::write(&logo, [b"\x89PNG\r\n\x1a\n".to_vec(), vec![7; 40_000]].concat()).unwrap();
    scene.logo = Some(logo);
    scene.body = reset("large", crate::harness::ALICE).to_string().into();
    scene.accept(0..1, Severity::Medium).await;
    let began = scene.clock.now();
    let lane = scene.lane().await;
    let running = tokio::spawn(lane.clone().run());
    until_true("the first try", async || scene.held() == 1).await;
    while scene.clock.now().since(began) < seconds(14 * 60) {
        scene.turn(&lane).await;
    }
    assert_eq!((small.count("MAIL"), scene.held()), (0, 1), "it is not offered, and waits");
    until_true("the plain form", async || {
        scene.turn(&lane).await;
        !small.accepted().is_empty()
    })
    .await;
    let waited = scene.clock.now().since(began);
    assert!(waited < seconds(30 * 60), "{waited:?}: the clock runs fast beside a busy machine");
    let mail = small.accepted().remove(0);
    assert!(text(&mail).contains("This is the plain form of the message"), "{}", text(&mail));
    scene.stop(running).await;
}
