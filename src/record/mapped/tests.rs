//! The shipped tables, and tables as people write them, rightly and wrongly.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::record::{Position, head};

/// A table with every key that a table can have.
const EVERY_KEY: &str = r#"
detect = [{ kind = "door", "who.badge" = true }, { kind = { starts_with = ["gate-", "lift-"] }, old = false }]
inside = ["event", "wrapped.body"]
identity = "state"
id = ["no", "who.badge"]
revision = "changed"
time = ["at", "changed"]
operation = { path = "what", map = { O = "Door opened", "*" = "Door used" } }
activity = "what"
result = { path = "ok", map = { yes = "success", no = "failure" }, default = "success" }
state = "state"
severity = { path = "grave", map = { 1 = "high", "*" = "low" } }
category = "kind"
service = { default = "Doors" }
tenant = { path = "site", when = { site = { contains = "-" } } }
subscription = "sub"
resource = "door"
correlation_id = "visit"
actor = [{ when = { "who.badge" = true }, type = { path = "who.sort", map = { staff = "user", robot = "app" } }, id = "who.badge", upn = ["who.login", "who.mail"], name = "who.name", ip = "ip", app = { path = "via", after = "/" } }]
targets = [{ list = "visitors", when = { mail = true }, type = "user", upn = "mail", name = "name", changes = { list = "rights", name = "what", old = "was", new = "is" } }, { list = "rooms", type = "resource", id = "." }]
changes = { name = { default = "lock" }, old = "lock_before", new = "lock" }
details = { "*" = ["more", "pairs"], floor = "floor" }
tactics = "tactics"
flags = { sample = { kind = "door", test = "true" }, snapshot = { dump = true }, incident = true }
"#;

/// The table, or its faults as `the text at fault | key | message`.
fn parse(name: &str, text: &str) -> Result<Table, Vec<String>> {
    let table = DeTable::parse(text).unwrap();
    let mut faults = Vec::new();
    let read = parse::table(name, table.get_ref(), 0..text.len(), &mut |span, key, message| {
        let at = text[span.clone()].lines().next().unwrap_or_default();
        let at = if span == (0..text.len()) { "" } else { at };
        faults.push(format!("{at} | {key} | {message}"));
    });
    assert_eq!(read.is_none(), !faults.is_empty(), "a table or its faults, never both");
    read.ok_or(faults)
}

fn doors() -> Dialects {
    Dialects::new(vec![parse("acme.doors", EVERY_KEY).unwrap()])
}

fn position() -> Position {
    Position { source: "-".into(), topic: None, partition: None, offset: None, index: 0 }
}

fn visit() -> Value {
    json!({
        "kind": "Door", "what": "O", "at": "2026-01-22T18:15:02Z", "changed": "2026-01-22T18:16:00Z", "site": "BER-1",
        "who": {"badge": 7, "sort": "staff", "login": "alice", "mail": "alice@example.com", "name": "Alice"},
        "ip": "192.0.2.7", "via": "app/gate/phone", "ok": "yes", "grave": 3, "state": "Open", "door": "d-1", "visit": "v-1",
        "visitors": "[{\"mail\":\"bob@example.com\",\"rights\":[{\"what\":\"floor\",\"was\":\"1\",\"is\":\"[1,2]\"}]},{\"name\":\"x\"}]",
        "rooms": ["r-1", "r-1", "r-2"], "lock_before": "on", "lock": "off", "floor": [1, 2],
        "more": {"a": 1, "b": {"c": 2}}, "pairs": [{"name": "k", "value": "v"}], "tactics": "Initial Access, Impact", "test": true,
    })
}

/// The view of `record`, positions and raw left out.
fn view(record: &Value) -> Value {
    let mut view = serde_json::to_value(doors().read(&record.to_string(), position(), None)).unwrap();
    view.as_object_mut().unwrap().remove("position");
    view
}

