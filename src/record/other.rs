//! Owns `other`: every record whose dialect has no reader of its own. Identity, time, tenant and a few flags are read,
//! so that it can be counted, told once, and matched by its raw fields.

use serde_json::Value;

use super::field::{self, Fields};
use super::{Flag, Moment, Problem, ProblemCode, Record};

/// Fills the view; returns the producer's id and time.
pub(super) fn read<'a>(record: &mut Record, outer: Fields<'a>, inner: Fields<'a>) -> (Option<String>, Moment) {
    record.category = inner.text("category").or_else(|| outer.first_text(&["category", "CategoryValue"]));
    record.service = outer.first_text(&["ProductName", "ProviderName"]);
    record.correlation_id = inner.text("correlationId").or_else(|| outer.text("correlationId"));
    record.tenant = tenant(outer, inner);
    record.flags = flags(outer);
    if !is_known(outer, inner) {
        record.problems.push(Problem::new(ProblemCode::DialectUnknown));
    }
    (id(outer, inner), time(outer, inner))
}

fn id(outer: Fields<'_>, inner: Fields<'_>) -> Option<String> {
    let own = outer.first_text(&["SystemAlertId", "EventDataId", "kibana.alert.uuid"]);
    own.or_else(|| inner.first_text(&["id", "eventDataId", "AlertId"])).or_else(|| outer.text("id"))
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

fn tenant(outer: Fields<'_>, inner: Fields<'_>) -> Option<String> {
    let written = outer.first_text(&["AADTenantId", "tenantId"]).or_else(|| inner.text("tenantId"));
    written
        .or_else(|| {
            let resource = outer.text("resourceId")?.to_ascii_lowercase();
            resource.strip_prefix("/tenants/")?.split('/').next().map(str::to_owned)
        })
        .map(|tenant| tenant.to_ascii_lowercase())
}

fn flags(outer: Fields<'_>) -> Vec<Flag> {
    let yes = |value: Option<&Value>| value.and_then(field::text).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let snapshot = ["assessmentEventDataEnrichment", "securityEventDataEnrichment", "subAssessmentEventDataEnrichment"]
        .iter()
        .any(|name| yes(outer.object(name).get("isSnapshot")));
    let sample = outer.text("AlertDisplayName").is_some_and(|title| title.starts_with("[SAMPLE ALERT]"));
    let flags = [(sample, Flag::Sample), (snapshot, Flag::Snapshot), (yes(outer.get("IsIncident")), Flag::Incident)];
    flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)).collect()
}

/// Whether the fields are those of a producer we know of, though we do not read it yet: an outer record as every
/// diagnostic setting of Azure writes it, a row of Log Analytics, or an alert.
fn is_known(outer: Fields<'_>, inner: Fields<'_>) -> bool {
    let has = |fields: Fields<'_>, names: &[&str]| names.iter().all(|name| fields.get(name).is_some());
    let security = outer.text("type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("microsoft.security/"));
    security
        || [
            &["category", "operationName"][..],
            &["category", "resourceId"],
            &["SystemAlertId"],
            &["TimeGenerated", "Type"],
        ]
        .iter()
        .chain(&[&["OperationNameValue"][..], &["kibana.alert.uuid"], &["eventTimestamp", "operationName"]])
        .any(|names| has(outer, names))
        || has(inner, &["AlertId"])
}
