//! Owns what can be proved of two conditions without a record: that one holds wherever another does. What is not proved may
//! be so all the same; what is proved is so.

use super::{Check, Condition, Rule, Tell, Test, Wanted};

/// Why a route is never taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {
    /// The route at this place before it holds wherever it does.
    Behind(usize),
    /// Its own `unless` holds wherever its `when` does.
    Excluded,
}

impl Rule {
    /// Whether it is proved that it matches nothing: its `unless` holds wherever its `when` does.
    #[must_use]
    pub fn never_matches(&self) -> bool {
        excludes(&self.when, &self.unless)
    }

    /// The places of the routes of which it is proved that they are never taken, and why.
    #[must_use]
    pub fn routes_never_taken(&self) -> Vec<(usize, Never)> {
        let rule = guard(&self.when, &self.unless).beside_severity();
        let guards: Vec<Condition> = self.routes.iter().map(|route| guard(&route.when, &route.unless)).collect();
        let never = |(place, route): (usize, &super::Route)| {
            if excludes(&route.when, &route.unless) {
                return Some((place, Never::Excluded));
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
        let rule = guard(&self.when, &self.unless).beside_severity();
        self.routes.iter().position(|route| rule.implies(&guard(&route.when, &route.unless)))
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
            (Self::Not(part), Self::Not(of_other)) if of_other.implies(part) => true,
            (Self::Test(test), Self::Test(of_other)) => test.implies(of_other),
            (
                Self::Elements { quantifier, name, inner, .. },
                Self::Elements { quantifier: of_other, name: other_name, inner: other_inner, .. },
            ) if quantifier == of_other && name == other_name => inner.implies(other_inner),
            (Self::All(parts), _) if parts.iter().any(|part| part.implies(other)) => true,
            (_, Self::Any(parts)) => parts.iter().any(|part| self.implies(part)),
            _ => false,
        }
    }

    /// The parts that must hold together and do not look at the severity, which a route sees otherwise than its rule.
    fn beside_severity(&self) -> Self {
        match self {
            Self::All(parts) => Self::All(parts.iter().map(Self::beside_severity).collect()),
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
            // These look at the folded value, and that is known.
            (
                Check::Any(Wanted::Equal(texts)),
                Check::Any(
                    wanted @ (Wanted::Contains(_) | Wanted::StartsWith(_) | Wanted::EndsWith(_) | Wanted::AtLeast(_)),
                ),
            ) => texts.iter().all(|text| wanted.is_met_by(text)),
            (Check::Any(Wanted::AtLeast(own)), Check::Any(Wanted::AtLeast(least))) => own >= least,
            (Check::None(own), Check::None(theirs)) => match (own.as_slice(), theirs.as_slice()) {
                ([Wanted::Equal(all)], [Wanted::Equal(some)]) => all_in(some, all),
                _ => same(self.check(), other.check()),
            },
            (own, theirs) => same(own, theirs),
        }
    }
}

/// Patterns have no equality; what they are made of stands in their debug form, as it does of all else.
fn same(one: &Check, other: &Check) -> bool {
    format!("{one:?}") == format!("{other:?}")
}
