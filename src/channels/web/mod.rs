//! Owns outbound HTTP, once for the whole product: one client per channel, whatever is at the other end.
//!
//! It connects to nobody whom [`guard`] does not allow, and to no address but the one that was checked; speaks TLS that
//! verifies, or HTTP where that was said; follows no redirect, asks no proxy, decompresses nothing, retries nothing; takes
//! at most [`Limits::whole`] and reads at most [`MAX_READ`]. `failure` says what a failed request means. All numbers and the
//! tables of verdicts are in `docs/http.md`.

mod departure;
mod endpoint;
pub mod failure;
pub mod guard;
mod names;
pub mod retry_after;

use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, redirect, retry};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use url::{Host, Url};

use self::departure::Departure;
pub(super) use self::endpoint::{Endpoint, Judged, Leave};
use self::failure::{Failure, Fault};
use self::guard::Guard;
use super::resolve::Resolver;
use super::{Outgoing, tls};
use crate::clock::Timestamp;

/// Bytes of an answer that are read; whoever says more is not listened to.
pub const MAX_READ: usize = 64 << 10;
/// Bytes of an answer that are kept with an attempt.
pub const MAX_KEPT: usize = 4 << 10;
/// Others close a connection that nobody uses, and a request that meets that moment may or may not have arrived. Most wait
/// for longer than this.
const IDLE: Duration = Duration::from_secs(5);

/// Whom a channel's client may talk to, and how it knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Which addresses.
    pub guard: Guard,
    /// `http://` too.
    pub allow_http: bool,
    /// Private CA in PEM; `None` = the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, if the other side wants one.
    pub identity: Option<tls::Identity>,
}

impl Settings {
    /// The files that are read once, when the client is made.
    pub(super) fn files(&self) -> Vec<&Path> {
        let identity = self.identity.iter().flat_map(|identity| [&identity.cert_file, &identity.key_file]);
        self.ca_file.iter().chain(identity).map(PathBuf::as_path).collect()
    }
}

/// How long a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Looking up the name, TCP and TLS.
    pub connect: Duration,
    /// All of it, the answer included.
    pub whole: Duration,
    /// The body of an answer, once its head is there; where it decides nothing, less than the whole.
    pub body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), whole: seconds(30), body: seconds(30) }
    }
}

/// The client of one channel. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Client {
    inner: reqwest::Client,
    settings: Settings,
    limits: Limits,
    resolver: Resolver,
}

/// One request. No header of it is printed.
pub struct Request<'a> {
    /// GET or POST.
    pub method: Method,
    /// Where to.
    pub url: &'a Url,
    /// Beyond those that every request has.
    pub headers: HeaderMap,
    /// Empty for a GET.
    pub body: Bytes,
    /// The message that this request hands over: asked for its permission directly before the body is handed out, which
    /// begins its handover. `None`: a question that changes nothing at the other side.
    pub outgoing: Option<&'a Outgoing>,
}

/// What the other side said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// RFC 9110 15.
    pub status: u16,
    /// `Retry-After`, as an instant.
    pub retry_after: Option<Timestamp>,
    /// At most [`MAX_READ`] of it.
    pub body: Bytes,
}

impl Client {
    /// A client that keeps at most `connections` open between requests. Fails on an unreadable file of `settings`. Connects
    /// to nobody yet.
    pub fn new(settings: &Settings, limits: Limits, connections: usize) -> anyhow::Result<Self> {
        Self::with_resolver(settings, limits, connections, Resolver::system())
    }

    /// The same, with names looked up by `resolver`.
    pub fn with_resolver(
        settings: &Settings,
        limits: Limits,
        connections: usize,
        resolver: Resolver,
    ) -> anyhow::Result<Self> {
        let inner = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client(settings.ca_file.as_deref(), settings.identity.as_ref())?)
            .dns_resolver(Arc::new(names::Checked { guard: settings.guard.clone(), resolver: resolver.clone() }))
            .https_only(!settings.allow_http)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .no_proxy()
            .http1_only()
            .connect_timeout(limits.connect)
            .pool_max_idle_per_host(connections)
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("auditbell/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("the HTTP client cannot be made")?;
        Ok(Self { inner, settings: settings.clone(), limits, resolver })
    }

