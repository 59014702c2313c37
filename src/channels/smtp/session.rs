//! Owns the transactions of one open connection, one after the other (RFC 5321 3.3).
//!
//! A step that is cut short (a timeout, a dropped future) leaves a reply under way that the next step would take for its
//! own. So a session is usable only after a step that ended cleanly; any other is dropped, which closes the connection.
//! A refused transaction is taken back by RSET when the next one begins, so that no verdict waits for the answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::login::Login;
use super::opening::{self, Capabilities};
use super::tls::Tls;
use super::verdict::{End, Event, Phase};
use super::wire::Wire;
use super::{Relay, Settings};
use crate::channels::resolve::Resolver;
use crate::channels::{Outgoing, Permission};
use crate::clock::Timestamp;
use crate::{crash, metrics};

/// How long to look for the reason why a body could not be written.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the answer to RSET may take: a new connection is quicker than a relay that thinks about it for longer.
const RESET: Duration = Duration::from_secs(5);
/// How long a goodbye may take.
const QUIT: Duration = Duration::from_secs(1);

/// Tells the time.
pub(super) type At<'a> = &'a (dyn Fn() -> Timestamp + Sync);

/// Where sessions go, and how.
pub(super) struct Route {
    pub(super) name: Arc<str>,
    pub(super) relay: Relay,
    pub(super) settings: Settings,
    pub(super) resolver: Resolver,
    /// Who we are, if the relay wants to know.
    pub(super) login: Option<Login>,
    /// Present unless the relay is spoken to in plain text.
    pub(super) tls: Option<Tls>,
}

/// One message on its way: one recipient.
pub(super) struct Mail<'a> {
    /// Its key stands in log lines, and for `{id}` in the envelope's sender; its handover begins directly before the body,
    /// and the dot with it, is written.
    pub(super) outgoing: &'a Outgoing,
    /// Fit for a path.
    pub(super) to: &'a str,
    /// Dot-stuffed, with the final dot.
    pub(super) body: &'a [u8],
}

impl Mail<'_> {
    /// Before dot-stuffing, in bytes.
    fn size(&self) -> usize {
        self.outgoing.bytes.len()
    }
}

/// What became of one transaction.
pub(super) enum Ending {
    /// It took place.
    Judged(End),
    /// We may not deliver any more.
    Withdrawn(Permission),
}

/// An open connection that is ready for a transaction.
pub(super) struct Session {
    wire: Wire,
    route: Arc<Route>,
    capabilities: Capabilities,
    usable: bool,
    /// A transaction was refused, and the relay may think that it goes on.
    refused: bool,
    pub(super) opened: Instant,
    pub(super) transactions: usize,
    _counted: Counted,
}

impl Session {
    /// A session on a connection that is open and logged in.
    pub(super) async fn open(route: &Arc<Route>, at: At<'_>) -> Result<Self, End> {
        let (wire, capabilities) = opening::open(route, at).await?;
        Ok(Self {
            wire,
            route: route.clone(),
            capabilities,
            usable: true,
            refused: false,
            opened: Instant::now(),
            transactions: 0,
            _counted: Counted::new(&route.name),
        })
    }

    /// Whether another transaction may follow. False from the first byte of a transaction until its clean end.
    pub(super) fn is_usable(&self) -> bool {
        self.usable
    }

    /// Whether the last transaction was refused, and is to be taken back.
    pub(super) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Whether a transaction may begin: the relay has said nothing since the last one (one that has is gone or confused), and
    /// has taken it back if it was refused.
    pub(super) async fn is_ready(&mut self) -> bool {
        self.wire.is_silent().await && (!self.refused || self.reset().await)
    }

