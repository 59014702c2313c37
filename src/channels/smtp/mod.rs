//! Owns the `smtp` channel: sessions to a relay, and the classification of everything that can happen in one.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// `[channel.NAME]` with `type = "smtp"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to deliver. One relay until failover is due.
    pub relay: Relay,
    /// User and password, if the relay wants them; never over a connection without TLS.
    pub auth: Option<(String, Secret)>,
    /// Private CA in PEM; `None` = the system's roots.
    pub ca_file: Option<PathBuf>,
    /// EHLO name; `None` = the host's name.
    pub hello: Option<String>,
    /// RFC 5321 MAIL FROM.
    pub envelope_from: String,
    /// Most connections at once.
    pub connections: usize,
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
