//! Encrypted connections, where the address asks for them by `sslmode=require` or `verify-full`. The server's certificate must then be
//! trusted: by this machine, or by the file that `SSL_CERT_FILE` names. Other addresses go without, as they do behind a private network.

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::ConfigVerifierExt;
use tokio_postgres::Socket;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Encrypts connections where their settings ask for it.
pub(super) type Tls = MakeRustlsConnect;

/// An encrypted connection.
pub(super) type Encrypted = <Tls as MakeTlsConnect<Socket>>::Stream;

/// For settings that ask for no encryption: were they to, no server would be trusted.
pub(super) fn none() -> Tls {
    bucket::install_tls();
    let trusted = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
    MakeRustlsConnect::new(trusted.with_no_client_auth())
}

/// Connections to servers whose certificate is trusted.
pub(super) fn verified() -> Result<Tls, rustls::Error> {
    bucket::install_tls();
    Ok(MakeRustlsConnect::new(ClientConfig::with_platform_verifier()?))
}
