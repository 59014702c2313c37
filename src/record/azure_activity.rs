//! Owns `azure.activity`: what was done to resources through Azure Resource Manager, and what Azure says of their health,
//! as a diagnostic setting writes it (older streams with the verb as category), as the REST interface and older profiles
//! do, and as columns of Log Analytics.
//! Reference: learn.microsoft.com/azure/azure-monitor/platform/activity-log-schema

use std::borrow::Cow;

use serde_json::Value;

use super::field::{Fields, opened};
use super::{Actor, EntityKind, Moment, Record, Target};

/// Categories, and the verbs that stood there before 2019.
pub(super) const CATEGORIES: &[&str] = &[
    "Administrative",
    "Security",
    "ServiceHealth",
    "Alert",
    "Recommendation",
    "Policy",
    "ResourceHealth",
    "Autoscale",
    "Write",
    "Delete",
    "Action",
];
/// The table of Log Analytics.
pub(super) const TABLE: &str = "AzureActivity";

/// The claims of a token that name somebody. The short names are those of tokens version 2.
const UPN: &[&str] = &[
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
    "upn",
    "preferred_username",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
];
const OBJECT_ID: &[&str] = &["http://schemas.microsoft.com/identity/claims/objectidentifier", "oid"];
const TENANT: &[&str] = &["http://schemas.microsoft.com/identity/claims/tenantid", "tid"];

/// What a rule may want to look at, under the producer's own name.
const DETAILS: &[&str] =
    &["statusCode", "statusMessage", "message", "entity", "hierarchy", "eventCategory", "serviceRequestId"];

/// Fills the view; returns the producer's id and time.
pub(super) fn read<'a>(record: &mut Record, outer: Fields<'a>, properties: Fields<'a>) -> (Option<String>, Moment) {
    let (typed, request) = (filled([outer.get("Properties_d")]), filled([outer.get("HTTPRequest")]));
    let inner = if properties.is_empty() { Fields::of(&typed) } else { properties };
    let identity = filled([outer.get("identity")]);
    let identity = Fields::of(&identity);
    let claims = filled([identity.get("claims"), outer.get("Claims_d"), outer.get("Claims")]);
    let claims = Fields::of(&claims);
    let authorization =
        filled([identity.get("authorization"), outer.get("Authorization_d"), outer.get("Authorization")]);
    let evidence = filled([Fields::of(&authorization).get("evidence")]);
    let evidence = Fields::of(&evidence);

    record.category = inner.text("eventCategory").or_else(|| worded(outer, &["category", "CategoryValue"]));
    record.service = worded(outer, &["resourceProviderName", "ResourceProviderValue"]);
    record.correlation_id = outer.text("correlationId");
    record.resource = outer.first_text(&["resourceId", "_ResourceId", "resourceUri"]);
    record.subscription = record.resource.as_deref().and_then(subscription).or_else(|| outer.text("subscriptionId"));
    record.tenant = tenant(outer, claims);
    read_status(record, outer);
    read_details(record, outer, inner, evidence);
    let ip = outer.text("callerIpAddress").or_else(|| claims.text("ipaddr"));
    let ip = ip
        .or_else(|| outer.object("httpRequest").text("clientIpAddress"))
        .or_else(|| Fields::of(&request).text("clientIpAddress"));
    let token = Token { identity, claims, evidence };
    record.actor = actor(outer, inner, token, ip);
    record.targets = targets(record, inner);
    let time = Moment::first([
        outer.get("time"),
        outer.get("eventTimestamp"),
        outer.get("EventSubmissionTimestamp"),
        outer.get("TimeGenerated"),
    ]);
    (outer.text("eventDataId").or_else(|| inner.text("eventDataId")), time)
}

/// The parts of the token with which it was done.
#[derive(Clone, Copy)]
struct Token<'a> {
    identity: Fields<'a>,
    claims: Fields<'a>,
    /// By which role it was allowed.
    evidence: Fields<'a>,
}

/// The first of `columns` that is an object with something in it, itself or as text.
fn filled<const N: usize>(columns: [Option<&Value>; N]) -> Cow<'_, Value> {
    columns.into_iter().flatten().map(opened).find(|value| !Fields::of(value).is_empty()).unwrap_or_default()
}

/// The text of a field, or the `value` of `{"value":…,"localizedValue":…}`.
fn worded(fields: Fields<'_>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| fields.text(name).or_else(|| fields.object(name).text("value")))
}

