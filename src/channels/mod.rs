//! Owns the contract of a channel: one attempt, one verdict. A channel never loops, never sleeps, never retries, and
//! knows neither the store nor the rules. [`open`] is the one place that makes one of its settings.

pub mod breaker;
pub mod doubt;
pub mod graph;
pub mod outcome;
pub mod past;
pub mod ration;
pub mod resolve;
pub mod smtp;
mod streak;
pub mod tls;
pub mod token;
pub mod web;
pub mod webhook;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};

use self::past::Past;
use crate::certificate::Certificate;
use crate::clock::Timestamp;

/// So many `Sent` for each connection of a channel may be on their way to the disk; the next message waits. It bounds the
/// copies that a kill can cause to `connections × 9`: eight unsettled and one in flight.
pub const MAX_UNSETTLED: usize = 8;
/// How long a message waits while so many are not on disk yet.
const UNSETTLED_WAIT: Duration = Duration::from_secs(30);
/// How soon it is tried again if that was not enough.
const UNSETTLED_PAUSE: Duration = Duration::from_secs(1);

/// What a channel is asked to send: one message to one address, or to the room that the channel is.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Message key: the left side of the Message-ID, the idempotency key of a request, the name in log lines.
    pub key: Arc<str>,
    /// The one recipient's address; `None`: the channel is a room.
    pub to: Option<Arc<str>>,
    /// For a person the whole RFC 5322 message, CRLF lines, not dot-stuffed; for a room the body of the request.
    pub bytes: Bytes,
    /// Of the urgent lane: it has a share of its own in whatever is rationed.
    pub urgent: bool,
    /// Asked again directly before the final dot may be written; anything but `Go` means RSET and `Hold`.
    pub permission: watch::Receiver<Permission>,
    /// Begun by the channel directly after that question.
    pub handover: Handover,
}

/// Whether the other side may have the message already. The channel says so directly before the final dot (or the request)
/// may be written; until then dispatch may drop the attempt, afterwards only its outcome can tell.
#[derive(Clone, Debug, Default)]
pub struct Handover(Arc<AtomicU8>);

/// The states of a [`Handover`]: it leaves the first once, for one of the others.
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Handover {
    /// From here on the message cannot be taken back. `false`: it was taken back before, and must not leave.
    #[must_use]
    pub fn begin(&self) -> bool {
        self.leave_for(BEGUN) == BEGUN
    }

    /// Takes the message back, for good. `false`: the other side may have it.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.leave_for(WITHDRAWN) == WITHDRAWN
    }

    /// The state that it is in then.
    fn leave_for(&self, state: u8) -> u8 {
        self.0.compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire).map_or_else(|is| is, |_| state)
    }
}

/// Whether this worker may still begin to deliver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    /// The claims are surely ours.
    Go,
    /// We are stopping: what has not reached the dot is released.
    Stopping,
    /// The heartbeat is late; somebody else may hold the claims.
    Lost,
}

/// Whether it is worth claiming messages for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// As many as there is room for.
    Open,
    /// So many at most: the rest of the ration.
    Few(usize),
    /// One, to see whether the other side works again.
    Probe,
    /// None: every way out is broken, or the ration is used up.
    Shut {
        /// Not before.
        until: Timestamp,
        /// Closed vocabulary, as in [`Verdict::Hold`].
        why: &'static str,
    },
}

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted by the other side.
    Sent {
        /// The server's queue id or the like, from the reply.
        reference: Option<String>,
    },
    /// Not now; costs an attempt.
    Later {
        /// Not before, if the other side says so; else by the schedule alone.
        not_before: Option<Timestamp>,
    },
    /// Not ever.
    Never {
        /// Closed vocabulary: `recipient-refused`, `content-refused`, `too-big`, …
        reason: &'static str,
    },
    /// It may have been accepted: the bytes are frozen and sent again later.
    Ambiguous,
    /// Not this message's fault; costs no attempt.
    Hold {
        /// Not before.
        until: Timestamp,
        /// Closed vocabulary: `stopping`, `lost`, `auth`, `connect`, `tls`, `greeting`, …
        why: &'static str,
    },
}

