//! Owns the classification: what happened in which phase of a session, to a verdict and its scope. Pure and total; the
//! table for people is in `docs/delivery.md`.

use std::fmt;

use super::reply::{Enhanced, Reply, Unparsable, printable};
use crate::channels::outcome::Outcome;

/// How far a session had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Looking up the relay's addresses.
    Resolve,
    /// TCP.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Waiting for 220.
    Greeting,
    /// EHLO.
    Hello,
    /// STARTTLS, up to its 220.
    StartTls,
    /// A token for AUTH, from another server.
    Token,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, up to its 354.
    Data,
    /// The body; the final dot is **not** fully written.
    Body,
    /// The final dot is fully written.
    Dot,
}

/// What ended a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A reply that is not the one that leads on (or the 250 after the dot).
    Reply(Reply),
    /// The phase's time was up.
    Timeout,
    /// The relay closed the connection.
    Closed,
    /// An error of the operating system or of TLS.
    Io(String),
    /// Bytes that are no reply.
    Unparsable(Unparsable),
    /// Bytes after the reply that nobody asked for.
    Surplus,
    /// The relay cannot do what is required of it.
    Unfit(&'static str),
}

/// Where and how a session or a transaction ended, well or badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Where.
    pub phase: Phase,
    /// How.
    pub event: Event,
}

/// What makes two refusals the same: where, code and enhanced code. Their texts may name the recipient.
pub(super) type Refusal = (Phase, u16, Option<Enhanced>);

/// Why what was told 421 before its dot waits.
pub(super) const CLOSING: &str = "closing";

/// What is said of a login that is not tried yet.
pub(super) const RESTING: &str = "the login was refused less than half a minute ago, or is being tried elsewhere";

/// Whom an outcome concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This message.
    Message,
    /// This recipient.
    Recipient,
    /// Every message on this way out: the channel pauses.
    Route,
}

impl End {
    /// Verdict and scope of `event` in `phase`.
    #[must_use]
    pub fn judge(&self) -> (Outcome, Scope) {
        use Phase::{Auth, Body, Connect, Data, Dot, Greeting, Hello, Mail, Rcpt, Resolve, StartTls, Tls, Token};
        match (self.phase, &self.event) {
            (Resolve | Connect | Tls | Greeting | Hello | StartTls | Token | Auth, _) => {
                (Outcome::Hold(self.phase.name()), Scope::Route)
            }
            (Mail | Rcpt | Data | Body | Dot, Event::Reply(reply)) => judge_reply(self.phase, reply),
            (Dot, _) => (Outcome::Ambiguous, Scope::Message),
            (Mail | Rcpt | Data | Body, _) => (Outcome::Later, Scope::Message),
        }
    }

    /// The reply's code, where there was a reply.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match &self.event {
            Event::Reply(reply) => Some(reply.code),
            _ => None,
        }
    }

    /// Whether the relay says that it does not understand us (RFC 5321 4.2.4: 500 to 503, RFC 5321 4.1.1.11: 555). We speak
    /// plain SMTP, so that is a bug of ours; but a 501 with 5.1.x dislikes an address.
    #[must_use]
    pub fn is_our_bug(&self) -> bool {
        let Event::Reply(reply) = &self.event else { return false };
        self.phase >= Phase::Mail
            && matches!(reply.code, 500..=503 | 555)
            && !matches!(reply.enhanced(), Some(Enhanced(_, 1, _)))
    }

    /// Whether the relay said no to who we are: one that only cannot log us in has not.
    pub(super) fn is_refused_login(&self) -> bool {
        self.phase == Phase::Auth && matches!(self.event, Event::Reply(Reply { code: 400.., .. }))
    }

    /// Whether no login was tried, since one was refused a moment ago: it says nothing of this relay.
    pub(super) fn is_resting(&self) -> bool {
        matches!(self.event, Event::Unfit(RESTING))
    }

    /// Whether the relay went away after it had heard for whom the mail is: because of it, or not.
    pub(super) fn is_doubtful(&self) -> bool {
        self.phase > Phase::Mail && self.code() == Some(421)
    }

    /// What of a reply would be the same if it were said to everybody.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let Event::Reply(reply) = &self.event else { return None };
        Some((self.phase, reply.code, reply.enhanced()))
    }

    /// The id under which the relay queued the mail, where the reply names one.
    #[must_use]
    pub fn queue_id(&self) -> Option<String> {
        match &self.event {
            Event::Reply(reply) => reply.queue_id(),
            _ => None,
        }
    }
}

