//! Owns one question for a token and the reading of its answer: client credentials (RFC 6749 4.4) with a secret or a signed
//! assertion (RFC 7523), or the metadata service of the machine.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::{Credential, Refused, Service, Settings};
use crate::channels::web::{self, Answer, Client, Request};
use crate::clock::Timestamp;
use crate::secret::Secret;

/// The metadata service of a machine in Azure (learn.microsoft.com, "Azure Instance Metadata Service"): a link-local address
/// and no TLS, hence the one exception of the guard.
pub(super) const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// An answer without a lifetime is good for so long; Entra's own are good for an hour or more.
const UNTOLD_LIFE: u64 = 600;
/// Longer than any that Entra gives.
const LONGEST_LIFE: u64 = 86_400;

/// What was granted.
#[derive(Debug)]
pub(super) struct Granted {
    pub token: Secret,
    pub life: Duration,
}

/// How to ask.
pub(super) struct Grant {
    client: Client,
    url: Url,
    settings: Settings,
    resource: String,
}

impl Grant {
    pub fn new(settings: &Settings, service: Service, limits: web::Limits, metadata: &str) -> anyhow::Result<Self> {
        let resource = settings.azure.resource(service).context("graph_url is no URL")?;
        let managed = settings.credential == Credential::Managed;
        let url = if managed { metadata_url(metadata, settings, &resource)? } else { login(settings)? };
        let web = if managed { for_metadata(&url)? } else { settings.azure.web.clone() };
        Ok(Self { client: Client::new(&web, limits, 1)?, url, settings: settings.clone(), resource })
    }

    /// Asks once.
    pub async fn ask(&self, now: Timestamp) -> Result<Granted, Refused> {
        let mut headers = HeaderMap::new();
        let body = if self.settings.credential == Credential::Managed {
            headers.insert(HeaderName::from_static("metadata"), HeaderValue::from_static("true"));
            Bytes::new()
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            self.form()?
        };
        let method = if body.is_empty() { Method::GET } else { Method::POST };
        let request = Request { method, url: &self.url, headers, body, outgoing: None };
        let answer = self.client.ask(request, now).await.map_err(|failure| {
            unreachable(&format!("{} cannot be asked for a token: {}", self.server(), failure.detail))
        })?;
        self.read(&answer).map_err(|refused| Refused { until: answer.retry_after, ..refused })
    }

    fn form(&self) -> Result<Bytes, Refused> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        form.append_pair("client_id", self.settings.client_id.as_deref().unwrap_or_default());
        form.append_pair("scope", &format!("{}/.default", self.resource));
        match &self.settings.credential {
            Credential::Secret(source) => {
                let secret = source.read().map_err(|what| refused(format!("the client secret: {what}")))?;
                form.append_pair("client_secret", secret.expose());
            }
            Credential::Federated(file) => {
                let assertion = Secret::read(file)
                    .map_err(|what| refused(format!("the federated token file {} {what}", file.display())))?;
                form.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                form.append_pair("client_assertion", assertion.expose());
            }
            Credential::Managed => {}
        }
        Ok(form.finish().into())
    }

    /// 200 with a token; else whether somebody must mend something (RFC 6749 5.2) or it is worth asking again.
    fn read(&self, answer: &Answer) -> Result<Granted, Refused> {
        let server = self.server();
        match answer.status {
            200 => granted(&answer.body)
                .ok_or_else(|| unreachable(&format!("{server} answered 200 without a token that we can read"))),
            400 | 401 | 403 => Err(refused(format!("{server} gives no token: {}", self.reason(answer)))),
            404 if self.settings.credential != Credential::Managed => {
                Err(refused(format!("{server} knows no such tenant (404): look at `tenant` and [azure] cloud")))
            }
            status => Err(unreachable(&format!("{server} gives no token now (status {status})"))),
        }
    }

    fn server(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    fn reason(&self, answer: &Answer) -> String {
        if self.settings.credential == Credential::Managed {
            return "the machine has no such identity: assign one to it, and name the right client_id".into();
        }
        let said: Said = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = said.error_codes.first().copied().or_else(|| said.code_in_words());
        let remedy = match code {
            Some(7_000_215) => "the client secret is wrong: is it the value, and not the secret's id?",
            Some(7_000_222) => "the client secret has expired: make a new one",
            Some(700_016) => "the tenant knows no application with this client_id",
            Some(90_002 | 900_021 | 900_023) => {
                "there is no such tenant in this cloud: look at `tenant` and [azure] cloud"
            }
            Some(70_021 | 700_211..=700_213 | 700_024) => {
                "no federated credential of the application fits the token file's issuer and subject"
            }
            Some(53_003) => "Conditional Access blocks it",
            _ => "the code's meaning is told at https://login.microsoftonline.com/error",
        };
        code.map_or_else(|| format!("status {}; {remedy}", answer.status), |code| format!("AADSTS{code}: {remedy}"))
    }
}

fn metadata_url(metadata: &str, settings: &Settings, resource: &str) -> anyhow::Result<Url> {
    let mut url = Url::parse(metadata)?;
    url.query_pairs_mut().append_pair("api-version", "2018-02-01").append_pair("resource", resource);
    if let Some(client_id) = &settings.client_id {
        url.query_pairs_mut().append_pair("client_id", client_id);
    }
    Ok(url)
}

/// Open for that one address, and for nothing else.
fn for_metadata(url: &Url) -> anyhow::Result<web::Settings> {
    let address = url.host_str().unwrap_or_default();
    let network = address.parse().map_err(|_| anyhow::anyhow!("the metadata service has no address"))?;
    let guard = web::guard::Guard { allow: vec![network], ..Default::default() };
    Ok(web::Settings { guard, allow_http: true, ..Default::default() })
}

fn login(settings: &Settings) -> anyhow::Result<Url> {
    let mut url = settings.azure.login().context("login_url is no URL")?;
    let mut path = url.path_segments_mut().map_err(|()| anyhow::anyhow!("login_url names no host"))?;
    path.pop_if_empty().extend([settings.tenant.as_str(), "oauth2", "v2.0", "token"]);
    drop(path);
    Ok(url)
}

fn refused(message: String) -> Refused {
    Refused { why: "auth", message, until: None }
}

fn unreachable(message: &str) -> Refused {
    Refused { why: "token", message: message.to_owned(), until: None }
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    /// Seconds; a number of Entra, a text of the metadata service.
    expires_in: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    error_codes: Vec<u64>,
    #[serde(default)]
    error_description: String,
}

impl Said {
    /// `AADSTS7000215: Invalid client secret …`: where the codes are left out, the text begins with one. It is not repeated.
    fn code_in_words(&self) -> Option<u64> {
        let (_, rest) = self.error_description.split_once("AADSTS")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }
}

fn granted(body: &[u8]) -> Option<Granted> {
    let given: Given = serde_json::from_slice(body).ok()?;
    let fit = !given.access_token.is_empty() && given.access_token.bytes().all(|byte| byte.is_ascii_graphic());
    let seconds = given.expires_in.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    let life = Duration::from_secs(seconds.unwrap_or(UNTOLD_LIFE).min(LONGEST_LIFE));
    fit.then(|| Granted { token: Secret::new(given.access_token), life })
}
