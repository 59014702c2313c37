//! Owns the decision over one record: for each element that a rule looks at, whether the rule matches, by which route it is
//! told, and every reason why not. The live path and `explain` ask the same function.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::lookup::Lookups;
use crate::record::{Flag, Record, Severity, Target, of_content};

use super::condition::Seen;
use super::{FailedLeaf, List, Op, Place, Route, Rule, Tell, fold};

/// What a condition may know beside the record.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The time of the decision.
    pub now: Timestamp,
    /// Every `[lookup.NAME]`.
    pub lookups: &'a Lookups,
}

/// Flags that mark records of no moment: a rule sees them only if its `when` names `flags`.
const QUIET_FLAGS: [Flag; 3] = [Flag::Sample, Flag::Snapshot, Flag::BuildingBlock];

/// Longest identity of an element; what is longer is hashed.
const MAX_IDENTITY: usize = 128;

/// What a rule with `each` was held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// For people: `targets[0]`.
    pub place: Arc<str>,
    /// What of it is in the notification's id: who or what it is, not where it stands.
    pub identity: Arc<str>,
    /// Which part of the record.
    pub part: Part,
}

/// A part of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// This one of `targets`.
    Target(usize),
    /// This one of `changes`.
    Change(usize),
    /// Something in the record as it came.
    Raw(Value),
}

/// What a rule makes of a record, or of one element of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// With `each`; `None` also where there is no element.
    pub element: Option<Element>,
    /// Whether `when` holds, `unless` does not, and it is no record of no moment.
    pub matched: bool,
    /// The first route that holds.
    pub route: Option<usize>,
    /// Every reason why it does not match; none where it does.
    pub failed: Vec<FailedLeaf>,
    /// Where it matches: the routes that were asked and do not hold. None of those behind the one that is taken.
    pub passed: Vec<PassedRoute>,
}

/// A route that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PassedRoute {
    /// Its number, from 0.
    pub route: usize,
    /// Every condition of it that failed.
    pub failed: Vec<FailedLeaf>,
}

/// A rule that a record, or one element of it, matches.
#[derive(Clone, Debug)]
pub struct Match<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// With `each`.
    pub element: Option<Element>,
    /// The first of the rule's routes that holds.
    pub route: Option<usize>,
}

impl<'a> Match<'a> {
    /// Whom to tell and how: as the route says, else the rule.
    #[must_use]
    pub fn tell(&self) -> &'a Tell {
        self.route.and_then(|route| self.rule.routes.get(route)).map_or(&self.rule.tell, |route| &route.tell)
    }

    /// Whether its route says that nobody is told.
    #[must_use]
    pub fn is_muted(&self) -> bool {
        self.route.and_then(|route| self.rule.routes.get(route)).is_some_and(|route| route.mute)
    }
}

impl Rule {
    /// What it makes of `record`, of a dialect that it concerns: one decision, or one for each element.
    #[must_use]
    pub fn evaluate(&self, record: &Record, known: Known<'_>) -> Vec<Decision> {
        self.decisions(record, known, true)
    }

