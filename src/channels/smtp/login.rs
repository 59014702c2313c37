//! Owns the login (RFC 4954): who we are, proved in a mechanism that the relay offers, and never without TLS.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::time::timeout;

use super::opening::{Capabilities, Opening};
use super::reply::Reply;
use super::verdict::{End, Event, Phase, RESTING};
use super::{Auth, Proof};
use crate::channels::past::{Account, Logins, Turn};
use crate::channels::token::{Service, Token, Tokens};
use crate::clock::Clock;
use crate::secret::{Secret, Source};

/// A login that is ready to be made. Cheap to clone; all clones share their tokens.
#[derive(Clone)]
pub(super) struct Login {
    user: String,
    means: Means,
    logins: Logins,
}

#[derive(Clone)]
enum Means {
    Password(Source),
    /// With what they are made of.
    Tokens(Tokens, String),
}

/// A mechanism of bearer tokens: the word for it, and what to answer the challenge with that says why the token is bad, so
/// that the refusal comes.
struct Mechanism {
    name: &'static str,
    give_up: &'static str,
    response: fn(&str, &Token) -> String,
}

const MECHANISMS: [Mechanism; 2] = [
    // RFC 7628 3.2.3: `AQ==` is the one byte 0x01.
    Mechanism { name: "OAUTHBEARER", give_up: "AQ==\r\n", response: oauthbearer },
    // learn.microsoft.com/exchange/client-developer/legacy-protocols: an empty line.
    Mechanism { name: "XOAUTH2", give_up: "\r\n", response: xoauth2 },
];

/// RFC 7628 3.1 with the header of RFC 5801 4, in which `=` and `,` of a name are written otherwise.
fn oauthbearer(user: &str, token: &Token) -> String {
    let user = user.replace('=', "=3D").replace(',', "=2C");
    BASE64.encode(format!("n,a={user},\u{1}auth=Bearer {}\u{1}\u{1}", token.expose()))
}

fn xoauth2(user: &str, token: &Token) -> String {
    BASE64.encode(format!("user={user}\u{1}auth=Bearer {}\u{1}\u{1}", token.expose()))
}

impl Login {
    /// Fails on an unreadable file that is read once. Connects to nobody yet.
    pub(super) fn new(auth: &Auth, logins: Logins) -> anyhow::Result<Self> {
        let means = match &auth.proof {
            Proof::Password(source) => Means::Password(source.clone()),
            Proof::Token(settings) => Means::Tokens(Tokens::new(settings, Service::Smtp)?, format!("{settings:?}")),
        };
        Ok(Self { user: auth.user.clone(), means, logins })
    }
}

impl Opening<'_> {
    /// Logs in, if there is a user.
    pub(super) async fn login(&mut self, capabilities: &Capabilities) -> Result<(), End> {
        let route = self.route;
        let Some(login) = &route.login else { return Ok(()) };
        if route.tls.is_none() {
            return Err(unfit("a login needs TLS; use smtps:// or smtp://"));
        }
        let (turn, done) = match &login.means {
            Means::Password(source) => {
                let password = self.read(source).await?;
                let turn = self.turn(login, password.expose()).await?;
                (turn, self.password(capabilities, &login.user, &password).await)
            }
            Means::Tokens(tokens, made_of) => {
                // A fresh token would be refused for the same reason.
                let turn = self.turn(login, made_of).await?;
                (turn, self.token(capabilities, &login.user, tokens).await)
            }
        };
        if done.as_ref().is_err_and(End::is_refused_login) {
            turn.refused((self.at)());
        }
        done
    }

    /// Leave to try the login: nobody else tries it now, and nobody was refused with it a moment ago.
    async fn turn(&self, login: &Login, secret: &str) -> Result<Turn, End> {
        let turn = login.logins.turn(Account::new(&login.user, secret), self.at);
        let turn = timeout(self.route.settings.timeouts.auth, turn).await;
        turn.ok().flatten().ok_or_else(|| unfit(RESTING))
    }

    /// The secret as it is now: it may have been renewed since the last connection.
    async fn read(&self, source: &Source) -> Result<Secret, End> {
        let source = source.clone();
        let read = tokio::task::spawn_blocking(move || source.read());
        match timeout(self.route.settings.timeouts.auth, read).await {
            Ok(Ok(secret)) => secret.map_err(|message| end(Event::Io(message))),
            Ok(Err(_)) => Err(unfit("the password could not be read")),
            Err(_) => Err(end(Event::Timeout)),
        }
    }

    /// PLAIN (RFC 4616), else LOGIN.
    async fn password(&mut self, capabilities: &Capabilities, user: &str, password: &Secret) -> Result<(), End> {
        if capabilities.offer("AUTH", "PLAIN") {
            let secret = BASE64.encode(format!("\0{user}\0{}", password.expose()));
            self.exchange(Phase::Auth, &format!("AUTH PLAIN {secret}\r\n"), 235).await?;
        } else if capabilities.offer("AUTH", "LOGIN") {
            self.exchange(Phase::Auth, "AUTH LOGIN\r\n", 334).await?;
            self.exchange(Phase::Auth, &format!("{}\r\n", BASE64.encode(user)), 334).await?;
            self.exchange(Phase::Auth, &format!("{}\r\n", BASE64.encode(password.expose())), 235).await?;
        } else {
            return Err(unfit("the relay offers neither AUTH PLAIN nor AUTH LOGIN"));
        }
        Ok(())
    }

    /// OAUTHBEARER, else XOAUTH2. A token that is refused is not used again: the next connection comes with a fresh one.
    async fn token(&mut self, capabilities: &Capabilities, user: &str, tokens: &Tokens) -> Result<(), End> {
        let offered = MECHANISMS.iter().find(|mechanism| capabilities.offer("AUTH", mechanism.name));
        let mechanism = offered.ok_or_else(|| unfit("the relay offers neither AUTH OAUTHBEARER nor AUTH XOAUTH2"))?;
        // A token lives in real time, wherever a test may have moved the time of deliveries.
        let token = tokens.get(Clock::system().now()).await.map_err(|refused| {
            let phase = if refused.why == "auth" { Phase::Auth } else { Phase::Token };
            End { phase, event: Event::Io(refused.message) }
        })?;
        let line = format!("AUTH {} {}\r\n", mechanism.name, (mechanism.response)(user, &token));
        let mut done = self.exchange(Phase::Auth, &line, 235).await;
        if let Err(End { event: Event::Reply(Reply { code: 334, .. }), .. }) = done {
            done = self.exchange(Phase::Auth, mechanism.give_up, 235).await;
        }
        if let Err(End { event: Event::Reply(Reply { code: 500.., .. }), .. }) = &done {
            tokens.reject(&token);
        }
        done.map(drop)
    }
}

fn end(event: Event) -> End {
    End { phase: Phase::Auth, event }
}

fn unfit(what: &'static str) -> End {
    end(Event::Unfit(what))
}
