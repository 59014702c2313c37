//! Owns the building of each part's settings from the laid-out layers, and the checks between keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Log;
use super::reading::Reading;
use super::tables::{Lists, expand};
use super::values;
pub(super) use super::values::Addressee;
use crate::compose::templates::{BUILT_IN, LAYOUT, SHIPPED};
use crate::record::own;
use crate::{compose, people, rules, source, store};

/// Any length: the schema has checked the limits of each key.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    values::span(text, Duration::ZERO, Duration::MAX)
}

pub(super) fn integer(text: &str) -> Result<usize, String> {
    values::integer(text, 0, u64::MAX).and_then(|number| usize::try_from(number).map_err(|_| "is too large".into()))
}

/// Names of the tables or keys below a section, those with faults included.
pub(super) fn below(reading: &Reading<'_>, section: &str) -> Vec<String> {
    let mut names = reading.names(section);
    let placed = reading.places.files.keys().filter_map(|path| path.strip_prefix(section)?.strip_prefix('.'));
    names.extend(placed.filter(|name| !name.contains('.')).map(str::to_owned));
    names.sort();
    names.dedup();
    names
}

/// `[policy.*]`. A policy with a fault is there without what is at fault.
pub(super) fn policies(reading: &mut Reading<'_>) -> BTreeMap<Arc<str>, rules::Policy> {
    let mut policies = BTreeMap::new();
    for name in below(reading, "policy") {
        let at = |key: &str| format!("policy.{name}.{key}");
        if !reading.is_set(&at("group")) && !reading.is_set(&at("throttle")) {
            reading.fault(&format!("policy.{name}"), "says nothing: add `group = { … }`, `throttle = { … }` or both");
        }
        let by = reading.many(&at("group.by"), |field| Ok(Arc::from(field)));
        let wait = reading.one(&at("group.wait"), span);
        let throttle = throttle(reading, &at("throttle"));
        let name: Arc<str> = name.into();
        let group = by.zip(wait).map(|(by, wait)| rules::Group { policy: name.clone(), by, wait });
        policies.insert(name, rules::Policy { group, throttle });
    }
    policies
}

fn throttle(reading: &mut Reading<'_>, path: &str) -> Option<rules::Throttle> {
    let max = reading.one(&format!("{path}.max"), |text| text.parse::<u32>().map_err(|error| error.to_string()));
    let per = reading.one(&format!("{path}.per"), span);
    let overflow = reading.text(&format!("{path}.overflow"))?;
    if overflow != "hold" {
        let message = format!("is \"{overflow}\", which is not built yet: use \"hold\"");
        reading.fault(&format!("{path}.overflow"), message);
    }
    Some(rules::Throttle { max: max?, per: per? })
}

/// `[source.*]`.
pub(super) fn sources(reading: &mut Reading<'_>) -> Vec<source::Settings> {
    let names = below(reading, "source");
    if names.iter().any(|name| name == own::SOURCE) {
        reading.fault("source.auditbell", "is the name of our own records' source: give it another");
    }
    if names.is_empty() {
        reading.fault("source", "is missing: add [source.NAME] with brokers and topics");
    }
    let sources: Vec<_> = names.iter().filter_map(|name| one_source(reading, name)).collect();
    for (index, one) in sources.iter().enumerate() {
        for other in sources.get(index + 1..).unwrap_or_default() {
            if let Some(topic) = shared_topic(one, other) {
                let message = format!(
                    "reads topic `{topic}` in the group that [source.{}] reads it in: each record would reach only one of \
                     them; give one another group_id",
                    one.name
                );
                reading.fault(&format!("source.{}.topics", other.name), message);
            }
        }
    }
    sources
}

/// A topic that two sources of one cluster read in one group. One broker in common makes it one cluster.
fn shared_topic<'a>(one: &'a source::Settings, other: &source::Settings) -> Option<&'a str> {
    let brokers =
        |of: &source::Settings| of.brokers.split(',').map(|broker| broker.trim().to_lowercase()).collect::<Vec<_>>();
    let theirs = brokers(other);
    let same_cluster = brokers(one).iter().any(|broker| theirs.contains(broker));
    let same_group = one.group_id == other.group_id;
    one.topics.iter().find(|topic| same_cluster && same_group && other.topics.contains(topic)).map(String::as_str)
}

