//! Owns what Defender for Cloud's continuous export writes: one bare object to a message, told apart by its `type`.
//! Reference: learn.microsoft.com/azure/defender-for-cloud/continuous-export

pub(super) mod alert;
pub(super) mod posture;

use super::field::{self, Fields};
use super::{Problem, ProblemCode, Record, Severity};

/// The producer's word for the severity; `informational` has several spellings.
fn read_severity(record: &mut Record, word: Option<String>) {
    let Some(word) = word.map(|word| word.to_lowercase()) else { return };
    let known = match word.as_str() {
        "info" | "information" => "informational",
        "moderate" => "medium",
        other => other,
    };
    record.severity = Severity::ALL.iter().copied().find(|severity| severity.as_str() == known);
    if record.severity.is_none() && !["unknown", "unspecified", "none", "unknownfuturevalue"].contains(&known) {
        record.problems.push(Problem::at(ProblemCode::SeverityUnknown, "severity", &word));
    }
}

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