/// A reply from MAIL on. Only the class of the code says whether the relay has the mail; the rest says whose fault it is.
fn judge_reply(phase: Phase, reply: &Reply) -> (Outcome, Scope) {
    let own = if phase == Phase::Rcpt { Scope::Recipient } else { Scope::Message };
    match (reply.code, reply.enhanced()) {
        (250, _) if phase == Phase::Dot => (Outcome::Sent, Scope::Message),
        // The relay goes away. To MAIL it is true of every message; from RCPT on it may go because of this one alone, which
        // `Doubts` finds out. After the dot it counts as any 4xx: a message that makes it go must use up its attempts.
        (421, _) if phase == Phase::Mail => (Outcome::Hold(CLOSING), Scope::Route),
        (421, _) if phase != Phase::Dot => (Outcome::Hold(CLOSING), own),
        // To MAIL, which names nobody yet, so true of every message. Later on a server behind the relay may speak for one
        // recipient alone, who must not keep the others waiting: what is said to everybody is found by `Streak`.
        // Login required, refused, too weak (RFC 4954 6): the operator's to mend.
        (530 | 534 | 535 | 538, _) if phase == Phase::Mail => (Outcome::Hold("auth"), Scope::Route),
        // We may not send as this sender, or our set-up fails SPF, PTR or DMARC (RFC 7372, IANA).
        (500..600, Some(Enhanced(_, 7, _))) if phase == Phase::Mail => (Outcome::Hold("sender"), Scope::Route),
        (400..500, _) => (Outcome::Later, own),
        // RFC 5321 4.5.3.1.10: 552 at RCPT means 452.
        (552, _) if phase == Phase::Rcpt => (Outcome::Later, own),
        // RFC 3463 X.2.2: a full mailbox is emptied one day.
        (500..600, Some(Enhanced(_, 2, 2))) => (Outcome::Later, Scope::Recipient),
        (552, _) | (500..600, Some(Enhanced(_, 3, 4) | Enhanced(_, 2, 3))) => (Outcome::Never("too-big"), own),
        // RFC 3463 X.1.1 no such mailbox, X.1.3 no such form of address, X.1.10 a domain without mail (RFC 7505).
        (500..600, Some(Enhanced(_, 1, 1 | 3 | 10))) if phase > Phase::Mail => {
            (Outcome::Never("mailbox-refused"), Scope::Recipient)
        }
        (500..600, _) => (Outcome::Never(refused(phase)), own),
        // 1xx, 2xx, 3xx that nobody asked for. After the dot it may mean anything.
        _ if phase == Phase::Dot => (Outcome::Ambiguous, Scope::Message),
        _ => (Outcome::Later, Scope::Message),
    }
}

/// Why a 5xx of `phase` ends a message.
fn refused(phase: Phase) -> &'static str {
    match phase {
        Phase::Mail => "sender-refused",
        Phase::Rcpt => "recipient-refused",
        _ => "content-refused",
    }
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Greeting,
        Self::Hello,
        Self::StartTls,
        Self::Token,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Body,
        Self::Dot,
    ];

    /// The word for it in verdicts, logs and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Greeting => "greeting",
            Self::Hello => "hello",
            Self::StartTls => "starttls",
            Self::Token => "token",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Body => "body",
            Self::Dot => "dot",
        }
    }
}

