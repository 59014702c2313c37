//! Owns whom we trust: the TLS client configuration and the name to verify. TLS 1.2 at least; certificate and host name
//! are always verified, and there is no switch that says otherwise.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

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
        let roots = match ca_file {
            Some(path) => from_file(path)?,
            None => from_system()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS 1.2 and 1.3 must be available")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

fn from_file(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let bytes = std::fs::read(path).with_context(|| format!("ca_file {} cannot be read", path.display()))?;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.with_context(|| format!("ca_file {} is no PEM", path.display()))?;
        roots.add(certificate).with_context(|| format!("ca_file {}: a certificate is malformed", path.display()))?;
    }
    anyhow::ensure!(!roots.is_empty(), "ca_file {} contains no certificate", path.display());
    Ok(roots)
}

fn from_system() -> anyhow::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems carry roots that webpki cannot read; the rest is as good as before.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    anyhow::ensure!(
        usable > 0,
        "the system has no CA certificates ({}); install ca-certificates or set ca_file",
        found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string)
    );
    Ok(roots)
}
