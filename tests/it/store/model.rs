//! The life of messages against a model of a page: whatever is done in whatever order, the store and the model agree,
//! and the accountant finds nothing.

use std::collections::BTreeMap;

use auditbell::plan::Throttle;
use auditbell::store::operate::Action;
use auditbell::store::{State, check};
use proptest::prelude::*;

use super::*;

/// The brake of every second message.
const BRAKE: Throttle = Throttle { max: 2, per: Duration::from_secs(100) };

/// One step of a story; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Accept {
        n: u32,
        urgent: bool,
    },
    Claim {
        limit: usize,
    },
    /// `claim`: any claim ever given out, so that stale ones are tried too.
    Settle {
        claim: usize,
        verdict: u8,
    },
    Release {
        claim: usize,
    },
    Crash,
    Cancel {
        n: u32,
    },
    Retry {
        n: u32,
    },
    /// What the brake holds goes, or ends.
    LetGo {
        n: u32,
    },
    Discard {
        n: u32,
    },
    Wait {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..12_u32, any::<bool>()).prop_map(|(n, urgent)| Step::Accept { n, urgent }),
        4 => (1..4_usize).prop_map(|limit| Step::Claim { limit }),
        6 => (any::<usize>(), 0..5_u8).prop_map(|(claim, verdict)| Step::Settle { claim, verdict }),
        1 => any::<usize>().prop_map(|claim| Step::Release { claim }),
        1 => Just(Step::Crash),
        1 => (0..12_u32).prop_map(|n| Step::Cancel { n }),
        1 => (0..12_u32).prop_map(|n| Step::Retry { n }),
        2 => (0..12_u32).prop_map(|n| Step::LetGo { n }),
        1 => (0..12_u32).prop_map(|n| Step::Discard { n }),
        2 => (1..200_i64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Model {
    state: State,
    /// Who holds it, while pending.
    owner: i64,
    attempt: u32,
    suspect: bool,
    /// When the claim in hand was due: a claim given back and given out again is another one.
    due_at: Timestamp,
}

impl Model {
    /// Is it still this very claim?
    fn is_claimed_by(&self, claim: &Claim) -> bool {
        let mine = (State::Pending, claim.owner, claim.attempt, claim.due_at);
        (self.state, self.owner, self.attempt, self.due_at) == mine
    }
}

/// The store, the model, and what was given out.
struct Story {
    file: File,
    store: Store,
    worker: i64,
    now: i64,
    offset: i64,
    /// When the brake's window began, and what it counts.
    window: (i64, u32),
    models: BTreeMap<u32, Model>,
    /// Message row to intent.
    names: BTreeMap<i64, u32>,
    claims: Vec<Claim>,
}

impl Story {
    async fn begin() -> Self {
        let file = File::new();
        let store = file.open();
        place(&store, 0).await;
        let worker = store.register("model", at(60)).await.unwrap();
        let (models, names) = (BTreeMap::new(), BTreeMap::new());
        Self { file, store, worker, now: 60, offset: 0, window: (i64::MIN, 0), models, names, claims: vec![] }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Accept { n, urgent } => self.accept(n, urgent).await,
            Step::Claim { limit } => self.claim(limit).await,
            Step::Settle { claim, verdict } => self.settle(claim, verdict).await,
            Step::Release { claim } => self.release(claim).await,
            Step::Crash => self.crash().await,
            Step::Cancel { n } => {
                self.store.change(&Action::Cancel, &[id(n)], ("model", "cancel"), at(self.now)).await.unwrap();
                if let Some(model) = self.models.get_mut(&n)
                    && (model.state, model.owner) == (State::Pending, 0)
                {
                    model.state = State::Cancelled;
                }
            }
            Step::Retry { n } => {
                self.store.change(&Action::Retry, &[id(n)], ("model", "retry"), at(self.now)).await.unwrap();
                if let Some(model) = self.models.get_mut(&n)
                    && model.owner == 0
                    && !matches!(model.state, State::Sent | State::Held | State::Discarded)
                {
                    model.suspect &= model.state == State::Pending;
                    model.state = State::Pending;
                }
            }
            Step::LetGo { n } => self.decide(&Action::Release, n, State::Pending).await,
            Step::Discard { n } => self.decide(&Action::Discard, n, State::Discarded).await,
            Step::Wait { seconds } => self.now += seconds,
        }
    }

    /// Held messages alone.
    async fn decide(&mut self, action: &Action, n: u32, to: State) {
        self.store.change(action, &[id(n)], ("model", "held"), at(self.now)).await.unwrap();
        if let Some(model) = self.models.get_mut(&n).filter(|model| model.state == State::Held) {
            model.state = to;
        }
    }

    /// What the brake makes of a new message.
    fn brake(&mut self) -> State {
        let over = self.now.saturating_sub(self.window.0) >= 100;
        self.window = if over { (self.now, 1) } else { (self.window.0, self.window.1 + 1) };
        if self.window.1 > BRAKE.max { State::Held } else { State::Pending }
    }

    async fn accept(&mut self, n: u32, urgent: bool) {
        let severity = if urgent { Severity::High } else { Severity::Low };
        let throttle = n.is_multiple_of(2).then_some(BRAKE);
        let batch = batch(self.offset, self.offset + 1, &[Intent { severity, throttle, ..send(n) }]);
        self.offset += 1;
        let accepted = self.store.accept(batch, at(self.now)).await.unwrap();
        let new = !self.models.contains_key(&n);
        assert_eq!((accepted.messages, accepted.duplicates.len()), (u64::from(new), usize::from(!new)));
        if new {
            let state = if throttle.is_some() { self.brake() } else { State::Pending };
            let fresh = Model { state, owner: 0, attempt: 0, suspect: false, due_at: NOW };
            self.models.insert(n, fresh);
            let number = self.store.message(id(n)).await.unwrap().unwrap().message.number;
            self.names.insert(number, n);
        }
    }

    async fn claim(&mut self, limit: usize) {
        let in_hand = self.models.values().filter(|model| model.owner != 0).count();
        let claims = self.store.claim("email", self.worker, at(self.now), limit).await.unwrap();
        for claim in &claims {
            let model = self.models.get_mut(&self.names[&claim.message]).unwrap();
            assert_eq!((model.state, model.owner), (State::Pending, 0), "given out once");
            assert_eq!((claim.attempt, claim.suspect > 0), (model.attempt + 1, model.suspect));
            assert!(claim.due_at <= at(self.now));
            assert!(!model.suspect || (claims.len() == 1 && in_hand == 0), "suspects alone");
            model.owner = claim.owner;
            model.attempt = claim.attempt;
            model.due_at = claim.due_at;
        }
        self.claims.extend(claims);
    }

    async fn settle(&mut self, claim: usize, verdict: u8) {
        let Some(claim) = pick(&self.claims, claim) else { return };
        let due_at = at(self.now + 30);
        let bytes = Bytes::from_static(b"bytes");
        let settle = match verdict {
            0 => sent(&claim),
            1 => later(&claim, due_at),
            2 => Settle { outcome: Settled::Hold { until: due_at }, ..sent(&claim) },
            3 => Settle { outcome: Settled::Ambiguous { due_at, bytes }, ..sent(&claim) },
            _ => never(&claim, FinalState::Failed, &[]),
        };
        let written = self.store.settle(settle).await.unwrap();
        let model = self.models.get_mut(&self.names[&claim.message]).unwrap();
        let mine = model.is_claimed_by(&claim);
        let expected = if verdict == 0 { model.state != State::Sent } else { mine };
        assert_eq!(written, expected, "{claim:?} {verdict} {model:?}");
        if !written {
            return;
        }
        model.owner = 0;
        match verdict {
            0 => (model.state, model.attempt, model.suspect) = (State::Sent, claim.attempt, false),
            1 | 3 => model.suspect &= claim.suspect >= 3,
            2 => model.attempt -= 1,
            _ => (model.state, model.suspect) = (State::Failed, false),
        }
    }

    async fn release(&mut self, claim: usize) {
        let Some(claim) = pick(&self.claims, claim) else { return };
        self.store.release(vec![claim.clone()]).await.unwrap();
        let model = self.models.get_mut(&self.names[&claim.message]).unwrap();
        if model.is_claimed_by(&claim) {
            (model.owner, model.attempt) = (0, claim.attempt - 1);
        }
    }

    async fn crash(&mut self) {
        // The old handle ends before the next one opens, as a process does before its successor starts.
        self.store.clone().close().await;
        self.store = self.file.open();
        self.worker = self.store.register("model", at(self.now)).await.unwrap();
        for model in self.models.values_mut().filter(|model| model.owner != 0) {
            (model.owner, model.suspect) = (0, true);
        }
    }

    fn compare(&self) {
        let rows = "SELECT m.id, m.state, coalesce(d.owner,0), coalesce(d.attempt,m.attempts), coalesce(d.suspect,0)>0 \
            FROM message m LEFT JOIN due d ON d.message=m.id ORDER BY m.id";
        let conn = self.file.connection();
        let mut rows = conn.prepare(rows).unwrap();
        let rows = rows.query_map([], |row| {
            let state = State::ALL[usize::try_from(row.get::<_, i64>(1)?).unwrap()];
            let model = Model { state, owner: row.get(2)?, attempt: row.get(3)?, suspect: row.get(4)?, due_at: NOW };
            Ok((row.get::<_, i64>(0)?, model))
        });
        for row in rows.unwrap() {
            let (number, found) = row.unwrap();
            let mut expected = Model { due_at: NOW, ..self.models[&self.names[&number]].clone() };
            if expected.state == State::Cancelled {
                // The row keeps the attempts that were settled; the claim that was given back does not count.
                expected.suspect = false;
                expected.attempt = found.attempt;
            }
            assert_eq!(found, expected, "message {number}");
        }
        assert_eq!(check::check(&self.file.settings().path).unwrap().findings, []);
    }
}

/// Any claim ever given out.
fn pick(claims: &[Claim], number: usize) -> Option<Claim> {
    (!claims.is_empty()).then(|| claims[number % claims.len()].clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn the_store_and_the_model_agree_after_every_step(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut story = Story::begin().await;
            for step in steps {
                story.step(step).await;
                story.compare();
            }
        });
    }
}