/// A reply as it came, anything else with its phase, in one line of at most 512 bytes.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.phase.name();
        let text = match &self.event {
            Event::Reply(reply) => return reply.fmt(f),
            Event::Timeout => format!("{phase}: no answer in time"),
            Event::Closed => format!("{phase}: the relay closed the connection"),
            Event::Io(error) => format!("{phase}: {error}"),
            Event::Unparsable(what) => format!("{phase}: the relay sent {what}"),
            Event::Surplus => format!("{phase}: the relay sent more than one reply"),
            Event::Unfit(what) => format!("{phase}: {what}"),
        };
        f.write_str(&printable(&text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Outcome::{Ambiguous, Hold, Later, Never, Sent};
    use super::Phase::{Auth, Body, Connect, Data, Dot, Greeting, Hello, Mail, Rcpt, Resolve, StartTls, Tls, Token};
    use super::Scope::{Message, Recipient, Route};
    use super::*;
    use crate::channels::smtp::reply;

    fn judged(phase: Phase, line: &str) -> (Outcome, Scope) {
        let (reply, _) = reply::parse(format!("{line}\r\n").as_bytes()).unwrap().unwrap();
        End { phase, event: Event::Reply(reply) }.judge()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn replies_are_judged_by_phase_and_code() {
        let cases = [
            ("only 250 after the dot is sent", Dot, "250 2.0.0 Ok", Sent, Message),
            ("251 after the dot says nothing we know", Dot, "251 forwarded", Ambiguous, Message),
            ("354 after the dot is not a success", Dot, "354 go on", Ambiguous, Message),
            ("1xx after the dot is not a success", Dot, "150 hm", Ambiguous, Message),
            ("4xx after the dot: not taken", Dot, "451 4.3.0 try again", Later, Message),
            ("5xx after the dot: never", Dot, "554 5.7.1 spam", Never("content-refused"), Message),
            ("too big, found out late", Dot, "552 5.3.4 too big", Never("too-big"), Message),
            ("too big by its enhanced code", Dot, "550 5.2.3 too big", Never("too-big"), Message),
            ("mailbox full after the dot", Dot, "552 5.2.2 mailbox full", Later, Recipient),
            ("421 after the dot costs an attempt", Dot, "421 4.3.0 bye", Later, Message),
            ("421 at MAIL, which names nobody", Mail, "421 4.3.2 shutting down", Hold("closing"), Route),
            ("421 at DATA", Data, "421 4.3.2 shutting down", Hold("closing"), Message),
            ("early refusal while the body is written", Body, "550 5.7.1 no", Never("content-refused"), Message),
            ("an early 250 is not sent: the dot was not there", Body, "250 Ok", Later, Message),
            ("DATA refused", Data, "554 5.5.1 no valid recipients", Never("content-refused"), Message),
            ("DATA not now", Data, "451 4.3.0 later", Later, Message),
            ("250 where 354 was due", Data, "250 Ok", Later, Message),
            ("no such user", Rcpt, "550 5.1.1 unknown", Never("mailbox-refused"), Recipient),
            ("no such user, said of a form", Rcpt, "553 5.1.3 bad address", Never("mailbox-refused"), Recipient),
            ("a domain without mail", Rcpt, "550 5.1.10 null MX", Never("mailbox-refused"), Recipient),
            ("no such user, found out late", Dot, "550 5.1.1 unknown", Never("mailbox-refused"), Recipient),
            (
                "without its enhanced code it may be anything",
                Rcpt,
                "550 unknown",
                Never("recipient-refused"),
                Recipient,
            ),
            ("MAIL: the sender's address is bad", Mail, "553 5.1.3 bad address", Never("sender-refused"), Message),
            ("greylisting", Rcpt, "450 4.7.1 greylisted", Later, Recipient),
            ("552 at RCPT counts as 452", Rcpt, "552 too many", Later, Recipient),
            ("mailbox full", Rcpt, "550 5.2.2 full", Later, Recipient),
            ("a contradiction follows the plain code", Rcpt, "450 5.1.1 unknown", Later, Recipient),
            (
                "policy at RCPT is this recipient's",
                Rcpt,
                "550 5.7.1 closed group",
                Never("recipient-refused"),
                Recipient,
            ),
            ("MAIL: unauthenticated by DMARC", Mail, "550 5.7.26 unauthenticated", Hold("sender"), Route),
            (
                "one recipient's server doubts our DMARC",
                Rcpt,
                "550 5.7.26 unauthenticated",
                Never("recipient-refused"),
                Recipient,
            ),
            ("and says so late", Dot, "550 5.7.26 unauthenticated", Never("content-refused"), Message),
            ("SPF, found out late", Dot, "550 5.7.23 SPF", Never("content-refused"), Message),
            (
                "a login is wanted for one recipient",
                Rcpt,
                "530 5.7.0 authenticate first",
                Never("recipient-refused"),
                Recipient,
            ),
            ("a login is wanted for DATA", Data, "535 5.7.8 no", Never("content-refused"), Message),
            ("421 at RCPT may be said of one", Rcpt, "421 4.7.0 too many connections", Hold("closing"), Recipient),
            ("MAIL refused", Mail, "550 5.1.8 bad sender", Never("sender-refused"), Message),
            ("MAIL: too big by SIZE", Mail, "552 5.3.4 too big", Never("too-big"), Message),
            ("MAIL: not allowed to send as", Mail, "550 5.7.60 send as denied", Hold("sender"), Route),
            ("MAIL: login too weak", Mail, "534 5.7.9 too weak", Hold("auth"), Route),
            ("MAIL: login required", Mail, "530 5.7.0 authenticate first", Hold("auth"), Route),
            ("MAIL: not now", Mail, "452 4.3.1 disk full", Later, Message),
            ("greeting 554 is the relay's trouble", Greeting, "554 no service", Hold("greeting"), Route),
            ("EHLO refused", Hello, "500 what", Hold("hello"), Route),
            ("STARTTLS refused", StartTls, "454 4.7.0 no TLS now", Hold("starttls"), Route),
            ("wrong password", Auth, "535 5.7.8 no", Hold("auth"), Route),
            ("login not now", Auth, "454 4.7.0 later", Hold("auth"), Route),
        ];
        for (what, phase, line, outcome, scope) in cases {
            assert_eq!(judged(phase, line), (outcome, scope), "{what}");
        }
    }

    #[test]
    fn a_relay_that_does_not_understand_us_has_found_a_bug_of_ours() {
        let cases = [
            ("an unknown parameter", Mail, "555 5.5.4 SMTPUTF8 not recognised", true),
            ("a bad sequence", Rcpt, "503 5.5.1 MAIL first", true),
            ("a syntax error", Data, "501 5.5.2 what", true),
            ("an unknown command", Mail, "500 what", true),
            ("an address that the relay does not like", Rcpt, "501 5.1.3 bad address", false),
            ("no such user", Rcpt, "550 5.1.1 unknown", false),
            ("no EHLO", Hello, "502 5.5.1 what", false),
        ];
        for (what, phase, line, ours) in cases {
            let (reply, _) = reply::parse(format!("{line}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(End { phase, event: Event::Reply(reply) }.is_our_bug(), ours, "{what}");
        }
    }

    #[test]
    fn failures_without_a_reply_are_judged_by_phase() {
        let failures = [
            Event::Timeout,
            Event::Closed,
            Event::Io("reset".into()),
            Event::Unparsable(Unparsable::BareLf),
            Event::Surplus,
            Event::Unfit("no"),
        ];
        for event in failures {
            for phase in Phase::ALL {
                let expected = match phase {
                    Resolve | Connect | Tls | Greeting | Hello | StartTls | Token | Auth => (Hold(phase.name()), Route),
                    Mail | Rcpt | Data | Body => (Later, Message),
                    Dot => (Ambiguous, Message),
                };
                assert_eq!(End { phase, event: event.clone() }.judge(), expected, "{phase:?} {event:?}");
            }
        }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let reply = (100u16..600, "([245]\\.[0-9]{1,2}\\.[0-9]{1,2} )?[a-z ]{0,10}")
            .prop_map(|(code, text)| Event::Reply(Reply { code, lines: vec![text] }));
        prop_oneof![
            4 => reply,
            1 => Just(Event::Timeout),
            1 => Just(Event::Closed),
            1 => Just(Event::Unparsable(Unparsable::NotACode)),
            1 => Just(Event::Surplus),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        /// P13 of the reliability bar.
        #[test]
        fn ambiguous_is_exactly_a_written_dot_without_a_reply_that_settles_it(
            phase in proptest::sample::select(&Phase::ALL[..]),
            event in any_event(),
        ) {
            let end = End { phase, event };
            let (outcome, scope) = end.judge();
            let code = end.code();
            let settled = code.is_some_and(|code| code == 250 || code >= 400);
            prop_assert_eq!(outcome == Ambiguous, phase == Dot && !settled);
            prop_assert_eq!(outcome == Sent, phase == Dot && code == Some(250));
            if matches!(outcome, Never(_)) {
                prop_assert!(phase >= Mail && code.is_some_and(|code| code >= 500));
            }
            let doubtful = code == Some(421) && (Rcpt..=Body).contains(&phase);
            prop_assert!(!matches!(outcome, Hold(_)) || (scope == Route) != doubtful);
        }
    }
}
