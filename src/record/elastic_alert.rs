//! Owns `elastic.alert`: alerts of Elastic's detection engine and of ordinary Kibana rules, active and recovered. The
//! fields come as dotted names, as objects, or as both mixed; in the `fields` form every value is a list; a pipeline may
//! have wrapped the document.
//! Reference: elastic.co/docs/reference/security/fields-and-object-schemas/alert-schema

use std::borrow::Cow;

use serde_json::Value;

use super::field::{self, Fields, opened};
use super::{EntityKind, Flag, Moment, Problem, ProblemCode, Record, Target, time};

/// Alerts about many events name everybody in them; nobody reads more.
const MOST: usize = 200;

/// What a rule may want to look at: the name of the detail and where it stands.
const DETAILS: &[(&str, &str)] = &[
    ("reason", "kibana.alert.reason"),
    ("description", "kibana.alert.rule.description"),
    ("riskScore", "kibana.alert.risk_score"),
    ("workflowStatus", "kibana.alert.workflow_status"),
    ("actionGroup", "kibana.alert.action_group"),
    ("instance", "kibana.alert.instance.id"),
    ("link", "kibana.alert.url"),
    ("space", "kibana.space_ids"),
    ("tags", "kibana.alert.rule.tags"),
    ("buildingBlock", "kibana.alert.building_block_type"),
    ("end", "kibana.alert.end"),
    ("eventAction", "event.action"),
    ("userAgent", "user_agent.original"),
];

/// What of an alert makes another revision. Of those that a detection rule writes only the work on them changes.
const REVISION: &[&str] = &[
    "kibana.alert.status",
    "kibana.alert.workflow_status",
    "kibana.alert.workflow_status_updated_at",
    "kibana.alert.start",
    "kibana.alert.end",
];

/// The document inside whatever a pipeline put around it.
pub(super) fn document(tree: &Value) -> Cow<'_, Value> {
    let outer = Fields::of(tree);
    let inside = ["_source", "fields", "message"].iter().filter_map(|name| outer.get(name)).map(opened);
    inside.into_iter().find(|inside| inside.is_object() && is_alert(inside)).unwrap_or(Cow::Borrowed(tree))
}

/// Whether these are the fields of an alert.
pub(super) fn is_alert(document: &Value) -> bool {
    ["kibana.alert.uuid", "kibana.alert.rule.name", "kibana.alert.rule.uuid"]
        .iter()
        .any(|path| value(document, path).is_some())
}

/// (operation, activity): the rule's name for people, and its stable id.
pub(super) fn names(document: &Value) -> (Option<String>, Option<String>) {
    let code = ["kibana.alert.rule.rule_id", "kibana.alert.rule.rule_type_id"];
    (text(document, "kibana.alert.rule.name"), code.iter().find_map(|path| text(document, path)))
}

/// Fills the view; returns the producer's id and time.
pub(super) fn read(record: &mut Record, tree: &Value) -> (Option<String>, Moment) {
    let document = document(tree);
    let at = |path: &str| text(&document, path);
    (record.operation, record.activity) = names(&document);
    record.state = at("kibana.alert.status");
    record.category = at("kibana.alert.rule.category");
    record.service = at("kibana.alert.rule.producer").or_else(|| at("kibana.alert.rule.consumer"));
    record.tenant = at("cloud.account.id");
    record.correlation_id = at("kibana.alert.group.id");
    // One alert is written again when it ends, when somebody works on it, and, while it comes and goes, when it begins again.
    record.revision = time::revision(REVISION.iter().map(|path| at(path)));
    record.read_severity(at("kibana.alert.severity").or_else(|| at("kibana.alert.rule.parameters.severity")));
    let details = DETAILS.iter().filter_map(|(name, path)| Some(((*name).to_owned(), joined(&document, path)?)));
    record.details.extend(details);
    // What other rules are built upon: Elastic does not show it among the alerts either.
    record.flags.extend(at("kibana.alert.building_block_type").map(|_| Flag::BuildingBlock));
    record.tactics = tactics(&document);
    read_targets(record, &document);
    let times = ["kibana.alert.original_time", "kibana.alert.start", "@timestamp"].map(|path| value(&document, path));
    (at("kibana.alert.uuid"), Moment::first(times))
}

/// The first value at `path`, whichever of its dots are part of a name and which lead into an object.
pub(super) fn value<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    all(document, path).into_iter().next()
}

/// Every value at `path`; of a list its elements.
fn all<'a>(document: &'a Value, path: &str) -> Vec<&'a Value> {
    places(document, path).into_iter().filter(|value| !value.is_null()).collect()
}

