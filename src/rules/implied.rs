//! Owns what can be proved of two conditions without a record: that one holds wherever another does. What is not proved may
//! be so all the same; what is proved is so.

use super::{Check, Condition, Op, Rule, Subject, Tell, Test, Wanted};
use crate::record::{Dialect, Severity};

/// Why a rule matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// Its `unless` holds wherever its `when` does.
    Excluded,
    /// Its `when` asks for what no record has at once.
    Contradicted,
    /// Its `when` asks for something of this field that no record of its dialects has.
    Foreign(Box<str>),
}

/// Why a route is never taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {
    /// The route at this place before it holds wherever it does.
    Behind(usize),
    /// Its own `unless` holds wherever its `when` does.
    Excluded,
    /// What it asks for holds of no record that the rule matches, with the severity that the rule gives it.
    Contradicted,
}

impl Rule {
    /// Why it is proved that it matches nothing.
    #[must_use]
    pub fn never_matches(&self) -> Option<Nothing> {
        if excludes(&self.when, &self.unless) {
            return Some(Nothing::Excluded);
        }
        if self.when.contradicts(&self.when) {
            return Some(Nothing::Contradicted);
        }
        let seen = Seen::ByRule;
        let foreign = |test: &&Test| self.on.iter().any(|dialect| test.is_foreign_to(*dialect, seen));
        let test = self.when.tests().into_iter().find(foreign).filter(|_| self.is_foreign(&self.when, seen))?;
        Some(Nothing::Foreign(test.subject.name().into()))
    }

    /// Whether it is proved that no record of its dialects fulfils `condition`.
    fn is_foreign(&self, condition: &Condition, seen: Seen) -> bool {
        !self.on.is_empty() && self.on.iter().all(|dialect| condition.is_foreign_to(*dialect, seen))
    }

    /// The places of the routes of which it is proved that they are never taken, and why.
    #[must_use]
    pub fn routes_never_taken(&self) -> Vec<(usize, Never)> {
        let rule = self.as_routes_see();
        let guards: Vec<Condition> = self.routes.iter().map(|route| guard(&route.when, &route.unless)).collect();
        let never = |(place, route): (usize, &super::Route)| {
            if excludes(&route.when, &route.unless) {
                return Some((place, Never::Excluded));
            }
            if rule.contradicts(guards.get(place)?) || self.is_foreign(&route.when, Seen::ByRoute) {
                return Some((place, Never::Contradicted));
            }
            let here = Condition::All(vec![rule.clone(), guards.get(place)?.clone()]);
            let first = guards.iter().take(place).position(|before| here.implies(before));
            first.map(|first| (place, Never::Behind(first)))
        };
        self.routes.iter().enumerate().filter_map(never).collect()
    }

    /// The place of a route of which it is proved that it, or one before it, takes every record, so that the rule's own way of
    /// telling is never taken.
    #[must_use]
    pub fn takes_all(&self) -> Option<usize> {
        let rule = self.as_routes_see();
        self.routes.iter().position(|route| rule.implies(&guard(&route.when, &route.unless)))
    }

    /// What is known of every record that its routes see: what the rule asks for, and the severity that it gives.
    fn as_routes_see(&self) -> Condition {
        let own = self.tell.severity;
        let asked = guard(&self.when, &self.unless).with_severity_of_routes(own.is_some());
        let severity = own.zip(Subject::named("severity")).map(|(own, subject)| {
            let word: Vec<Box<str>> = vec![own.as_str().into()];
            Condition::Test(Test::new(subject, Op::In, word.clone(), Check::Any(Wanted::Equal(word))))
        });
        Condition::All(std::iter::once(asked).chain(severity).collect())
    }

    /// As [`Self::tells`], without what is proved never to be reached.
    pub fn tells_reached(&self) -> impl Iterator<Item = &Tell> {
        let never = self.routes_never_taken();
        let own = Some(&self.tell).filter(|tell| !tell.is_empty() && self.takes_all().is_none());
        let routes = self.routes.iter().enumerate();
        let routes = routes.filter(move |(place, route)| !route.mute && !never.iter().any(|(dead, _)| dead == place));
        own.into_iter().chain(routes.map(|(_, route)| &route.tell))
    }
}

/// Who looks at a record: a route sees a severity where the record has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    ByRule,
    ByRoute,
}

/// Holds where `when` does and `unless` does not.
fn guard(when: &Condition, unless: &Condition) -> Condition {
    let excluded = (!unless.is_empty()).then(|| Condition::Not(Box::new(unless.clone())));
    Condition::All(std::iter::once(when.clone()).chain(excluded).collect())
}

/// An empty `unless` excludes nothing.
fn excludes(when: &Condition, unless: &Condition) -> bool {
    !unless.is_empty() && when.implies(unless)
}