fn one_source(reading: &mut Reading<'_>, name: &str) -> Option<source::Settings> {
    let at = |key: &str| format!("source.{name}.{key}");
    let brokers = reading.text(&at("brokers"));
    let topics = reading.many(&at("topics"), |topic| Ok(topic.to_owned()));
    if let Some(twice) = topics.as_deref().and_then(first_twice) {
        reading.fault(&at("topics"), format!("names `{twice}` twice: keep one"));
    }
    let group_id = reading.text(&at("group_id"));
    let start = reading.one(&at("start"), values::start);
    let on_lost_store = reading.one(&at("on_lost_store"), |text| match text {
        "committed" => Ok(source::OnLostStore::Committed),
        "replay" => Ok(source::OnLostStore::Replay),
        _ => Ok(source::OnLostStore::Refuse),
    });
    let auth = sasl(reading, &at("auth"));
    let tls = tls(reading, &at("tls"));
    if auth.is_some() && tls.is_none() {
        reading.warn(&at("auth"), "goes over the network without TLS: add `tls = {}`");
    }
    let kafka = reading.map(&at("kafka"));
    let before = reading.faults.len();
    for key in kafka.keys() {
        let path = format!("{}.{key}", at("kafka"));
        if source::RESERVED.binary_search(&key.as_str()).is_ok() {
            reading.fault(&path, "is owned by auditbell: leave it out, or use the source's own keys");
        } else if ["password", "secret", "pem"].iter().any(|word| key.contains(word)) {
            reading.fault(&path, "holds a secret, and these would be printed: use auth = { … } or tls = { … }");
        }
    }
    let ours_alone = reading.faults.len() == before;
    let settings = source::Settings {
        name: name.into(),
        brokers: brokers?,
        topics: topics?,
        group_id: group_id?,
        start: start?,
        auth,
        tls,
        on_lost_store: on_lost_store?,
        kafka,
    };
    // Not with a reserved one among them: some of those act as soon as they are set.
    if ours_alone && let Err(refusal) = source::properties(&settings) {
        reading.fault(&at(&refusal.key), refusal.reason);
    }
    Some(settings)
}

fn first_twice(texts: &[String]) -> Option<&str> {
    texts
        .iter()
        .enumerate()
        .find(|(index, text)| texts.iter().take(*index).any(|other| other == *text))
        .map(|(_, text)| text.as_str())
}

fn sasl(reading: &mut Reading<'_>, path: &str) -> Option<source::Sasl> {
    if !reading.is_set(path) && reading.names(path).is_empty() {
        return None;
    }
    let mechanism = reading.text(&format!("{path}.mechanism"));
    let user = reading.text(&format!("{path}.user"));
    let password = reading.secret(&format!("{path}.password"));
    Some(source::Sasl { mechanism: mechanism?, user: user?, password: password? })
}

fn tls(reading: &mut Reading<'_>, path: &str) -> Option<source::Tls> {
    if !reading.is_set(path) {
        return None;
    }
    let [ca_file, cert_file, key_file] =
        ["ca_file", "cert_file", "key_file"].map(|key| reading.file(&format!("{path}.{key}")));
    match (reading.is_set(&format!("{path}.cert_file")), reading.is_set(&format!("{path}.key_file"))) {
        (true, false) => reading.fault(&format!("{path}.cert_file"), "needs its key: add `key_file = \"…\"`"),
        (false, true) => reading.fault(&format!("{path}.key_file"), "needs its certificate: add `cert_file = \"…\"`"),
        _ => {}
    }
    Some(source::Tls { ca_file, cert_file, key_file })
}

/// `[store]`. A relative path starts at `state`, else at the working directory.
pub(super) fn store(reading: &mut Reading<'_>, state: Option<PathBuf>) -> Option<store::Settings> {
    let path = reading.one("store.url", values::sqlite_path);
    let ledger = reading.one("store.ledger", span);
    let content = reading.one("store.content", span);
    if content > ledger && ledger.is_some() {
        reading.fault("store.content", "is longer than `ledger`: a body cannot outlive its row");
    }
    let path = state.unwrap_or_default().join(path?);
    Some(store::Settings { path, ledger: ledger?, content: content? })
}

