//! Owns the view of a record that a mapping table describes.

use serde_json::Value;

use super::{Block, EVERYTHING, Source, Table, Texts, elements};
use crate::record::azure_activity;
use crate::record::field::{self, Fields, decoded};
use crate::record::{Actor, Change, EntityKind, Flag, Moment, Problem, ProblemCode, Record, Target, time};

/// Fills the view; returns the producer's id and time.
pub(in crate::record) fn read(record: &mut Record, table: &Table, root: &Value) -> (Option<String>, Moment) {
    let text = |name: &str| table.text(name, root);
    record.dialect = table.dialect;
    (record.operation, record.activity) = table.names(root);
    record.revision = time::revision([text("revision")]);
    read_result(record, table, root);
    record.read_severity(text("severity"));
    record.state = text("state");
    record.category = text("category");
    record.service = text("service");
    record.tenant = text("tenant").map(|tenant| tenant.to_ascii_lowercase());
    record.resource = text("resource");
    record.subscription =
        text("subscription").or_else(|| record.resource.as_deref().and_then(azure_activity::subscription));
    record.correlation_id = text("correlation_id");
    record.actor = table.actor.iter().find_map(|block| actor(block, root));
    for block in &table.targets {
        read_targets(record, block, root);
    }
    for block in &table.changes {
        read_changes(record, 0, block, root);
    }
    for (name, source) in &table.details {
        read_details(record, name, source, root);
    }
    record.tactics = tactics(&table.tactics, root);
    record.flags = table.flags.iter().filter(|(_, when)| when.hold(root)).map(|(flag, _)| *flag).collect::<Vec<Flag>>();
    let times: Vec<Value> =
        table.time.iter().flat_map(|path| path.values(root)).map(std::borrow::Cow::into_owned).collect();
    (text("id"), Moment::first(times.iter().map(Some)))
}

/// A word of the table's own is no problem, whatever it is.
fn read_result(record: &mut Record, table: &Table, root: &Value) {
    let Some(source) = table.texts.get("result") else { return };
    match source.text(root) {
        Some(word) if source.writes(&word) => record.result = Some(word),
        word => record.read_result(word),
    }
}

/// The text of a block's field.
fn of(texts: &Texts, name: &str, element: &Value) -> Option<String> {
    texts.get(name)?.text(element)
}

/// A principal name, not a login and not a word.
fn upn(texts: &Texts, element: &Value) -> Option<String> {
    let is_principal = |text: &str| text.contains('@') && !text.contains(char::is_whitespace);
    texts.get("upn")?.texts_that(element, is_principal).into_iter().next()
}

fn actor(block: &Block, root: &Value) -> Option<Actor> {
    let element = block.elements(root).into_iter().next()?;
    let text = |name: &str| of(&block.texts, name, &element);
    // Whoever it is, mail goes to people only: a word that we do not know is none.
    let kind = match text("type").map(|word| word.to_lowercase()).as_deref() {
        None | Some("user") => EntityKind::User,
        Some("app") => EntityKind::App,
        Some(_) => EntityKind::System,
    };
    let (id, upn, name) = (text("id"), upn(&block.texts, &element), text("name"));
    let is_there = id.is_some() || upn.is_some() || name.is_some();
    is_there.then(|| Actor { kind, id, upn, name, ip: text("ip"), app: text("app") })
}

fn read_targets(record: &mut Record, block: &Block, root: &Value) {
    for element in block.elements(root) {
        let text = |name: &str| of(&block.texts, name, &element);
        let kind =
            text("type").map_or(EntityKind::Other, |word| EntityKind::named(&word.to_lowercase()).unwrap_or_default());
        let target = Target { kind, id: text("id"), upn: upn(&block.texts, &element), name: text("name") };
        let changes = block.changes.iter().any(|changes| !changes.elements(&element).is_empty());
        let nobody = target.id.is_none() && target.upn.is_none() && target.name.is_none();
        if !changes && (nobody || record.targets.contains(&target)) {
            continue;
        }
        let place = record.targets.len();
        if kind == EntityKind::User && target.id.is_none() && target.upn.is_none() {
            record.problems.push(Problem::at(ProblemCode::TargetWithoutIdentity, format!("targets[{place}]"), ""));
        }
        record.targets.push(target);
        for changes in &block.changes {
            read_changes(record, place, changes, &element);
        }
    }
}

fn read_changes(record: &mut Record, target: usize, block: &Block, root: &Value) {
    for element in block.elements(root) {
        let name = of(&block.texts, "name", &element).unwrap_or_default();
        let [old, new] = ["old", "new"].map(|side| {
            let value = block.texts.get(side).and_then(|source| source.value(&element)).unwrap_or_default();
            decoded(&value).unwrap_or_else(|text| {
                let field = format!("changes[{}].{side}", record.changes.len());
                record.problems.push(Problem::at(
                    ProblemCode::NestedJsonInvalid,
                    field,
                    text.as_str().unwrap_or_default(),
                ));
                text
            })
        });
        if !(old.is_null() && new.is_null()) {
            record.changes.push(Change { target, name, old, new });
        }
    }
}

fn read_details(record: &mut Record, name: &str, source: &Source, root: &Value) {
    let details = &mut record.details;
    if name != EVERYTHING {
        let texts = source.texts(root);
        if !texts.is_empty() {
            details.entry(name.to_owned()).or_insert_with(|| texts.join(", "));
        }
        return;
    }
    for element in source.paths.iter().flat_map(|path| elements(path, root)) {
        let fields = Fields::of(&element);
        let pairs = match fields.pair() {
            Some(pair) => vec![pair],
            None => fields.iter().filter_map(|(name, value)| Some((name.to_owned(), field::text(value)?))).collect(),
        };
        for (name, text) in pairs {
            details.entry(name).or_insert(text);
        }
    }
}

/// Each once, whether they come as a list or as words between commas.
fn tactics(source: &Source, root: &Value) -> Vec<String> {
    let mut tactics: Vec<String> = Vec::new();
    for text in source.texts(root) {
        for tactic in text.split(',').map(str::trim).filter(|tactic| !field::is_placeholder(tactic)) {
            if !tactics.iter().any(|known| known == tactic) {
                tactics.push(tactic.to_owned());
            }
        }
    }
    tactics
}
