//! Owns what is allowed of a rule and probably not meant: the warnings of `check`.

use super::fault::Fault;
use super::one::One;
use super::tables::Lists;
use crate::clock::Timestamp;
use crate::nearest::{is_slip, nearest, nearly_equal};
use crate::record::{Dialect, RESULTS};
use crate::rules::{
    Check, Condition, List, Never, Nothing, Op, Root, Rule, Subject, Tell, Test, To, Wanted, catalogue, instead_of_last,
};

impl One<'_> {
    /// What of `rule`, which is on, is probably not meant. `lists`: those that it may name.
    pub fn doubts(&self, rule: &Rule, lists: &Lists, now: Timestamp) -> Vec<Fault> {
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
        // Whom a pack names cannot be taken out by who sends its rule to a room.
        let is_of_rooms = !rule.tell.is_empty() && rule.tells().all(|tell| tell.channels.is_empty());
        if is_of_rooms && !rule.tell.to.is_empty() && !self.is_of_a_pack("to") {
            doubts.push(self.fault("to", "tells nobody: the rule's channels are rooms, which are told themselves"));
        }
        doubts.extend(nobody(rule).map(|message| self.fault("to", message)));
        doubts.extend(self.never_reached(rule));
        doubts.extend(self.operations_never_seen(rule, lists));
        doubts.extend(self.rows_mixed(rule));
        doubts.extend(self.operators_misspelt(rule));
        doubts
    }

    /// A rule that matches nothing, and routes that are never taken.
    fn never_reached(&self, rule: &Rule) -> Vec<Fault> {
        let nothing = rule.never_matches().map(|nothing| self.matches_nothing(rule, &nothing));
        let routes = rule.routes_never_taken().into_iter().map(|(place, never)| match never {
            Never::Behind(first) => {
                let message = format!(
                    "is never taken: route {} takes every record that it would; put it before that one, or take it out",
                    first + 1
                );
                self.route_fault(place, None, message)
            }
            Never::Contradicted => {
                let given = rule.tell.severity.map(|severity| {
                    format!(" (a route sees the rule's own severity, {})", severity.as_str())
                });
                let message = format!(
                    "holds of no record that the rule matches, so the route is never taken{}: change what one of them asks for",
                    given.unwrap_or_default()
                );
                self.route_fault(place, Some("when"), message)
            }
            Never::Excluded => {
                let message =
                    "holds wherever `when` does, so the route is never taken: take out of it what `when` asks for";
                self.route_fault(place, Some("unless"), message)
            }
        });
        nothing.into_iter().chain(routes).collect()
    }

    /// What is to be said of a rule that matches nothing.
    fn matches_nothing(&self, rule: &Rule, nothing: &Nothing) -> Fault {
        match nothing {
            Nothing::Excluded => {
                let message =
                    "holds wherever `when` does, so the rule matches nothing: take out of it what `when` asks for";
                self.fault("unless", message)
            }
            Nothing::Contradicted => {
                let message = "asks for things that no record has at once, so the rule matches nothing: take one of them \
                               out, or make them a list of values or an `any`";
                self.fault("when", message)
            }
            Nothing::Foreign(field) => {
                let message = format!(
                    "asks for a `{field}` that no record of {} has, so the rule matches nothing: take that out, or change \
                     `on` (docs/records.md)",
                    dialects(rule)
                );
                self.fault("when", message)
            }
        }
    }

    /// Names of operations, wherever a condition has them, that no record ever bore, and slips in words for a result or a state.
    fn operations_never_seen(&self, rule: &Rule, lists: &Lists) -> Vec<Fault> {
        let of_rule = [("when", &rule.when), ("unless", &rule.unless)].map(|(key, condition)| (None, key, condition));
        let of_routes = rule.routes.iter().enumerate().flat_map(|(place, route)| {
            [("when", &route.when), ("unless", &route.unless)].map(|(key, condition)| (Some(place), key, condition))
        });
        let all = of_rule.into_iter().chain(of_routes);
        let doubts = all.flat_map(|(route, key, condition)| {
            let messages = condition.tests().into_iter().flat_map(|test| {
                let misspelt = results_misspelt(test).into_iter().chain(states_misspelt(&rule.on, test));
                let said = never_seen(&rule.on, test, lists).into_iter().chain(misspelt);
                said.chain(texts_misread(test, lists)).collect::<Vec<_>>()
            });
            messages.map(move |message| match route {
                Some(place) => self.route_fault(place, Some(key), message),
                None => self.fault(key, message),
            })
        });
        doubts.collect()
    }

    /// Keys of `details` and names of paths that were probably meant to be operators.
    fn operators_misspelt(&self, rule: &Rule) -> Vec<Fault> {
        let of_routes = rule.routes.iter().flat_map(|route| [("route", &route.when), ("route", &route.unless)]);
        let all = [("when", &rule.when), ("unless", &rule.unless)].into_iter().chain(of_routes);
        let doubts = all.flat_map(|(key, condition)| {
            let names = condition.tests().into_iter().filter_map(|test| match &test.subject {
                Subject::Detail { name, .. } | Subject::Path { name, .. } => {
                    let meant = misspelt(name).map(|meant| format!("did you mean the operator `{meant}`?"));
                    let foreign = || instead_of_last(name).map(|here| format!("as an operator write {here}"));
                    let (path, last) = name.rsplit_once('.')?;
                    Some((
                        name,
                        format!(
                            "{}; a field of this name stands in quotes: '{path}.\"{last}\"'",
                            meant.or_else(foreign)?
                        ),
                    ))
                }
                _ => None,
            });
            names.map(move |(name, meant)| {
                self.fault(key, format!("`{name}` is taken for the name of a field; {meant}"))
            })
        });
        doubts.collect()
    }

    /// Two columns of one lookup, each of which may be of another target's row.
    fn rows_mixed(&self, rule: &Rule) -> Option<Fault> {
        if rule.each.is_some() {
            return None;
        }
        let columns = |condition: &Condition| -> Vec<(Box<str>, usize)> {
            let together = condition.together().into_iter().filter(|test| !matches!(test.check(), Check::Exists(_)));
            let columns = together.filter_map(|test| match &test.subject {
                Subject::Lookup { table, column, by, .. } if by.name().starts_with("target.") => {
                    Some((table.clone(), *column))
                }
                _ => None,
            });
            columns.collect()
        };
        let own = columns(&rule.when);
        let of_routes = rule.routes.iter().map(|route| [own.clone(), columns(&route.when)].concat());
        let (table, _) = std::iter::once(own.clone()).chain(of_routes).find_map(|all| {
            let mixed = all.iter().find(|(table, column)| all.iter().any(|(of, other)| of == table && other != column));
            mixed.cloned()
        })?;
        let message = format!(
            "asks for several columns of [lookup.{table}], and of several targets each may have another row: add \
             each = \"targets\", so that one and the same target must have them all"
        );
        Some(self.fault("when", message))
    }
}

