//! Owns whom we trust and who we are, for every channel: the TLS client configuration. TLS 1.2 at least; certificate and
//! host name are always verified, and there is no switch that says otherwise.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Our own certificate, for servers that ask for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and what leads from it to a root, in PEM.
    pub cert_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
}

/// Trusts `ca_file` (PEM) alone, or the system's roots, and shows `identity` where it is asked for. The error names the file
/// that cannot be used, and holds nothing of it.
pub(super) fn client(ca_file: Option<&Path>, identity: Option<&Identity>) -> anyhow::Result<ClientConfig> {
    let roots = match ca_file {
        Some(path) => from_file(path)?,
        None => from_system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS 1.2 and 1.3 must be available")?
        .with_root_certificates(roots);
    let Some(identity) = identity else { return Ok(config.with_no_client_auth()) };
    let chain = certificates("cert_file", &identity.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key_file)
        .map_err(|_| anyhow::anyhow!("key_file {} holds no private key in PEM", identity.key_file.display()))?;
    config.with_client_auth_cert(chain, key).context("cert_file and key_file do not belong together")
}

fn from_file(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca_file", path)? {
        roots.add(certificate).with_context(|| format!("ca_file {}: a certificate is malformed", path.display()))?;
    }
    Ok(roots)
}

fn certificates(key: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let bytes = std::fs::read(path).with_context(|| format!("{key} {} cannot be read", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.with_context(|| format!("{key} {} is no PEM", path.display()))?;
    anyhow::ensure!(!found.is_empty(), "{key} {} contains no certificate", path.display());
    Ok(found)
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