impl Condition {
    /// Whether it is proved that `other` holds of every record of which this holds.
    #[must_use]
    pub fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::All(parts)) => parts.iter().all(|part| self.implies(part)),
            (Self::Any(parts), _) => parts.iter().all(|part| part.implies(other)),
            (_, Self::Not(part)) if self.contradicts(part) => true,
            (Self::Test(test), Self::Test(of_other)) => test.implies(of_other),
            // The same text, as nothing less is proved.
            (Self::Value(own), Self::Value(theirs)) => format!("{own:?}") == format!("{theirs:?}"),
            (Self::Value(tests), Self::Test(of_other)) => tests.iter().any(|test| test.implies(of_other)),
            (
                Self::Elements { quantifier, name, inner, .. },
                Self::Elements { quantifier: of_other, name: other_name, inner: other_inner, .. },
            ) if quantifier == of_other && name == other_name => inner.implies(other_inner),
            (Self::All(parts), _) if parts.iter().any(|part| part.implies(other)) => true,
            (_, Self::Any(parts)) => parts.iter().any(|part| self.implies(part)),
            _ => false,
        }
    }

    /// Whether it is proved that no record fulfils both.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All(parts), _) => parts.iter().any(|part| part.contradicts(other)),
            (_, Self::All(parts)) => parts.iter().any(|part| self.contradicts(part)),
            (Self::Any(parts), _) => parts.iter().all(|part| part.contradicts(other)),
            (_, Self::Any(parts)) => parts.iter().all(|part| self.contradicts(part)),
            (Self::Not(part), asked) | (asked, Self::Not(part)) => asked.implies(part),
            (Self::Test(test), Self::Test(of_other)) => test.contradicts(of_other) || of_other.contradicts(test),
            _ => false,
        }
    }

    /// Whether it is proved that no record of `dialect` fulfils it.
    fn is_foreign_to(&self, dialect: Dialect, seen: Seen) -> bool {
        match self {
            Self::All(parts) => parts.iter().any(|part| part.is_foreign_to(dialect, seen)),
            Self::Any(parts) => parts.iter().all(|part| part.is_foreign_to(dialect, seen)),
            Self::Test(test) => test.is_foreign_to(dialect, seen),
            Self::Value(tests) => tests.iter().any(|test| test.is_foreign_to(dialect, seen)),
            Self::Not(_) | Self::Elements { .. } => false,
        }
    }

    /// The parts that hold of a record as a route sees it: with the rule's severity where that `is_given`, else with the
    /// record's. A record without one has another in a route, so only what asks for a value stays true.
    fn with_severity_of_routes(&self, is_given: bool) -> Self {
        match self {
            Self::All(parts) => Self::All(parts.iter().map(|part| part.with_severity_of_routes(is_given)).collect()),
            Self::Test(test) if !is_given && matches!(test.check(), Check::Any(_)) => self.clone(),
            other if other.names("severity") => Self::default(),
            other => other.clone(),
        }
    }
}

impl Test {
    fn implies(&self, other: &Self) -> bool {
        if self.subject != other.subject {
            return false;
        }
        let all_in = |some: &[Box<str>], all: &[Box<str>]| some.iter().all(|text| all.contains(text));
        match (self.check(), other.check()) {
            (Check::Any(Wanted::Equal(some)), Check::Any(Wanted::Equal(all))) => all_in(some, all),
            // The folded value is known.
            (Check::Any(Wanted::Equal(texts)), Check::Any(wanted)) if looks_at_folded(wanted) => {
                texts.iter().all(|text| wanted.is_met_by(text))
            }
            (Check::Any(Wanted::AtLeast(own)), Check::Any(Wanted::AtLeast(least))) => own >= least,
            (Check::Any(Wanted::AtLeast(own)), Check::Any(Wanted::Equal(all))) => {
                let mut above = Severity::ALL.iter().filter(|severity| *severity >= own);
                above.all(|severity| all.iter().any(|word| **word == *severity.as_str()))
            }
            (Check::None(own), Check::None(theirs)) => match (own.as_slice(), theirs.as_slice()) {
                ([Wanted::Equal(all)], [Wanted::Equal(some)]) => all_in(some, all),
                _ => same(self.check(), other.check()),
            },
            (own, theirs) => same(own, theirs),
        }
    }
}

impl Test {
    /// As [`Condition::contradicts`], one way round.
    fn contradicts(&self, other: &Self) -> bool {
        // Of several values one may fulfil this and another that.
        let is_one = self.subject.is_one();
        match (self.check(), other.check()) {
            _ if self.subject != other.subject => false,
            (Check::Exists(here), Check::Exists(there)) => here != there,
            (Check::Any(Wanted::Equal(some)), Check::None(none)) => {
                some.iter().all(|text| none.iter().any(|wanted| wanted.is_met_by(text)))
            }
            (Check::Any(Wanted::Equal(some)), Check::Any(wanted)) if is_one && looks_at_folded(wanted) => {
                // The value may have a final dot.
                !some.iter().any(|text| wanted.is_met_by(text) || wanted.is_met_by(&format!("{text}.")))
            }
            _ => false,
        }
    }
}

impl Test {
    /// As [`Condition::is_foreign_to`].
    fn is_foreign_to(&self, dialect: Dialect, seen: Seen) -> bool {
        let Subject::View(field) = &self.subject else { return false };
        match self.check() {
            Check::Any(wanted) if field.name == "dialect" => !wanted.is_met_by(dialect.as_str()),
            Check::None(wanted) if field.name == "dialect" => {
                wanted.iter().any(|wanted| wanted.is_met_by(dialect.as_str()))
            }
            Check::Any(_) | Check::SameAs(_) | Check::SameDomainAs(_) | Check::Exists(true) => {
                dialect.lacks(field.name) && (seen == Seen::ByRule || field.name != "severity")
            }
            Check::None(_) | Check::Exists(false) | Check::Changed { .. } => false,
        }
    }
}

/// Whether it finds in the folded value what it finds in the value.
const fn looks_at_folded(wanted: &Wanted) -> bool {
    matches!(
        wanted,
        Wanted::Equal(_)
            | Wanted::Contains(_)
            | Wanted::StartsWith(_)
            | Wanted::Below(_)
            | Wanted::EndsWith(_)
            | Wanted::AtLeast(_)
    )
}

/// Patterns have no equality; what they are made of stands in their debug form, as it does of all else.
fn same(one: &Check, other: &Check) -> bool {
    format!("{one:?}") == format!("{other:?}")
}