/// One attempt's result.
#[derive(Debug)]
pub struct Attempt {
    /// What it came to.
    pub verdict: Verdict,
    /// The reply's code, where there was one.
    pub code: Option<u16>,
    /// The reply or the I/O error in one line, control characters escaped: at most 512 bytes of SMTP, 4 KiB of HTTP. May
    /// echo an address: kept in the store, never logged.
    pub reply: String,
    /// With `Sent`: dropped by dispatch once the settle is on disk; see [`MAX_UNSETTLED`].
    pub receipt: Option<OwnedSemaphorePermit>,
}

/// A configured way out.
pub trait Channel: Send + Sync + 'static {
    /// One attempt. Every failure is a verdict. Dropping the future closes what it used.
    fn attempt<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>>;
    /// How many attempts may run at once now, while so many more wait for their turn; at least 1. Cheap.
    fn connections(&self, waiting: usize) -> usize;
    /// Whether an attempt at an urgent or an ordinary message has a chance now. Cheap: it is asked before every claim.
    fn gate(&self, urgent: bool, now: Timestamp) -> Gate;
    /// Why nothing can be sent until somebody or something mends the other side: every breaker is open or half-open, or those
    /// few messages that there are were told "not now" again and again; this is the reason of the first. A pause after a
    /// single failure is none, a ration that is used up neither.
    fn broken(&self) -> Option<&'static str>;
    /// Goes as far as can be gone without sending anything, for `check --connect`. The error is one line for the operator
    /// and holds no secret.
    fn probe(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>>;
    /// Says goodbye and closes idle connections; bounded by a second or two. HTTP has no goodbye: its connections go with the
    /// channel.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

/// Uniform in 0..1; without the system's randomness the middle.
#[must_use]
pub fn jitter() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

/// `[channel.NAME]`, by `type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// `type = "smtp"`.
    Smtp(smtp::Settings),
    /// `type = "graph-mail"`.
    GraphMail(graph::Settings),
    /// `type = "webhook"`.
    Webhook(webhook::Settings),
}

/// The words of `type` whose channels are rooms: recipients themselves, and no way to a person.
pub const ROOMS: &[&str] = &["webhook"];

/// The channel `name` (for logs and metrics), in the place of one with that `past`. Fails on what only the files that the settings name can show, such as a CA
/// that cannot be read. Connects to nobody yet.
pub fn open(name: &Arc<str>, settings: &Settings, past: &Past) -> anyhow::Result<Arc<dyn Channel>> {
    match settings {
        Settings::Smtp(settings) => {
            Ok(Arc::new(smtp::Smtp::with_resolver(name, settings, &resolve::Resolver::system(), past)?))
        }
        Settings::GraphMail(settings) => {
            Ok(Arc::new(graph::GraphMail::new(name.clone(), settings, web::Limits::default())?.after(past)))
        }
        Settings::Webhook(settings) => {
            Ok(Arc::new(webhook::Webhook::new(name.clone(), settings, web::Limits::default())?.after(past)))
        }
    }
}

/// The files that `settings` name: when the content of one changes, a reload opens the channel anew.
pub fn files(settings: &Settings) -> Vec<&Path> {
    match settings {
        Settings::Smtp(settings) => settings.files(),
        Settings::GraphMail(settings) => settings.auth.files(),
        Settings::Webhook(settings) => settings.files(),
    }
}

/// The certificates that `settings` name.
pub fn certificates(settings: &Settings) -> Vec<Certificate<'_>> {
    let (authority, own) = match settings {
        Settings::Smtp(settings) => (&settings.ca_file, &settings.identity),
        Settings::GraphMail(_) => (&None, &None),
        Settings::Webhook(settings) => (&settings.web.ca_file, &settings.web.identity),
    };
    Certificate::of(authority.as_deref(), own.as_ref().map(|identity| identity.cert_file.as_path()))
}