    /// Whether the relay announced that it can take `mail`; else the reason of a `Never`.
    pub(super) fn takes(&self, mail: &Mail<'_>) -> Result<(), &'static str> {
        if self.capabilities.size().is_some_and(|limit| limit < mail.size()) {
            return Err("too-big");
        }
        let international = self.capabilities.announce("SMTPUTF8") && self.capabilities.announce("8BITMIME");
        if mail.to.is_ascii() || international { Ok(()) } else { Err("no-smtputf8") }
    }

    /// One transaction, with a mail that the relay [takes](Self::takes).
    pub(super) async fn deliver(&mut self, mail: &Mail<'_>) -> Ending {
        self.usable = false;
        self.transactions += 1;
        let written_by = Instant::now() + self.route.settings.timeouts.until_written();
        if let Err(end) = self.envelope(mail).await {
            return Ending::Judged(end);
        }
        // After 354 nothing but the end of the connection takes a mail back: RSET would be a line of it.
        let permission = *mail.outgoing.permission.borrow();
        if permission != Permission::Go {
            return Ending::Withdrawn(permission);
        }
        if !mail.outgoing.handover.begin() {
            return Ending::Withdrawn(Permission::Stopping);
        }
        Ending::Judged(self.body(mail, written_by).await)
    }

    /// Body and dot in one write, and the reply to them.
    async fn body(&mut self, mail: &Mail<'_>, written_by: Instant) -> End {
        let timeouts = self.route.settings.timeouts;
        crash::at("before_dot");
        // A relay that takes a little now and then could make a connection its own for hours.
        let written = timeout_at(written_by, self.wire.write(mail.body, timeouts.body)).await;
        if let Err(event) = written.unwrap_or(Err(Event::Timeout)) {
            // A relay may refuse early and hang up on the rest; its reason may have come all the same.
            let event = self.wire.reply(LAST_WORDS).await.map_or(event, Event::Reply);
            return End { phase: Phase::Body, event };
        }
        crash::at("after_dot");
        let mut reply = match self.wire.reply(timeouts.dot).await {
            Ok(reply) => reply,
            Err(event) => return End { phase: Phase::Dot, event },
        };
        if reply.code == 354 && crash::planted("354-is-sent") {
            reply.code = 250;
        }
        let code = reply.code;
        let end = End { phase: Phase::Dot, event: Event::Reply(reply) };
        if code == 250 {
            crash::at("after_250");
            self.usable = !self.wire.has_surplus();
        } else {
            self.refused_by(&end);
        }
        end
    }

    /// MAIL, RCPT, DATA up to 354: in one write where the relay announced PIPELINING (RFC 2920), else one by one. The
    /// first reply that does not lead on is the end.
    async fn envelope(&mut self, mail: &Mail<'_>) -> Result<(), End> {
        let timeouts = self.route.settings.timeouts;
        let steps: [Step; 3] = [
            (Phase::Mail, self.mail_from(mail), timeouts.mail),
            (Phase::Rcpt, format!("RCPT TO:<{}>\r\n", mail.to), timeouts.rcpt),
            (Phase::Data, "DATA\r\n".to_owned(), timeouts.data),
        ];
        let pipelining = self.capabilities.announce("PIPELINING");
        if pipelining {
            let all: String = steps.iter().map(|(_, line, _)| line.as_str()).collect();
            self.write(Phase::Mail, &all, timeouts.mail).await?;
        }
        let mut first = None;
        let mut open_data = false;
        for (phase, line, limit) in &steps {
            let (phase, limit) = (*phase, *limit);
            if !pipelining {
                if first.is_some() {
                    break;
                }
                self.write(phase, line, limit).await?;
            }
            let reply = match self.wire.reply(limit).await {
                Ok(reply) => reply,
                Err(event) => return Err(first.unwrap_or(End { phase, event })),
            };
            open_data = phase == Phase::Data && reply.code == 354;
            if !leads_on(phase, reply.code) {
                first.get_or_insert(End { phase, event: Event::Reply(reply) });
            }
        }
        if let Some(end) = first.as_ref().filter(|end| end.is_our_bug()) {
            let (said, announced) = (transcript(&steps, end), self.capabilities.to_string());
            tracing::error!(key = mail.outgoing.key.as_ref(), channel = %self.route.name, said, announced, "the relay does not understand us; please report it");
        }
        match first {
            None if self.wire.has_surplus() => Err(End { phase: Phase::Data, event: Event::Surplus }),
            None => Ok(()),
            // Refused, and yet the relay waits for a body: it shall not get one.
            Some(end) if open_data => Err(end),
            Some(end) => {
                self.refused_by(&end);
                Err(end)
            }
        }
    }

    fn mail_from(&self, mail: &Mail<'_>) -> String {
        let from = self.route.settings.envelope_from.replace("{id}", &mail.outgoing.key);
        let size = if self.capabilities.announce("SIZE") { format!(" SIZE={}", mail.size()) } else { String::new() };
        let international = if mail.to.is_ascii() { "" } else { " BODY=8BITMIME SMTPUTF8" };
        format!("MAIL FROM:<{from}>{size}{international}\r\n")
    }

    /// The session is usable again after a refusal; not after 421 or a reply that is no refusal.
    fn refused_by(&mut self, end: &End) {
        self.refused = end.code().is_some_and(|code| code >= 400 && code != 421);
        self.usable = self.refused && !self.wire.has_surplus();
    }

    /// Takes the refused transaction back. Whether the relay agrees.
    async fn reset(&mut self) -> bool {
        let reset = match self.wire.write(b"RSET\r\n", RESET).await {
            Ok(()) => self.wire.reply(RESET).await,
            Err(event) => Err(event),
        };
        self.refused = false;
        reset.is_ok_and(|reply| reply.code == 250) && !self.wire.has_surplus()
    }

    async fn write(&mut self, phase: Phase, text: &str, limit: Duration) -> Result<(), End> {
        self.wire.write(text.as_bytes(), limit).await.map_err(|event| End { phase, event })
    }

    /// Says goodbye and waits a moment for the answer; what comes of it changes nothing.
    pub(super) async fn quit(mut self) {
        if self.usable && self.wire.write(b"QUIT\r\n", QUIT).await.is_ok() {
            let _goodbye = self.wire.reply(QUIT).await;
        }
    }
}

/// A command, its phase and its limit.
type Step = (Phase, String, Duration);

/// What was said up to `end`, without addresses: the commands as far as the relay needs to understand them, and codes.
fn transcript(steps: &[Step], end: &End) -> String {
    let so_far = steps.iter().take_while(|(phase, ..)| *phase <= end.phase);
    let said = so_far.map(|(phase, line, _)| {
        let (before, path) = line.trim_end().split_once('<').map_or((line.trim_end(), None), |(a, b)| (a, Some(b)));
        let path = path.map_or(String::new(), |path| format!("<{}", path.trim_start_matches(|c| c != '>')));
        let code = end.code().filter(|_| *phase == end.phase).map_or("ok".to_owned(), |code| code.to_string());
        format!("{before}{path}: {code}")
    });
    said.collect::<Vec<_>>().join("; ")
}

/// Whether `code` is the success of `phase` (RFC 5321 4.3.2).
fn leads_on(phase: Phase, code: u16) -> bool {
    match phase {
        Phase::Rcpt => matches!(code, 250..=252),
        Phase::Data => code == 354,
        _ => code == 250,
    }
}

/// Counts a session in `channel_connections` for as long as it lives.
struct Counted(Arc<str>);

impl Counted {
    fn new(channel: &Arc<str>) -> Self {
        metrics::channel_connections(channel.clone()).increment(1.0);
        Self(channel.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::channel_connections(self.0.clone()).decrement(1.0);
    }
}
