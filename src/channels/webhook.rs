//! Owns the `webhook` channel: one signed POST per message, after Standard Webhooks (standardwebhooks.com, version 1). Which
//! status is which verdict stands in [`judge`], and for people in `docs/webhook.md`.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;
use url::Url;

use super::breaker::Failure::Lasting;
use super::outcome::Outcome;
use super::past::Past;
use super::ration::Rate;
use super::web::failure::Standing;
use super::web::{self, Client, Endpoint, Judged, Leave, Request};
use super::{Attempt, Channel, Gate, Outgoing};
use crate::clock::Timestamp;
use crate::secret::{self, Secret};

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// A key shorter than this is refused: the specification's least, in bytes.
const SHORTEST_KEY: usize = 24;
/// The longest that the specification has.
const LONGEST_KEY: usize = 64;
/// Headers that are ours, or that HTTP's framing hangs on.
const OURS: &[&str] = &[
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "content-type",
    "authorization",
    "content-length",
    "transfer-encoding",
    "connection",
    "host",
    "expect",
    "te",
    "trailer",
    "upgrade",
];

/// `[channel.NAME]` with `type = "webhook"`. Its secrets are read for every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to POST; it may hold a signature.
    pub url: secret::Source,
    /// One or more of `whsec_` and a key in base64, spaces between them; each makes a signature, so that a key can be changed
    /// without a gap. `None`: unsigned.
    pub secret: Option<secret::Source>,
    /// The header `Authorization`.
    pub authorization: Option<secret::Source>,
    /// Further headers.
    pub headers: Vec<(String, Secret)>,
    /// Media type of the body.
    pub content_type: String,
    /// How the endpoint is reached.
    pub web: web::Settings,
    /// Most requests at once.
    pub connections: usize,
    /// How many may go out in a span of time.
    pub rates: Vec<Rate>,
}

impl Settings {
    /// The files that are read once.
    pub(super) fn files(&self) -> Vec<&Path> {
        self.web.files()
    }

    /// Whether URL, keys and headers are such that a request can be made. The fault: which key, and what is wrong with it.
    pub fn check(&self) -> Result<(), (String, String)> {
        self.read().map(drop)
    }

    /// What the secrets say now. The error repeats nothing of a value.
    fn read(&self) -> Result<Target, (String, String)> {
        let of = |key: &'static str| move |what: String| (key.to_owned(), what);
        let read = |source: Option<&secret::Source>, key| source.map(secret::Source::read).transpose().map_err(of(key));
        let text = self.url.read().map_err(of("url"))?;
        let url = url(text.expose(), self.web.allow_http).map_err(of("url"))?;
        let secret = read(self.secret.as_ref(), "secret")?;
        let keys = secret.map(|secret| keys(secret.expose())).transpose().map_err(of("secret"))?.unwrap_or_default();
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let header = header(name, value.expose());
            let (name, value) = header.map_err(|what| (format!("headers.{name}"), what.to_owned()))?;
            headers.insert(name, value);
        }
        if let Some(value) = read(self.authorization.as_ref(), "authorization")? {
            let value = web::value(value.expose()).map_err(|what| ("authorization".into(), what.to_owned()))?;
            headers.insert(AUTHORIZATION, value);
        }
        let value = media_type(&self.content_type).map_err(|what| ("content_type".into(), what.to_owned()))?;
        headers.insert(CONTENT_TYPE, value);
        Ok(Target { url, keys, headers })
    }
}

/// Where a request goes, and what it bears.
struct Target {
    url: Url,
    keys: Vec<Hmac<Sha256>>,
    headers: HeaderMap,
}

/// For the body of an answer, whose status has decided: one that never ends must not take the whole time of each message.
const BODY: Duration = Duration::from_secs(5);

/// The channel.
pub struct Webhook {
    endpoint: Endpoint,
    settings: Settings,
}

impl Webhook {
    /// The channel `name` (for logs and metrics). Fails on what the settings' files, URL, keys or headers do not allow.
    /// Connects to nobody yet.
    pub fn new(name: Arc<str>, settings: &Settings, limits: web::Limits) -> anyhow::Result<Self> {
        settings.check().map_err(|(key, what)| anyhow::anyhow!("{key} {what}"))?;
        let limits = web::Limits { body: limits.body.min(BODY), ..limits };
        let client = Client::new(&settings.web, limits, settings.connections)?;
        Ok(Self {
            endpoint: Endpoint::new(name, client, settings.connections, &settings.rates),
            settings: settings.clone(),
        })
    }

    /// The same, in the place of a channel with that `past`.
    #[must_use]
    pub fn after(mut self, past: &Past) -> Self {
        self.endpoint.resume(past.ration(&self.settings.rates));
        self
    }

    async fn post(&self, outgoing: &Outgoing, now: Timestamp) -> Attempt {
        let leave = match self.endpoint.enter(outgoing.urgent, now).await {
            Ok(leave) => leave,
            Err(attempt) => return attempt,
        };
        let judged = match self.settings.read() {
            Ok(target) => self.ask(&target, outgoing, &leave).await,
            Err((key, what)) => Judged::ours("auth", Lasting, format!("{key} {what}")),
        };
        self.endpoint.conclude(leave, judged, outgoing)
    }

