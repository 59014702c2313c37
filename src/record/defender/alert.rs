//! Owns `defender.alert`: alerts and incidents, in every form they come in. As Defender for Cloud exports them (one bare
//! object), as rows of Log Analytics (`SecurityAlert`), as records of the Activity log, as resources of Resource Manager,
//! as Graph's `alert` (v2 and legacy) and `incident`, and as Defender for Endpoint's own interface gives them.
//! Reference: learn.microsoft.com/azure/defender-for-cloud/alerts-schemas, learn.microsoft.com/graph/api/resources/security-alert,
//! learn.microsoft.com/rest/api/defenderforcloud-composite/alerts/get, learn.microsoft.com/defender-endpoint/api/alerts

mod entities;
mod inside;

use serde_json::Value;

use super::{add_detail, add_details, after};
use crate::record::azure_activity::subscription;
use crate::record::field::{self, Fields, opened};
use crate::record::{Flag, Moment, Record, time};

/// The table of Log Analytics.
pub(in crate::record) const TABLE: &str = "SecurityAlert";
/// What Graph calls its alerts, of two generations, and its incidents, in lower case; their other fields are left out by who
/// asks for some of them only.
const GRAPH: &[&str] =
    &["#microsoft.graph.security.alert", "#microsoft.graph.security.incident", "#microsoft.graph.alert"];

/// Longest text of a detail: remediation steps and descriptions can be pages.
const LONGEST_DETAIL: usize = 2_000;

/// Whether `@odata.type` is that of an alert or an incident.
pub(in crate::record) fn is_graph_type(kind: &str) -> bool {
    GRAPH.iter().any(|known| kind.trim().eq_ignore_ascii_case(known))
}

/// (operation, activity): the title for people, and the type's code for rules.
fn names(outer: Fields<'_>, properties: Fields<'_>) -> (Option<String>, Option<String>) {
    let title = outer
        .first_text(&["AlertDisplayName", "DisplayName", "AlertName", "title"])
        .or_else(|| outer.object("eventName").text("value"))
        .or_else(|| properties.first_text(&["alertDisplayName", "displayName", "eventName", "threatName"]));
    let code = outer.first_text(&["AlertType", "detectorId"]).or_else(|| properties.text("alertType"));
    let operation = || outer.first_text(&["OperationNameValue", "operationName"]);
    let activity = code.or_else(operation).or_else(|| outer.object("operationName").text("value"));
    (title.or_else(|| activity.clone()), activity)
}

/// Fills the view; returns the producer's id and time.
pub(in crate::record) fn read<'a>(
    record: &mut Record,
    outer: Fields<'a>,
    properties: Fields<'a>,
) -> (Option<String>, Moment) {
    // Of Resource Manager all fields of the alert stand in the properties, and around them where it is kept.
    let (kept, outer, properties) = if is_resource(outer, properties) {
        (outer, properties, Fields::default())
    } else {
        (Fields::default(), outer, properties)
    };
    (record.operation, record.activity) = names(outer, properties);
    record.activity = record.activity.take().filter(|activity| Some(activity) != record.operation.as_ref());
    let either = |names: &[&str]| outer.first_text(names).or_else(|| properties.first_text(names));
    record.service = either(&["ProductName", "ProviderName", "serviceSource", "detectionSource"]);
    record.category = outer.text("category").or_else(|| outer.object("category").text("value"));
    record.correlation_id = outer.first_text(&["correlationId", "CorrelationKey"]);
    record.state =
        outer.first_text(&["status", "resultType", "state"]).or_else(|| outer.object("status").text("value"));
    let end =
        outer.first_text(&["EndTimeUtc", "EndTime", "lastUpdateDateTime", "lastModifiedDateTime", "lastUpdateTime"]);
    record.revision = time::revision([record.state.clone(), end, acted(outer)]);
    record.read_severity(either(&["Severity", "AlertSeverity", "ReportedSeverity"]));
    read_place(record, outer, properties, kept);
    record.tactics = tactics(outer, properties);
    record.flags = flags(outer, record.operation.as_deref(), either(&["description"]).as_deref());
    read_details(record, outer, properties);
    entities::read(record, outer, properties);
    let id = id(outer, properties).or_else(|| kept.first_text(&["name", "id"]));
    (id, moment(outer))
}

