//! Secrets of the hub.

use protocol::secret::{SecretRequest, SecretText, SecretView};
use reqwest::Method;

use super::{ANSWER_TIMEOUT, Client, ClientError};

impl Client {
    /// Sets a secret, or changes it.
    pub async fn set_secret(&self, name: &str, value: SecretText) -> Result<(), ClientError> {
        let (route, request) = (route(name), SecretRequest { value });
        self.send(|| self.request(Method::PUT, &route).json(&request).timeout(ANSWER_TIMEOUT)).await.map(drop)
    }

    /// The names of all secrets.
    pub async fn secrets(&self) -> Result<Vec<SecretView>, ClientError> {
        self.get("secrets", ANSWER_TIMEOUT).await
    }

    /// Removes a secret.
    pub async fn remove_secret(&self, name: &str) -> Result<(), ClientError> {
        let route = route(name);
        self.send(|| self.request(Method::DELETE, &route).timeout(ANSWER_TIMEOUT)).await.map(drop)
    }
}

/// Names were checked: nothing in them is special in an address.
fn route(name: &str) -> String {
    format!("secrets/{name}")
}
