//! Owns how to shake hands with one relay: the configuration of `channels/tls.rs`, read again when its files change, and the
//! name to verify.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::Settings;
use super::verdict::Event;
use crate::channels::tls::{self, Identity};

/// How to shake hands with one relay. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Tls(Arc<Shared>);

struct Shared {
    name: ServerName<'static>,
    ca_file: Option<PathBuf>,
    identity: Option<Identity>,
    /// What the files came to when they were last read. Kept while they stay the same, so that TLS sessions are resumed.
    last: Mutex<Last>,
}

struct Last {
    digest: blake3::Hash,
    config: Arc<ClientConfig>,
}

impl Tls {
    /// For the relay `host`, trusting `ca_file` (PEM), or the system's roots; fails if a file is unusable.
    pub(super) fn new(host: &str, settings: &Settings) -> anyhow::Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("relay: {host} is no host name that a certificate could bear"))?;
        let (ca_file, identity) = (settings.ca_file.clone(), settings.identity.clone());
        let config = Arc::new(tls::client(ca_file.as_deref(), identity.as_ref())?);
        let digest = digest(ca_file.as_ref(), identity.as_ref())?;
        Ok(Self(Arc::new(Shared { name, ca_file, identity, last: Mutex::new(Last { digest, config }) })))
    }

    /// The name to verify.
    pub(super) fn name(&self) -> ServerName<'static> {
        self.0.name.clone()
    }

    /// What to shake hands with now: Kubernetes puts new certificates in the place of the old ones while we run.
    pub(super) async fn connector(&self, limit: Duration) -> Result<TlsConnector, Event> {
        let shared = self.0.clone();
        let read = tokio::task::spawn_blocking(move || shared.config());
        match tokio::time::timeout(limit, read).await {
            Ok(Ok(config)) => config.map(TlsConnector::from).map_err(|error| Event::Io(format!("{error:#}"))),
            Ok(Err(_)) => Err(Event::Unfit("the certificates could not be read")),
            Err(_) => Err(Event::Timeout),
        }
    }
}

impl Shared {
    /// The configuration of the files as they are. Blocks.
    fn config(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = digest(self.ca_file.as_ref(), self.identity.as_ref())?;
        if last.digest != digest {
            let config = Arc::new(tls::client(self.ca_file.as_deref(), self.identity.as_ref())?);
            *last = Last { digest, config };
        }
        Ok(last.config.clone())
    }
}

/// Of everything that the files hold. The system's roots are read once.
fn digest(ca_file: Option<&PathBuf>, identity: Option<&Identity>) -> anyhow::Result<blake3::Hash> {
    let own = identity.map(|identity| [&identity.cert_file, &identity.key_file]);
    let mut hasher = blake3::Hasher::new();
    for file in ca_file.into_iter().chain(own.into_iter().flatten()) {
        let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        hasher.update(&(bytes.len() as u64).to_be_bytes()).update(&bytes);
    }
    Ok(hasher.finalize())
}
