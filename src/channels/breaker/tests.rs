//! The breaker step by step, and against a model that remembers everything.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// Lets one failure after the other happen, each as soon as it may; the seconds at which that was.
fn failures(breaker: &mut Breaker, failure: Failure, count: usize) -> Vec<u64> {
    let mut now = at(0);
    let mut times = Vec::new();
    for _ in 0..count {
        if let Gate::Shut { until, .. } = breaker.gate(now) {
            now = until;
        }
        let pass = breaker.enter(now).unwrap();
        times.push(now.since(at(0)).as_secs());
        breaker.failed(pass, failure, "connect", now, 0.0);
    }
    times
}

#[test]
fn a_dead_route_is_tried_at_these_seconds_and_no_others() {
    let mut breaker = Breaker::default();
    assert_eq!(
        failures(&mut breaker, Failure::Passing, 12),
        // Pauses of 1, 2, 4, 8 s; then open for 30 s, doubling to ten minutes.
        [0, 1, 3, 7, 15, 45, 105, 225, 465, 945, 1_545, 2_145]
    );
}

#[test]
fn a_lasting_failure_opens_at_once() {
    let mut breaker = Breaker::default();
    let pass = breaker.enter(at(0)).unwrap();
    assert!(breaker.failed(pass, Failure::Lasting, "auth", at(0), 0.0));
    assert_eq!(breaker.gate(at(29)), Gate::Shut { until: at(30), why: "auth" });
    assert_eq!(breaker.broken(), Some("auth"));
    assert_eq!(breaker.gate(at(30)), Gate::Probe);
}

#[test]
fn half_open_lets_one_through_and_its_success_closes() {
    let mut breaker = Breaker::default();
    failures(&mut breaker, Failure::Passing, 5);
    let probe = breaker.enter(at(45)).unwrap();
    assert_eq!(breaker.enter(at(45)).unwrap_err().until, at(75), "a second one waits for the next window");
    assert!(breaker.succeeded(probe, at(46)));
    assert_eq!((breaker.gate(at(46)), breaker.broken()), (Gate::Open, None));
    let next = breaker.enter(at(46)).unwrap();
    assert!(!breaker.succeeded(next, at(46)), "recovered is said once");
}

#[test]
fn a_route_that_fails_every_second_time_opens_although_none_is_in_a_row() {
    let mut breaker = Breaker::default();
    let mut opened = None;
    for second in 0..40 {
        let Ok(pass) = breaker.enter(at(second)) else { break };
        if second % 2 == 0 {
            breaker.succeeded(pass, at(second));
        } else if breaker.failed(pass, Failure::Passing, "closed", at(second), 0.0) {
            opened = Some(second);
            break;
        }
    }
    assert_eq!(opened, Some(19), "with the twentieth outcome");
}

#[test]
fn half_of_the_last_twenty_over_a_longer_time_does_not_open() {
    let mut breaker = Breaker::default();
    for n in 0..100 {
        let now = at(n * 5);
        let pass = breaker.enter(now).unwrap();
        if n % 2 == 0 {
            breaker.succeeded(pass, now);
        } else {
            assert!(!breaker.failed(pass, Failure::Passing, "closed", now, 0.0));
        }
    }
}

#[test]
fn what_is_asked_for_is_a_pause_and_no_break() {
    let mut breaker = Breaker::default();
    let pass = breaker.enter(at(0)).unwrap();
    assert!(!breaker.failed(pass, Failure::Asked(Duration::from_mins(1)), "closing", at(0), 1.0));
    assert_eq!(breaker.gate(at(59)), Gate::Shut { until: at(60), why: "closing" });
    assert_eq!((breaker.gate(at(60)), breaker.broken()), (Gate::Open, None));
    let pass = breaker.enter(at(60)).unwrap();
    breaker.failed(pass, Failure::Asked(Duration::from_hours(100)), "closing", at(60), 0.0);
    assert_eq!(breaker.gate(at(3_659)), Gate::Shut { until: at(3_660), why: "closing" }, "an hour at most");
}

