//! The table against a model of it: whatever happens to a message in whatever order, both agree on where it stands.

use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;

/// What comes of one claim.
#[derive(Clone, Debug)]
enum What {
    Sent,
    Later,
    Ambiguous,
    Never,
    /// Until so many seconds after now; before now where negative.
    Hold(i64),
    Unknown,
    Refused,
    TemplateFailed,
    /// The process dies with the claim.
    Crash,
    /// A process that was declared dead learns that its mail was taken.
    SentByAnother,
}

/// A claim so many seconds after the message was due, whose outcome comes so many seconds later.
#[derive(Clone, Debug)]
struct Step {
    late: i64,
    took: i64,
    what: What,
}

/// Where a message stands; times in seconds after its creation.
#[derive(Clone, Debug, PartialEq)]
struct Stand {
    /// Final, and how.
    end: Option<&'static str>,
    due: i64,
    attempts: u32,
    crashes: u32,
}

const LIFE: i64 = 72 * 3_600;
const WAIT: i64 = 15 * 60;

struct Model;

impl ReferenceStateMachine for Model {
    type State = Stand;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Stand> {
        Just(Stand { end: None, due: 0, attempts: 0, crashes: 0 }).boxed()
    }

    fn transitions(_: &Stand) -> BoxedStrategy<Step> {
        let what = prop_oneof![
            1 => Just(What::Sent),
            8 => Just(What::Later),
            4 => Just(What::Ambiguous),
            1 => Just(What::Never),
            4 => (-600..400_000_i64).prop_map(What::Hold),
            4 => Just(What::Unknown),
            1 => Just(What::Refused),
            4 => Just(What::TemplateFailed),
            3 => Just(What::Crash),
            1 => Just(What::SentByAnother),
        ];
        (prop_oneof![4 => 0..5_i64, 1 => 0..50_000_i64], 0..300_i64, what)
            .prop_map(|(late, took, what)| Step { late, took, what })
            .boxed()
    }

    /// docs/delivery.md in twenty lines, with no jitter.
    fn apply(was: Stand, Step { late, took, what }: &Step) -> Stand {
        let (claimed, now) = (was.due + late, was.due + late + took);
        let attempts = was.attempts + 1;
        let ends = |end| Stand { end: Some(end), ..was.clone() };
        let waits = |due: i64| Stand { due: due.max(now + 1).min(LIFE.max(now + 1)), ..was.clone() };
        match what {
            What::SentByAnother => return ends("sent"), // whoever holds it, and whatever it was before
            _ if was.end.is_some() => return was,
            _ if was.crashes >= 6 => return ends("crashed_us"),
            _ if claimed >= LIFE => return ends("undelivered"),
            _ => {}
        }
        match what {
            What::Sent | What::SentByAnother => ends("sent"),
            What::Never => ends("recipient-refused"),
            What::Refused => ends("guest"),
            What::Unknown if now >= WAIT => ends("unresolved"),
            What::Unknown => waits((now + 60).min(WAIT)),
            What::Hold(seconds) => waits(now + seconds),
            What::TemplateFailed => waits(now + 300),
            What::Later => {
                let due = now + [60, 300, 1_800][was.attempts.min(2) as usize];
                // Whatever the list says, a try falls between five and ten minutes after the first.
                Stand { attempts, ..waits(if now < 300 && due > 600 { 450 } else { due }) }
            }
            What::Ambiguous => Stand { attempts, ..waits(now + (60 << was.attempts.min(6)).min(3_600)) },
            What::Crash => Stand { attempts, crashes: was.crashes + 1, ..was },
        }
    }
}

/// The table, and what the store does with its answers.
struct Table {
    message: Loaded,
    stand: Stand,
}

impl Table {
    fn write(&mut self, settled: &Settled) {
        let after = |at: &Timestamp| (at.as_millis() - CREATED.as_millis()) / 1_000;
        let attempt = self.message.claim.attempt;
        match settled {
            Settled::Sent { .. } => self.stand.end = Some("sent"),
            Settled::Never { reason, .. } => self.stand.end = Some(reason),
            Settled::Later { due_at } | Settled::Ambiguous { due_at, .. } => {
                (self.stand.due, self.stand.attempts) = (after(due_at), attempt);
            }
            Settled::Hold { until } => self.stand.due = after(until),
        }
    }

    /// Claims the message and carries it to an outcome, as dispatch does.
    fn claim(&mut self, Step { late, took, what }: Step) {
        let at = |seconds: i64| Timestamp::from_millis(CREATED.as_millis() + seconds * 1_000);
        let now = at(self.stand.due + late + took);
        self.message.claim.attempt = self.stand.attempts + 1;
        self.message.claim.suspect = self.stand.crashes;
        if let Some(over) = over(&policy(), &self.message, at(self.stand.due + late)) {
            return self.write(&over);
        }
        let event = match what {
            What::Sent | What::SentByAnother => attempted(Verdict::Sent { reference: None }),
            What::Later => attempted(Verdict::Later { not_before: None }),
            What::Ambiguous => attempted(Verdict::Ambiguous),
            What::Never => attempted(Verdict::Never { reason: "recipient-refused" }),
            What::Hold(seconds) => {
                let until = at(self.stand.due + late + took + seconds);
                attempted(Verdict::Hold { until, why: "connect" })
            }
            What::Unknown => Event::Unknown,
            What::Refused => Event::Refused("guest"),
            What::TemplateFailed => Event::TemplateFailed,
            What::Crash => {
                (self.stand.attempts, self.stand.crashes) = (self.stand.attempts + 1, self.stand.crashes + 1);
                return;
            }
        };
        self.write(&settled(&policy(), &self.message, event, now, 0.5));
    }
}

impl StateMachineTest for Table {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(stand: &Stand) -> Self {
        Self { message: message(Kind::Normal, 0, 0), stand: stand.clone() }
    }

    fn apply(mut table: Self, expected: &Stand, step: Step) -> Self {
        let before = table.stand.clone();
        if matches!(step.what, What::SentByAnother) {
            let event = attempted(Verdict::Sent { reference: None });
            table.write(&settled(&policy(), &table.message, event, CREATED, 0.5));
        } else if table.stand.end.is_none() {
            let claimed = before.due + step.late;
            table.claim(step.clone());
            let timed = table.stand.end.is_some() || table.stand.due > claimed || matches!(step.what, What::Crash);
            assert!(timed, "without an end there is a time to look again, after now: {step:?} {:?}", table.stand);
        }
        assert_eq!(&table.stand, expected, "after {step:?} from {before:?}");
        table
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn the_table_and_its_model_agree_after_every_step(sequential 1..60 => Table);
}