/// Whether `id` is one of Resource Manager's.
pub(super) fn is_managed(id: &str) -> bool {
    let below = |root: &str| id.get(..root.len()).is_some_and(|start| start.eq_ignore_ascii_case(root));
    below("/subscriptions/") || below("/providers/")
}

/// The subscription in a resource id, as written.
pub(super) fn subscription(resource: &str) -> Option<String> {
    let mut parts = resource.trim_start_matches('/').split('/');
    parts.next().filter(|first| first.eq_ignore_ascii_case("subscriptions"))?;
    parts.next().filter(|id| !id.is_empty()).map(str::to_owned)
}

fn tenant(outer: Fields<'_>, claims: Fields<'_>) -> Option<String> {
    // In Log Analytics `TenantId` is the workspace's.
    let workspace = outer.get("Type").and_then(Value::as_str) == Some(TABLE);
    let written = outer.text("tenantId").filter(|_| !workspace);
    written.or_else(|| claims.first_text(TENANT)).map(|tenant| tenant.to_ascii_lowercase())
}

/// The outcome of an operation, or the state of what is reported on: health, alerts and recommendations are `Active`,
/// `Updated`, `Resolved`. One operation gives records of several outcomes with one correlation id.
fn read_status(record: &mut Record, outer: Fields<'_>) {
    let word = worded(outer, &["resultType", "status", "ActivityStatusValue", "ActivityStatus"]);
    let Some(word) = word else { return };
    let folded = word.to_lowercase();
    let result = match folded.as_str() {
        "start" | "started" => "started",
        "accept" | "accepted" => "accepted",
        "success" | "succeeded" => "success",
        "failure" | "failed" => "failure",
        "timeout" => "timeout",
        "active" | "updated" | "resolved" | "inprogress" | "in progress" => {
            record.state = Some(word);
            return;
        }
        other => other,
    };
    record.result = Some(result.to_owned());
}

fn read_details(record: &mut Record, outer: Fields<'_>, inner: Fields<'_>, evidence: Fields<'_>) {
    let details = &mut record.details;
    details.extend(DETAILS.iter().filter_map(|name| Some(((*name).to_owned(), inner.text(name)?))));
    let reason =
        inner.first_text(&["statusMessage", "message"]).or_else(|| worded(outer, &["subStatus", "description"]));
    details.extend(reason.map(|reason| ("reason".to_owned(), reason)));
    details.extend(worded(outer, &["resultSignature"]).map(|text| ("resultSignature".to_owned(), text)));
    details.extend(evidence.text("role").map(|role| ("role".to_owned(), role)));
}

/// Whose token it was. A token without a principal name is an application's, or of somebody from elsewhere.
fn actor(outer: Fields<'_>, inner: Fields<'_>, token: Token<'_>, ip: Option<String>) -> Option<Actor> {
    let Token { identity, claims, evidence } = token;
    let allowed = allowed(evidence);
    let address = |text: &String| text.contains('@') && !text.contains(char::is_whitespace);
    // PIM for Azure resources writes its own user, and who asked beside it.
    let asked = inner.get("CallerInfo").map(opened);
    let asked = asked.as_deref().map_or(Fields::default(), Fields::of);
    let by_pim = asked.first_text(&["UserPrincipalName", "Upn", "Email", "CallerUPN"]);
    // `identity` is the name of whoever it was, if it is no token.
    let named = || outer.text("identity").filter(|_| identity.is_empty());
    let caller = outer.text("caller").or_else(named);
    let said: Vec<String> = UPN.iter().filter_map(|name| claims.text(name)).chain(caller.clone()).collect();
    // Such a token has the address alone in another claim.
    let foreign = said.iter().find_map(|text| elsewhere(text));
    let of_foreign = |text: &str| foreign.is_some_and(|mail| mail.eq_ignore_ascii_case(text));
    let principal = |text: &String| address(text) && elsewhere(text).is_none() && !of_foreign(text);
    let upn = by_pim.or_else(|| said.iter().find(|text| principal(text)).cloned());
    let id = asked
        .first_text(&["ObjectId", "CallerObjectId", "Id"])
        .or_else(|| claims.first_text(OBJECT_ID))
        .or_else(|| allowed.clone().map(|(_, id)| id));
    let app = claims.first_text(&["appid", "azp"]);
    let name = asked.first_text(&["DisplayName", "Name"]).or_else(|| claims.text("name"));
    if upn.is_some() {
        return Some(Actor { kind: EntityKind::User, id, upn, name, ip, app });
    }
    if let Some(mail) = foreign {
        let name = name.filter(|name| elsewhere(name).is_none()).or_else(|| Some(mail.to_owned()));
        return Some(Actor { kind: EntityKind::User, id, upn: None, name, ip, app });
    }
    let name = name.or_else(|| caller.filter(|caller| id.as_ref() != Some(caller)));
    if id.is_none() && name.is_none() {
        return None;
    }
    // A name alone is a service of Azure ("Microsoft.Advisor").
    let kind = match (&id, &app, asked.is_empty()) {
        (Some(_), _, false) => EntityKind::User,
        (Some(_), Some(_), _) => EntityKind::App,
        (Some(id), ..) => allowed.filter(|(_, allowed)| allowed == id).map_or(EntityKind::System, |(kind, _)| kind),
        _ => EntityKind::System,
    };
    Some(Actor { kind, id, upn: None, name, ip, app })
}

