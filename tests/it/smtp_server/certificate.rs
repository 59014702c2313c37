//! The certificates that a relay shows, and those it wants to see.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::Certificate;

/// Makes a CA, writes it to `ca_file`, and shows the certificate asked for. With
/// `wants_client` it takes only clients that show the certificate which then lies beside `ca_file`: `client.pem`, `client.key`.
pub(super) fn acceptor(certificate: Certificate, wants_client: bool, ca_file: &Path) -> TlsAcceptor {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), pem)
    };
    let (trusted, pem) = authority("the CA of these tests");
    let directory = ca_file.parent().unwrap();
    std::fs::write(ca_file, &pem).unwrap();
    let (stranger, _) = authority("a stranger");

    let names = match certificate {
        Certificate::WrongHost => vec!["elsewhere.test".to_owned()],
        _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
    };
    let mut params = CertificateParams::new(names).unwrap();
    if certificate == Certificate::Expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    }
    let key = KeyPair::generate().unwrap();
    let issuer = if certificate == Certificate::UnknownCa { &stranger } else { &trusted };
    let chain = vec![params.signed_by(&key, issuer).unwrap().der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = if wants_client {
        let client_key = KeyPair::generate().unwrap();
        let client = CertificateParams::new(vec!["client.test".to_owned()]).unwrap().signed_by(&client_key, &trusted);
        std::fs::write(directory.join("client.pem"), client.unwrap().pem()).unwrap();
        std::fs::write(directory.join("client.key"), client_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        config.with_client_cert_verifier(verifier)
    } else {
        config.with_no_client_auth()
    };
    let config = config.with_single_cert(chain, key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}