    /// Where `record`, of a dialect that the rule concerns, matches it. The same decisions as [`Self::evaluate`]'s, without
    /// the reasons for the others.
    pub fn matches<'a>(&'a self, record: &Record, known: Known<'_>) -> impl Iterator<Item = Match<'a>> + use<'a> {
        self.decisions(record, known, false).into_iter().filter_map(|decision| self.matched(decision))
    }

    /// The match that a decision of this rule is, if it is one.
    #[must_use]
    pub fn matched(&self, decision: Decision) -> Option<Match<'_>> {
        decision.matched.then_some(Match { rule: self, element: decision.element, route: decision.route })
    }

    fn decisions(&self, record: &Record, known: Known<'_>, why: bool) -> Vec<Decision> {
        let whole = Seen { record, raw: &record.raw, known, each: None, element: None, severity: None };
        let Some(each) = &self.each else { return vec![self.decide(whole, None, why)] };
        let elements = elements(each, record);
        if elements.is_empty() && why {
            let failed = FailedLeaf::no_element(Place::Each, &each.name());
            return vec![Decision {
                element: None,
                matched: false,
                route: None,
                failed: vec![failed],
                passed: Vec::new(),
            }];
        }
        let one = |element: Element| match &element.part {
            Part::Target(place) => {
                let record = record.of_target(*place);
                self.decide(Seen { record: &record, ..whole }, Some(element), why)
            }
            Part::Change(place) => {
                let record = record.of_change(*place);
                self.decide(Seen { record: &record, ..whole }, Some(element), why)
            }
            Part::Raw(value) => {
                let value = value.clone();
                self.decide(Seen { each: Some(&value), ..whole }, Some(element), why)
            }
        };
        elements.into_iter().map(one).collect()
    }

    fn decide(&self, seen: Seen<'_>, element: Option<Element>, why: bool) -> Decision {
        let quiet = seen.record.flags.iter().any(|flag| QUIET_FLAGS.contains(flag)) && !self.when.names("flags");
        let over = self.is_over(seen.known.now);
        let excluded = !self.unless.is_empty() && self.unless.is_met(seen);
        let matched = !over && !quiet && !excluded && self.when.is_met(seen);
        let failed = if why && !matched { self.failed(seen, quiet) } else { Vec::new() };
        let route = if matched { self.route(seen) } else { None };
        let passed = if why && matched { self.passed(seen, route) } else { Vec::new() };
        Decision { element, matched, route, failed, passed }
    }

    fn failed(&self, seen: Seen<'_>, quiet: bool) -> Vec<FailedLeaf> {
        let mut failed = self.when.failing(seen);
        failed.extend(self.unless.excluding(seen));
        let now = seen.known.now;
        if let Some(expires) = self.expires.filter(|_| self.is_over(now)) {
            let (want, got) = (vec![expires.to_string()], vec![now.to_string()]);
            failed.push(FailedLeaf { place: Place::When, key: "now".into(), op: Op::Lt, want, got, negated: false });
        }
        if quiet {
            failed.push(FailedLeaf {
                place: Place::When,
                key: "flags".into(),
                op: Op::Not,
                want: QUIET_FLAGS.map(|flag| flag.as_str().to_owned()).to_vec(),
                got: seen.record.flags.iter().map(|flag| flag.as_str().to_owned()).collect(),
                negated: false,
            });
        }
        failed
    }

    /// What a route sees: the severity is the one that the rule would give.
    fn seen_by_routes<'r>(&self, seen: Seen<'r>) -> Seen<'r> {
        let severity = self.tell.severity.or(seen.record.severity).unwrap_or(Severity::Medium);
        Seen { severity: Some(severity), ..seen }
    }

    /// The routes before the one that is `taken`, and why they do not hold.
    fn passed(&self, seen: Seen<'_>, taken: Option<usize>) -> Vec<PassedRoute> {
        let seen = self.seen_by_routes(seen);
        let asked = self.routes.iter().take(taken.unwrap_or(self.routes.len())).enumerate();
        let why = |route: &Route| [route.when.failing(seen), route.unless.excluding(seen)].concat();
        asked.map(|(place, route)| PassedRoute { route: place, failed: why(route) }).collect()
    }

    /// The first route that holds.
    fn route(&self, seen: Seen<'_>) -> Option<usize> {
        let seen = self.seen_by_routes(seen);
        self.routes
            .iter()
            .position(|route| route.when.is_met(seen) && (route.unless.is_empty() || !route.unless.is_met(seen)))
    }
}

/// The elements of `record` in `list`, in its order; equal ones once.
pub(crate) fn elements(list: &List, record: &Record) -> Vec<Element> {
    let mut found: Vec<Element> = Vec::new();
    let mut add = |place: usize, identity: String, part: Part| {
        let identity = if identity.len() > MAX_IDENTITY { hash(&identity) } else { identity };
        if !found.iter().any(|known| *known.identity == *identity) {
            let place = format!("{}[{place}]", list.name()).into();
            found.push(Element { place, identity: identity.into(), part });
        }
    };
    match list {
        List::Targets => {
            for (place, target) in record.targets.iter().enumerate() {
                add(place, identity(target), Part::Target(place));
            }
        }
        List::Changes => {
            for (place, change) in record.changes.iter().enumerate() {
                let target = record.targets.get(change.target).map(identity);
                let what = json!([target, change.name, change.old, change.new]);
                add(place, of_content(&what), Part::Change(place));
            }
        }
        List::Raw(path) => {
            for (place, value) in path.values(&record.raw).into_iter().map(Cow::into_owned).enumerate() {
                add(place, of_content(&value), Part::Raw(value));
            }
        }
        // Only inside another element.
        List::Element(_) => {}
    }
    found
}

/// Who or what a target is, wherever it stands.
fn identity(target: &Target) -> String {
    let name = target.id.as_ref().or(target.upn.as_ref()).or(target.name.as_ref());
    name.map_or_else(|| target.kind.as_str().to_owned(), |name| fold(name))
}

/// 128 bits, as wide as a notification's id.
fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}
