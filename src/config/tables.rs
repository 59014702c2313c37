//! Owns the building of what rules refer to by name: `[list]`, `[window.*]`, `[lookup.*]`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::build::{below, integer};
use super::reading::Reading;
use super::values::{self, Addressee};
use crate::lookup::{self, Lookup, Lookups};
use crate::nearest::nearest;
use crate::rules::window::{Days, Minute, Zone};
use crate::rules::{ListEntry, Subject, Window, fold_keys};

/// The dotted names of the lookups and windows that are written and not there, for a fault.
pub(super) fn broken(reading: &Reading<'_>, lookups: &Lookups, windows: &Windows) -> BTreeSet<String> {
    let of_lookups = below(reading, "lookup").into_iter().filter(|name| lookups.get(name).is_none());
    let of_windows = below(reading, "window").into_iter().filter(|name| !windows.contains_key(name.as_str()));
    let of_lookups = of_lookups.map(|name| format!("lookup.{name}"));
    of_lookups.chain(of_windows.map(|name| format!("window.{name}"))).collect()
}

/// `[list]` by name.
pub(super) type Lists = BTreeMap<Arc<str>, Vec<ListEntry>>;

/// `[window.*]` by name.
pub(super) type Windows = BTreeMap<Arc<str>, Arc<Window>>;

/// Most entries of one list. `in_list` looks at each of them for every record; more than this belong into a lookup.
const MAX_LIST: usize = 10_000;

/// `[window.*]`. One with a fault is missing; what names it is not told of that again.
pub(super) fn windows(reading: &mut Reading<'_>) -> Windows {
    let mut windows = Windows::new();
    for name in below(reading, "window") {
        let at = |key: &str| format!("window.{name}.{key}");
        let days = reading.many(&at("days"), str::parse::<Days>);
        let days = days.map(|days| days.into_iter().fold(Days::default(), Days::and));
        let from = reading.one(&at("from"), str::parse::<Minute>);
        let to = reading.one(&at("to"), str::parse::<Minute>);
        let zone = reading.one(&at("tz"), str::parse::<Zone>);
        let (Some(days), Some(from), Some(to), Some(zone)) = (days, from, to, zone) else { continue };
        match Window::new(name.as_str().into(), days, from, to, zone) {
            Ok(window) => drop(windows.insert(name.into(), Arc::new(window))),
            Err(message) => reading.fault(&at("to"), message),
        }
    }
    windows
}

/// `[list]`. A list with a fault is there and empty, so that nothing dangles because of it.
pub(super) fn lists(reading: &mut Reading<'_>, windows: &Windows) -> Lists {
    let mut lists = Lists::new();
    for name in below(reading, "list") {
        let path = format!("list.{name}");
        let tables = reading.tables(&path);
        if tables.len() > MAX_LIST {
            reading.fault(&path, format!("has more than {MAX_LIST} entries: use a [lookup]"));
        }
        let mut entries = Vec::with_capacity(tables.len());
        for table in tables {
            let during = table.get("during").and_then(|name| window(reading, &path, name, windows));
            entries.extend(table.get("to").map(|text| ListEntry { text: text.as_str().into(), during }));
        }
        lists.insert(name.into(), entries);
    }
    lists
}

fn window(reading: &mut Reading<'_>, path: &str, name: &str, windows: &Windows) -> Option<Arc<Window>> {
    let found = windows.get(name).cloned();
    // One that is there with a fault has been told of.
    if found.is_none() && !below(reading, "window").iter().any(|known| known == name) {
        let near = nearest(name, windows.keys().map(|name| &**name));
        let remedy = near.map_or_else(|| "add [window.NAME]".to_owned(), |near| format!("did you mean `{near}`?"));
        reading.fault(path, format!("names the window `{name}`, which does not exist: {remedy}"));
    }
    found
}

/// The addresses of an entry of a fallback at `path`; a fault, and none, where its list is unknown or not for this.
pub(super) fn expand(reading: &mut Reading<'_>, path: &str, addressee: Addressee, lists: &Lists) -> Vec<Arc<str>> {
    let name = match addressee {
        Addressee::Address(address) => return vec![address],
        Addressee::List(name) => name,
    };
    let Some(entries) = lists.get(name.as_str()) else {
        let near = nearest(&name, lists.keys().map(|name| &**name));
        let remedy = near.map_or("add it to [list]".to_owned(), |near| format!("did you mean `list:{near}`?"));
        reading.fault(path, format!("names the list `{name}`, which does not exist: {remedy}"));
        return Vec::new();
    };
    if entries.iter().any(|entry| entry.during.is_some()) {
        let message =
            format!("names the list `{name}`, whose entries have hours: a fallback must reach somebody at any");
        reading.fault(path, message);
    }
    let mut found = Vec::with_capacity(entries.len());
    for (place, entry) in (1..).zip(entries) {
        match values::address(&entry.text) {
            Ok(address) => found.push(address),
            Err(_) => reading.fault(path, format!("names the list `{name}`, and its entry {place} is no address")),
        }
    }
    found
}

