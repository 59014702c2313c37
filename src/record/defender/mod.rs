//! Owns what Defender for Cloud's continuous export writes: one bare object to a message, told apart by its `type`.
//! Reference: learn.microsoft.com/azure/defender-for-cloud/continuous-export

pub(super) mod alert;
pub(super) mod posture;

use super::Record;
use super::field::{self, Fields};

/// Every text of an object as a detail, under the producer's own name; what is there already stays.
fn add_details(record: &mut Record, fields: Fields<'_>) {
    for (name, value) in fields.iter() {
        if let Some(text) = field::text(value) {
            record.details.entry(name.to_owned()).or_insert(text);
        }
    }
}

/// One detail, if there is a value.
fn add_detail(record: &mut Record, name: &str, value: Option<String>) {
    if let Some(value) = value {
        record.details.entry(name.to_owned()).or_insert(value);
    }
}

/// The segment of a path that follows `name`.
fn after<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let mut segments = path.split('/');
    segments.find(|segment| segment.eq_ignore_ascii_case(name))?;
    segments.next().filter(|segment| !segment.is_empty())
}