/// [`all`], with a null in the place of each element of a list that has no value.
fn places<'a>(document: &'a Value, path: &str) -> Vec<&'a Value> {
    match document {
        Value::Array(list) => {
            let of = |element| Some(places(element, path)).filter(|found| !found.is_empty());
            list.iter().flat_map(|element| of(element).unwrap_or_else(|| vec![&Value::Null])).collect()
        }
        Value::Null => Vec::new(),
        _ if path.is_empty() => vec![document],
        Value::Object(map) => {
            // The longest name first: "kibana.alert.rule.name" as one name, then "kibana" as an object.
            let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
            let mut ends: Vec<usize> = ends.collect();
            ends.reverse();
            let below = |end: usize| {
                let found = places(map.get(&path[..end])?, path[end..].trim_start_matches('.'));
                found.iter().any(|value| !value.is_null()).then_some(found)
            };
            ends.into_iter().find_map(below).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn text(document: &Value, path: &str) -> Option<String> {
    all(document, path).into_iter().find_map(field::text)
}

/// All values as one text.
fn joined(document: &Value, path: &str) -> Option<String> {
    let values: Vec<String> = all(document, path).into_iter().filter_map(field::text).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn tactics(document: &Value) -> Vec<String> {
    let paths = [
        "kibana.alert.rule.threat.tactic.name",
        "kibana.alert.rule.parameters.threat.tactic.name",
        "threat.tactic.name",
    ];
    let found = paths.iter().map(|path| all(document, path)).find(|found| !found.is_empty()).unwrap_or_default();
    let mut tactics: Vec<String> = Vec::new();
    for tactic in found.into_iter().filter_map(field::text) {
        if !tactics.contains(&tactic) {
            tactics.push(tactic);
        }
    }
    tactics
}

/// The people first, then the things of the source event.
fn read_targets(record: &mut Record, document: &Value) {
    let things = [
        (EntityKind::Host, "host.name", "host.id"),
        (EntityKind::Ip, "source.ip", ""),
        (EntityKind::File, "file.path", ""),
        (EntityKind::Process, "process.name", ""),
        (EntityKind::Url, "url.full", ""),
    ];
    let things = things.into_iter().flat_map(|(kind, name, id)| {
        let ids = if id.is_empty() { Vec::new() } else { texts(document, id) };
        let thing = move |[name, id]: [Option<String>; 2]| Some(Target { kind, id, upn: None, name: Some(name?) });
        side_by_side([texts(document, name), ids]).into_iter().filter_map(thing)
    });
    for target in USERS.into_iter().flat_map(|place| people(document, place)).chain(things) {
        if record.targets.len() == MOST || record.targets.contains(&target) {
            continue;
        }
        if target.kind == EntityKind::User && target.id.is_none() && target.upn.is_none() {
            let field = format!("targets[{}]", record.targets.len());
            record.problems.push(Problem::at(ProblemCode::TargetWithoutIdentity, field, ""));
        }
        record.targets.push(target);
    }
}

/// Where users stand: who is seen in the source event, and whose account it was done to. Not whom somebody acted as
/// (`user.effective`), which is mostly an account of the machine.
const USERS: [&str; 2] = ["user", "user.target"];

/// The users at `place`: several objects, or several values in each field of one.
fn people(document: &Value, place: &str) -> Vec<Target> {
    let objects: Vec<&Value> = all(document, place).into_iter().filter(|user| user.is_object()).collect();
    let before = if objects.len() > 1 { String::new() } else { format!("{place}.") };
    let holders = if objects.len() > 1 { objects } else { vec![document] };
    let fields = ["id", "email", "name", "full_name"];
    let of = |holder| side_by_side(fields.map(|field| texts(holder, &format!("{before}{field}"))));
    let person = |[id, mail, name, full]: [Option<String>; 4]| {
        let upn = mail.or_else(|| name.clone().filter(|name| name.contains('@')));
        let is_there = id.is_some() || upn.is_some() || name.is_some();
        is_there.then(|| Target { kind: EntityKind::User, id, upn, name: full.or(name) })
    };
    holders.into_iter().flat_map(of).filter_map(person).collect()
}

/// The list as it is written: what says nothing in it keeps its place.
fn texts(document: &Value, path: &str) -> Vec<Option<String>> {
    places(document, path).into_iter().map(field::text).collect()
}

/// The values of several fields, those that belong together side by side: the first of each, the second of each. Of a list
/// of another length than the longest nobody knows to which of them its values belong, so each stands by itself.
fn side_by_side<const N: usize>(lists: [Vec<Option<String>>; N]) -> Vec<[Option<String>; N]> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or_default();
    let mut rows = vec![[const { None }; N]; longest];
    for (column, list) in lists.into_iter().enumerate() {
        let apart = list.len() < longest;
        for (place, value) in list.into_iter().enumerate() {
            if apart {
                let mut row = [const { None }; N];
                row[column] = value;
                rows.push(row);
            } else {
                rows[place][column] = value;
            }
        }
    }
    rows.retain(|row| row.iter().any(Option::is_some));
    rows
}
