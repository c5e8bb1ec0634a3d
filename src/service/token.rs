//! Whether the hub accepts the token of a worker.

use std::time::Duration;

use crate::client::{Client, ClientError};
use crate::error::Error;

/// Pause before a hub that is away is asked again.
const CHECK_PAUSE: Duration = Duration::from_secs(2);

/// Comes back only when the hub's first answer is that the token is wrong. One that is away, or that has made no token yet, is waited
/// for.
pub async fn refusal(client: &Client) -> Error {
    loop {
        match client.check_token().await {
            Err(error @ ClientError::Refused { .. }) => return error.into(),
            Err(ClientError::Unreachable { .. } | ClientError::Unavailable { .. } | ClientError::NoToken { .. }) => {
                tokio::time::sleep(CHECK_PAUSE).await;
            }
            // What else is wrong the worker says itself.
            Ok(()) | Err(_) => return std::future::pending().await,
        }
    }
}
