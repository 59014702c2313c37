//! Owns `entra.risk`: detections of Identity Protection, and the state of risky users and service principals.
//! Reference: learn.microsoft.com/graph/api/resources/riskdetection and …/riskyuser

use super::{principal, tenant};
use crate::record::field::{Fields, opened};
use crate::record::{EntityKind, Moment, Record, Target, time};

/// Categories of a diagnostic setting.
pub(in crate::record) const CATEGORIES: &[&str] =
    &["UserRiskEvents", "RiskyUsers", "ServicePrincipalRiskEvents", "RiskyServicePrincipals"];
/// Tables of Log Analytics.
pub(in crate::record) const TABLES: &[&str] =
    &["AADUserRiskEvents", "AADRiskyUsers", "AADServicePrincipalRiskEvents", "AADRiskyServicePrincipals"];

/// What a rule may want to look at, under the producer's own name.
const DETAILS: &[&str] = &[
    "riskDetail",
    "riskEventType",
    "detectionTimingType",
    "activity",
    "ipAddress",
    "requestId",
    "tokenIssuerType",
    "userType",
    "mitreTechniqueId",
    "isGuest",
    "isDeleted",
];

/// Fills the view; returns the producer's id and time.
pub(in crate::record) fn read<'a>(
    record: &mut Record,
    outer: Fields<'a>,
    properties: Fields<'a>,
) -> (Option<String>, Moment) {
    let inner = if properties.is_empty() { outer } else { properties };
    record.category = outer.text("category").or_else(|| outer.text("Type"));
    record.service = inner.text("source");
    record.tenant = tenant(outer, inner);
    // The outer one is a hash or the user's id here.
    record.correlation_id = inner.text("correlationId");
    record.state = inner.text("riskState");
    record.read_severity(inner.text("riskLevel"));
    read_details(record, inner);
    record.targets.extend(target(inner));
    let updated = inner.get("riskLastUpdatedDateTime");
    // A detection calls it so, and is sent again under its id when somebody dismisses it.
    let names = ["riskLastUpdatedDateTime", "lastUpdatedDateTime", "riskState"];
    record.revision = time::revision([inner.first_text(&names)]);
    let moment = Moment::first([
        inner.get("activityDateTime"),
        updated,
        inner.get("detectedDateTime"),
        outer.get("time"),
        outer.get("TimeGenerated"),
    ]);
    (inner.text("id"), moment)
}

fn read_details(record: &mut Record, inner: Fields<'_>) {
    let details = &mut record.details;
    details.extend(DETAILS.iter().filter_map(|name| Some(((*name).to_owned(), inner.text(name)?))));
    let place = inner.get("location").map(opened);
    let place = place.as_deref().map_or(Fields::default(), Fields::of);
    for name in ["city", "state", "countryOrRegion"] {
        details.extend(place.text(name).map(|value| (name.to_owned(), value)));
    }
    for (key, value) in inner.pairs("additionalInfo") {
        details.entry(key).or_insert(value);
    }
}

/// The one at risk. A risky user's record is its user, so there `id` is the user's.
fn target(inner: Fields<'_>) -> Option<Target> {
    let upn = inner.text("userPrincipalName");
    let user = inner.text("userId").or_else(|| inner.text("id").filter(|_| upn.is_some()));
    let (upn, former) = principal(upn, user.as_deref());
    if user.is_some() || upn.is_some() {
        let name = inner.text("userDisplayName").or(former);
        return Some(Target { kind: EntityKind::User, id: user, upn, name });
    }
    let name = inner.first_text(&["servicePrincipalDisplayName", "displayName"]);
    let id = inner.text("servicePrincipalId").or_else(|| inner.text("id").filter(|_| name.is_some()));
    id.is_some().then_some(Target { kind: EntityKind::App, id, upn: None, name })
}
