//! Owns whom and what an alert concerns: its entities, as Defender writes them (with `$id` and `$ref`), as Graph's evidence
//! and as its legacy user states, to targets.

use std::borrow::Cow;

use serde_json::Value;

use super::inside::Inside;
use crate::record::field::{self, Fields, opened};
use crate::record::fold::fold_key;
use crate::record::{EntityKind, Problem, ProblemCode, Record, Target};

/// Incidents repeat the entities of all their alerts; nobody reads more.
const MOST: usize = 200;
/// The beginnings of the SIDs that people have: of a domain, and of the directory. The others are services and groups.
const SIDS_OF_PEOPLE: [&str; 2] = ["s-1-5-21-", "s-1-12-1-"];
/// The domain, in lower case, of the accounts that a machine takes from the directory itself.
const DIRECTORY: &str = "azuread";
/// Details in which an account stands, whatever joins their words.
const ACCOUNT_DETAILS: &[&str] =
    &["clientprincipalname", "compromiseduser", "username", "user", "account", "userprincipalname"];
/// The detail in which the SID of that account stands.
const SID_DETAIL: &str = "usersid";

/// Adds the targets, each thing once: what the record lists in its order, then who and which machine is only inside of
/// that, then whom the details name.
pub(super) fn read(record: &mut Record, outer: Fields<'_>, properties: Fields<'_>) {
    let mut targets: Vec<Target> = Vec::new();
    let lists: Vec<Cow<'_, Value>> = listed(outer).chain(listed(properties)).collect();
    let mut inside = Inside::default();
    let mut accounts: Vec<String> = Vec::new();
    let mut of = |entity: Fields<'_>, targets: Vec<Target>| {
        accounts.extend(own_account(entity).filter(|_| targets.iter().any(is_known_by_more)));
        targets
    };
    for value in lists.iter().filter_map(|list| list.as_array()).flatten() {
        let Some(entity) = inside.met(value) else { continue };
        targets.extend(of(entity, defender(entity, None).map_or_else(|| graph(entity), |target| vec![target])));
    }
    // Graph's incident holds its alerts, each with its own evidence.
    if let Some(alerts) = outer.get("alerts") {
        let alerts = alerts.as_array().map_or_else(|| vec![alerts], |alerts| alerts.iter().collect());
        for evidence in alerts.into_iter().filter_map(|alert| Fields::of(alert).get("evidence")?.as_array()) {
            targets.extend(evidence.iter().map(Fields::of).flat_map(|entity| of(entity, graph(entity))));
        }
    }
    targets.extend(endpoint(outer));
    let concerned = inside.concerned.iter();
    let concerned =
        concerned.flat_map(|(place, entity)| of(*entity, defender(*entity, Some(place)).into_iter().collect()));
    let mut concerned: Vec<Target> = concerned.collect();
    let machines = machines(record, targets.iter().chain(&concerned));
    for target in targets.iter_mut().chain(&mut concerned) {
        forget_local(target, &machines);
    }
    targets.extend(concerned.into_iter().filter(can_be_told));
    for mut target in named(record, &targets) {
        forget_local(&mut target, &machines);
        targets.extend(Some(target).filter(can_be_told));
    }
    let known: Vec<String> = targets.iter().flat_map(account_names).collect();
    let known_better = |target: &Target| {
        let account = target.id.as_deref().filter(|_| target.upn.is_none()).unwrap_or_default().to_lowercase();
        let of_directory = account.split_once('\\').filter(|(domain, _)| *domain == DIRECTORY);
        accounts.contains(&account) || of_directory.is_some_and(|(_, name)| known.iter().any(|known| known == name))
    };
    for target in targets {
        if record.targets.len() < MOST && !known_better(&target) && !is_there(&record.targets, &target) {
            add(record, target);
        }
    }
}

/// The machines that are concerned, by the first part of their names, in lower case.
fn machines<'a>(record: &'a Record, targets: impl Iterator<Item = &'a Target>) -> Vec<String> {
    let hosts = targets.filter(|target| target.kind == EntityKind::Host).filter_map(|host| host.name.as_ref());
    let first = |name: &String| name.split('.').next().unwrap_or_default().to_lowercase();
    hosts.chain(record.details.get("compromisedEntity")).map(first).collect()
}

/// Whether it is a user, known by more than the account of a domain.
fn is_known_by_more(target: &Target) -> bool {
    let by_id = target.id.as_deref().is_some_and(|id| !id.contains('\\'));
    target.kind == EntityKind::User && (by_id || target.upn.is_some())
}

