//! Owns the `graph-mail` channel: a mail handed to Exchange Online by Microsoft Graph, `POST /users/{id}/sendMail` with our
//! own MIME bytes in base64 (learn.microsoft.com/graph/outlook-send-mime-message). Which status is which verdict stands in
//! [`judge`], and for people in `docs/graph-mail.md`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::breaker::Failure::{Asked, Lasting, Passing};
use super::outcome::Outcome;
use super::past::Past;
use super::ration::Rate;
use super::token::{self, Service, Token, Tokens};
use super::web::failure::{Failure, Standing};
use super::web::{self, Answer, Client, Endpoint, Judged, Request};
use super::{Attempt, Channel, Gate, Outgoing, Verdict};
use crate::clock::{Clock, Timestamp};

/// Requests at once that Graph allows per application and mailbox (learn.microsoft.com/graph/throttling-limits).
pub const MOST_CONNECTIONS: usize = 4;
/// How soon a mail is looked at again that is not addressed to whom it should go.
const MISADDRESSED: Duration = Duration::from_mins(5);
/// The longest of Graph's words for an error that we repeat.
const LONGEST_WORD: usize = 64;

/// `[channel.NAME]` with `type = "graph-mail"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whose mailbox sends: UPN, address or object id.
    pub mailbox: String,
    /// Who we are; which cloud is in it.
    pub auth: token::Settings,
    /// Most requests at once.
    pub connections: usize,
    /// How many may go out in a span of time.
    pub rates: Vec<Rate>,
}

/// The channel.
pub struct GraphMail {
    endpoint: Endpoint,
    tokens: Tokens,
    url: Url,
    connections: usize,
    rates: Vec<Rate>,
}

/// What was said to one request.
enum Said {
    /// By the login server: there is no token.
    NoToken(token::Refused),
    /// By Graph.
    Answer(Answer),
    /// Nothing.
    Nothing(Failure),
}

impl GraphMail {
    /// The channel `name` (for logs and metrics). Fails on what the settings' files or URLs do not allow. Connects to nobody
    /// yet.
    pub fn new(name: Arc<str>, settings: &Settings, limits: web::Limits) -> anyhow::Result<Self> {
        let tokens = Tokens::new(&settings.auth, Service::Graph)?;
        Self::with_tokens(name, settings, limits, tokens)
    }

    /// The same, with a source of tokens that there is already.
    pub fn with_tokens(
        name: Arc<str>,
        settings: &Settings,
        limits: web::Limits,
        tokens: Tokens,
    ) -> anyhow::Result<Self> {
        let client = Client::new(&settings.auth.azure.web, limits, settings.connections)?;
        let mut url = settings.auth.azure.graph().context("graph_url is no URL")?;
        let mut path = url.path_segments_mut().map_err(|()| anyhow::anyhow!("graph_url names no host"))?;
        path.pop_if_empty().extend(["v1.0", "users", settings.mailbox.as_str(), "sendMail"]);
        drop(path);
        Ok(Self {
            endpoint: Endpoint::new(name, client, settings.connections, &settings.rates),
            tokens,
            url,
            connections: settings.connections,
            rates: settings.rates.clone(),
        })
    }

    /// The same, in the place of a channel with that `past`.
    #[must_use]
    pub fn after(mut self, past: &Past) -> Self {
        self.endpoint.resume(past.ration(&self.rates));
        self
    }

    async fn send(&self, outgoing: &Outgoing, now: Timestamp) -> Attempt {
        if !outgoing.to.as_deref().is_some_and(|to| is_for(&outgoing.bytes, to)) {
            let verdict = Verdict::Hold { until: now.plus(MISADDRESSED), why: "addressee" };
            let reply = "the mail names another recipient than it has now: was redirect_to changed?".into();
            return Attempt { verdict, code: None, reply, receipt: None };
        }
        let leave = match self.endpoint.enter(outgoing.urgent, now).await {
            Ok(leave) => leave,
            Err(attempt) => return attempt,
        };
        let body: Bytes = STANDARD.encode(&outgoing.bytes).into();
        let said = match self.post(outgoing, body.clone(), leave.now()).await {
            // A token may have been revoked, or its keys been changed: once more with a fresh one.
            (Some(token), Said::Answer(answer)) if answer.status == 401 => {
                self.tokens.reject(&token);
                self.post(outgoing, body, leave.now()).await.1
            }
            (_, said) => said,
        };
        let judged = match said {
            Said::Answer(answer) => {
                let word = word(&answer.body);
                let told = format!("Graph answers with status {} {word}", answer.status);
                Judged::answer(&answer, judge(answer.status, &word), leave.now(), told.trim_end().to_owned())
            }
            Said::NoToken(refused) => {
                let trouble = match refused.until {
                    _ if refused.why == "auth" => Lasting,
                    Some(until) => Asked(until.since(leave.now())),
                    None => Passing,
                };
                Judged { until: refused.until, ..Judged::ours(refused.why, trouble, refused.message) }
            }
            Said::Nothing(failure) => Judged::failure(&failure),
        };
        self.endpoint.conclude(leave, judged, outgoing)
    }

