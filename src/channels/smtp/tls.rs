//! Owns how to shake hands with one relay: the configuration of `channels/tls.rs` and the name to verify.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::channels::tls;

/// How to shake hands with one relay.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl Tls {
    /// For the relay `host`, trusting `ca_file` (PEM), or the system's roots.
    pub(super) fn new(host: &str, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("relay: {host} is no host name that a certificate could bear"))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(tls::client(ca_file, None)?)), name })
    }
}
