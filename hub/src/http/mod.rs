//! Routes to use cases, errors to status codes, limits at the door.

mod answer;
mod auth;
mod connections;
mod extract;
mod logs;
mod routes;
mod secrets;
mod shown;

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::HubError;
use crate::queue::Queue;

/// How long requests that are under way may take after the hub was told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves a hub on `listener` until `shutdown`.
///
/// # Errors
/// The queue cannot be opened or has failed for good.
pub async fn serve(listener: TcpListener, config: Config, shutdown: CancellationToken) -> Result<(), HubError> {
    let queue = Queue::open(&config).await?;
    let failed = queue.failed().clone();
    let app = routes::router(queue, &config, shutdown.clone());
    let server = connections::serve(listener, app, config.limits, shutdown.clone());
    tokio::select! {
        () = server => Ok(()),
        // A hub that only answers that it cannot write is worse than none: another one can be started in its place.
        () = failed.cancelled() => Err(HubError::Writer),
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}