/// What `entity` says that its account is called, in lower case. `EXAMPLE\alice` beside `alice@example.com` in one alert is
/// one person, once by who was logged on and once by what was seen, if the latter says so: others have the name elsewhere.
fn own_account(entity: Fields<'_>) -> Option<String> {
    let person = Some(entity.object("userAccount")).filter(|person| !person.is_empty()).unwrap_or(entity);
    let name = person.first_text(&["accountName", "Name"]);
    domain_account(person.first_text(&["NTDomain", "domainName"]), name.as_deref()).map(|own| own.to_lowercase())
}

/// What a user who is known by more may be called in the directory's own domain, in lower case.
fn account_names(target: &Target) -> Vec<String> {
    if !is_known_by_more(target) {
        return Vec::new();
    }
    let local = target.upn.as_deref().and_then(|upn| upn.split('@').next());
    target.name.as_deref().into_iter().chain(local).map(str::to_lowercase).collect()
}

/// An account of the machine itself (`VM1\root` on VM1) is in no directory: nobody can be looked up by it.
fn forget_local(target: &mut Target, machines: &[String]) {
    let local = |id: &str| id.split_once('\\').is_some_and(|(domain, _)| machines.contains(&domain.to_lowercase()));
    if target.kind == EntityKind::User && target.id.as_deref().is_some_and(local) {
        target.id = None;
    }
}

/// The accounts that the details name: by principal names; by a SID or as `DOMAIN\user` where nobody is known otherwise.
fn named(record: &Record, targets: &[Target]) -> Vec<Target> {
    let details: Vec<_> = record.details.iter().map(|(name, value)| (fold_key(name), value)).collect();
    let of = |wanted: &'static str| details.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| *value);
    let accounts: Vec<&String> = ACCOUNT_DETAILS.iter().copied().flat_map(of).collect();
    let principals = record.details.get("compromisedEntity").into_iter().chain(accounts.iter().copied());
    let principals: Vec<Target> =
        principals.filter(|name| is_principal(name)).map(|upn| user(None, Some(upn.clone()), None)).collect();
    if targets.iter().chain(&principals).any(|target| target.kind == EntityKind::User && can_be_told(target)) {
        return principals;
    }
    let account = accounts.into_iter().find(|name| is_domain_account(name));
    let id = of(SID_DETAIL).find(|sid| is_sid(sid)).or(account);
    id.map(|id| user(Some(id.clone()), None, account.cloned())).into_iter().collect()
}

/// Whether it is no person, or one with a name to look up.
fn can_be_told(target: &Target) -> bool {
    target.kind != EntityKind::User || target.id.is_some() || target.upn.is_some()
}

fn add(record: &mut Record, target: Target) {
    if !can_be_told(&target) {
        let field = format!("targets[{}]", record.targets.len());
        record.problems.push(Problem::at(ProblemCode::TargetWithoutIdentity, field, ""));
    }
    record.targets.push(target);
}

/// Whether one of `targets` is it already: the same thing, a machine of the same name, or a person of the same principal
/// name or id.
fn is_there(targets: &[Target], target: &Target) -> bool {
    let same = |one: &Option<String>, other: &Option<String>| {
        one.as_deref().zip(other.as_deref()).is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
    };
    targets.iter().any(|other| {
        other.kind == target.kind
            && (other == target
                || target.kind == EntityKind::Host && target.id.is_none() && same(&other.name, &target.name)
                || target.kind == EntityKind::User && (same(&other.upn, &target.upn) || same(&other.id, &target.id)))
    })
}