#[test]
fn every_key_fills_its_field() {
    let expected = json!({
        "dialect": "acme.doors", "id": "7", "revision": "2026-01-22T18:16:00.000Z", "time": "2026-01-22T18:15:02.000Z",
        "operation": "Door opened", "result": "success", "state": "Open", "severity": "low", "category": "Door",
        "service": "Doors", "tenant": "ber-1", "subscription": null, "resource": "d-1", "correlation_id": "v-1",
        "actor": {"type": "user", "id": "7", "upn": "alice@example.com", "name": "Alice", "ip": "192.0.2.7", "app": "phone"},
        "targets": [
            {"type": "user", "id": null, "upn": "bob@example.com", "name": null},
            {"type": "resource", "id": "r-1", "upn": null, "name": null},
            {"type": "resource", "id": "r-2", "upn": null, "name": null},
        ],
        "changes": [
            {"target": 0, "name": "floor", "old": "1", "new": [1, 2]},
            {"target": 0, "name": "lock", "old": "on", "new": "off"},
        ],
        "flags": ["sample", "incident"], "problems": [], "dead_letter": null, "activity": "O",
        "details": {"a": "1", "k": "v", "floor": "1, 2"}, "tactics": ["Initial Access", "Impact"], "by_self": false,
    });
    assert_eq!(view(&visit()), expected);
    assert_eq!(view(&json!({"event": visit()})), expected, "wrapped");
    assert_eq!(view(&json!({"wrapped": {"body": visit().to_string()}})), expected, "wrapped as text");
    let mut keys: Vec<&str> = parse::KEYS.to_vec();
    keys.retain(|key| !EVERY_KEY.contains(&format!("\n{key} = ")));
    assert!(keys.is_empty(), "not in the table of this test: {keys:?}");
}

#[test]
fn a_record_is_recognised_by_all_checks_of_any_alternative() {
    let dialect = |record: Value| doors().read(&record.to_string(), position(), None).dialect.as_str();
    for (what, record, expected) in [
        ("all checks hold, in any case", json!({"KIND": "DOOR", "who": {"badge": 1}}), "acme.doors"),
        ("one does not", json!({"kind": "door", "who": {}}), "other"),
        ("an empty text is not there", json!({"kind": "door", "who": {"badge": ""}}), "other"),
        ("the other alternative", json!({"kind": "lift-2"}), "acme.doors"),
        ("whose last check wants nothing there", json!({"kind": "lift-2", "old": 1}), "other"),
        ("flat names", json!({"kind": "door", "who.badge": 1}), "acme.doors"),
        (
            "a dialect of our own is never a table's",
            json!({"kind": "lift-2", "category": "SignInLogs"}),
            "entra.signin",
        ),
    ] {
        assert_eq!(dialect(record), expected, "{what}");
    }
}

/// As in rules: `door.` is no beginning of `doorbell`.
#[test]
fn of_a_part_of_a_text_the_ends_count() {
    let text = "detect = { kind = { starts_with = [\"door.\", \"gate \"] }, note = { contains = \" lock \" } }\noperation = \"kind\"";
    let ours = Dialects::new(vec![parse("acme.doors", text).unwrap()]);
    for (kind, note, expected) in [
        ("Door.open", "a lock", true),
        ("doorbell", "a lock", false),
        ("door.open", "a locker", false),
        ("gate 7", "lock", true),
        ("gateway", "lock", false),
    ] {
        let record = json!({"kind": kind, "note": note}).to_string();
        assert_eq!(ours.read(&record, position(), None).dialect.as_str() == "acme.doors", expected, "{kind}, {note}");
    }
}

