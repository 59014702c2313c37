//! Owns `entra.signin`: sign-ins of people (interactive or not), service principals, managed identities and AD FS, as a
//! diagnostic setting writes them, as columns of Log Analytics, and as Graph's bare `signIn`.
//! Reference: learn.microsoft.com/graph/api/resources/signin

use super::tenant;
use crate::record::field::{Fields, opened};
use crate::record::words::known_result;
use crate::record::{Actor, EntityKind, Moment, Problem, ProblemCode, Record, Target};

/// What every sign-in is called.
pub(in crate::record) const OPERATION: &str = "Sign-in activity";
/// Categories of a diagnostic setting.
pub(in crate::record) const CATEGORIES: &[&str] = &[
    "SignInLogs",
    "NonInteractiveUserSignInLogs",
    "ServicePrincipalSignInLogs",
    "ManagedIdentitySignInLogs",
    "ADFSSignInLogs",
    "MicrosoftServicePrincipalSignInLogs",
];
/// Tables of Log Analytics.
pub(in crate::record) const TABLES: &[&str] = &[
    "SigninLogs",
    "AADNonInteractiveUserSignInLogs",
    "AADServicePrincipalSignInLogs",
    "AADManagedIdentitySignInLogs",
    "ADFSSignInLogs",
];

/// AADSTS codes at which the user was sent to do something more and the sign-in goes on, which the portal shows as
/// "Interrupted". Sorted. Reference: learn.microsoft.com/entra/identity-platform/reference-error-codes
const INTERRUPTS: &[u32] = &[
    16_000, 16_001, 16_003, 50_055, 50_058, 50_059, 50_072, 50_074, 50_076, 50_078, 50_079, 50_097, 50_125, 50_127,
    50_129, 50_140, 50_143, 50_144, 50_158, 50_199, 51_006, 65_001, 81_010,
];

/// What a rule may want to look at, under the producer's own name.
const DETAILS: &[&str] = &[
    "clientAppUsed",
    "conditionalAccessStatus",
    "authenticationRequirement",
    "riskLevelDuringSignIn",
    "riskLevelAggregated",
    "riskState",
    "riskDetail",
    "resourceDisplayName",
    "userType",
    "crossTenantAccessType",
    "authenticationProtocol",
    "incomingTokenType",
    "autonomousSystemNumber",
    "userAgent",
];

/// Fills the view; returns the producer's id and time.
pub(in crate::record) fn read<'a>(
    record: &mut Record,
    outer: Fields<'a>,
    properties: Fields<'a>,
) -> (Option<String>, Moment) {
    let inner = if properties.is_empty() { outer } else { properties };
    record.category = outer.text("category").or_else(|| outer.text("Type"));
    record.tenant = tenant(outer, inner);
    record.correlation_id = inner.text("correlationId").or_else(|| outer.text("correlationId"));
    read_result(record, outer, inner);
    read_details(record, inner);
    record.actor = actor(outer, inner);
    record.targets = targets(record.actor.as_ref(), inner);
    let time = Moment::first([
        inner.get("createdDateTime"),
        outer.get("createdDateTime"),
        outer.get("time"),
        outer.get("TimeGenerated"),
    ]);
    (inner.text("id"), time)
}

/// The AADSTS code as a word, where two disagree the one that is no success; the code itself, and the text beside it, become details.
fn read_result(record: &mut Record, outer: Fields<'_>, inner: Fields<'_>) {
    let status = inner.get("status").map(opened);
    let status = status.as_deref().map_or(Fields::default(), Fields::of);
    let codes = [status.text("errorCode"), outer.text("resultType")];
    let failed = codes.iter().flatten().find(|code| known_result(code) != Some("success"));
    let code = failed.or_else(|| codes.iter().flatten().next()).cloned();
    let reason = status
        .text("failureReason")
        .filter(|reason| !reason.eq_ignore_ascii_case("other."))
        .or_else(|| outer.text("resultDescription"))
        .or_else(|| status.text("additionalDetails"));
    let named = [("errorCode", code.clone().filter(|code| code != "0")), ("reason", reason)];
    record.details.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let Some(code) = code.map(|code| code.to_lowercase()) else { return };
    let word = match (code.as_str(), code.parse::<u32>()) {
        ("success" | "succeeded", _) | (_, Ok(0)) => "success",
        (_, Ok(number)) if INTERRUPTS.binary_search(&number).is_ok() => "interrupted",
        ("failure" | "failed", _) | (_, Ok(_)) => "failure",
        ("interrupted", _) => "interrupted",
        _ => {
            record.problems.push(Problem::at(ProblemCode::ResultUnknown, "result", &code));
            &code
        }
    };
    record.result = Some(word.to_owned());
}

