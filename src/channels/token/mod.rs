//! Owns access tokens of Microsoft Entra, once for the whole product: fetched when needed, kept, renewed before they expire,
//! one renewal at a time. `cloud` knows whom to ask, `grant` asks.

pub mod cloud;
mod grant;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

pub use self::cloud::{Azure, Cloud, Service};
use self::grant::Grant;
use super::web;
use crate::clock::Timestamp;
use crate::secret::{self, Secret};

/// A token is renewed when so much of its life is over, in hundredths, as librdkafka does.
const RENEW_AT: u32 = 80;
/// A token is not used in its last minute: the other side's clock may be ahead, and a request takes its time.
const MARGIN: Duration = Duration::from_mins(1);
/// What the login server refused is not asked again for so long: it counts, and locks.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);
/// The same after it could not be reached.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Longest wait for somebody else's renewal: as long as one may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who we are to Entra.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `[azure]`.
    pub azure: Azure,
    /// Directory id or domain; nothing to a managed identity.
    pub tenant: String,
    /// Application id; `None`: the machine's own identity.
    pub client_id: Option<String>,
    /// How we prove it.
    pub credential: Credential,
}

/// What proves who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A client secret, read for every request.
    Secret(secret::Source),
    /// The file with a token of another issuer that Entra trusts, as Kubernetes mounts it; read for every request, since it
    /// is renewed.
    Federated(PathBuf),
    /// The machine we run on: its metadata service gives tokens.
    Managed,
}

impl Settings {
    /// The files that are read once.
    pub(super) fn files(&self) -> Vec<&Path> {
        self.azure.web.files()
    }
}

/// An access token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Secret);

impl Token {
    /// The text itself; call it only where it leaves the process.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `auth`: the login server said no, which somebody must mend; `token`: it could not be asked.
    pub why: &'static str,
    /// One line for the operator, what to do included. Holds no secret.
    pub message: String,
    /// The login server asked not to be asked before: `Retry-After`.
    pub until: Option<Timestamp>,
}

/// The source of one identity's tokens for one service. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Tokens(Arc<Source>);

struct Source {
    grant: Grant,
    state: Mutex<State>,
    /// Held by whoever renews.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// The last failure, when that was, and how long it is the answer.
    refused: Option<(Refused, Timestamp, Duration)>,
}

struct Held {
    token: Token,
    renew_at: Timestamp,
    /// Not used from here on.
    over_at: Timestamp,
}

impl Tokens {
    /// A source for `service`. Fails on an unreadable file of `settings`. Connects to nobody yet.
    pub fn new(settings: &Settings, service: Service) -> anyhow::Result<Self> {
        Self::at(settings, service, web::Limits::default(), grant::METADATA)
    }

    /// The same, with other limits, and the machine's metadata service at `metadata`.
    pub fn at(settings: &Settings, service: Service, limits: web::Limits, metadata: &str) -> anyhow::Result<Self> {
        let grant = Grant::new(settings, service, limits, metadata)?;
        Ok(Self(Arc::new(Source { grant, state: Mutex::default(), renewing: tokio::sync::Mutex::default() })))
    }

    /// A token that is good for at least some seconds. Asks the login server only when it must; while somebody renews a token
    /// that is still good, that one is used. Takes a minute at most, and nothing is lost when it is dropped.
    pub async fn get(&self, now: Timestamp) -> Result<Token, Refused> {
        if let Some(known) = self.known(now) {
            return known;
        }
        let _renewing = if let Ok(renewing) = self.0.renewing.try_lock() {
            renewing
        } else if let Some(token) = self.good(now) {
            return Ok(token);
        } else {
            let message = "another request still waits for the login server".to_owned();
            let slow = |_| Refused { why: "token", message, until: None };
            timeout(PATIENCE, self.0.renewing.lock()).await.map_err(slow)?
        };
        if let Some(known) = self.known(now) {
            return known; // somebody else has asked while we waited
        }
        self.renew(now).await
    }

    /// The other side did not take `token`: it is not given out again.
    pub fn reject(&self, token: &Token) {
        let mut state = self.state();
        if state.held.as_ref().is_some_and(|held| held.token == *token) {
            state.held = None;
        }
    }

    /// What can be said without asking: a token that needs no renewal, or what a failure of a moment ago leaves. (A clock that
    /// went back makes a failure last no longer than it should.)
    fn known(&self, now: Timestamp) -> Option<Result<Token, Refused>> {
        let state = self.state();
        if let Some(held) = state.held.as_ref().filter(|held| now < held.renew_at) {
            return Some(Ok(held.token.clone()));
        }
        let (refused, at, pause) = state.refused.as_ref()?;
        let good = state.held.as_ref().filter(|held| now < held.over_at).map(|held| held.token.clone());
        let fresh = now.since(*at) < *pause && at.since(now) <= AFTER_REFUSAL;
        fresh.then(|| good.ok_or_else(|| refused.clone()))
    }

    /// A token that may still be used, be it due for renewal.
    fn good(&self, now: Timestamp) -> Option<Token> {
        self.state().held.as_ref().filter(|held| now < held.over_at).map(|held| held.token.clone())
    }

    /// Asks; an old token that is still good is better than a failure.
    async fn renew(&self, now: Timestamp) -> Result<Token, Refused> {
        let asked = self.0.grant.ask(now).await;
        let mut state = self.state();
        match asked {
            Ok(granted) => {
                let margin = MARGIN.min(granted.life / 10);
                let held = Held {
                    token: Token(granted.token),
                    renew_at: now.plus(granted.life * RENEW_AT / 100),
                    over_at: now.plus(granted.life.saturating_sub(margin)),
                };
                let token = held.token.clone();
                *state = State { held: Some(held), refused: None };
                Ok(token)
            }
            Err(refused) => {
                let least = if refused.why == "auth" { AFTER_REFUSAL } else { AFTER_FAILURE };
                let pause = refused.until.map_or(least, |until| until.since(now).max(least));
                state.refused = Some((refused.clone(), now, pause));
                match state.held.as_ref().filter(|held| now < held.over_at) {
                    Some(held) => Ok(held.token.clone()),
                    None => Err(refused),
                }
            }
        }
    }

    /// The state behind its lock; every change of it is a single step, so a panic elsewhere leaves it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