/// When what a record of the Activity log says was done to the alert: it may be activated, resolved, and activated again.
fn acted(outer: Fields<'_>) -> Option<String> {
    let is_act = ["OperationNameValue", "operationName"].iter().any(|name| outer.get(name).is_some());
    outer.first_text(&["eventTimestamp", "time", "TimeGenerated"]).filter(|_| is_act)
}

/// Records of the Activity log have an id of the event, which is another one when the alert is closed, and the alert's at the
/// end of its path, in capitals in a stream.
fn id(outer: Fields<'_>, properties: Fields<'_>) -> Option<String> {
    let path = || outer.first_text(&["resourceId", "id"]);
    outer
        .text("SystemAlertId")
        .or_else(|| properties.text("systemAlertId"))
        .or_else(|| after(&path()?, "alerts").map(str::to_ascii_lowercase))
        .or_else(|| outer.first_text(&["eventDataId", "id"]))
        .or_else(|| properties.text("eventDataId"))
}

/// Whether `outer` is a resource with an alert as its properties. Records of the Activity log have an operation besides.
fn is_resource(outer: Fields<'_>, properties: Fields<'_>) -> bool {
    let named = ["SystemAlertId", "AlertDisplayName", "AlertName"].iter().any(|name| properties.get(name).is_some());
    named && outer.get("operationName").is_none() && outer.get("SystemAlertId").is_none()
}

/// Resource, subscription and tenant: of the alert itself, else of its resource identifiers, else of where it is `kept`.
/// An alert about a machine outside of Azure knows only the workspace that the machine reports to, whose subscription it is
/// shown in.
fn read_place(record: &mut Record, outer: Fields<'_>, properties: Fields<'_>, kept: Fields<'_>) {
    let identified = outer.get("ResourceIdentifiers").or_else(|| properties.get("ResourceIdentifiers")).map(opened);
    let identified = |names: &[&str]| {
        let list = identified.as_deref().and_then(Value::as_array)?;
        list.iter().find_map(|identifier| Fields::of(identifier).first_text(names))
    };
    record.resource = outer
        .first_text(&["AzureResourceId", "resourceId", "_ResourceId", "associatedResource"])
        .or_else(|| properties.text("azureResourceId"))
        .or_else(|| identified(&["AzureResourceId"]));
    record.subscription = record
        .resource
        .as_deref()
        .and_then(subscription)
        .or_else(|| outer.first_text(&["AzureResourceSubscriptionId", "azureSubscriptionId", "subscriptionId"]))
        .or_else(|| kept.text("id").as_deref().and_then(subscription))
        .or_else(|| identified(&["WorkspaceSubscriptionId"]));
    record.tenant = tenant(outer)
        .or_else(|| kept.text("tenantId"))
        .or_else(|| identified(&["AzureResourceTenantId", "AadTenantId"]))
        .map(|tenant| tenant.to_ascii_lowercase());
}

fn moment(outer: Fields<'_>) -> Moment {
    let names = [
        "StartTimeUtc",
        "StartTime",
        "detectedTimeUtc",
        "firstActivityDateTime",
        "firstEventTime",
        "eventDateTime",
        "alertCreationTime",
        "createdDateTime",
        "eventTimestamp",
        "time",
        "TimeGenerated",
        "TimeGeneratedUtc",
    ];
    Moment::first(names.map(|name| outer.get(name)))
}

fn tenant(outer: Fields<'_>) -> Option<String> {
    // In Log Analytics `TenantId` is the workspace's.
    let workspace = outer.get("Type").and_then(Value::as_str) == Some(TABLE);
    outer.first_text(&["AadTenantId", "azureTenantId"]).or_else(|| outer.text("tenantId").filter(|_| !workspace))
}

