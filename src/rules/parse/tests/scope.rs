//! What the rules of the tests may refer to.

use super::super::*;
use crate::lookup::{self, Lookup};
use crate::rules::{Group, Throttle, fold_keys};

pub(super) const BRAKE: Throttle = Throttle { max: 100, per: Duration::from_mins(10) };

pub(super) fn always(text: &str) -> ListEntry {
    ListEntry { text: text.into(), during: None }
}

/// From 06:00 to 14:00 in Berlin; the table's record is of 18:15 UTC.
fn early() -> Arc<Window> {
    let days = "mon-sun".parse().unwrap();
    let (from, to) = ("06:00".parse().unwrap(), "14:00".parse().unwrap());
    Arc::new(Window::new("early".into(), days, from, to, "Europe/Berlin".parse().unwrap()).unwrap())
}

/// Owners of subscriptions, by the short name; tags of something in an element.
pub(crate) fn lookups() -> Lookups {
    let made = |name: &str, key: &str, by: &str, columns: &[&str], rows: &[&[&str]]| {
        let settings = lookup::Settings { name: name.into(), key: key.into(), by: by.into(), repeats: true };
        let cells = |row: &&[&str]| row.iter().map(|cell| (*cell).into()).collect();
        let rows = (1..).zip(rows.iter().map(cells)).collect();
        let table = lookup::Table { columns: columns.iter().map(|name| (*name).into()).collect(), rows };
        Lookup::new(settings, table, fold_keys).unwrap()
    };
    let owners: &[&[&str]] = &[&["SUB-1", "ann@example.com; bob@example.com", "gold"], &["sub-2", "", "iron"]];
    let kinds: &[&[&str]] = &[&["User", "person"], &["group", "thing"]];
    Lookups::new([
        made("owners", "subscription", "subscription", &["subscription", "mail", "tier"], owners),
        made("kinds", "type", "element.type", &["type", "sort"], kinds),
    ])
}

pub(super) fn scope() -> Scope {
    let group = Group { policy: "personal".into(), by: vec!["correlation_id".into()], wait: Duration::from_secs(20) };
    let early = early();
    let during = |text: &str, window: Arc<Window>| ListEntry { text: text.into(), during: Some(window) };
    let long = (0..=MAX_LIST).map(|n| always(&format!("u{n}@example.com"))).collect();
    Scope {
        lists: BTreeMap::from([
            ("soc".into(), vec![always("soc@example.com")]),
            ("vip".into(), vec![always("alice@example.com"), always("no address")]),
            ("shift".into(), vec![during("gil@example.com", early)]),
            ("long".into(), long),
            ("nets".into(), vec![always("192.0.2.0/24"), always("2001:db8::/32")]),
            ("lan".into(), vec![always("10.0.0.0/8")]),
            ("words".into(), vec![always("Reset"), always("@EXAMPLE.com"), always("by \u{201c}?admin")]),
            ("dotted".into(), vec![always("10.")]),
            ("hosts".into(), vec![always("198.51.100.9"), always("host-a")]),
            ("properties".into(), vec![always("Password*")]),
        ]),
        lookups: lookups(),
        windows: BTreeMap::from([("early".into(), self::early())]),
        broken: BTreeSet::new(),
        policies: BTreeMap::from([
            ("personal".into(), Policy { group: Some(group), throttle: None }),
            ("plain".into(), Policy::default()),
            ("braked".into(), Policy { group: None, throttle: Some(BRAKE) }),
        ]),
        also_called: None,
        channels: vec!["email".into(), "second".into(), "ops-hook".into()],
        rooms: vec!["ops-hook".into()],
        dialects: Vec::new(),
        templates: Some(vec!["password-changed".into(), "password-reset".into(), "pager".into()]),
        templates_for_rooms: vec!["pager".into()],
    }
}
