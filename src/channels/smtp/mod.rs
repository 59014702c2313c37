//! Owns the `smtp` channel: sessions to its relays, kept and reused, and one verdict per attempt.
//!
//! The parts: `reply` (bytes to replies), `body` (a message to bytes), `verdict` and `streak` (what happened to a verdict) are
//! pure; `wire` (deadlines, TLS), `opening` and `session` (the dialogue), `next_hop` (one relay and its connections) and `pool`
//! (which relay) act. All numbers and the table of verdicts are in `docs/delivery.md`.

pub mod body;
mod login;
mod next_hop;
mod opening;
mod pool;
pub mod reply;
mod session;
mod streak;
mod tls;
pub mod verdict;
mod wire;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use self::login::Login;
use self::next_hop::NextHop;
use self::pool::Pool;
use self::session::Route;
use self::tls::Tls;
use super::past::Past;
use super::ration::Rate;
use super::resolve::Resolver;
use super::tls::Identity;
use super::token;
use super::{Attempt, Channel, Gate, Outgoing};
use crate::clock::Timestamp;
use crate::secret;

/// `[channel.NAME]` with `type = "smtp"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to deliver: the first that works. At least one.
    pub relays: Vec<Relay>,
    /// Who we are, if the relay wants to know; never over a connection without TLS.
    pub auth: Option<Auth>,
    /// Private CA in PEM; `None` = the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, for a relay that asks for one.
    pub identity: Option<Identity>,
    /// EHLO name; `None` = the host's name.
    pub hello: Option<String>,
    /// RFC 5321 MAIL FROM; `{id}` in it stands for the message's key, so that a report of failed delivery names it.
    pub envelope_from: String,
    /// Most connections at once, to each relay.
    pub connections: usize,
    /// How many messages may go out in which span of time; all of them hold.
    pub rates: Vec<Rate>,
    /// How long each phase may take.
    pub timeouts: Timeouts,
    /// How long one connection is used.
    pub limits: Limits,
}

impl Settings {
    /// The files that these settings name.
    pub(super) fn files(&self) -> Vec<&Path> {
        let identity = self.identity.iter().flat_map(|identity| [&identity.cert_file, &identity.key_file]);
        let proof = self.auth.iter().flat_map(|auth| match &auth.proof {
            Proof::Password(secret::Source::File(file)) => vec![file.as_path()],
            Proof::Password(secret::Source::Here(_)) => Vec::new(),
            Proof::Token(settings) => settings.files(),
        });
        self.ca_file.iter().chain(identity).map(PathBuf::as_path).chain(proof).collect()
    }
}

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The user.
    pub user: String,
    /// What proves it.
    pub proof: Proof,
}

/// What proves who we are; read again at each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// PLAIN or LOGIN.
    Password(secret::Source),
    /// OAUTHBEARER or XOAUTH2, with a token of Microsoft Entra.
    Token(Box<token::Settings>),
}

/// A relay's address and how TLS comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// How TLS comes about.
    pub security: Security,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// `smtps://`: TLS from the first byte (RFC 8314).
    Implicit,
    /// `smtp://`: STARTTLS, required.
    StartTls,
    /// `smtp+plain://`: none; loopback only, no AUTH.
    Plain,
}

/// How long each phase may take; `docs/delivery.md` has the table and its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the phases")]
pub struct Timeouts {
    pub resolve: Duration,
    pub connect: Duration,
    pub tls: Duration,
    pub greeting: Duration,
    pub hello: Duration,
    pub auth: Duration,
    pub mail: Duration,
    pub rcpt: Duration,
    pub data: Duration,
    pub body: Duration,
    pub dot: Duration,
}

impl Timeouts {
    /// How long MAIL, RCPT, DATA and the body may take together, however well each block of the body keeps to its own limit:
    /// with ours five minutes, so that a transaction ends within ten.
    fn until_written(&self) -> Duration {
        self.mail + self.rcpt + self.data + 2 * self.body
    }
}

/// The values of `docs/delivery.md`: below RFC 5321 4.5.3.2 where waiting longer only delays others, but five minutes for
/// the final dot, since giving up there makes a copy (RFC 1047). One transaction takes at most ten minutes.
impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            resolve: seconds(5),
            connect: seconds(10),
            tls: seconds(10),
            greeting: seconds(30),
            hello: seconds(30),
            auth: seconds(30),
            mail: seconds(60),
            rcpt: seconds(60),
            data: seconds(60),
            body: seconds(60),
            dot: seconds(300),
        }
    }
}

/// How long one connection is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages on one connection; relays close after some hundred.
    pub messages: usize,
    /// Age of a connection.
    pub age: Duration,
    /// How long it may wait for the next message.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { messages: 100, age: Duration::from_mins(10), idle: Duration::from_secs(30) }
    }
}

/// The channel. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Smtp(Arc<Pool>);

impl Smtp {
    /// The channel `name` (for logs and metrics). Fails if a file of its TLS is unusable, the system has no roots, or a
    /// relay's name is none that a certificate could bear. Connects to nobody yet.
    pub fn new(name: &Arc<str>, settings: &Settings) -> anyhow::Result<Self> {
        Self::with_resolver(name, settings, &Resolver::system(), &Past::default())
    }

    /// The same, with another way to look up the relays' names, and in the place of a channel with that `past`.
    pub fn with_resolver(
        name: &Arc<str>,
        settings: &Settings,
        resolver: &Resolver,
        past: &Past,
    ) -> anyhow::Result<Self> {
        let login = settings.auth.as_ref().map(|auth| Login::new(auth, past.logins())).transpose()?;
        let hop = |relay: &Relay| {
            let tls = match relay.security {
                Security::Plain => None,
                Security::Implicit | Security::StartTls => Some(Tls::new(&relay.host, settings)?),
            };
            let (name, relay, settings) = (name.clone(), relay.clone(), settings.clone());
            let (login, resolver) = (login.clone(), resolver.clone());
            anyhow::Ok(NextHop::new(Route { name, relay, settings, resolver, login, tls }))
        };
        let hops = settings.relays.iter().map(hop).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self(Arc::new(Pool::new(hops, settings.connections, past.ration(&settings.rates)))))
    }
}

impl Channel for Smtp {
    fn attempt<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>> {
        Box::pin(self.0.attempt(outgoing, now))
    }

    fn connections(&self, waiting: usize) -> usize {
        self.0.connections(waiting)
    }

    fn gate(&self, urgent: bool, now: Timestamp) -> Gate {
        self.0.gate(urgent, now)
    }

    fn broken(&self) -> Option<&'static str> {
        self.0.broken()
    }

    /// Connects, secures, greets, logs in and says goodbye, under the same deadlines as a delivery.
    fn probe(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        Box::pin(self.0.probe())
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.0.close())
    }
}
