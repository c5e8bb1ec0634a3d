//! TLS for the connection to the database, by the same library and provider of cryptography as all else here.

use std::sync::Arc;

use protocol::frame::{PostgresFrame, PostgresTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Makes connections encrypted as a frame asks for it.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: MakeRustlsConnect,
    pub(super) mode: SslMode,
}

impl Tls {
    /// What the frame asks for; an error says what is wrong with its certificates.
    pub(super) fn new(database: &PostgresFrame) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match database.tls {
            PostgresTls::VerifyFull => builder.with_root_certificates(roots(database.certificates.as_deref())?),
            PostgresTls::Disable | PostgresTls::Prefer | PostgresTls::Require => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer::new(&provider)))
            }
        };
        let mode = match database.tls {
            PostgresTls::Disable => SslMode::Disable,
            PostgresTls::Prefer => SslMode::Prefer,
            PostgresTls::Require | PostgresTls::VerifyFull => SslMode::Require,
        };
        Ok(Self { connector: MakeRustlsConnect::new(config.with_no_client_auth()), mode })
    }
}

fn roots(certificates: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match certificates {
        Some(text) => {
            for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                let certificate = certificate.map_err(|error| format!("sslrootcert is no PEM file: {error}"))?;
                roots.add(certificate).map_err(|error| format!("sslrootcert holds an unfit certificate: {error}"))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err("there is no certificate to verify the server by; sslrootcert=FILE names one".to_owned());
    }
    Ok(roots)
}

/// Takes any server's certificate: what `require` means to PostgreSQL's own clients. It keeps listeners out, not impostors.
#[derive(Debug)]
struct AnyServer(WebPkiSupportedAlgorithms);

impl AnyServer {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
