//! Owns `defender.assessment` (a recommendation for a resource), `defender.finding` (one of its sub-assessments) and
//! `defender.compliance` (a control of a standard). All of them say how a thing stands, and once a week everything is
//! said again: such a record has the flag `snapshot`.

use super::{add_detail, add_details, after};
use crate::record::azure_activity::subscription;
use crate::record::field::{self, Fields, opened};
use crate::record::{Dialect, EntityKind, Flag, Moment, Record, Target, time};

/// What stands about the event beside the thing.
const ENRICHMENTS: [&str; 3] =
    ["securityEventDataEnrichment", "assessmentEventDataEnrichment", "subAssessmentEventDataEnrichment"];

/// The dialect of a resource type; `None` for what is neither alert, assessment, finding nor control.
pub(in crate::record) fn of_type(kind: &str) -> Option<Dialect> {
    let kind = kind.to_ascii_lowercase();
    match kind.strip_prefix("microsoft.security/")? {
        "alerts" | "locations/alerts" => Some(Dialect::DefenderAlert),
        "assessments" => Some(Dialect::DefenderAssessment),
        "assessments/subassessments" => Some(Dialect::DefenderFinding),
        rest if rest.starts_with("regulatorycompliancestandards") => Some(Dialect::DefenderCompliance),
        _ => None,
    }
}

/// (operation, activity): what is assessed for people, and its key for rules.
pub(in crate::record) fn names(outer: Fields<'_>, properties: Fields<'_>) -> (Option<String>, Option<String>) {
    let title = properties
        .text("displayName")
        .or_else(|| properties.object("metadata").text("displayName"))
        .or_else(|| properties.text("description"));
    (title, outer.text("name"))
}

/// Fills the view of an assessment or a finding; returns the producer's id and time.
pub(in crate::record) fn assessment<'a>(
    record: &mut Record,
    outer: Fields<'a>,
    properties: Fields<'a>,
) -> (Option<String>, Moment) {
    (record.operation, record.activity) = names(outer, properties);
    let status = properties.object("status");
    let metadata = properties.object("metadata");
    record.state = status.text("code");
    // Older versions of the interface say how it stands and not since when.
    record.revision = time::revision([status.first_text(&["statusChangeDate", "code"])]);
    record.read_severity(status.text("severity").or_else(|| metadata.text("severity")));
    let id = outer.text("id");
    record.resource = properties
        .object("resourceDetails")
        .text("id")
        .or_else(|| id.as_deref().and_then(|id| Some(parent(id)?.to_owned())));
    record.tenant = outer.text("tenantId").map(|tenant| tenant.to_ascii_lowercase());
    record.category =
        properties.text("category").filter(|category| category != "N/A").or_else(|| first(metadata, "categories"));
    common(record, outer);
    for (name, value) in [
        ("reason", status.text("description").or_else(|| status.text("cause"))),
        ("cause", status.text("cause")),
        ("description", metadata.text("description").or_else(|| properties.text("description"))),
        ("remediation", metadata.text("remediationDescription").or_else(|| properties.text("remediation"))),
        ("impact", properties.text("impact")),
        ("link", properties.object("links").text("azurePortal").map(with_scheme)),
    ] {
        add_detail(record, name, value);
    }
    let additional = properties.object("additionalData");
    add_details(record, additional);
    add_details(record, additional.object("data"));
    record.targets.extend(record.resource.clone().map(resource));
    record.targets.extend(users(additional));
    let moment = Moment::first([status.get("statusChangeDate"), properties.get("timeGenerated"), outer.get("time")]);
    (id, moment)
}

/// Fills the view of a control's result; returns the producer's id and time (it has none of its own).
pub(in crate::record) fn compliance<'a>(
    record: &mut Record,
    outer: Fields<'a>,
    properties: Fields<'a>,
) -> (Option<String>, Moment) {
    (record.operation, record.activity) = names(outer, properties);
    record.state = properties.text("state");
    record.revision = standing(record.state.as_deref(), outer, properties);
    record.tenant = outer.text("tenantId").map(|tenant| tenant.to_ascii_lowercase());
    let id = outer.text("id");
    record.subscription = id.as_deref().and_then(subscription);
    common(record, outer);
    // Standard and control are named by the id alone.
    for (name, segment) in [("standard", "regulatoryComplianceStandards"), ("control", "regulatoryComplianceControls")]
    {
        add_detail(record, name, id.as_deref().and_then(|id| after(id, segment)).map(str::to_owned));
    }
    for name in ["passedResources", "failedResources", "skippedResources", "assessmentType"] {
        add_detail(record, name, properties.text(name));
    }
    add_detail(record, "link", properties.text("assessmentDetailsLink").map(with_scheme));
    (id, Moment::first([properties.get("statusChangeDate"), properties.get("timeGenerated"), outer.get("time")]))
}

/// Since when a control stands as it does is not said. Failed, passed and failed again are to be three revisions, and two
/// deliveries of one record one: the record's own time where there is one, and else the numbers of resources, tell.
fn standing(state: Option<&str>, outer: Fields<'_>, properties: Fields<'_>) -> String {
    let since = properties.first_text(&["statusChangeDate", "timeGenerated"]).or_else(|| outer.text("time"));
    let numbers = || ["failedResources", "passedResources", "skippedResources"].map(|name| properties.text(name));
    let when = since.unwrap_or_else(|| numbers().into_iter().flatten().collect::<Vec<_>>().join("/"));
    time::revision([state.map(str::to_owned), Some(when).filter(|when| !when.is_empty())])
}

/// What is written about the event beside the thing: which change it was, and whether it is one.
fn common(record: &mut Record, outer: Fields<'_>) {
    if record.subscription.is_none() {
        record.subscription = record.resource.as_deref().and_then(subscription);
    }
    for name in ENRICHMENTS {
        add_detail(record, "action", outer.object(name).text("action"));
    }
    record.flags.extend(is_snapshot(outer).then_some(Flag::Snapshot));
}

/// Whether it is part of the weekly dump of everything.
pub(in crate::record) fn is_snapshot(outer: Fields<'_>) -> bool {
    let says = |name: &&str| outer.object(name).text("isSnapshot");
    ENRICHMENTS.iter().filter_map(says).any(|text| text.eq_ignore_ascii_case("true"))
}

fn resource(id: String) -> Target {
    let name = id.rsplit('/').next().map(str::to_owned);
    Target { kind: EntityKind::Resource, id: Some(id), upn: None, name }
}

/// Some assessments list the people they concern: `usersWithNoMfaObjectIdList` and the like.
fn users(additional: Fields<'_>) -> Vec<Target> {
    let lists = additional.iter().filter(|(name, _)| {
        let name = name.to_ascii_lowercase();
        name.starts_with("users") && name.ends_with("objectidlist")
    });
    let user = |id: String| Target { kind: EntityKind::User, id: Some(id), upn: None, name: None };
    lists
        .flat_map(|(_, list)| match &*opened(list) {
            serde_json::Value::Array(ids) => ids.iter().filter_map(field::text).map(user).collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect()
}

/// What an extension resource's id extends: what stands before its `/providers/Microsoft.Security/…`.
fn parent(id: &str) -> Option<&str> {
    let at = id.to_ascii_lowercase().find("/providers/microsoft.security/")?;
    id.get(..at).filter(|parent| !parent.is_empty())
}

fn first(fields: Fields<'_>, name: &str) -> Option<String> {
    fields.get(name)?.as_array()?.first().and_then(field::text)
}

/// The portal's links come without a scheme.
fn with_scheme(link: String) -> String {
    if link.contains("://") { link } else { format!("https://{link}") }
}