/// Names of tactics, however they are packed: a list, JSON in a string, or words between commas.
fn tactics(outer: Fields<'_>, properties: Fields<'_>) -> Vec<String> {
    // Graph's second version and Defender for Endpoint have the tactic for a category.
    let by_category = ["providerAlertId", "alertCreationTime"].iter().any(|name| outer.get(name).is_some());
    let value = ["Intent", "Tactics"].iter().find_map(|name| outer.get(name).or_else(|| properties.get(name)));
    let value = value.or_else(|| outer.get("category").filter(|_| by_category));
    let mut tactics: Vec<String> = match value.map(opened).as_deref() {
        Some(Value::Array(list)) => list.iter().filter_map(field::text).collect(),
        Some(Value::String(text)) => text.split(',').map(|word| word.trim().to_owned()).collect(),
        _ => Vec::new(),
    };
    tactics.retain(|tactic| !tactic.is_empty() && !tactic.eq_ignore_ascii_case("unknown"));
    tactics.dedup();
    tactics
}

fn flags(outer: Fields<'_>, title: Option<&str>, description: Option<&str>) -> Vec<Flag> {
    let incident = outer.text("IsIncident").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    // Graph's incident holds its alerts; a Graph alert only names its incident.
    let alert = ["alertWebUrl", "providerAlertId"].iter().any(|name| outer.get(name).is_some());
    let typed = outer.text("@odata.type").map(|kind| kind.ends_with(".incident"));
    let graph = typed.unwrap_or(outer.get("incidentWebUrl").is_some() && !alert);
    let begins = |text: Option<&str>, mark: &str| {
        let start = text.and_then(|text| text.get(..mark.len()));
        start.is_some_and(|start| start.eq_ignore_ascii_case(mark))
    };
    let sample = begins(title, "[SAMPLE ALERT]") || begins(description, "THIS IS A SAMPLE ALERT");
    let flags = [(sample, Flag::Sample), (incident || graph, Flag::Incident)];
    flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)).collect()
}

fn read_details(record: &mut Record, outer: Fields<'_>, properties: Fields<'_>) {
    let cut = |text: String| text.chars().take(LONGEST_DETAIL).collect::<String>();
    let steps = |fields: Fields<'_>| {
        let value = fields.get("RemediationSteps").or_else(|| fields.get("recommendedActions"))?;
        match &*opened(value) {
            Value::Array(steps) => Some(steps.iter().filter_map(field::text).collect::<Vec<_>>().join("\n"))
                .filter(|text| !text.is_empty()),
            other => field::text(other),
        }
    };
    for (name, value) in [
        ("description", outer.text("description").or_else(|| properties.text("description"))),
        ("remediation", steps(outer).or_else(|| steps(properties))),
        ("link", outer.first_text(&["AlertUri", "AlertLink", "alertWebUrl", "incidentWebUrl"])),
        ("compromisedEntity", outer.text("CompromisedEntity").or_else(|| properties.text("compromisedEntity"))),
        ("confidenceLevel", outer.text("ConfidenceLevel")),
        ("techniques", list(outer, &["Techniques", "mitreTechniques"])),
        ("assignedTo", outer.text("assignedTo")),
        ("incidentId", outer.text("incidentId")),
        ("classification", outer.text("classification")),
        ("determination", outer.text("determination")),
    ] {
        add_detail(record, name, value.map(cut));
    }
    let more = outer.get("ExtendedProperties").map(opened);
    add_details(record, more.as_deref().map_or(Fields::default(), Fields::of));
    add_details(record, properties);
}

/// A list as one text, its values between commas.
fn list(outer: Fields<'_>, names: &[&str]) -> Option<String> {
    let value = names.iter().find_map(|name| outer.get(name))?;
    match &*opened(value) {
        Value::Array(list) => {
            Some(list.iter().filter_map(field::text).collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
        }
        other => field::text(other),
    }
}