    async fn ask(&self, target: &Target, outgoing: &Outgoing, leave: &Leave) -> Judged {
        let mut headers = target.headers.clone();
        let seconds = leave.now().as_millis().div_euclid(1_000);
        for (name, value) in signed(&target.keys, &outgoing.key, seconds, &outgoing.bytes) {
            // A key of ours is hex and the rest digits and base64.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let body = outgoing.bytes.clone();
        let request = Request { method: Method::POST, url: &target.url, headers, body, outgoing: Some(outgoing) };
        match self.endpoint.client.ask(request, leave.now()).await {
            Ok(answer) => {
                let told = format!("it answers with status {}", answer.status);
                Judged::answer(&answer, judge(answer.status), leave.now(), told)
            }
            Err(failure) => Judged::failure(&failure),
        }
    }
}

/// What a status means for the message, and for the endpoint. Total.
///
/// A webhook has an idempotency key, so whatever may have been a success and may not is sent again: there is nothing
/// ambiguous about a status.
#[must_use]
pub fn judge(status: u16) -> (Outcome, Standing) {
    match status {
        200..=299 => (Outcome::Sent, Standing::Works),
        // Never followed: whoever moved must be asked where to, and the body not be given to whom somebody else names.
        300..=399 => (Outcome::Hold("redirected"), Standing::Refuses),
        // Our key, our token: true of every message, unless it is a filter that dislikes this one.
        401 | 403 | 407 => (Outcome::Hold("auth"), Standing::Refuses),
        // The URL leads nowhere: so is this.
        404 | 405 | 421 => (Outcome::Hold("no-endpoint"), Standing::Refuses),
        // "The receiver no longer wants webhooks" (Standard Webhooks): waiting does not help this message.
        410 => (Outcome::Never("gone"), Standing::Works),
        // The same bytes would be refused again.
        400 | 406 | 415 | 422 => (Outcome::Never("content-refused"), Standing::Works),
        413 => (Outcome::Never("too-big"), Standing::Works),
        // Too much, or too early: hardly this message's fault, unless all others are taken.
        429 => (Outcome::Hold("throttled"), Standing::Doubtful),
        // Down, or nobody behind the gateway, unless all others are taken.
        502..=504 => (Outcome::Hold("unavailable"), Standing::Doubtful),
        // 408, 409, 425, 500 and all that nobody has thought of: it may be this message's fault.
        _ => (Outcome::Later, Standing::Works),
    }
}

/// The three headers of Standard Webhooks; without keys only the first two.
fn signed(keys: &[Hmac<Sha256>], id: &str, seconds: i64, body: &[u8]) -> Vec<(&'static str, String)> {
    let signature = |key: &Hmac<Sha256>| {
        let mut mac = key.clone();
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    let mut headers = vec![("webhook-id", id.to_owned()), ("webhook-timestamp", seconds.to_string())];
    if !keys.is_empty() {
        headers.push(("webhook-signature", keys.iter().map(signature).collect::<Vec<_>>().join(" ")));
    }
    headers
}

/// A URL that may be posted to. The reason repeats nothing of it.
pub fn url(text: &str, allow_http: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "must be a whole URL that begins with https://".to_owned())?;
    web::may_ask(&url, allow_http)?;
    Ok(url)
}

/// The keys behind one or more `whsec_`. The reason repeats nothing of them.
pub fn keys(secrets: &str) -> Result<Vec<Hmac<Sha256>>, String> {
    secrets.split_ascii_whitespace().map(key).collect()
}

fn key(secret: &str) -> Result<Hmac<Sha256>, String> {
    let form = || format!("must be {PREFIX} and {SHORTEST_KEY} to {LONGEST_KEY} bytes in base64");
    let encoded = secret.strip_prefix(PREFIX).ok_or_else(form)?;
    let bytes = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).map_err(|_| form())?;
    if !(SHORTEST_KEY..=LONGEST_KEY).contains(&bytes.len()) {
        return Err(form());
    }
    Hmac::new_from_slice(&bytes).map_err(|_| form())
}

/// `application/json` and the like (RFC 9110 8.3.1).
fn media_type(text: &str) -> Result<HeaderValue, &'static str> {
    let named = text.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
    if !named || !text.is_ascii() || text.starts_with(' ') {
        return Err("must be a media type such as \"application/json\"");
    }
    web::value(text)
}

/// A header of the configuration, none of ours among them. The reason repeats nothing of the value.
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return Err("is set by auditbell, or has a key of its own: leave it out");
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "is no name of an HTTP header")?;
    Ok((name, web::value(value)?))
}

impl Channel for Webhook {
    fn attempt<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>> {
        Box::pin(self.post(outgoing, now))
    }

    fn connections(&self, _waiting: usize) -> usize {
        self.settings.connections
    }

    fn gate(&self, urgent: bool, now: Timestamp) -> Gate {
        self.endpoint.gate(urgent, now)
    }

    fn broken(&self) -> Option<&'static str> {
        self.endpoint.broken()
    }

    /// Connects and secures the connection; nothing is posted.
    fn probe(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        Box::pin(async {
            let target = self.settings.read().map_err(|(key, what)| anyhow::anyhow!("{key} {what}"))?;
            self.endpoint.client.probe(&target.url).await
        })
    }
}
