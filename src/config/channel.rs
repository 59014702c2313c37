//! Owns the building of `[channel.*]`: one function per `type`.

use std::sync::Arc;

use super::ChannelSettings;
use super::build::{below, integer, span};
use super::reading::Reading;
use super::{azure, values};
use crate::channels::ration::Rate;
use crate::channels::tls::Identity;
use crate::channels::{self, graph, smtp, webhook};
use crate::compose;
use crate::secret::Secret;

/// `[channel.*]`.
pub(super) fn channels(reading: &mut Reading<'_>) -> Vec<ChannelSettings> {
    let names = below(reading, "channel");
    if names.is_empty() {
        reading.fault("channel", "is missing: add [channel.NAME] with type = \"smtp\", relay and from");
    }
    names.iter().filter_map(|name| one_channel(reading, name)).collect()
}

/// Names of all channels, those with faults included.
pub(super) fn names(reading: &Reading<'_>) -> Vec<Arc<str>> {
    below(reading, "channel").into_iter().map(Arc::from).collect()
}

/// Names of those that are rooms, those with faults included.
pub(super) fn rooms(reading: &mut Reading<'_>) -> Vec<Arc<str>> {
    let names = names(reading);
    let is_room = |name: &Arc<str>| {
        let kind = reading.text(&format!("channel.{name}.type"));
        kind.is_some_and(|kind| channels::ROOMS.contains(&kind.as_str()))
    };
    names.into_iter().filter(is_room).collect()
}

fn one_channel(reading: &mut Reading<'_>, name: &str) -> Option<ChannelSettings> {
    match reading.text(&format!("channel.{name}.type"))?.as_str() {
        "graph-mail" => graph_mail(reading, name),
        "webhook" => webhook(reading, name),
        _ => smtp(reading, name),
    }
}

fn smtp(reading: &mut Reading<'_>, name: &str) -> Option<ChannelSettings> {
    let at = |key: &str| format!("channel.{name}.{key}");
    let relays = reading.many(&at("relay"), values::relay);
    let of_relays = relays.as_deref().unwrap_or_default();
    if of_relays.iter().enumerate().any(|(index, relay)| of_relays.iter().take(index).any(|other| other == relay)) {
        reading.fault(&at("relay"), "names the same relay twice: the second one is for when the first is down");
    }
    let auth = smtp_auth(reading, &at("auth"));
    if auth.is_some() && of_relays.iter().any(|relay| relay.security == smtp::Security::Plain) {
        reading.fault(&at("auth"), "would send the password in the clear: use an smtps:// or smtp:// relay");
    }
    let envelope_from = reading
        .one(&at("envelope_from"), values::envelope_from)
        .or_else(|| reading.one(&at("from"), values::mailbox).map(|address| address.to_string()));
    let sender = sender(reading, name);
    let ca_file = reading.file(&at("ca_file"));
    let identity = identity(reading, &format!("channel.{name}"));
    let hello = reading.one(&at("hello"), values::host);
    let connections = reading.one(&at("connections"), integer);
    let messages = reading.one(&at("messages_per_connection"), integer);
    let age = reading.one(&at("connection_age"), span);
    let idle = reading.one(&at("connection_idle"), span);
    let rates = rates(reading, name);
    let retry = reading.many(&at("retry"), span);
    let settings = smtp::Settings {
        relays: relays?,
        auth,
        ca_file,
        identity,
        hello,
        envelope_from: envelope_from?,
        connections: connections?,
        timeouts: timeouts(reading, &at("timeouts")),
        limits: smtp::Limits { messages: messages?, age: age?, idle: idle? },
        rates,
    };
    Some(ChannelSettings {
        name: name.into(),
        sender: Some(sender?),
        retry: retry?,
        settings: channels::Settings::Smtp(settings),
        fallback: Vec::new(),
    })
}

fn graph_mail(reading: &mut Reading<'_>, name: &str) -> Option<ChannelSettings> {
    let at = |key: &str| format!("channel.{name}.{key}");
    let mailbox = reading.text(&at("mailbox")).or_else(|| {
        let from = reading.one(&at("from"), values::mailbox)?;
        Some(from.to_string())
    });
    let auth = azure::oauth2(reading, &at("auth.oauth2"));
    let connections = reading.one(&at("connections"), integer);
    let sender = sender(reading, name);
    let retry = reading.many(&at("retry"), span);
    let rates = rates(reading, name);
    let settings = graph::Settings { mailbox: mailbox?, auth: auth?, connections: connections?, rates };
    let settings = channels::Settings::GraphMail(settings);
    Some(ChannelSettings { name: name.into(), sender: Some(sender?), retry: retry?, fallback: Vec::new(), settings })
}

