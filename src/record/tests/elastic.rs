//! Elastic's alerts: however the dots of a name are written, the view is the same.

use proptest::prelude::*;

use super::*;

/// An alert as names with dots.
fn alert() -> Vec<(&'static str, Value)> {
    vec![
        ("kibana.alert.uuid", json!("a-1")),
        ("kibana.alert.rule.name", json!("Credential dumping")),
        ("kibana.alert.rule.rule_id", json!("r-1")),
        ("kibana.alert.rule.producer", json!("siem")),
        ("kibana.alert.rule.category", json!("Custom Query Rule")),
        ("kibana.alert.rule.threat", json!([{"tactic": {"name": "Credential Access"}}])),
        ("kibana.alert.severity", json!("high")),
        ("kibana.alert.status", json!("active")),
        ("kibana.alert.workflow_status", json!("open")),
        ("kibana.alert.reason", json!("because")),
        ("kibana.alert.risk_score", json!(73)),
        ("kibana.alert.start", json!("2026-01-22T18:15:02.387Z")),
        ("user.name", json!("alice")),
        ("user.email", json!("alice@example.com")),
        ("user.id", json!("S-1-5-21-1")),
        ("host.name", json!("laptop7")),
        ("source.ip", json!("203.0.113.77")),
        ("@timestamp", json!(1_769_105_702_387_i64)),
    ]
}

/// `alert` with each dot a level of its own where `nest` says so, in the place of the next one in it.
fn written(alert: Vec<(&str, Value)>, nest: &[bool]) -> Value {
    let mut choices = nest.iter().copied().cycle();
    let mut document = json!({});
    for (name, value) in alert {
        let mut keys = vec![String::new()];
        for (n, part) in name.split('.').enumerate() {
            if n > 0 && choices.next().unwrap_or_default() {
                keys.push(part.to_owned());
            } else {
                let last = keys.last_mut().unwrap();
                *last = if n == 0 { part.to_owned() } else { format!("{last}.{part}") };
            }
        }
        let (last, path) = keys.split_last().unwrap();
        let mut place = &mut document;
        for key in path {
            place = place.as_object_mut().unwrap().entry(key.clone()).or_insert_with(|| json!({}));
        }
        place[last] = value;
    }
    document
}

fn view(record: &Value) -> Value {
    serde_json::to_value(read(record)).unwrap()
}

proptest! {
    #[test]
    fn names_with_dots_and_objects_give_the_same_view(
        nest in prop::collection::vec(any::<bool>(), 1..64),
        lists in any::<bool>(),
        wrapped in prop::sample::select(vec!["", "_source", "fields", "message"]),
        as_text in any::<bool>(),
        beside in prop::sample::select(vec!["", "_id", "_index"]),
    ) {
        let flat = view(&written(alert(), &[false]));
        // In the `fields` form every value is a list.
        let values = alert().into_iter().map(|(name, value)| {
            (name, if lists && !value.is_array() { json!([value]) } else { value })
        });
        let document = written(values.collect(), &nest);
        let record = match wrapped {
            "" => document,
            name => {
                let mut record = json!({ name: if as_text { json!(document.to_string()) } else { document } });
                if !beside.is_empty() {
                    record[beside] = json!("i");
                }
                record
            }
        };
        prop_assert_eq!(view(&record), flat.clone());
        prop_assert!(agrees(&glance(&record.to_string()), &read(&record)));
    }
}

#[test]
fn other_things_are_wrapped_in_the_same_names() {
    for record in [
        json!({"_id": "x", "fields": {"event.kind": ["signal"]}}),
        json!({"fields": ["kibana.alert.uuid"], "message": null}),
        json!({"message": "a \"kibana\" that did not start"}),
    ] {
        assert_eq!(read(&record).dialect, Dialect::Other, "{record}");
    }
}

#[test]
fn the_alert_of_these_tests_is_one_and_fills_the_view() {
    let flat = view(&written(alert(), &[false]));
    assert_eq!(flat["dialect"], "elastic.alert");
    assert_eq!((&flat["id"], &flat["severity"], &flat["state"]), (&json!("a-1"), &json!("high"), &json!("active")));
    assert_eq!(flat["targets"][0]["upn"], "alice@example.com");
    assert_eq!(flat["tactics"], json!(["Credential Access"]));
    assert_eq!(flat["time"], "2026-01-22T18:15:02.387Z");
}

