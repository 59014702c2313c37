//! Owns whom and what an alert concerns: its entities, as Defender writes them (with `$id` and `$ref`), as Graph's evidence
//! and as its legacy user states, to targets.

use std::borrow::Cow;

use serde_json::Value;

use crate::record::field::{self, Fields, opened};
use crate::record::{EntityKind, Problem, ProblemCode, Record, Target};

/// Incidents repeat the entities of all their alerts; nobody reads more.
const MOST: usize = 200;
/// An object id that stands for none.
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";
/// `ExtendedProperties` in which an account stands as a principal name.
const ACCOUNT_DETAILS: &[&str] = &[
    "Client principal name",
    "Client Principal Name",
    "Compromised user",
    "User name",
    "User Name",
    "User",
    "Account",
    "UserPrincipalName",
    "User principal name",
];

/// Adds the targets; each thing once, in the record's order.
pub(super) fn read(record: &mut Record, outer: Fields<'_>, properties: Fields<'_>) {
    let mut targets: Vec<Target> = Vec::new();
    for value in listed(outer).chain(listed(properties)) {
        for entity in value.as_array().into_iter().flatten() {
            targets.extend(defender(Fields::of(entity)).or_else(|| graph(Fields::of(entity))));
        }
    }
    // Graph's incident holds its alerts, each with its own evidence.
    if let Some(alerts) = outer.get("alerts") {
        let alerts = alerts.as_array().map_or_else(|| vec![alerts], |alerts| alerts.iter().collect());
        for evidence in alerts.into_iter().filter_map(|alert| Fields::of(alert).get("evidence")?.as_array()) {
            targets.extend(evidence.iter().filter_map(|entity| graph(Fields::of(entity))));
        }
    }
    let named = record.details.get("compromisedEntity").cloned().into_iter();
    let named = named.chain(ACCOUNT_DETAILS.iter().filter_map(|name| record.details.get(*name).cloned()));
    targets.extend(named.filter(|name| is_principal(name)).map(|upn| user(None, Some(upn), None)));
    for target in targets {
        if record.targets.len() < MOST && !is_there(&record.targets, &target) {
            add(record, target);
        }
    }
}

fn add(record: &mut Record, target: Target) {
    if target.kind == EntityKind::User && target.id.is_none() && target.upn.is_none() {
        let field = format!("targets[{}]", record.targets.len());
        record.problems.push(Problem::at(ProblemCode::TargetWithoutIdentity, field, ""));
    }
    record.targets.push(target);
}

/// Whether one of `targets` is it already: the same thing, or a person of the same principal name or id.
fn is_there(targets: &[Target], target: &Target) -> bool {
    let same = |one: &Option<String>, other: &Option<String>| {
        one.as_deref().zip(other.as_deref()).is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
    };
    targets.iter().any(|other| {
        other.kind == target.kind
            && (other == target
                || target.kind == EntityKind::User && (same(&other.upn, &target.upn) || same(&other.id, &target.id)))
    })
}