/// Operators whose names are too long to be one letter away from another word.
const LONG: [&str; 7] = ["contains", "starts_with", "ends_with", "matches", "at_least", "same_as", "same_domain_as"];

/// The operator that the last name of a path is a slip of, or another spelling.
fn misspelt(name: &str) -> Option<&'static str> {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let (_, last) = name.rsplit_once('.').filter(|(_, last)| !last.ends_with('"'))?;
    LONG.into_iter().find(|operator| nearly_equal(&plain(operator), &plain(last)))
}

/// Fields whose values are names of operations; of a path its last name.
const NAMED: [&str; 5] = ["operation", "activity", "operationname", "activitydisplayname", "riskeventtype"];

/// What is to be said of a test for operations that no record of `dialects` ever bore.
fn never_seen(dialects: &[Dialect], test: &Test, lists: &Lists) -> Vec<String> {
    let last = test.subject.name().rsplit('.').next().unwrap_or_default().to_lowercase();
    let is_of_record = matches!(test.subject, Subject::View(_) | Subject::Path { root: Root::Record, .. });
    if !is_of_record || !NAMED.contains(&&*last) {
        return Vec::new();
    }
    let doubt = |name: &str, list: &str| {
        let (unseen, slip) = (catalogue::unseen(dialects, name), catalogue::slip_of(name));
        let near = if unseen { catalogue::nearest(dialects, name) } else { slip.into_iter().collect() };
        let near = catalogue::did_you_mean(&near);
        (unseen || slip.is_some()).then(|| format!("`{name}`{list} is no operation that anybody has seen{near}"))
    };
    match (test.op, test.check()) {
        (Op::In | Op::Not, _) => test.want.iter().filter_map(|name| doubt(name, "")).collect(),
        (Op::InList, _) => {
            let named = test.want.iter().filter_map(|list| lists.get_key_value(&**list));
            let entries = named.flat_map(|(list, entries)| entries.iter().map(move |entry| (list, entry)));
            entries.filter_map(|(list, entry)| doubt(&entry.text, &format!(" of list.{list}"))).collect()
        }
        (_, Check::Any(wanted)) if catalogue::none_is(dialects, wanted) => {
            let near = test.want.iter().flat_map(|text| catalogue::nearest(dialects, text)).collect::<Vec<_>>();
            let want: Vec<String> = test.want.iter().map(|text| format!("`{text}`")).collect();
            let near = catalogue::did_you_mean(&near);
            vec![format!("{} is in no operation that anybody has seen{near}", want.join(", "))]
        }
        _ => Vec::new(),
    }
}

