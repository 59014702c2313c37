//! Owns `entra.audit`: the directory's audit log, in every form it comes in. As a diagnostic setting writes it (an outer
//! record with `properties`), as columns of Log Analytics, as Graph's bare `directoryAudit`, and the preview of 2018.
//! Reference: learn.microsoft.com/entra/identity/monitoring-health/reference-audit-logs-schema

use serde_json::Value;

use super::{principal, tenant};
use crate::record::field::{self, Fields, decoded, opened};
use crate::record::words::known_result;
use crate::record::{Actor, Change, EntityKind, Moment, Problem, ProblemCode, Record, Target};

/// Fills the view; returns the producer's id and time.
pub(in crate::record) fn read<'a>(
    record: &mut Record,
    outer: Fields<'a>,
    properties: Fields<'a>,
) -> (Option<String>, Moment) {
    // Log Analytics and Graph have no `properties`: there the record is its own inside.
    let inner = if properties.is_empty() { outer } else { properties };
    record.category = inner.first_text(&["category", "auditEventCategory"]).or_else(|| outer.text("category"));
    record.service = inner.text("loggedByService");
    record.tenant = tenant(outer, inner);
    record.correlation_id = inner.text("correlationId").or_else(|| outer.text("correlationId"));
    read_result(record, outer, inner);
    read_details(record, outer, inner);
    read_targets(record, inner);
    record.actor = actor(record, outer, inner);
    let time = Moment::first([
        inner.get("activityDateTime"),
        outer.get("time"),
        outer.get("TimeGenerated"),
        outer.get("createdDateTime"),
    ]);
    (inner.text("id"), time)
}

fn read_result(record: &mut Record, outer: Fields<'_>, inner: Fields<'_>) {
    if let Some(word) = inner.text("result") {
        record.read_result(Some(word));
    } else {
        // The preview put the outcome here, or the kind of operation ("Update"), which is none.
        record.result = outer.text("resultType").as_deref().and_then(known_result).map(str::to_owned);
    }
}

fn read_details(record: &mut Record, outer: Fields<'_>, inner: Fields<'_>) {
    // Only `resultReason` says which method was registered; some exports fill a description instead.
    let reason = inner
        .text("resultReason")
        .or_else(|| inner.text("resultDescription"))
        .or_else(|| outer.text("resultDescription"));
    let named = [("reason", reason), ("userAgent", inner.text("userAgent"))];
    record.details.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    for (key, value) in inner.pairs("additionalDetails") {
        let key = if key.eq_ignore_ascii_case("User-Agent") { "userAgent".to_owned() } else { key };
        record.details.entry(key).or_insert(value);
    }
}

fn actor(record: &mut Record, outer: Fields<'_>, inner: Fields<'_>) -> Option<Actor> {
    let initiated = inner.get("initiatedBy").map(opened);
    let initiated = initiated.as_deref().map_or(Fields::default(), Fields::of);
    let (user, app) = (initiated.object("user"), initiated.object("app"));
    let identity = outer.text("identity");
    let app_name = app.first_text(&["displayName", "servicePrincipalName"]);
    // Some exports write both, one of them without a name.
    let named = user.first_text(&["id", "userPrincipalName", "displayName"]).is_some();
    if named || !user.is_empty() && app.is_empty() {
        let (id, upn) = (user.text("id"), user.text("userPrincipalName"));
        // Services of Microsoft appear as users with nothing but a name.
        let kind = if id.is_none() && upn.is_none() { EntityKind::System } else { EntityKind::User };
        let name = user.text("displayName").or(identity);
        let ip = address(record, outer, user.get("ipAddress"));
        return Some(Actor { kind, id, upn, name, ip, app: app_name });
    }
    if !app.is_empty() {
        let id = app.first_text(&["servicePrincipalId", "appId"]);
        let ip = address(record, outer, None);
        return Some(Actor { kind: EntityKind::App, id, name: app_name.or(identity), ip, ..Actor::default() });
    }
    // The preview of 2018 names the actor only outside.
    let preview = inner.text("identityType").is_some_and(|kind| kind.eq_ignore_ascii_case("UPN"));
    let upn = identity.filter(|_| preview)?;
    let ip = address(record, outer, None);
    Some(Actor { kind: EntityKind::User, upn: Some(upn), ip, ..Actor::default() })
}