fn listed(fields: Fields<'_>) -> impl Iterator<Item = Cow<'_, Value>> {
    ["Entities", "evidence", "userStates"].into_iter().filter_map(move |name| fields.get(name)).map(opened)
}

/// An entity of Defender. A mere reference says nothing new, and the ids it names are not unique.
fn defender(entity: Fields<'_>) -> Option<Target> {
    let kind = entity.text("Type")?.to_ascii_lowercase();
    let thing = |kind, id: Option<String>, name: Option<String>| {
        (id.is_some() || name.is_some()).then_some(Target { kind, id, upn: None, name })
    };
    match kind.as_str() {
        "account" | "securityprincipal" => Some(account(entity)),
        "mailbox" => {
            let upn = entity.first_text(&["Upn", "MailboxPrimaryAddress"]);
            Some(Target {
                kind: EntityKind::Mailbox,
                id: entity.text("ExternalDirectoryObjectId"),
                upn,
                name: entity.text("DisplayName"),
            })
        }
        "host" => thing(EntityKind::Host, entity.text("AzureID"), entity.first_text(&["HostName", "NetBiosName"])),
        "ip" => thing(EntityKind::Ip, None, entity.text("Address")),
        "process" => {
            let file = entity.object("ImageFile").text("Name");
            thing(EntityKind::Process, None, entity.text("CommandLine").or(file))
        }
        "file" => thing(EntityKind::File, None, entity.text("Name")),
        "url" => thing(EntityKind::Url, None, entity.text("Url")),
        "dns" => thing(EntityKind::Domain, None, entity.text("DomainName")),
        "azure-resource" => {
            let id = entity.text("ResourceId");
            let name = id.as_deref().and_then(|id| id.rsplit('/').next()).map(str::to_owned);
            thing(EntityKind::Resource, id, name)
        }
        "security-group" => thing(EntityKind::Group, entity.text("ObjectGuid"), entity.text("DistinguishedName")),
        "cloud-application" => thing(EntityKind::App, entity.text("AppId"), entity.text("Name")),
        _ => thing(EntityKind::Other, None, entity.first_text(&["Name", "ResourceName", "ImageId", "Value"])),
    }
}

/// `Name@UPNSuffix`, or a name that is a principal name by itself. A local or a domain account has neither.
fn account(entity: Fields<'_>) -> Target {
    let name = entity.text("Name");
    let joined = name.as_deref().zip(entity.text("UPNSuffix")).map(|(name, suffix)| format!("{name}@{suffix}"));
    let upn =
        joined.or_else(|| entity.text("UserPrincipalName")).or_else(|| name.clone().filter(|name| is_principal(name)));
    let shown = entity.text("DisplayName").or_else(|| match (entity.text("NTDomain"), name) {
        (Some(domain), Some(name)) => Some(format!("{domain}\\{name}")),
        (_, name) => name,
    });
    user(entity.text("AadUserId").or_else(|| entity.text("Sid").filter(|_| upn.is_none())), upn, shown)
}

/// A piece of Graph's evidence, or one of its legacy user states.
fn graph(entity: Fields<'_>) -> Option<Target> {
    let person = entity.object("userAccount");
    if !person.is_empty() {
        let name = person.first_text(&["displayName", "accountName"]);
        return Some(user(person.text("azureAdUserId"), person.text("userPrincipalName"), name));
    }
    if let Some(upn) = entity.text("userPrincipalName") {
        return Some(user(entity.text("aadUserId"), Some(upn), entity.text("accountName")));
    }
    let (kind, name) = [
        (EntityKind::Host, entity.first_text(&["deviceDnsName", "hostName"])),
        (EntityKind::Ip, entity.text("ipAddress")),
        (EntityKind::Process, entity.text("processCommandLine")),
        (EntityKind::File, entity.object("fileDetails").text("fileName")),
        (EntityKind::Url, entity.text("url")),
        (EntityKind::Mailbox, entity.text("primaryAddress")),
        (EntityKind::App, entity.text("displayName").filter(|_| entity.get("appId").is_some())),
    ]
    .into_iter()
    .find_map(|(kind, name)| Some((kind, name?)))?;
    let upn = (kind == EntityKind::Mailbox).then(|| name.clone());
    let id = entity.first_text(&["azureAdDeviceId", "appId"]).filter(|id| id != NO_ID);
    Some(Target { kind, id, upn, name: Some(name) })
}

fn user(id: Option<String>, upn: Option<String>, name: Option<String>) -> Target {
    Target { kind: EntityKind::User, id: id.filter(|id| id != NO_ID), upn, name }
}

/// `alice@example.com`, not a path and not a sentence.
fn is_principal(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '/' || c == '\\');
    plain(local) && plain(domain) && domain.contains('.') && !field::is_placeholder(text)
}
