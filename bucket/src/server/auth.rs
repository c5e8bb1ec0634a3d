//! The one key pair that opens this server.

use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use crate::Credentials;

/// Knows one access key. Requests without a signature are refused before they get here.
pub(super) struct OneKeyPair {
    access_key: String,
    secret_key: SecretKey,
}

impl OneKeyPair {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { access_key: credentials.access_key, secret_key: credentials.secret_key.into() }
    }
}

#[async_trait::async_trait]
impl S3Auth for OneKeyPair {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key {
            return Ok(self.secret_key.clone());
        }
        Err(s3_error!(InvalidAccessKeyId, "this bucket server does not know the access key"))
    }
}