/// To whom the role was given by which it was allowed, if not to a group, whose id says nothing of who it was. Written
/// without the dashes of an object id.
fn allowed(evidence: Fields<'_>) -> Option<(EntityKind, String)> {
    let kind = match evidence.text("principalType").map(|kind| kind.to_ascii_lowercase()).as_deref() {
        Some("user") => EntityKind::User,
        Some("serviceprincipal") => EntityKind::App,
        Some("group") => return None,
        _ => EntityKind::System,
    };
    let mut id = evidence.text("principalId")?;
    if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        for place in [20, 16, 12, 8] {
            id.insert(place, '-');
        }
    }
    Some((kind, id))
}

/// The address in `live.com#dana@example.com`: of an account of another provider, which names itself by any address. It is no
/// principal name, whatever its domain, while `dana_example.net#EXT#@…` is a guest's.
fn elsewhere(name: &str) -> Option<&str> {
    let (provider, address) = name.split_once('#')?;
    let (local, domain) = address.split_once('@')?;
    let plain = !provider.is_empty() && !provider.contains('@') && !local.is_empty() && !local.contains('#');
    (plain && domain.contains('.')).then_some(address)
}

/// The resource, and a person who was given a role on it.
fn targets(record: &Record, inner: Fields<'_>) -> Vec<Target> {
    let resource = record.resource.as_ref().map(|id| Target {
        kind: EntityKind::Resource,
        id: Some(id.clone()),
        upn: None,
        name: id.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned),
    });
    let subject = inner.get("Subject").map(opened);
    let subject = subject.as_deref().map_or(Fields::default(), Fields::of);
    let upn = inner
        .first_text(&["SubjectUpn", "SubjectPrincipalName"])
        .or_else(|| subject.first_text(&["UserPrincipalName", "Email"]));
    let id = inner.first_text(&["SubjectId", "SubjectObjectId"]).or_else(|| subject.first_text(&["Id", "ObjectId"]));
    let name = inner.text("SubjectName").or_else(|| subject.first_text(&["DisplayName", "Name"]));
    let by_pim = (upn.is_some() || id.is_some()).then_some(Target { kind: EntityKind::User, id, upn, name });
    let granted = ["requestbody", "responseBody"].iter().find_map(|name| grantee(inner.get(name)?));
    by_pim.or(granted).into_iter().chain(resource).collect()
}

/// The user of a role assignment: `{"properties":{"principalId":…,"principalType":"User"}}`, inside a string.
fn grantee(body: &Value) -> Option<Target> {
    let body = opened(body);
    let inside = Fields::of(&body);
    let assignment = [inside.object("properties"), inside].into_iter().find(|of| of.get("principalId").is_some())?;
    let is_user = assignment.text("principalType").is_some_and(|kind| kind.eq_ignore_ascii_case("User"));
    let id = assignment.text("principalId").filter(|_| is_user)?;
    Some(Target { kind: EntityKind::User, id: Some(id), upn: None, name: None })
}

/// Whether an operation of the Activity log is an alert of Defender for Cloud that was raised, closed, ….
pub(super) fn is_alert(operation: &str) -> bool {
    let operation = operation.to_ascii_lowercase();
    operation.starts_with("microsoft.security/") && operation.contains("/alerts/")
}
