//! Owns the way from nothing to a connection that may carry mail: connect, TLS, greeting, EHLO, login. Whatever goes wrong
//! here is the route's fault, never a message's.

use std::fmt;
use std::time::Duration;

use super::Security;
use super::reply::{Reply, printable};
use super::session::{At, Route};
use super::verdict::{End, Event, Phase};
use super::wire::Wire;

/// Connects, secures, greets and logs in, in the order that `smtps://`, `smtp://` or `smtp+plain://` demands.
pub(super) async fn open(route: &Route, at: At<'_>) -> Result<(Wire, Capabilities), End> {
    let (relay, timeouts) = (&route.relay, &route.settings.timeouts);
    let end = |phase| move |event| End { phase, event };
    let mut wire = Wire::connect(relay, &route.resolver, timeouts).await?;
    if let (Security::Implicit, Some(tls)) = (relay.security, &route.tls) {
        wire = wire.secure(tls, timeouts.tls).await.map_err(end(Phase::Tls))?;
    }
    let mut opening = Opening { wire, route, at };
    opening.expect(Phase::Greeting, timeouts.greeting, 220).await?;
    let mut capabilities = opening.hello().await?;
    if relay.security == Security::StartTls {
        let missing = Event::Unfit("the relay does not offer STARTTLS; use smtps://, plain text is no way out");
        let (true, Some(tls)) = (capabilities.announce("STARTTLS"), &route.tls) else {
            return Err(end(Phase::StartTls)(missing));
        };
        // Nothing may follow the 220 in plain text: it would be taken for an answer of the secured relay.
        opening.exchange(Phase::StartTls, "STARTTLS\r\n", 220).await?;
        opening.wire = opening.wire.secure(tls, timeouts.tls).await.map_err(end(Phase::Tls))?;
        capabilities = opening.hello().await?;
    }
    opening.login(&capabilities).await?;
    Ok((opening.wire, capabilities))
}

/// A connection on its way to becoming a session.
pub(super) struct Opening<'a> {
    wire: Wire,
    pub(super) route: &'a Route,
    pub(super) at: At<'a>,
}

impl Opening<'_> {
    /// One reply with `code` and nothing after it; anything else is the end.
    async fn expect(&mut self, phase: Phase, limit: Duration, code: u16) -> Result<Reply, End> {
        let event = match self.wire.reply(limit).await {
            Ok(reply) if reply.code != code => Event::Reply(reply),
            Ok(_) if self.wire.has_surplus() => Event::Surplus,
            Ok(reply) => return Ok(reply),
            Err(event) => event,
        };
        Err(End { phase, event })
    }

    pub(super) async fn exchange(&mut self, phase: Phase, line: &str, code: u16) -> Result<Reply, End> {
        let timeouts = &self.route.settings.timeouts;
        let limit = if phase == Phase::Auth { timeouts.auth } else { timeouts.hello };
        self.wire.write(line.as_bytes(), limit).await.map_err(|event| End { phase, event })?;
        self.expect(phase, limit, code).await
    }

    async fn hello(&mut self) -> Result<Capabilities, End> {
        let settings = &self.route.settings;
        let name = settings.hello.clone().unwrap_or_else(|| own_name(&self.wire));
        match self.exchange(Phase::Hello, &format!("EHLO {name}\r\n"), 250).await {
            Ok(reply) => Ok(Capabilities::new(&reply)),
            // RFC 5321 3.2: a relay that knows no EHLO knows HELO. It announces nothing, so nothing may be needed of it.
            Err(End { event: Event::Reply(Reply { code: 500..=502 | 504, .. }), .. })
                if self.route.tls.is_none() && settings.auth.is_none() =>
            {
                self.exchange(Phase::Hello, &format!("HELO {name}\r\n"), 250).await?;
                Ok(Capabilities::default())
            }
            Err(end) => Err(end),
        }
    }
}

/// The host's name if it can stand in EHLO, else our address as a literal (RFC 5321 4.1.4).
fn own_name(wire: &Wire) -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if !name.is_empty() && name.chars().all(fits) {
        return name;
    }
    match wire.local_address().map(|address| address.ip()) {
        Some(std::net::IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        Some(std::net::IpAddr::V4(ip)) => format!("[{ip}]"),
        None => "[127.0.0.1]".to_owned(),
    }
}

/// What EHLO announced: upper-case lines without the first, which is the relay's name.
#[derive(Default)]
pub(super) struct Capabilities(Vec<String>);

impl Capabilities {
    fn new(reply: &Reply) -> Self {
        Self(reply.lines.iter().skip(1).map(|line| line.to_ascii_uppercase()).collect())
    }

    fn arguments(&self, keyword: &str) -> Option<impl Iterator<Item = &str>> {
        let words = |line: &'_ String| line.split(' ').next() == Some(keyword);
        self.0.iter().find(|line| words(line)).map(|line| line.split(' ').skip(1))
    }

    pub(super) fn announce(&self, keyword: &str) -> bool {
        self.arguments(keyword).is_some()
    }

    pub(super) fn offer(&self, keyword: &str, argument: &str) -> bool {
        self.arguments(keyword).is_some_and(|mut words| words.any(|word| word == argument))
    }

    /// The largest message in bytes; `SIZE` alone and `SIZE 0` mean no limit (RFC 1870 4).
    pub(super) fn size(&self) -> Option<usize> {
        self.arguments("SIZE")?.next()?.parse().ok().filter(|size| *size > 0)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_read_by_keyword_in_any_case() {
        let lines = ["relay.example.com", "pipelining", "SIZE 1000", "AUTH LOGIN PLAIN XOAUTH2", "8BITMIME"];
        let capabilities =
            Capabilities::new(&Reply { code: 250, lines: lines.iter().map(|&line| line.to_owned()).collect() });
        assert!(capabilities.announce("PIPELINING"));
        assert!(!capabilities.announce("RELAY.EXAMPLE.COM"), "the first line is a name");
        assert!(!capabilities.announce("PIPE"));
        assert!(capabilities.offer("AUTH", "PLAIN"));
        assert!(!capabilities.offer("AUTH", "CRAM-MD5"));
        assert_eq!(capabilities.size(), Some(1000));
        for unlimited in ["SIZE", "SIZE 0", "SIZE many"] {
            let reply = Reply { code: 250, lines: vec!["relay".into(), unlimited.into()] };
            assert_eq!(Capabilities::new(&reply).size(), None, "{unlimited}");
        }
    }
}
