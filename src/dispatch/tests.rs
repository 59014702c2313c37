//! A lane whose channel misbehaves.

mod gate;
mod stop;

use std::pin::Pin;

use bytes::Bytes;

use super::*;
use crate::channels::{Attempt, Gate, Outgoing};
use crate::compose::Brand;
use crate::lookup::Lookups;
use crate::plan::{Fate, Intent, NotificationId, Recipient};
use crate::record::{Position, Severity};
use crate::store::{Batch, Planned, Settings};

const HOUR: Duration = Duration::from_hours(1);

/// A channel with a bug.
struct Panics;

impl Channel for Panics {
    fn attempt<'a>(
        &'a self,
        _outgoing: &'a Outgoing,
        _now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>> {
        Box::pin(async { panic!("on purpose") })
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
        Box::pin(async {})
    }
}

fn key(n: u8) -> NotificationId {
    NotificationId([n; 16])
}

/// A store with the messages 1..=`count` for alice, due now, over in three days; each tenth is urgent. Their records cannot be read, so the
/// built-in template words them.
async fn messages(path: std::path::PathBuf, now: Timestamp, count: u8) -> Store {
    let store = Store::open(&Settings { path, ledger: 24 * HOUR, content: 24 * HOUR }, true).unwrap();
    let intent = |n| Intent {
        id: key(n),
        rule: "rule".into(),
        channel: "email".into(),
        recipient: Some(Recipient::Address("alice@example.com".into())),
        element: None,
        template: "password-reset".into(),
        title: "title".into(),
        severity: if n % 10 == 0 { Severity::High } else { Severity::Medium },
        rank: 0,
        throttle: None,
        fate: Fate::Send { due_at: now, expires_at: now.plus(72 * HOUR), group: None },
    };
    let record = |n| Planned {
        identity: [n; 32],
        at: now,
        dialect: "other",
        position: Position { source: "s".into(), topic: None, partition: None, offset: None, index: 0 },
        body: Bytes::from_static(b"\xff"),
        broker_time: None,
        intents: vec![intent(n)],
    };
    store.accept(Batch { records: (1..=count).map(record).collect(), ..Batch::default() }, now).await.unwrap();
    store
}

fn opened(name: &str, channel: Arc<dyn Channel>) -> Opened {
    Opened::new(name.into(), channel, Arc::default())
}

fn parts(store: Store, worker: i64, permission: watch::Receiver<Permission>) -> Parts {
    let brand = Brand {
        name: Some("Example".into()),
        security_contact: Some("https://security.example.com".into()),
        address: None,
        logo_file: None,
        helpdesk_url: None,
        report_url: None,
        review_url: None,
    };
    let people = crate::people::Settings {
        allow_domains: vec!["example.com".into()],
        csv: None,
        fallback: Vec::new(),
        wait: HOUR,
        max_rows: 1,
    };
    Parts {
        store,
        people: Arc::new(People::load(people).unwrap()),
        composer: Arc::new(Composer::load(None, &brand, &Lookups::default()).unwrap()),
        dialects: crate::record::Dialects::shipped(),
        rules: Arc::new(HashSet::from(["rule".into()])),
        clock: Clock::system(),
        worker,
        permission,
        shutdown: Shutdown::default(),
        unrecorded: Arc::default(),
    }
}

/// Whoever gives up or finds nobody tells these.
fn policy(instead: Vec<state::StandIn>) -> state::Policy {
    let (schedule, instead) = (schedule::Schedule::new(Vec::new()), Arc::<[state::StandIn]>::from(instead));
    state::Policy { schedule, wait: HOUR, stand_ins: instead.clone(), fallback: instead }
}

#[tokio::test]
async fn a_delivery_that_panics_makes_its_message_suspect_and_does_not_stop_the_lane() {
    let directory = tempfile::tempdir().unwrap();
    let now = Clock::system().now();
    let store = messages(directory.path().join("a.db"), now, 1).await;
    let worker = store.register("test", now).await.unwrap();
    let (permission, permitted) = watch::channel(Permission::Go);
    let policy = policy(Vec::new());
    let sender = Some(Sender { from: "Bell <bell@example.com>".into(), reply_to: None, redirect_to: None });
    let parts = parts(store.clone(), worker, permitted);
    let lane = Lane::new(parts, opened("email", Arc::new(Panics)), sender, policy);
    let running = tokio::spawn(Arc::new(lane).run());
    // Three times at once, alone; from then on once an hour.
    let waits = async {
        while store.next_due("email").await.unwrap().is_none_or(|due_at| due_at < now.plus(HOUR / 2)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waits).await.expect("three crashes laid at its door");
    permission.send_replace(Permission::Stopping);
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("the lane still hears").unwrap();
}

#[tokio::test]
async fn a_message_of_a_removed_channel_expires_and_another_lane_tells_the_fallback_list() {
    let directory = tempfile::tempdir().unwrap();
    let now = Clock::system().now();
    let store = messages(directory.path().join("a.db"), now.minus(73 * HOUR), 1).await;
    let worker = store.register("test", now).await.unwrap();
    let (_permission, permitted) = watch::channel(Permission::Go);
    let soc = Recipient::Address("soc@example.com".into());
    let policy = policy(vec![state::StandIn { channel: "other".into(), recipient: soc }]);
    let sender = Some(Sender { from: "Bell <bell@example.com>".into(), reply_to: None, redirect_to: None });
    let parts = parts(store.clone(), worker, permitted);
    let lane = Lane::new(parts.clone(), opened("other", Arc::new(Panics)), sender, policy);
    let lanes = Arc::new(Lanes { parts: parts.clone(), all: vec![Arc::new(lane)] });
    let maintained = tokio::spawn(worker::maintenance(move || lanes.clone()));
    let told = async {
        while store.next_due("other").await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("an escalation on the lane that is there");
    assert_eq!(store.next_due("email").await.unwrap(), None, "the message itself is over");
    parts.shutdown.begin();
    tokio::time::timeout(Duration::from_secs(10), maintained).await.expect("it stops").unwrap();
}