/// [`alert`] without its user, and `fields` beside it.
fn of_users(fields: Vec<(&'static str, Value)>) -> Record {
    let others = alert().into_iter().filter(|(name, _)| !name.starts_with("user."));
    read(&written(others.chain(fields).collect(), &[false]))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn every_user_of_an_alert_is_a_target() {
    let (a, b) = ("a@example.com", "b@example.com");
    let both = [(Some("a"), Some(a)), (Some("b"), Some(b))];
    for (what, fields, expected) in [
        ("values side by side", vec![("user.name", json!(["a", "b"])), ("user.email", json!([a, b]))], both.to_vec()),
        (
            "several objects",
            vec![("user", json!([{"name": "a", "email": a}, {"name": "b", "email": b}]))],
            both.to_vec(),
        ),
        (
            "several objects of which one says less",
            vec![("user", json!([{"name": "root"}, {"name": "a", "email": a}]))],
            vec![(Some("root"), None), (Some("a"), Some(a))],
        ),
        (
            "of lists that do not go together nobody knows whose is what",
            vec![("user.name", json!(["a", "b"])), ("user.email", json!([b]))],
            vec![(Some("a"), None), (Some("b"), None), (None, Some(b))],
        ),
        (
            "what says nothing keeps its place",
            vec![("user.id", json!(["1", "2", null])), ("user.email", json!([a, null, b]))],
            vec![(None, Some(a)), (None, None), (None, Some(b))],
        ),
        (
            "in whichever words it says so",
            vec![("user.name", json!(["a", "none", "c"])), ("user.email", json!(["", b, a]))],
            vec![(Some("a"), None), (None, Some(b)), (Some("c"), Some(a))],
        ),
        (
            "lists of which as much is left do not go together for that",
            vec![("user.name", json!(["a", null])), ("user.email", json!([b]))],
            vec![(Some("a"), None), (None, Some(b))],
        ),
        (
            "nobody at all in a place",
            vec![("user.name", json!([null, "b"])), ("user.email", json!(["", b]))],
            both[1..].to_vec(),
        ),
        (
            "a list of nothing leaves the word to the other form",
            vec![("user.email", json!([null])), ("user", json!({"name": "a", "email": a}))],
            both[..1].to_vec(),
        ),
        (
            "names that are principal names",
            vec![("user.name", json!([a, b, a]))],
            vec![(Some(a), Some(a)), (Some(b), Some(b))],
        ),
        (
            "one object, its fields in two forms",
            vec![("user.name", json!("a")), ("user", json!({"email": a}))],
            both[..1].to_vec(),
        ),
    ] {
        let record = of_users(fields);
        let users = record.targets.iter().filter(|target| target.kind == EntityKind::User);
        let users: Vec<_> = users.map(|user| (user.name.as_deref(), user.upn.as_deref())).collect();
        assert_eq!(users, expected, "{what}");
        let nameless = record.targets.iter().filter(|target| target.kind == EntityKind::User);
        let nameless = nameless.filter(|user| user.upn.is_none() && user.id.is_none()).count();
        let said = record.problems.iter().filter(|problem| problem.code == ProblemCode::TargetWithoutIdentity).count();
        assert_eq!(said, nameless, "{what}: who cannot be told is said");
    }
    let hosts = of_users(vec![("host.name", json!(["x", "y"])), ("host.id", json!(["1", "2"]))]);
    let hosts: Vec<_> = hosts.targets.iter().filter(|target| target.kind == EntityKind::Host).collect();
    assert_eq!((hosts[1].name.as_deref(), hosts[1].id.as_deref()), (Some("y"), Some("2")));
    let objects = of_users(vec![
        ("host.name", Value::Null),
        ("host", json!([{"name": "x"}, {"id": "2", "name": ""}, {"id": "3", "name": "z"}])),
    ]);
    let hosts: Vec<_> = objects.targets.iter().filter(|target| target.kind == EntityKind::Host).collect();
    assert_eq!((hosts[0].name.as_deref(), hosts[0].id.as_deref()), (Some("x"), None), "an object without one");
    assert_eq!((hosts[1].name.as_deref(), hosts[1].id.as_deref()), (Some("z"), Some("3")));
}