/// Texts that are compared as they stand and were probably meant to say something else.
fn texts_misread(test: &Test, lists: &Lists) -> Vec<String> {
    let is_list = |text: &str| text.strip_prefix("list:").is_some_and(|name| lists.contains_key(name));
    let is_field = |text: &str| text.contains('.') && matches!(Subject::named(text), Some(Subject::View(_)));
    let has_blank = |text: &str| text.contains('*') && matches!(test.subject, Subject::View(_));
    let is_between_slashes = |text: &str| text.starts_with("/^") || text.starts_with('/') && text.ends_with("$/");
    let misread = |text: &str| {
        let instead = match test.op {
            Op::In | Op::Not if is_list(text) => "the entries of a list are { in_list = \"NAME\" }",
            Op::In | Op::Not if is_field(text) => "the value of another field is { same_as = \"FIELD\" }",
            Op::In | Op::Not if has_blank(text) => {
                "`*` stands for nothing but itself: write { starts_with = … }, { contains = … } or { matches = … }"
            }
            Op::Matches if is_between_slashes(text) => "a pattern stands without slashes, and is of any case",
            _ => return None,
        };
        Some(format!("`{text}` is compared as it stands; {instead}"))
    };
    test.want.iter().filter_map(|text| misread(text)).collect()
}

/// Words for a result that are a slip of one of those that every dialect's are read into.
fn results_misspelt(test: &Test) -> Vec<String> {
    if test.subject.name() != "result" || !matches!(test.op, Op::In | Op::Not) {
        return Vec::new();
    }
    let slip = |word: &str| {
        let word = word.to_lowercase();
        let known = || RESULTS.into_iter();
        known().find(|known| *known != word && is_slip(&word, known)).filter(|_| known().all(|known| known != word))
    };
    let said = |word: &str| slip(word).map(|known| format!("`{word}` is no result; did you mean `{known}`?"));
    test.want.iter().filter_map(|word| said(word)).collect()
}

/// Words for a state that are a slip of one that the producers of all `dialects` document.
fn states_misspelt(dialects: &[Dialect], test: &Test) -> Vec<String> {
    let known: Vec<&str> = dialects.iter().flat_map(|dialect| dialect.states()).copied().collect();
    let all_known = dialects.iter().all(|dialect| !dialect.states().is_empty());
    if test.subject.name() != "state" || !all_known || !matches!(test.op, Op::In | Op::Not) {
        return Vec::new();
    }
    let slips = test.want.iter().filter(|word| !known.iter().any(|known| known.eq_ignore_ascii_case(word)));
    let said = slips.filter_map(|word| Some((word, nearest(word, known.iter().copied())?)));
    said.map(|(word, known)| format!("`{word}` is no state; did you mean `{known}`?")).collect()
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

/// Why the rule can mail nobody.
fn nobody(rule: &Rule) -> Option<String> {
    let tells: Vec<&Tell> = rule.tells_reached().collect();
    if tells.is_empty() {
        let all = rule.takes_all().filter(|all| rule.routes.get(*all).is_some_and(|route| route.mute));
        return Some(match all {
            Some(all) if !rule.tell.is_empty() => format!(
                "tells nobody: route {} is mute and takes every record; give it a condition, or set enabled = false",
                all + 1
            ),
            _ => {
                "tells nobody: each route that may be taken is mute; add one that tells, or set enabled = false".into()
            }
        });
    }
    // A room is told itself, whoever `to` names.
    if tells.iter().any(|tell| tell.channels.is_empty()) {
        return None;
    }
    if tells.iter().all(|tell| tell.named().all(|to| tell.except.iter().any(|except| is_same(to, except)))) {
        return Some("tells nobody: `except` names everybody whom `to` names; take one of them out".into());
    }
    let nowhere = |to: &To| !rule.on.is_empty() && rule.on.iter().all(|dialect| !may_name(*dialect, to));
    let named = || tells.iter().copied().flat_map(Tell::named);
    if named().all(nowhere) {
        return Some(format!(
            "can mail nobody: records of {} name no such person; name a list, a lookup, a field or an address",
            dialects(rule)
        ));
    }
    let is_target = |to: &To| matches!(to, To::Target | To::TargetManager | To::TargetAlternates | To::TargetPrevious);
    (is_held_against_things(rule) && named().all(is_target)).then(|| {
        "can mail nobody: the rule is held against targets that are no users; name a list, a lookup, a field or an address"
            .into()
    })
}

fn dialects(rule: &Rule) -> String {
    rule.on.iter().map(|dialect| dialect.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether everybody whom `to` names is among those whom `except` does.
fn is_same(to: &To, except: &To) -> bool {
    match (to, except) {
        (To::Address(to), To::Address(except)) => to.eq_ignore_ascii_case(except),
        _ => to == except,
    }
}

/// Whether each of the targets that the rule is held against is something else than a user.
fn is_held_against_things(rule: &Rule) -> bool {
    let is_thing = |test: &Test| match test.check() {
        Check::Any(Wanted::Equal(kinds)) => {
            test.subject.name() == "target.type" && !kinds.iter().any(|kind| &**kind == "user")
        }
        _ => false,
    };
    matches!(rule.each, Some(List::Targets)) && rule.when.together().into_iter().any(is_thing)
}
