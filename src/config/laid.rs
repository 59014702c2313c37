//! Owns what is wrong with the layers once they are laid over each other: keys that none of them has, and keys and values
//! that the `type` of their table does not take, whichever layer says it.

use config::{Map, Value, ValueKind};

use super::schema::{self, Form, Need, Shape};

/// Every required key that is in no layer. `present` tells of a dotted key whether some layer has it, good or bad.
pub(super) fn missing(root: &Map<String, Value>, present: &dyn Fn(&str) -> bool, fault: &mut dyn FnMut(&str, String)) {
    for section in schema::SECTIONS {
        let Some(ValueKind::Table(table)) = root.get(section.name).map(|value| &value.kind) else {
            missing_in(section.name, section.keys, None, present, fault, section.form == Form::Single);
            continue;
        };
        match section.form {
            Form::Single => missing_in(section.name, section.keys, Some(table), present, fault, true),
            Form::Named | Form::Typed(_) => {
                for (name, value) in table {
                    let path = format!("{}.{name}", section.name);
                    let ValueKind::Table(table) = &value.kind else { continue };
                    if let Some(keys) = section.keys_of(kind_of(table)) {
                        missing_in(&path, keys, Some(table), present, fault, true);
                        strange_in(&path, keys, table, fault);
                    } else if !present(&format!("{path}.type")) {
                        fault(&format!("{path}.type"), "is missing: add `type = …`".into());
                    }
                }
            }
            Form::Free => {}
        }
    }
}

fn missing_in(
    path: &str,
    keys: &[schema::Key],
    table: Option<&Map<String, Value>>,
    present: &dyn Fn(&str) -> bool,
    fault: &mut dyn FnMut(&str, String),
    needed: bool,
) {
    for key in keys {
        let below = format!("{path}.{}", key.name);
        let value = table.and_then(|table| table.get(key.name));
        if needed && key.need == Need::Required && value.is_none() && !present(&below) {
            fault(&below, format!("is missing: add {}", example(key)));
        }
        if let (Shape::Table(keys), Some(ValueKind::Table(table))) = (key.shape, value.map(|value| &value.kind)) {
            missing_in(&below, keys, Some(table), present, fault, true);
        }
    }
}

/// The `type` of a table, if it has one.
pub(super) fn kind_of(table: &Map<String, Value>) -> Option<&str> {
    match table.get("type").map(|value| &value.kind) {
        Some(ValueKind::String(kind)) => Some(kind),
        _ => None,
    }
}

/// Every key of a table that another type has and its own has not, and every value that its own type does not allow.
fn strange_in(path: &str, keys: &[schema::Key], table: &Map<String, Value>, fault: &mut dyn FnMut(&str, String)) {
    for (name, value) in table {
        let below = format!("{path}.{name}");
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
            fault(&below, format!("is no key of this type; known here: {}", known.join(", ")));
            continue;
        };
        match (key.shape, &value.kind) {
            (Shape::Table(keys), ValueKind::Table(table)) => strange_in(&below, keys, table, fault),
            (Shape::One(kind), ValueKind::String(text)) => {
                if let Err(message) = kind.check(text) {
                    fault(&below, message);
                }
            }
            _ => {}
        }
    }
}

/// How a key is written, for one that is missing.
pub(super) fn example(key: &schema::Key) -> String {
    match key.shape {
        Shape::One(_) => format!("`{} = …`", key.name),
        Shape::Many(_) => format!("`{} = [\"…\"]`", key.name),
        Shape::Table(_) | Shape::Map => format!("`{} = {{ … }}`", key.name),
        Shape::Entries(_) | Shape::Rows => format!("`{} = [{{ … }}]`", key.name),
    }
}