fn read_details(record: &mut Record, inner: Fields<'_>) {
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            record.details.entry(name.to_owned()).or_insert(value);
        }
    };
    for name in DETAILS {
        add(name, inner.text(name));
    }
    for (place, names) in [
        (["location", "LocationDetails"], &["city", "state", "countryOrRegion"][..]),
        (["deviceDetail", "deviceDetail"], &["deviceId", "displayName", "operatingSystem", "browser", "trustType"]),
    ] {
        // In Log Analytics `Location` is the country alone, and the object has another name.
        let object = place.iter().filter_map(|name| inner.get(name)).map(opened).find(|value| value.is_object());
        let object = object.as_deref().map_or(Fields::default(), Fields::of);
        for name in names {
            add(name, object.text(name));
        }
    }
    add("countryOrRegion", inner.text("location"));
    for (key, value) in inner.pairs("authenticationProcessingDetails") {
        add(&key, Some(value));
    }
}

/// Of these the one who signs in is a person, be it one without a name: Entra does not tell a name that it does not know.
const OF_PEOPLE: &[&str] =
    &["SignInLogs", "NonInteractiveUserSignInLogs", "ADFSSignInLogs", "AADNonInteractiveUserSignInLogs"];

/// Who signed in: a person, or an application by itself.
fn actor(outer: Fields<'_>, inner: Fields<'_>) -> Option<Actor> {
    let ip = inner.text("ipAddress").or_else(|| outer.text("callerIpAddress"));
    let (id, upn) = (inner.text("userId"), inner.text("userPrincipalName"));
    if id.is_some() || upn.is_some() {
        let name = inner.text("userDisplayName").or_else(|| outer.text("identity"));
        return Some(Actor { kind: EntityKind::User, id, upn, name, ip, app: inner.text("appDisplayName") });
    }
    let category = outer.first_text(&["category", "Type"]).unwrap_or_default();
    let application = inner.first_text(&["servicePrincipalId", "servicePrincipalName"]).is_some();
    if !application && OF_PEOPLE.iter().any(|known| known.eq_ignore_ascii_case(&category)) {
        return Some(Actor { kind: EntityKind::User, ip, app: inner.text("appDisplayName"), ..Actor::default() });
    }
    let id = inner.first_text(&["servicePrincipalId", "appId"]);
    let name = inner.first_text(&["servicePrincipalName", "appDisplayName"]).or_else(|| outer.text("identity"));
    (id.is_some() || name.is_some()).then(|| Actor { kind: EntityKind::App, id, name, ip, ..Actor::default() })
}

/// The person first, so that `to = ["target"]` is always the one concerned; then what was signed in to.
fn targets(actor: Option<&Actor>, inner: Fields<'_>) -> Vec<Target> {
    let known = |actor: &&Actor| actor.kind == EntityKind::User && (actor.id.is_some() || actor.upn.is_some());
    let person = actor.filter(known).map(|actor| Target {
        kind: EntityKind::User,
        id: actor.id.clone(),
        upn: actor.upn.clone(),
        name: actor.name.clone(),
    });
    let (id, name) = (inner.text("resourceId"), inner.text("resourceDisplayName"));
    // In Log Analytics `ResourceId` is the log's own place.
    let id = id.filter(|id| !id.starts_with('/'));
    let app = (id.is_some() || name.is_some()).then_some(Target { kind: EntityKind::App, id, upn: None, name });
    person.into_iter().chain(app).collect()
}