/// `[lookup.*]`. One with a fault is missing; what names it is not told of that again.
pub(super) fn lookups(reading: &mut Reading<'_>) -> Lookups {
    let names = below(reading, "lookup");
    Lookups::new(names.iter().filter_map(|name| lookup(reading, name)))
}

fn lookup(reading: &mut Reading<'_>, name: &str) -> Option<Lookup> {
    let at = |key: &str| format!("lookup.{name}.{key}");
    let key: Arc<str> = reading.text(&at("key"))?.into();
    let by = by(reading, name, &key);
    let repeats = reading.one(&at("repeats"), values::flag);
    let max_rows = reading.one(&at("max_rows"), integer)?;
    let place = match (reading.is_set(&at("csv")), reading.is_set(&at("rows"))) {
        (true, true) => {
            reading.fault(&at("rows"), "is set and so is `csv`: keep one");
            return None;
        }
        (false, false) => {
            reading.fault(&format!("lookup.{name}"), "has no rows: add `csv = \"FILE\"` or `rows = [{ … }]`");
            return None;
        }
        (true, false) => at("csv"),
        (false, true) => at("rows"),
    };
    let table = if place == at("csv") {
        let path = reading.file(&place)?;
        let read = lookup::read(&path, max_rows);
        read.map_err(|error| reading.fault(&place, format!("`{}`: {error:#}", path.display()))).ok()?
    } else {
        inline(reading, &place, max_rows)?
    };
    let settings = lookup::Settings { name: name.into(), key, by: by?.into(), repeats: repeats? };
    match Lookup::new(settings, table, fold_keys) {
        Ok(lookup) => Some(lookup),
        Err(wrong) => {
            let file = reading.path(&at("csv")).map(|path| format!("`{}`: ", path.display()));
            let what = if file.is_some() { "line" } else { "row" };
            let line = wrong.line.map(|line| format!("{what} {line}: ")).unwrap_or_default();
            reading.fault(&place, format!("{}{line}{}", file.unwrap_or_default(), wrong.message));
            None
        }
    }
}

/// The field whose values are looked up: `by`, else the field that the key's column is called after.
fn by(reading: &mut Reading<'_>, name: &str, key: &str) -> Option<String> {
    let at = format!("lookup.{name}.by");
    let written = reading.text(&at);
    let is_field =
        |text: &str| Subject::named(text).is_some_and(|subject| !matches!(subject, Subject::Changes | Subject::Now));
    match written {
        Some(by) if is_field(&by) => Some(by),
        Some(_) => {
            reading.fault(&at, "is no field of a record: write a short name, details.KEY, raw.PATH or element.PATH");
            None
        }
        None if reading.is_set(&at) => None,
        None if is_field(key) => Some(key.to_owned()),
        None => {
            let message = format!(
                "is missing: `{key}` is no field of a record; say which one's values stand in that column, e.g. by = \
                 \"target.upn\""
            );
            reading.fault(&at, message);
            None
        }
    }
}

/// Rows that stand in the configuration; a column that one of them lacks is empty there.
fn inline(reading: &mut Reading<'_>, path: &str, max_rows: usize) -> Option<lookup::Table> {
    let tables = reading.tables(path);
    if tables.is_empty() {
        return None; // a fault has been told
    }
    if tables.len() > max_rows {
        reading.fault(path, format!("has more than max_rows = {max_rows} rows: raise max_rows"));
        return None;
    }
    let names: BTreeSet<&String> = tables.iter().flat_map(BTreeMap::keys).collect();
    let columns = names.iter().map(|name| name.as_str().into()).collect();
    let cells = |table: &BTreeMap<String, String>| {
        let cell = |name: &&String| table.get(*name).map_or("", |cell| cell.trim()).into();
        names.iter().map(cell).collect()
    };
    let rows = (1..).zip(tables.iter().map(cells)).collect();
    Some(lookup::Table { columns, rows })
}
