//! Owns the text forms of values: each function reads one kind of text; its error follows the key ("must be …") and
//! repeats nothing that may hold a secret.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::channels::ration::Rate;
use crate::channels::smtp::{Relay, Security};
use crate::clock::{Timestamp, parse_duration};
use crate::nearest::nearest;
use crate::network::Network;
use crate::people::address;
use crate::source::Start;

pub(super) fn integer(text: &str, min: u64, max: u64) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {min} to {max}")),
    }
}

pub(super) fn span(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let span = parse_duration(text)?;
    if (min..=max).contains(&span) {
        Ok(span)
    } else {
        Err(format!("must be from {} to {}", in_words(min), in_words(max)))
    }
}

pub(super) fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "must be true or false".into())
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(str::to_owned)
}

fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        _ if seconds > 0 && seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds > 0 && seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ => format!("{seconds}s"),
    }
}

pub(super) fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text) {
        return Ok(());
    }
    Err(match nearest(text, words.iter().copied()) {
        Some(near) => format!("must be one of {}; did you mean `{near}`?", words.join(", ")),
        None => format!("must be one of {}", words.join(", ")),
    })
}

/// A place to read from, in the words of `[source.*] start`: `earliest`, `latest`, `-1h`, or a time.
pub fn start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if let Some(ago) = text.strip_prefix('-').and_then(|ago| parse_duration(ago).ok()) {
        return Ok(Start::Ago(ago));
    }
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Ok(Start::At(Timestamp::from_millis(at.as_millisecond()))),
        Err(_) => {
            Err("must be earliest, latest, a span before now (\"-1h\") or a time (\"2026-01-22T18:00:00Z\")".into())
        }
    }
}

/// `host:port`, comma separated.
pub(super) fn brokers(text: &str) -> Result<(), String> {
    let all_good = text.split(',').all(|broker| {
        broker.trim().rsplit_once(':').is_some_and(|(name, port)| host(name).is_ok() && port_number(port).is_some())
    });
    if all_good { Ok(()) } else { Err("must be host:port, several separated by commas".into()) }
}

fn port_number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

/// The path behind `sqlite:`.
pub(super) fn sqlite_path(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with(':') && !path.starts_with("//") => Ok(path.into()),
        _ => Err("must be sqlite:PATH, e.g. \"sqlite:auditbell.db\"; nothing else is supported yet".into()),
    }
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address and a port, e.g. \"127.0.0.1:7410\" or \"[::1]:7410\"".into())
}

/// `smtps://host[:465]`, `smtp://host[:587]` or `smtp+plain://loopback[:25]`. A user or password in it is refused.
pub(super) fn relay(text: &str) -> Result<Relay, String> {
    const FORM: &str =
        "must be smtps://HOST[:PORT], smtp://HOST[:PORT] (STARTTLS required) or smtp+plain://127.0.0.1[:PORT]";
    let url = url::Url::parse(text).map_err(|_| FORM.to_owned())?;
    let (security, standard) = match url.scheme() {
        "smtps" => (Security::Implicit, 465),
        "smtp" => (Security::StartTls, 587),
        "smtp+plain" => (Security::Plain, 25),
        _ => return Err(FORM.into()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password: write auth = { user = \"…\", password_file = \"…\" }".into());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() || url.port() == Some(0) {
        return Err(FORM.into());
    }
    let name = host(url.host_str().unwrap_or_default()).map_err(|_| FORM.to_owned())?;
    if security == Security::Plain && !is_loopback(&name) {
        return Err("may name only the loopback address with smtp+plain://: use smtps:// or smtp://".into());
    }
    Ok(Relay { security, host: name, port: url.port().unwrap_or(standard) })
}

/// `30/m`, `500/10m`, `10000/d`: a number and a span, whose 1 may be left out.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    const FORM: &str = "must be a number and a span, from 1s to 30d, e.g. \"30/m\", \"500/10m\" or \"10000/d\"; the number at most 10000000";
    let (count, unit) = text.split_once('/').ok_or(FORM)?;
    let unit = if unit.starts_with(|c: char| c.is_ascii_digit()) { unit.to_owned() } else { format!("1{unit}") };
    let limits = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
    let span = parse_duration(&unit).ok().filter(|span| limits.contains(span)).ok_or(FORM)?;
    let count = count.parse().ok().filter(|count| (1..=10_000_000).contains(count)).ok_or(FORM)?;
    Ok(Rate { count, span })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// A host name in A-labels, or an address without its brackets.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    match idna::domain_to_ascii_strict(text) {
        Ok(name) if !name.is_empty() => Ok(name),
        _ => Err("must be a host name".into()),
    }
}

/// A domain in A-labels and lower case.
pub(super) fn domain(text: &str) -> Result<String, String> {
    address::domain(text).map_err(|_| "must be a domain, e.g. \"example.com\"".into())
}

/// One address, the domain in A-labels and lower case.
pub(super) fn address(text: &str) -> Result<Arc<str>, String> {
    address::parse(text).map_err(|_| "must be an address, e.g. \"soc@example.com\"".into())
}

/// An address in which `{id}` may stand once before the `@`, for a message's key.
pub(super) fn envelope_from(text: &str) -> Result<String, String> {
    const KEY: &str = "0123456789abcdef0123456789abcdef";
    let fits = |filled: &str| address::parse(filled).ok().map(|filled| filled.replace(KEY, "{id}"));
    let (local, _) = text.rsplit_once('@').unwrap_or_default();
    let once = local.is_ascii() && local.matches("{id}").count() == text.matches("{id}").count().min(1);
    fits(&text.replace("{id}", KEY)).filter(|_| once).ok_or_else(|| {
        "must be an address, ASCII before the @, {id} in there at most once, e.g. \"bounce+{id}@example.com\"".into()
    })
}

/// `Name <address>` or an address: the address alone. It is ours, so every relay must understand it.
pub(super) fn mailbox(text: &str) -> Result<Arc<str>, String> {
    let ours = address::mailbox(text).ok().map(|mailbox| mailbox.address).filter(|address| address.is_ascii());
    ours.ok_or_else(|| {
        "must be an address or \"Name <address>\", e.g. \"Example Security <security@example.com>\"".into()
    })
}

pub(super) fn url(text: &str, schemes: &[&str]) -> Result<(), String> {
    match url::Url::parse(text) {
        Ok(url) if schemes.contains(&url.scheme()) && (url.has_host() || url.scheme() == "mailto") => Ok(()),
        _ => Err(format!("must be a whole link that begins with {}:", schemes.join(": or "))),
    }
}

/// How to reach somebody: an address, a link, or a telephone number.
pub(super) fn contact(text: &str) -> Result<(), String> {
    let telephone = text.chars().any(|c| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | ' ' | '(' | ')' | '/' | '.'));
    if telephone || address(text).is_ok() || url(text, &["https", "http", "mailto"]).is_ok() {
        return Ok(());
    }
    Err("must be an address, a link or a telephone number".into())
}

pub(super) fn log_filter(text: &str) -> Result<(), String> {
    tracing_subscriber::EnvFilter::try_new(text).map(drop).map_err(|_| {
        "must be error, warn, info, debug, trace, or a filter such as \"info,auditbell::source=debug\"".into()
    })
}

/// Whom a notification goes to that reaches nobody else.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Addressee {
    List(String),
    Address(Arc<str>),
}

pub(super) fn addressee(text: &str) -> Result<Addressee, String> {
    match text.strip_prefix("list:") {
        Some(name) => Ok(Addressee::List(name.to_owned())),
        None => address(text).map(Addressee::Address).map_err(|_| "must be \"list:NAME\" or an address".into()),
    }
}
