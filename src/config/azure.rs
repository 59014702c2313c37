//! Owns the building of what speaks HTTP and is no channel itself: `[azure]`, who we are to Entra, and whom a client may
//! talk to.

use std::path::PathBuf;

use url::Url;

use super::reading::Reading;
use super::{channel, values};
use crate::channels::token::{self, Azure, Cloud, Credential};
use crate::channels::web;

/// `[azure]`.
pub(super) fn azure(reading: &mut Reading<'_>) -> Option<Azure> {
    let cloud = reading.one("azure.cloud", |word| match word {
        "usgov" => Ok(Cloud::UsGov),
        "china" => Ok(Cloud::China),
        _ => Ok(Cloud::Public),
    });
    let web = reach(reading, "azure");
    let [login_url, graph_url] = ["azure.login_url", "azure.graph_url"].map(|path| {
        let url = reading.one(path, |text| Url::parse(text).map_err(|_| "must be a URL".to_owned()))?;
        if let Err(what) = web::may_ask(&url, web.allow_http) {
            reading.fault(path, what);
        }
        Some(url)
    });
    Some(Azure { cloud: cloud?, login_url, graph_url, web })
}

/// Whom the client of the table `path` may talk to, and how it knows them.
pub(super) fn reach(reading: &mut Reading<'_>, path: &str) -> web::Settings {
    let at = |key: &str| format!("{path}.{key}");
    let mut is_on = |key: &str| reading.one(&at(key), values::flag).unwrap_or_default();
    let (allow_http, allow_private) = (is_on("allow_http"), is_on("allow_private"));
    let allow = reading.many(&at("allow_cidrs"), values::network).unwrap_or_default();
    web::Settings {
        guard: web::guard::Guard { allow_private, allow },
        allow_http,
        ca_file: reading.file(&at("ca_file")),
        identity: channel::identity(reading, path),
    }
}

/// `oauth2 = { … }`: a client secret, the token file of a workload, or the identity of the machine. What Kubernetes' workload
/// identity puts into the environment need not be written.
pub(super) fn oauth2(reading: &mut Reading<'_>, path: &str) -> Option<token::Settings> {
    let at = |key: &str| format!("{path}.{key}");
    let azure = azure(reading);
    let identity = reading.text(&at("identity"));
    let secret_is_set = reading.is_set(&at("client_secret")) || reading.is_set(&at("client_secret_file"));
    let workload = identity.as_deref() == Some("workload");
    if identity.is_some() && secret_is_set {
        reading.fault(&at("identity"), "is set and so is a client secret: keep one");
    }
    if !workload && reading.is_set(&at("token_file")) {
        reading.fault(&at("token_file"), "belongs to `identity = \"workload\"`: add that, or leave this out");
    }
    let mut told = |key: &str, variable: &str| {
        let inherited = workload.then(|| reading.environment.get(variable).cloned()).flatten();
        reading.text(&at(key)).or(inherited)
    };
    let tenant = told("tenant", "AZURE_TENANT_ID");
    let client_id = told("client_id", "AZURE_CLIENT_ID");
    let credential = match identity.as_deref() {
        Some("managed") => Some(Credential::Managed),
        Some(_) => {
            let inherited = reading.environment.get("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from);
            let file = if reading.is_set(&at("token_file")) { reading.file(&at("token_file")) } else { inherited };
            if file.is_none() {
                reading
                    .fault(&at("token_file"), "is missing: add it, or let Kubernetes set AZURE_FEDERATED_TOKEN_FILE");
            }
            file.map(Credential::Federated)
        }
        None if secret_is_set => reading.secret_source(&at("client_secret")).map(Credential::Secret),
        None => {
            let message = "is missing: add `client_secret_file = \"…\"`, or `identity = \"workload\"` or `\"managed\"`";
            reading.fault(&at("client_secret_file"), message);
            None
        }
    };
    if identity.as_deref() != Some("managed") {
        for (key, value) in [("tenant", &tenant), ("client_id", &client_id)] {
            if value.is_none() && !reading.is_set(&at(key)) {
                reading.fault(&at(key), format!("is missing: add `{key} = …`"));
            }
        }
    }
    Some(token::Settings { azure: azure?, tenant: tenant.unwrap_or_default(), client_id, credential: credential? })
}