    /// One request, and the token that it bore.
    async fn post(&self, outgoing: &Outgoing, body: Bytes, now: Timestamp) -> (Option<Token>, Said) {
        let token = match self.tokens.get(now).await {
            Ok(token) => token,
            Err(refused) => return (None, Said::NoToken(refused)),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        // A token of ours holds nothing that a header may not hold.
        if let Ok(mut bearer) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) {
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let request = Request { method: Method::POST, url: &self.url, headers, body, outgoing: Some(outgoing) };
        let said = self.endpoint.client.ask(request, now).await.map_or_else(Said::Nothing, Said::Answer);
        (Some(token), said)
    }
}

/// What a status, and Graph's word for it, mean for the message, and for the endpoint. Total.
#[must_use]
pub fn judge(status: u16, word: &str) -> (Outcome, Standing) {
    match (status, word) {
        (202, _) => (Outcome::Sent, Standing::Works),
        // Somebody said yes to something, and not what Graph says: it may have been sent.
        (200..=299, _) => (Outcome::Ambiguous, Standing::Works),
        (300..=399, _) => (Outcome::Hold("redirected"), Standing::Refuses),
        // Not the token, which is fresh: what it may do.
        (401, _) => (Outcome::Hold("auth"), Standing::Refuses),
        // No such mailbox, none of Exchange Online, or not ours to send from.
        (403 | 404, _) => (Outcome::Hold("mailbox"), Standing::Refuses),
        (400, "ErrorInvalidRecipients") => (Outcome::Never("recipient-refused"), Standing::Works),
        (413, _) | (400, "ErrorMessageSizeExceeded") => (Outcome::Never("too-big"), Standing::Works),
        (400 | 402 | 405..=407 | 410..=499, _) if status != 429 => (Outcome::Never("content-refused"), Standing::Works),
        // Of these two see the webhook's.
        (429, _) => (Outcome::Hold("throttled"), Standing::Doubtful),
        // Graph's front door says so before Exchange has seen anything.
        (503 | 509, _) => (Outcome::Hold("unavailable"), Standing::Doubtful),
        // A gateway that lost sight of what it had passed on (502, 504): the mail may have been sent.
        (502 | 504, _) => (Outcome::Ambiguous, Standing::Fails(Passing)),
        // 408, 409, 500, and what nobody has thought of: it may be this message's fault.
        _ => (Outcome::Later, Standing::Works),
    }
}

/// Whether the mail's one `To` is `to`. Graph has no envelope, so what stands there is where it goes: bytes that were frozen
/// before `redirect_to` was set must not reach the real recipient.
fn is_for(mail: &[u8], to: &str) -> bool {
    let head = mail.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(mail.len());
    let head = String::from_utf8_lossy(mail.get(..head).unwrap_or_default()).replace("\r\n ", " ");
    let mut found = head.split("\r\n").filter_map(|line| line.strip_prefix("To:"));
    let address = found.next().map(|value| value.trim().trim_start_matches('<').trim_end_matches('>'));
    address == Some(to) && found.next().is_none()
}

/// Graph's word for an error: one of a closed set of its own, and safe to log if it looks like one.
fn word(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        code: String,
    }
    let word = serde_json::from_slice(body).map(|body: Body| body.error.code).unwrap_or_default();
    let fits = word.len() <= LONGEST_WORD && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { word } else { String::new() }
}

impl Channel for GraphMail {
    fn attempt<'a>(
        &'a self,
        outgoing: &'a Outgoing,
        now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>> {
        Box::pin(self.send(outgoing, now))
    }

    fn connections(&self, _waiting: usize) -> usize {
        self.connections
    }

    fn gate(&self, urgent: bool, now: Timestamp) -> Gate {
        self.endpoint.gate(urgent, now)
    }

    fn broken(&self) -> Option<&'static str> {
        self.endpoint.broken()
    }

    /// Gets a token, and connects to Graph, which is asked nothing.
    fn probe(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        Box::pin(async {
            let token = self.tokens.get(Clock::system().now()).await;
            token.map_err(|refused| anyhow::Error::msg(refused.message))?;
            self.endpoint.client.probe(&self.url).await
        })
    }
}