/// The first place that holds an address, as text: some are masked, ranges or no valid address at all. PIM's outer
/// address is its own, and the person's is among the details.
fn address(record: &mut Record, outer: Fields<'_>, users: Option<&Value>) -> Option<String> {
    let detail = record.details.get("ipaddr").cloned();
    let written = outer.get("callerIpAddress").or_else(|| outer.get("IPAddress"));
    let seen = written.and_then(field::text).or_else(|| users.and_then(field::text));
    let placeholder = [written, users].into_iter().flatten().filter_map(Value::as_str).find(|text| !text.is_empty());
    let pim = record.service.as_deref() == Some("PIM");
    let ip = if pim { detail.or(seen) } else { seen.or(detail) };
    let masked = ip.as_deref().is_some_and(|ip| ip.contains("XX") || ip.contains('*'));
    if let Some(text) = placeholder.filter(|_| masked || ip.is_none()) {
        record.problems.push(Problem::at(ProblemCode::AddressPlaceholder, "actor.ip", text));
    }
    ip
}

fn read_targets(record: &mut Record, inner: Fields<'_>) {
    let Some(list) = inner.get("targetResources").map(opened) else {
        record.targets.extend(preview_target(inner));
        return;
    };
    for (index, value) in field::elements(&list).iter().enumerate() {
        let fields = Fields::of(value);
        let (id, name) = (fields.text("id"), fields.text("displayName"));
        let (upn, former) = principal(fields.text("userPrincipalName"), id.as_deref());
        let target = Target { kind: kind(fields), id, upn, name: name.or(former) };
        if target.kind == EntityKind::User && target.id.is_none() && target.upn.is_none() {
            let field = format!("targets[{index}]");
            record.problems.push(Problem::at(ProblemCode::TargetWithoutIdentity, field, ""));
        }
        record.targets.push(target);
        read_changes(record, index, fields);
    }
}

fn kind(target: Fields<'_>) -> EntityKind {
    let Some(word) = target.text("type") else {
        // Some services leave the type out; only users have a principal name.
        return target.text("userPrincipalName").map_or(EntityKind::Other, |_| EntityKind::User);
    };
    match word.to_ascii_lowercase().as_str() {
        "user" => EntityKind::User,
        "group" => EntityKind::Group,
        "device" => EntityKind::Device,
        "app" | "application" | "serviceprincipal" => EntityKind::App,
        "role" | "directoryrole" => EntityKind::Role,
        "policy" => EntityKind::Policy,
        "directory" => EntityKind::Directory,
        "domain" => EntityKind::Domain,
        _ => EntityKind::Other,
    }
}

fn read_changes(record: &mut Record, target: usize, fields: Fields<'_>) {
    let Some(list) = fields.get("modifiedProperties").map(opened) else { return };
    for property in field::elements(&list).iter().map(Fields::of) {
        let name = property.text("displayName").unwrap_or_default();
        let [old, new] = ["oldValue", "newValue"].map(|side| {
            decoded(property.get(side).unwrap_or(&Value::Null)).unwrap_or_else(|text| {
                let field = format!("changes[{}].{}", record.changes.len(), side.trim_end_matches("Value"));
                let seen = text.as_str().unwrap_or_default();
                record.problems.push(Problem::at(ProblemCode::NestedJsonInvalid, field, seen));
                text
            })
        });
        if !(name.is_empty() && old.is_null() && new.is_null()) {
            record.changes.push(Change { target, name, old, new });
        }
    }
}

/// `alice@example.com__<tenant>__<puid>__<object id>__User`, named by a field beside it.
fn preview_target(inner: Fields<'_>) -> Option<Target> {
    let (pattern, packed) = (inner.text("targetResourceType")?, inner.text("targetResourceName")?);
    let names: Vec<_> = pattern.split("__").collect();
    // From the right, because only the principal name, at the left, is free text.
    let mut values: Vec<_> = packed.rsplitn(names.len(), "__").collect();
    values.reverse();
    let part = |wanted: &str| {
        let (_, value) = names.iter().zip(&values).find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some((*value).to_owned()).filter(|value| !field::is_placeholder(value))
    };
    let user = part("ObjectClass").is_none_or(|class| class.eq_ignore_ascii_case("User"));
    let kind = if user { EntityKind::User } else { EntityKind::Other };
    let target = Target { kind, id: part("ObjectID"), upn: part("UPN"), name: None };
    (target.id.is_some() || target.upn.is_some()).then_some(target)
}