#[test]
fn connections_that_fail_together_are_one_failure() {
    let mut breaker = Breaker::default();
    let pass = breaker.enter(at(0)).unwrap();
    for _ in 0..10 {
        assert!(!breaker.failed(pass, Failure::Passing, "closing", at(0), 0.0));
    }
    assert_eq!(breaker.gate(at(0)), Gate::Shut { until: at(1), why: "closing" });
    assert!(!breaker.is_valid(pass));
}

#[test]
fn what_began_before_the_break_cannot_mend_it() {
    let mut breaker = Breaker::default();
    let old = breaker.enter(at(0)).unwrap();
    breaker.failed(old, Failure::Lasting, "auth", at(0), 0.0);
    assert!(!breaker.succeeded(old, at(1)), "a session of before may go on for long");
    assert_eq!(breaker.broken(), Some("auth"));
}

#[test]
fn the_jitter_makes_a_window_up_to_a_fifth_longer() {
    for (jitter, seconds) in [(0.0, 30), (0.5, 33), (1.0, 36), (9.0, 36)] {
        let mut breaker = Breaker::default();
        let pass = breaker.enter(at(0)).unwrap();
        breaker.failed(pass, Failure::Lasting, "auth", at(0), jitter);
        assert_eq!(breaker.gate(at(0)), Gate::Shut { until: at(seconds), why: "auth" }, "{jitter}");
    }
}

#[test]
fn a_clock_that_went_back_does_not_keep_it_shut() {
    let mut breaker = Breaker::default();
    let pass = breaker.enter(at(90_000)).unwrap();
    breaker.failed(pass, Failure::Lasting, "auth", at(90_000), 0.0);
    assert_eq!(breaker.gate(at(0)), Gate::Probe, "a day earlier");
}

/// What happens to a breaker.
#[derive(Clone, Debug)]
enum Step {
    /// Time goes by, in seconds.
    Wait(u16),
    /// Somebody asks to go through.
    Enter,
    /// The newest pass out (or an older one) comes to nothing.
    Fail { failure: Failure, old: bool },
    /// The newest pass out (or an older one) works.
    Work { old: bool },
}

/// The model: every outcome since the last break, and the moments that the properties are about.
#[derive(Clone, Debug, Default)]
struct Model {
    now: i64,
    /// Numbers of the passes that are out, oldest first, and the number of the newest that counts.
    out: Vec<u64>,
    given: u64,
    counts_from: u64,
    outcomes: Vec<(i64, bool)>,
    open: bool,
    window: i64,
    shut_until: i64,
    last_probe: Option<(i64, i64)>,
    last_lasting: Option<i64>,
    entered_now: bool,
}

impl Model {
    fn row(&self) -> usize {
        self.outcomes.iter().rev().take_while(|(_, failed)| *failed).count()
    }

    fn half_failed(&self) -> bool {
        let Some(last) = self.outcomes.len().checked_sub(RECENT).map(|from| &self.outcomes[from..]) else {
            return false;
        };
        last.iter().all(|(at, _)| self.now - at <= 60) && last.iter().filter(|(_, failed)| *failed).count() >= 10
    }

    fn chosen(&self, old: bool) -> Option<u64> {
        if old { self.out.first().copied() } else { self.out.last().copied() }
    }

    fn fail(&mut self, pass: u64, failure: Failure) {
        let lasting = failure == Failure::Lasting;
        if lasting {
            self.last_lasting = Some(self.now);
        }
        let least = match failure {
            Failure::Passing => 0,
            Failure::Lasting => 30,
            Failure::Asked(span) => i64::try_from(span.as_secs()).unwrap(),
        };
        if pass < self.counts_from {
            if lasting && self.open {
                self.counts_from = self.given + 1;
                self.shut_until = self.shut_until.max(self.now + 30);
            }
            if !lasting || self.open {
                return;
            }
        }
        self.counts_from = self.given + 1;
        self.outcomes.push((self.now, true));
        let span = if self.open {
            self.window = (self.window * 2).min(600);
            self.window
        } else if lasting || self.row() >= 5 || self.half_failed() {
            (self.open, self.window) = (true, 30);
            30
        } else {
            1 << (self.row() - 1)
        };
        self.shut_until = self.shut_until.max(self.now + span.max(least));
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let failure = prop_oneof![
            6 => Just(Failure::Passing),
            1 => Just(Failure::Lasting),
            1 => Just(Failure::Asked(Duration::from_mins(1))),
        ];
        let old = || proptest::bool::weighted(0.1);
        prop_oneof![
            2 => (0_u16..4).prop_map(Step::Wait),
            1 => (0_u16..700).prop_map(Step::Wait),
            6 => Just(Step::Enter),
            4 => (failure, old()).prop_map(|(failure, old)| Step::Fail { failure, old }),
            3 => old().prop_map(|old| Step::Work { old }),
        ]
        .boxed()
    }