fn webhook(reading: &mut Reading<'_>, name: &str) -> Option<ChannelSettings> {
    let path = format!("channel.{name}");
    let at = |key: &str| format!("{path}.{key}");
    let web = azure::reach(reading, &path);
    let url = reading.secret_source(&at("url"));
    let mut optional = |key: &str| {
        let (here, file) = (at(key), at(&format!("{key}_file")));
        (reading.is_set(&here) || reading.is_set(&file)).then(|| reading.secret_source(&here)).flatten()
    };
    let (secret, authorization) = (optional("secret"), optional("authorization"));
    let headers = reading.map(&at("headers")).into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
    let content_type = reading.text(&at("content_type"));
    let connections = reading.one(&at("connections"), integer);
    let retry = reading.many(&at("retry"), span);
    let settings = webhook::Settings {
        url: url?,
        secret,
        authorization,
        headers,
        content_type: content_type?,
        web,
        connections: connections?,
        rates: rates(reading, name),
    };
    if let Err((key, what)) = settings.check() {
        reading.fault(&at(&key), what);
    }
    let settings = channels::Settings::Webhook(settings);
    Some(ChannelSettings { name: name.into(), sender: None, retry: retry?, fallback: Vec::new(), settings })
}

/// How many may go out in a span of time.
fn rates(reading: &mut Reading<'_>, name: &str) -> Vec<Rate> {
    reading.many(&format!("channel.{name}.rate"), values::rate).unwrap_or_default()
}

/// What is the same in every mail of a personal channel.
fn sender(reading: &mut Reading<'_>, name: &str) -> Option<compose::Sender> {
    let at = |key: &str| format!("channel.{name}.{key}");
    let from = reading.text(&at("from"));
    let reply_to = reading.text(&at("reply_to"));
    let redirect_to = reading.text(&at("redirect_to"));
    if redirect_to.is_some() {
        reading.warn(&at("redirect_to"), "is set: every mail goes there and none to the person concerned");
    }
    Some(compose::Sender { from: from?, reply_to, redirect_to })
}

fn smtp_auth(reading: &mut Reading<'_>, path: &str) -> Option<smtp::Auth> {
    if !reading.is_set(path) && reading.names(path).is_empty() {
        return None;
    }
    let [user, password, oauth2] = ["user", "password", "oauth2"].map(|key| format!("{path}.{key}"));
    let has_password = reading.is_set(&password) || reading.is_set(&format!("{password}_file"));
    let has_token = reading.is_set(&oauth2) || !reading.names(&oauth2).is_empty();
    if has_password && has_token {
        reading.fault(&oauth2, "is set and so is a password: keep one");
    }
    let user = reading.text(&user);
    let proof = if has_token {
        azure::oauth2(reading, &oauth2).map(Box::new).map(smtp::Proof::Token)
    } else {
        reading.secret_source(&password).map(smtp::Proof::Password)
    };
    Some(smtp::Auth { user: user?, proof: proof? })
}

/// A client certificate: both files or none.
pub(super) fn identity(reading: &mut Reading<'_>, path: &str) -> Option<Identity> {
    let [cert_file, key_file] = ["cert_file", "key_file"].map(|key| format!("{path}.{key}"));
    match (reading.is_set(&cert_file), reading.is_set(&key_file)) {
        (true, false) => reading.fault(&cert_file, "needs its key: add `key_file = \"…\"`"),
        (false, true) => reading.fault(&key_file, "needs its certificate: add `cert_file = \"…\"`"),
        _ => {}
    }
    Some(Identity { cert_file: reading.file(&cert_file)?, key_file: reading.file(&key_file)? })
}

/// Ours, but for what is set.
fn timeouts(reading: &mut Reading<'_>, path: &str) -> smtp::Timeouts {
    let smtp::Timeouts { resolve, connect, tls, greeting, hello, auth, mail, rcpt, data, body, dot } =
        smtp::Timeouts::default();
    let mut of = |phase: &str, ours| reading.one(&format!("{path}.{phase}"), span).unwrap_or(ours);
    smtp::Timeouts {
        resolve: of("resolve", resolve),
        connect: of("connect", connect),
        tls: of("tls", tls),
        greeting: of("greeting", greeting),
        hello: of("hello", hello),
        auth: of("auth", auth),
        mail: of("mail", mail),
        rcpt: of("rcpt", rcpt),
        data: of("data", data),
        body: of("body", body),
        dot: of("dot", dot),
    }
}