/// `[people] fallback`, not yet expanded.
pub(super) fn fallback(reading: &mut Reading<'_>) -> Vec<Addressee> {
    reading.many("people.fallback", values::addressee).unwrap_or_default()
}

/// `[people]`. `lists` to expand the fallback.
pub(super) fn people(reading: &mut Reading<'_>, lists: &Lists) -> Option<people::Settings> {
    let allow_domains = reading.many("people.allow_domains", values::domain);
    let csv = reading.file("people.csv");
    let mut fallback: Vec<Arc<str>> = Vec::new();
    for addressee in self::fallback(reading) {
        fallback.extend(expand(reading, "people.fallback", addressee, lists));
    }
    fallback.sort();
    fallback.dedup();
    let wait = reading.one("people.wait", span);
    let max_rows = reading.one("people.max_rows", integer);
    Some(people::Settings { allow_domains: allow_domains?, csv, fallback, wait: wait?, max_rows: max_rows? })
}

/// `[log]`.
pub(super) fn log(reading: &mut Reading<'_>) -> Option<Log> {
    let format = reading.text("log.format");
    let level = reading.text("log.level");
    Some(Log { json: format? == "json", level: level? })
}

/// `[brand]`.
pub(super) fn brand(reading: &mut Reading<'_>) -> compose::Brand {
    compose::Brand {
        name: reading.text("brand.name"),
        address: reading.text("brand.address"),
        logo_file: reading.file("brand.logo_file"),
        helpdesk_url: reading.text("brand.helpdesk_url"),
        security_contact: reading.text("brand.security_contact"),
        report_url: reading.text("brand.report_url"),
        review_url: reading.text("brand.review_url"),
    }
}

/// `[templates] dir`.
pub(super) fn templates(reading: &mut Reading<'_>) -> Option<PathBuf> {
    let directory = reading.path("templates.dir")?;
    if !directory.is_dir() {
        reading.fault(
            "templates.dir",
            format!("`{}` is not a directory: create it or correct the path", directory.display()),
        );
        return None;
    }
    Some(directory)
}

/// What a rule may name: the shipped templates and the folders of `dir`, but those that are no template or that the daemon
/// itself chooses; and which of them have a body and no part of a mail. `None` where the folder cannot be listed: there is a
/// fault already.
pub(super) fn template_names(dir: Option<&Path>) -> Option<(Vec<String>, Vec<String>)> {
    let mut names: Vec<String> = SHIPPED.iter().map(|name| (*name).to_owned()).collect();
    let mut for_rooms = Vec::new();
    for entry in dir.map(std::fs::read_dir).transpose().ok()?.into_iter().flatten() {
        let folder = entry.ok()?.path();
        let name = folder.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default().to_owned();
        if folder.is_dir() && name != LAYOUT && !BUILT_IN.contains(&name.as_str()) && !names.contains(&name) {
            let has = |part: &str| folder.join(format!("{part}.hbs")).exists();
            if has("body") && !["subject", "html", "text"].into_iter().any(has) {
                for_rooms.push(name.clone());
            }
            names.push(name);
        }
    }
    Some((names, for_rooms))
}

/// Every address of ours that mail would go to must be one that may be mailed (design invariant 9).
pub(super) fn allowed(reading: &mut Reading<'_>, people: &people::Settings, lists: &Lists) {
    let mut all: Vec<(String, Arc<str>)> = Vec::new();
    for addressee in fallback(reading) {
        match addressee {
            Addressee::Address(address) => all.push(("people.fallback".into(), address)),
            Addressee::List(name) => {
                let entries = lists.get(name.as_str()).into_iter().flatten();
                all.extend(entries.map(|entry| (format!("list.{name}"), entry.text.clone())));
            }
        }
    }
    for name in reading.names("channel") {
        let path = format!("channel.{name}.redirect_to");
        all.extend(reading.one(&path, values::address).map(|address| (path, address)));
    }
    for (path, address) in all {
        if people::address::deliverable(&address, &people.allow_domains).is_err() {
            reading.fault(&path, outside(&address));
        }
    }
}

/// What to say of an address that does not. Names the domain alone: faults are logged.
pub(super) fn outside(address: &str) -> String {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    format!(
        "`{domain}` is not in people.allow_domains, so nothing would be mailed there: add the domain or change the address"
    )
}
