//! The bucket: values and tables in object storage, and the S3-compatible server of `bue bucket`.
//!
//! - [`BucketUrl`], [`Credentials`], [`Bucket`]: a client for folders, S3 services and `bue bucket`.
//! - [`server`]: the S3 API over a folder, for `bue bucket`.
//! - [`table`]: tables, of the crate `tables`.
//! - [`value`]: from what a step returned to a reference, and back.
//!
//! It knows nothing of runs, jobs and leases: it is given keys and references, and gives back bytes and files.

mod client;
mod credentials;
mod error;
mod gathered;
mod percent;
pub mod server;
pub use tables as table;
pub mod url;
pub mod value;

pub use client::{Bucket, Entry, FOLDER_MARK, Stored};
pub use credentials::Credentials;
pub use error::BucketError;
pub use url::{BucketUrl, BucketUrlError};

/// Makes `ring` the provider of cryptography for TLS in this process; to be called once before any bucket is opened.
/// A provider that is installed already stays.
pub fn install_tls() {
    // An error only says that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The beginning of a client for the service at `url`, which goes there directly.
pub fn http_client(url: &str) -> reqwest::ClientBuilder {
    install_tls();
    let builder = reqwest::Client::builder().no_proxy();
    if needs_certificates(url) { builder } else { builder.tls_certs_only([]) }
}

/// Whether whoever calls `url` must know whom this machine trusts. That is a hundred files to be read, in megabytes of memory and
/// milliseconds: nothing for a service without encryption.
pub(crate) fn needs_certificates(url: &str) -> bool {
    !url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}
