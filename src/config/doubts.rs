//! Owns what is allowed of a rule and probably not meant: the warnings of `check`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Fault;
use super::one::One;
use crate::clock::Timestamp;
use crate::record::Dialect;
use crate::rules::{Op, Rule, Tell, To, catalogue};

impl One<'_> {
    /// What of `rule`, which is on, is probably not meant.
    pub fn doubts(&self, rule: &Rule, now: Timestamp) -> Vec<Fault> {
        let mut doubts = Vec::new();
        if rule.shadow {
            doubts.push(self.fault("mode", "is \"shadow\": matches are counted, nobody is told"));
        }
        if rule.is_over(now) {
            let message = "has passed: the rule is off; take it out, or give it a later day";
            doubts.push(self.fault("expires", message));
        }
        let unbraked = rule.tells().any(|tell| tell.throttle.is_none() && tell.named().any(To::is_of_record));
        if unbraked && !rule.shadow {
            let message = "has no brake: whoever changes all accounts at once mails everybody at once; add \
                           throttle = { max = 100, per = \"10m\", overflow = \"hold\" } to its policy";
            doubts.push(self.fault("policy", message));
        }
        if !rule.tell.is_empty() && rule.tells().all(|tell| tell.channels.is_empty()) && !rule.tell.to.is_empty() {
            doubts.push(self.fault("to", "tells nobody: the rule's channels are rooms, which are told themselves"));
        }
        doubts.extend(nobody(rule).map(|message| self.fault("to", message)));
        doubts.extend(self.routes_never_taken());
        doubts.extend(self.operations_never_seen(rule));
        doubts
    }

    /// Routes whose conditions are those of one before.
    fn routes_never_taken(&self) -> Vec<Fault> {
        let routes: Vec<&DeTable<'_>> = self.routes().collect();
        let equal = |one: &DeTable<'_>, other: &DeTable<'_>| {
            ["when", "unless"].iter().all(|key| match (one.get(*key), other.get(*key)) {
                (Some(one), Some(other)) => same(one.get_ref(), other.get_ref()),
                (one, other) => one.is_none() && other.is_none(),
            })
        };
        let mut doubts = Vec::new();
        for (place, route) in routes.iter().enumerate() {
            if let Some(first) = routes.iter().take(place).position(|before| equal(before, route)) {
                let message = format!("is never taken: route {} has the same conditions", first + 1);
                doubts.push(self.route_fault(place, message));
            }
        }
        doubts
    }

    fn operations_never_seen(&self, rule: &Rule) -> Vec<Fault> {
        let test = rule.when.on("operation").filter(|test| test.op == Op::In);
        let operations = test.map_or(&[][..], |test| &test.want);
        let unseen = |operation: &&str| catalogue::unseen(&rule.on, operation);
        let doubt = |operation: &str| {
            let near = catalogue::nearest(&rule.on, operation);
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            self.fault("when", format!("`{operation}` is no operation that anybody has seen{near}"))
        };
        operations.iter().map(|operation| &**operation).filter(unseen).map(doubt).collect()
    }
}

/// Whether a record of `dialect` can name somebody whom `to` means.
fn may_name(dialect: Dialect, to: &To) -> bool {
    match to {
        To::Target | To::TargetManager | To::TargetAlternates => dialect.may_have_user_targets(),
        // Only directories write what an address was before.
        To::TargetPrevious => matches!(dialect, Dialect::EntraAudit | Dialect::Mapped(_)),
        To::Actor | To::ActorManager => dialect.may_have_an_actor(),
        To::List(..) | To::Reference(..) | To::Address(_) | To::FirstOf(_) => true,
    }
}

/// Whether two values say the same, wherever they stand.
fn same(one: &DeValue<'_>, other: &DeValue<'_>) -> bool {
    let all = |one: &[Spanned<DeValue<'_>>], other: &[Spanned<DeValue<'_>>]| {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one.get_ref(), other.get_ref()))
    };
    match (one, other) {
        (DeValue::Table(one), DeValue::Table(other)) => {
            let equal = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                let there: Option<&Spanned<DeValue<'_>>> = other.get(key);
                there.is_some_and(|there| same(value.get_ref(), there.get_ref()))
            };
            one.len() == other.len() && one.iter().all(equal)
        }
        (DeValue::Array(one), DeValue::Array(other)) => all(one, other),
        (DeValue::String(one), DeValue::String(other)) => one == other,
        (DeValue::Boolean(one), DeValue::Boolean(other)) => one == other,
        (DeValue::Integer(one), DeValue::Integer(other)) => one.as_str() == other.as_str(),
        (DeValue::Float(one), DeValue::Float(other)) => one.as_str() == other.as_str(),
        (DeValue::Datetime(one), DeValue::Datetime(other)) => one == other,
        _ => false,
    }
}

/// Why the rule can mail nobody.
fn nobody(rule: &Rule) -> Option<String> {
    if rule.tells().next().is_none() {
        return Some("tells nobody: each of its routes is mute".into());
    }
    // A room is told itself, whoever `to` names.
    if rule.tells().any(|tell| tell.channels.is_empty()) {
        return None;
    }
    if rule.tells().all(|tell| tell.named().all(|to| tell.except.contains(to))) {
        return Some("tells nobody: `except` names everybody whom `to` names".into());
    }
    let nowhere = |to: &To| !rule.on.is_empty() && rule.on.iter().all(|dialect| !may_name(*dialect, to));
    if !rule.tells().flat_map(Tell::named).all(nowhere) {
        return None;
    }
    let dialects: Vec<&str> = rule.on.iter().map(|dialect| dialect.as_str()).collect();
    Some(format!(
        "can mail nobody: records of {} name no such person; name a list, a lookup, a field or an address",
        dialects.join(", ")
    ))
}
