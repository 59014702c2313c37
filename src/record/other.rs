//! Owns `other`: every record whose dialect has no reader of its own. Identity, time, tenant and a few flags are read,
//! so that it can be counted, told once, and matched by its raw fields.

use super::defender::posture;
use super::entra;
use super::field::Fields;
use super::{Flag, Moment, Problem, ProblemCode, Record};

/// Fills the view; returns the producer's id and time.
pub(super) fn read<'a>(record: &mut Record, outer: Fields<'a>, inner: Fields<'a>) -> (Option<String>, Moment) {
    record.category = inner.text("category").or_else(|| outer.first_text(&["category", "CategoryValue"]));
    record.service = outer.first_text(&["ProductName", "ProviderName"]);
    record.correlation_id = inner.text("correlationId").or_else(|| outer.text("correlationId"));
    record.tenant = entra::tenant(outer, inner);
    record.flags.extend(posture::is_snapshot(outer).then_some(Flag::Snapshot));
    if !is_known(outer) {
        record.problems.push(Problem::new(ProblemCode::DialectUnknown));
    }
    (id(outer, inner), time(outer, inner))
}

fn id(outer: Fields<'_>, inner: Fields<'_>) -> Option<String> {
    inner.first_text(&["id", "eventDataId", "AlertId"]).or_else(|| outer.first_text(&["EventDataId", "id"]))
}

fn time<'a>(outer: Fields<'a>, inner: Fields<'a>) -> Moment {
    let inside = ["activityDateTime", "createdDateTime", "riskLastUpdatedDateTime"].map(|name| inner.get(name));
    let names = [
        "time",
        "StartTimeUtc",
        "StartTime",
        "TimeGenerated",
        "CreatedDateTime",
        "eventTimestamp",
        "@timestamp",
        "EventTimeString",
    ];
    Moment::first(inside.into_iter().chain(names.map(|name| outer.get(name))))
}

/// Whether the fields are those of a producer we know of, though we do not read it yet: an outer record as every
/// diagnostic setting of Azure writes it, a row of Log Analytics, or an alert.
fn is_known(outer: Fields<'_>) -> bool {
    let security = outer.text("type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("microsoft.security/"));
    security
        || [
            &["category", "operationName"][..],
            &["category", "resourceId"],
            &["TimeGenerated", "Type"],
            &["OperationNameValue"],
            &["eventTimestamp", "operationName"],
        ]
        .iter()
        .any(|names| names.iter().all(|name| outer.get(name).is_some()))
}