    /// Asks once, beginning `now`. Whatever status is an answer.
    pub async fn ask(&self, request: Request<'_>, now: Timestamp) -> Result<Answer, Failure> {
        self.admit(request.url).map_err(|reason| Failure::before(Fault::Forbidden, reason))?;
        let began = Instant::now();
        let deadline = began + self.limits.whole;
        let departure = Departure::new(request.body, request.outgoing);
        let written = departure.written();
        let asked = self.inner.request(request.method, request.url.clone()).headers(request.headers);
        let sent = timeout_at(deadline, asked.body(departure.into_body()).send()).await;
        let mut response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Failure::of(&error, !written.withdraw())),
            Err(_) => return Err(Failure::timeout(!written.withdraw())),
        };
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| retry_after::parse(text, now.plus(began.elapsed())));
        let deadline = deadline.min(Instant::now() + self.limits.body);
        let mut body = BytesMut::new();
        // What does not come of it is not missed: of most answers the status has decided.
        while let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await {
            let room = MAX_READ - body.len();
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if body.len() == MAX_READ {
                break; // dropping the response closes the connection
            }
        }
        Ok(Answer { status, retry_after, body: body.freeze() })
    }

    /// Connects to `url`, secures the connection and closes it: nothing is asked.
    pub async fn probe(&self, url: &Url) -> anyhow::Result<()> {
        self.admit(url).map_err(anyhow::Error::msg)?;
        timeout(self.limits.connect, self.connect(url)).await.context("no connection in time")?
    }

    async fn connect(&self, url: &Url) -> anyhow::Result<()> {
        let host = url.host().context("the URL names no host")?;
        let port = url.port_or_known_default().context("the URL names no port")?;
        let addresses = match &host {
            Host::Domain(name) => names::checked(&self.settings.guard, &self.resolver, name).await?,
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        };
        let targets: Vec<_> = addresses.into_iter().map(|address| (address, port).into()).collect();
        let stream = TcpStream::connect(&*targets).await.context("no connection")?;
        if url.scheme() == "https" {
            let config = tls::client(self.settings.ca_file.as_deref(), self.settings.identity.as_ref())?;
            let name = host.to_string().trim_matches(['[', ']']).to_owned();
            let name = rustls::pki_types::ServerName::try_from(name).context("no certificate could bear that name")?;
            tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("no TLS")?;
        }
        Ok(())
    }

    /// Whether `url` may be asked at all. A host that is an address is never looked up, so it is checked here; the parser
    /// has made one address of `0x7f000001`, `127.1` and the like.
    fn admit(&self, url: &Url) -> Result<(), String> {
        may_ask(url, self.settings.allow_http)?;
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        if self.settings.guard.allows(address) { Ok(()) } else { Err(guard::refusal(address)) }
    }
}

/// Whether `url` is one that a request may go to, wherever its host is. The reason repeats nothing of the URL, which may be
/// a secret.
pub fn may_ask(url: &Url, allow_http: bool) -> Result<(), String> {
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => return Err("must begin with https:// (allow_http = true permits http://)".into()),
        _ => return Err("must begin with https://".into()),
    }
    if !url.has_host() {
        return Err("must name a host".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password before the host: use headers".into());
    }
    Ok(())
}

/// A header's value, not to be printed. The reason repeats nothing of it.
pub fn value(text: &str) -> Result<HeaderValue, &'static str> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "holds what no HTTP header may hold")?;
    value.set_sensitive(true);
    Ok(value)
}

impl Answer {
    /// Status and body in one line, at most [`MAX_KEPT`] bytes, control characters escaped, what is no UTF-8 replaced.
    #[must_use]
    pub fn kept(&self) -> String {
        let mut line = self.status.to_string();
        if let Some(reason) = reqwest::StatusCode::from_u16(self.status).ok().and_then(|code| code.canonical_reason()) {
            let _ = write!(line, " {reason}"); // writing to a String cannot fail
        }
        let text = String::from_utf8_lossy(&self.body);
        let text = text.trim();
        if !text.is_empty() {
            line.push_str(": ");
        }
        for c in text.chars() {
            let before = line.len();
            if c.is_control() {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
            if line.len() > MAX_KEPT {
                line.truncate(before);
                break;
            }
        }
        line
    }
}