#[test]
fn a_table_of_the_configuration_takes_the_place_of_a_shipped_one() {
    let text = "detect = { eventType = true }\noperation = \"eventType\"";
    let dialects = Dialects::new(vec![parse("okta.system", text).unwrap()]);
    assert_eq!(dialects.iter().filter(|dialect| dialect.as_str() == "okta.system").count(), 1);
    assert_eq!(dialects.read(r#"{"eventType":"x"}"#, position(), None).dialect.as_str(), "okta.system");
}

#[test]
fn things_are_told_again_by_their_revision_and_events_by_their_time() {
    let identity = |table: &str, record: &Value| {
        let dialects = Dialects::new(vec![parse("t.x", table).unwrap()]);
        dialects.read(&record.to_string(), position(), None).identity()
    };
    let table = |identity: &str| {
        format!(
            "detect = {{ t = true }}\nid = \"i\"\ntime = \"t\"\nrevision = \"r\"\noperation = \"o\"\nidentity = \"{identity}\""
        )
    };
    let at = |t: &str, r: &str| json!({"i": "1", "t": t, "r": r, "o": "x"});
    let (early, late) = (at("2026-01-01T00:00:00Z", "a"), at("2026-01-02T00:00:00Z", "a"));
    assert_eq!(identity(&table("state"), &early), identity(&table("state"), &late));
    assert_ne!(identity(&table("event"), &early), identity(&table("event"), &late));
    assert_ne!(identity(&table("state"), &early), identity(&table("state"), &at("2026-01-01T00:00:00Z", "b")));
}

#[test]
fn a_revision_is_news_of_its_moment_and_not_of_a_version() {
    let table =
        "detect = { t = true }\nid = \"i\"\ntime = \"t\"\nrevision = \"r\"\noperation = \"o\"\nidentity = \"state\"";
    let dialects = Dialects::new(vec![parse("t.x", table).unwrap()]);
    let (began, changed) = ("2026-01-01T00:00:00.000Z", "2026-01-09T00:00:00.000Z");
    for (revision, expected) in [(changed, changed), ("4000000001", began), ("open", began)] {
        let record = json!({"i": "1", "t": began, "r": revision, "o": "x"}).to_string();
        let news = dialects.read(&record, position(), None).news();
        assert_eq!(news.map(|at| at.to_string()).as_deref(), Some(expected), "{revision}");
    }
}

#[test]
fn no_shipped_table_has_a_fault_and_each_has_a_fixture() {
    let mut seen = BTreeSet::new();
    for file in std::fs::read_dir("tests/fixtures/records").unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for item in crate::record::envelope::decode(Some(&bytes)) {
            let crate::record::envelope::Item::Record(raw) = item else { continue };
            seen.insert(raw.read(&Dialects::shipped(), position(), None).dialect.as_str());
        }
    }
    for (name, text) in SHIPPED {
        assert_eq!(parse(name, text).map(drop), Ok(()), "{name}");
        assert!(seen.contains(name), "{name} has no fixture");
    }
    assert_eq!(Dialects::shipped().iter().count(), SHIPPED.len());
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_remedy() {
    let good = "detect = { a = true }\noperation = \"a\"\n";
    let faults = |name: &str, text: &str| parse(name, text).unwrap_err().join("\n");
    let mut all = vec![
        ("no table at all", faults("t.x", "")),
        ("a name of ours", faults("entra.audit", good)),
        ("no name", faults("T x", good)),
    ];
    for (what, more) in [
        ("a slip", "severty = \"a\""),
        ("no path", "id = \"a..b\""),
        ("no text", "id = 7"),
        ("nothing", "id = []"),
        ("an identity of another sort", "identity = \"thing\""),
        ("a source that names nothing", "id = { map = { a = \"b\" } }"),
        ("a severity that is none", "severity = { path = \"s\", map = { 1 = \"severe\" } }"),
        ("a kind that is none", "targets = { type = \"person\", id = \"a\" }"),
        ("a key of another part", "actor = { id = \"a\", old = \"b\" }"),
        ("a part that says nothing", "targets = { list = \"a\" }"),
        ("a part that is no table", "changes = \"a\""),
        ("a flag that is none", "flags = { test = true }"),
        ("a check that is none", "flags = { sample = { a = 7 } }"),
        ("a word that is none", "flags = { sample = { a = { matches = \"b\" } } }"),
        ("no checks", "flags = { sample = {} }"),
        ("details that are no table", "details = \"a\""),
    ] {
        all.push((what, faults("t.x", &format!("{good}{more}"))));
    }
    let all: Vec<_> = all.into_iter().map(|(what, faults)| format!("# {what}\n{faults}")).collect();
    insta::assert_snapshot!(all.join("\n"));
}

proptest! {
    /// The index asks the head, the rules see the record: they must name it alike, whatever stands in it.
    #[test]
    fn the_head_names_a_record_as_its_tree_does(
        kind in prop::sample::select(vec!["door", "lift-2", "x", ""]),
        what in prop::sample::select(vec!["\"O\"", "\"P\"", "null", "[\"O\"]", "{\"value\":1}", "7", "\"a\\ud800\"", "1e999"]),
        who in prop::sample::select(vec!["{\"badge\":1}", "\"{\\\"badge\\\":1}\"", "[{\"badge\":1}]", "{}", "null", "{\"BADGE\":\"<null>\"}"]),
        wrapped in 0..4,
    ) {
        let inner = format!("{{\"kind\":\"{kind}\",\"what\":{what},\"Who\":{who},\"other\":{{\"a\":[1,2]}}}}");
        let raw = match wrapped {
            0 => inner,
            1 => format!("{{\"event\":{inner}}}"),
            2 => format!("{{\"wrapped\":{{\"body\":{inner},\"n\":1}}}}"),
            _ => format!("{{\"x\":{inner},\"event\":{}}}", Value::from(inner.clone())),
        };
        let glance = head::glance(&doors(), head::first(&raw), &raw);
        prop_assert!(matches!(glance, head::Glance::Head(_)), "a table tells its names: {glance:?}");
        prop_assert!(crate::record::tests::agrees(&glance, &doors().read(&raw, position(), None)), "{glance:?}");
    }
}

#[test]
fn numbers_for_who_did_it_are_read_as_their_producers_mean_them() {
    let intune = |actor: Value| json!({"category": "AuditLogs", "operationName": "Wipe ManagedDevice", "properties": {"AuditEventId": "1", "ActivityType": 3, "Actor": actor}});
    let o365 = |kind: Value| json!({"Workload": "SharePoint", "Operation": "FileAccessed", "RecordType": 6, "CreationTime": "2026-01-22T18:15:02", "Id": "1", "UserId": "a@example.com", "UserType": kind});
    for (what, record, expected) in [
        ("Intune: a person by any number", intune(json!({"ActorType": 99, "UPN": "a@example.com"})), "user"),
        ("Intune: an application", intune(json!({"ActorType": 5, "UPN": null, "ApplicationName": "script"})), "app"),
        (
            "Intune: an application by its word",
            intune(json!({"ActorType": "Application", "ApplicationName": "script"})),
            "app",
        ),
        ("Intune: nothing but an application's name", intune(json!({"ApplicationName": "script"})), "app"),
        ("Intune: itself", intune(json!({"ActorType": 3, "Name": "Intune"})), "system"),
        ("Microsoft 365: somebody without a type, as SharePoint has them", o365(json!(-1)), "user"),
        ("Microsoft 365: no word of it", o365(Value::Null), "user"),
        ("Microsoft 365: a regular user", o365(json!(0)), "user"),
        ("Microsoft 365: an administrator", o365(json!(2)), "user"),
        ("Microsoft 365: an operator of Microsoft's", o365(json!(3)), "system"),
        ("Microsoft 365: an application", o365(json!(5)), "app"),
        ("Microsoft 365: a policy", o365(json!(8)), "system"),
        ("Microsoft 365: a partner's technician", o365(json!(9)), "user"),
        ("Microsoft 365: a guest", o365(json!("Guest")), "user"),
    ] {
        let read = Record::read(&record.to_string(), position(), None);
        assert_eq!(read.actor.map(|actor| actor.kind.as_str()), Some(expected), "{what}");
    }
}