fn listed(fields: Fields<'_>) -> impl Iterator<Item = Cow<'_, Value>> {
    ["Entities", "evidence", "userStates"].into_iter().filter_map(move |name| fields.get(name)).map(opened)
}

/// An entity of Defender; one that does not say what it is, is what the place says where it stands.
fn defender(entity: Fields<'_>, place: Option<&str>) -> Option<Target> {
    let kind = entity.text("Type").or_else(|| place.map(str::to_owned))?.to_ascii_lowercase();
    let thing = |kind, id: Option<String>, name: Option<String>| {
        (id.is_some() || name.is_some()).then_some(Target { kind, id, upn: None, name })
    };
    match kind.as_str() {
        "account" | "securityprincipal" => Some(account(entity)),
        // Of a message with several recipients there are as many entities.
        "mailbox" | "mailmessage" | "submissionmail" => {
            let upn = entity.first_text(&["Upn", "MailboxPrimaryAddress", "Recipient"]);
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

/// `Name@UPNSuffix`, or a name that is a principal name by itself, beside which some write the suffix too. A local or a domain
/// account has neither.
fn account(entity: Fields<'_>) -> Target {
    let name = entity.text("Name");
    let alone = name.as_deref().filter(|name| !name.contains('@'));
    let joined = alone.zip(entity.text("UPNSuffix")).map(|(name, suffix)| format!("{name}@{suffix}"));
    let upn =
        joined.or_else(|| entity.text("UserPrincipalName")).or_else(|| name.clone().filter(|name| is_principal(name)));
    let domain = domain_account(entity.text("NTDomain"), name.as_deref());
    let id = entity.text("AadUserId").or_else(|| local(entity.text("Sid"), domain.as_ref()).filter(|_| upn.is_none()));
    user(id, upn, entity.text("DisplayName").or(domain).or(name))
}

/// An alert of Defender for Endpoint's own interface names its machine, who was logged on there, and one it is related to,
/// outside of its evidence.
fn endpoint(outer: Fields<'_>) -> Vec<Target> {
    let machine = outer.get("computerDnsName").map(|_| graph(outer)).unwrap_or_default();
    let related = outer.object("relatedUser");
    let related = domain_account(related.text("domainName"), related.text("userName").as_deref());
    let related = related.filter(|account| is_domain_account(account));
    machine.into_iter().chain(related.map(|account| user(Some(account.clone()), None, Some(account)))).collect()
}

/// A piece of Graph's or of Defender for Endpoint's evidence, or one of Graph's legacy user states; and who was logged on to a
/// machine.
fn graph(entity: Fields<'_>) -> Vec<Target> {
    let logged_on = entity.get("loggedOnUsers").and_then(Value::as_array);
    let logged_on = logged_on.into_iter().flatten().filter_map(|of| {
        let of = Fields::of(of);
        let account = domain_account(of.text("domainName"), of.text("accountName").as_deref());
        let account = account.filter(|account| is_domain_account(account))?;
        Some(user(Some(account.clone()), None, Some(account)))
    });
    piece(entity).into_iter().chain(logged_on).collect()
}

fn piece(entity: Fields<'_>) -> Option<Target> {
    // The account stands in an object of its own, or its fields among those of the piece.
    let inside = Some(entity.object("userAccount")).filter(|account| !account.is_empty());
    let person = inside.unwrap_or(entity);
    let upn = person.text("userPrincipalName");
    let domain = domain_account(person.text("domainName"), person.text("accountName").as_deref());
    let by_account = local(person.text("userSid"), domain.as_ref());
    if inside.is_some() || upn.is_some() || by_account.is_some() {
        let id = person.first_text(&["azureAdUserId", "aadUserId"]).or(by_account.filter(|_| upn.is_none()));
        return Some(user(id, upn, person.first_text(&["displayName", "accountName"])));
    }
    let (kind, name) = [
        (EntityKind::Host, entity.first_text(&["deviceDnsName", "hostName", "computerDnsName"])),
        (EntityKind::Ip, entity.text("ipAddress")),
        (EntityKind::Process, entity.text("processCommandLine")),
        (EntityKind::File, entity.object("fileDetails").text("fileName").or_else(|| entity.text("fileName"))),
        (EntityKind::Url, entity.text("url")),
        (EntityKind::Mailbox, entity.first_text(&["primaryAddress", "recipientEmailAddress"])),
        (EntityKind::App, entity.text("displayName").filter(|_| entity.get("appId").is_some())),
    ]
    .into_iter()
    .find_map(|(kind, name)| Some((kind, name?)))?;
    let upn = (kind == EntityKind::Mailbox).then(|| name.clone());
    let id = entity.first_text(&["azureAdDeviceId", "appId"]);
    Some(Target { kind, id, upn, name: Some(name) })
}

fn user(id: Option<String>, upn: Option<String>, name: Option<String>) -> Target {
    Target { kind: EntityKind::User, id, upn, name }
}

/// What somebody without a principal name and an object id is known by, as the people file may have it.
fn local(sid: Option<String>, account: Option<&String>) -> Option<String> {
    sid.filter(|sid| is_sid(sid)).or_else(|| account.filter(|account| is_domain_account(account)).cloned())
}

fn domain_account(domain: Option<String>, name: Option<&str>) -> Option<String> {
    domain.zip(name).map(|(domain, name)| format!("{domain}\\{name}"))
}

/// A person's.
fn is_sid(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    SIDS_OF_PEOPLE.iter().any(|start| text.starts_with(start))
}

/// `EXAMPLE\alice`. Not `NT AUTHORITY\SYSTEM` and the like, whose domains no domain can be called; not a path, nor a machine.
fn is_domain_account(text: &str) -> bool {
    let Some((domain, name)) = text.split_once('\\') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || "\\/:@".contains(c));
    plain(domain) && plain(name) && !name.ends_with('$')
}

/// `alice@example.com`, not a path and not a sentence.
fn is_principal(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '/' || c == '\\');
    plain(local) && plain(domain) && domain.contains('.') && !field::is_placeholder(text)
}