    fn preconditions(model: &Self, step: &Step) -> bool {
        !matches!(step, Step::Fail { .. } | Step::Work { .. }) || !model.out.is_empty()
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        model.entered_now = false;
        match step {
            Step::Wait(seconds) => model.now += i64::from(*seconds),
            Step::Enter if model.now < model.shut_until => {}
            Step::Enter => {
                model.entered_now = true;
                model.given += 1;
                model.out.push(model.given);
                if model.open {
                    model.counts_from = model.given;
                    model.last_probe = Some((model.now, model.window));
                    model.shut_until = model.now + model.window;
                }
            }
            Step::Fail { failure, old } => {
                let Some(pass) = model.chosen(*old) else { return model };
                model.out.retain(|out| *out != pass);
                model.fail(pass, *failure);
            }
            Step::Work { old } => {
                let Some(pass) = model.chosen(*old) else { return model };
                model.out.retain(|out| *out != pass);
                if pass >= model.counts_from {
                    if std::mem::take(&mut model.open) {
                        model.outcomes.clear();
                    }
                    model.outcomes.push((model.now, false));
                    model.shut_until = model.now;
                }
            }
        }
        model
    }
}

/// The breaker, and the passes that it gave.
struct Real {
    breaker: Breaker,
    passes: Vec<Pass>,
    probes: Vec<(i64, i64)>,
}

struct Machine;

impl StateMachineTest for Machine {
    type SystemUnderTest = Real;
    type Reference = Model;

    fn init_test(_: &Model) -> Real {
        Real { breaker: Breaker::default(), passes: Vec::new(), probes: Vec::new() }
    }

    fn apply(mut real: Real, model: &Model, step: Step) -> Real {
        let now = at(model.now);
        let take = |passes: &mut Vec<Pass>, old: bool| {
            let index = if old { 0 } else { passes.len() - 1 };
            passes.remove(index)
        };
        match step {
            Step::Wait(_) => {}
            Step::Enter => {
                let probe = real.breaker.gate(now) == Gate::Probe;
                let entered = real.breaker.enter(now);
                assert_eq!(entered.is_ok(), model.entered_now, "let through");
                if let Ok(pass) = entered {
                    real.passes.push(pass);
                    // P9: never more than one probe per window, whatever the probe before came to.
                    if probe {
                        if let Some((last, window)) = real.probes.last() {
                            assert!(model.now - last >= *window, "two probes in {} s", model.now - last);
                        }
                        real.probes.push((model.now, model.window));
                    }
                    // A password is never tried twice in 30 s.
                    assert!(
                        model.last_lasting.is_none_or(|last| model.now - last >= 30),
                        "30 s after a lasting failure"
                    );
                }
            }
            Step::Fail { failure, old } => {
                let pass = take(&mut real.passes, old);
                real.breaker.failed(pass, failure, "why", now, 0.0);
            }
            Step::Work { old } => {
                let pass = take(&mut real.passes, old);
                if real.breaker.succeeded(pass, now) {
                    real.probes.clear();
                }
            }
        }
        real
    }

    fn check_invariants(real: &Real, model: &Model) {
        let now = at(model.now);
        assert_eq!(real.breaker.broken().is_some(), model.open, "open");
        assert_eq!(matches!(real.breaker.gate(now), Gate::Shut { .. }), model.now < model.shut_until, "shut");
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    /// P9.
    #[test]
    fn the_breaker_does_what_the_model_does(sequential 1..120 => Machine);
}
