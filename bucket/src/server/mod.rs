//! The server of `bue bucket`: the S3 API over a folder of this machine, for one key pair.
//!
//! It is for one process per folder on a local file system. It has no users, versions or access lists, and no TLS of its
//! own: across networks that are not trusted, put it behind something that has.

mod api;
mod auth;
mod folder;
mod stall;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Credentials;
use crate::url::DEFAULT_BUCKET_NAME;
use api::Api;
use auth::OneKeyPair;
use folder::{Folder, FolderError};
use stall::StallGuard;

/// How often uploads that nobody completes are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);
/// Pause after a connection could not be accepted, as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a bucket server needs.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where its objects are; made where missing.
    pub folder: PathBuf,
    /// The key pair that requests must be signed with.
    pub credentials: Credentials,
    /// Its limits.
    pub limits: Limits,
}

/// Limits of a bucket server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest object, and largest content of a request.
    pub object_bytes_max: u64,
    /// Connections that are served at once; further ones wait.
    pub connections_max: usize,
    /// Longest time for the head of a request to come, also on an idle connection.
    pub header_timeout: Duration,
    /// Longest pause within the content of a request.
    pub body_timeout: Duration,
    /// Longest time in which a reader takes nothing of an answer.
    pub write_timeout: Duration,
    /// Uploads in parts that are not completed are removed after this time.
    pub upload_age_max: Duration,
    /// How long requests may go on when the server is told to end.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            object_bytes_max: 50 << 30,
            connections_max: 1_024,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            upload_age_max: Duration::from_secs(7 * 24 * 3_600),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// Why a bucket server cannot start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ServerError(#[from] FolderError);

/// Serves S3 requests until `shutdown`, then lets those under way end. The bucket named
/// [`DEFAULT_BUCKET_NAME`] is there from the start.
///
/// # Errors
/// When the folder cannot be used, or is in use.
pub async fn serve(
    listener: TcpListener,
    config: ServerConfig,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    let limits = config.limits;
    let folder = open_folder(config.folder).await?;
    let service = service(Arc::clone(&folder), config.credentials, limits);
    let connections = TaskTracker::new();
    let sweeper = tokio::spawn(sweep(folder, limits, shutdown.clone()));
    accept(&listener, &service, limits, &connections, &shutdown).await;
    connections.close();
    if tokio::time::timeout(limits.shutdown_grace, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were cut off at the end");
    }
    sweeper.abort();
    Ok(())
}

async fn open_folder(path: PathBuf) -> Result<Arc<Folder>, FolderError> {
    let opened = tokio::task::spawn_blocking(move || {
        let folder = Folder::open(&path)?;
        folder.create_bucket(DEFAULT_BUCKET_NAME)?;
        Ok(Arc::new(folder))
    });
    opened.await.unwrap_or_else(|error| Err(FolderError::Io { path: PathBuf::new(), source: io::Error::other(error) }))
}

fn service(folder: Arc<Folder>, credentials: Credentials, limits: Limits) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Api::new(folder, limits));
    builder.set_auth(OneKeyPair::new(credentials));
    builder.build()
}

async fn accept(
    listener: &TcpListener,
    service: &S3Service,
    limits: Limits,
    connections: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, service.clone(), limits, shutdown.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, service: S3Service, limits: Limits, shutdown: CancellationToken) {
    // Small answers should not wait to be joined by others; where it cannot be set, they do.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(StallGuard::new(stream, limits.write_timeout));
    let service = service_fn(|request| answer(&service, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .serve_connection(stream, service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Whoever waits to be told to send a content, and is refused instead, need not send it: what comes next on the connection would be taken
/// for it. So that is the last answer there.
async fn answer(service: &S3Service, request: Request<Incoming>) -> Result<Response<s3s::Body>, s3s::HttpError> {
    let may_be_without_content = request.headers().contains_key(header::EXPECT);
    let mut answer = Service::call(service, request).await?;
    if may_be_without_content && (answer.status().is_client_error() || answer.status().is_server_error()) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

async fn sweep(folder: Arc<Folder>, limits: Limits, shutdown: CancellationToken) {
    loop {
        let folder = Arc::clone(&folder);
        let swept = tokio::task::spawn_blocking(move || folder.sweep_uploads(limits.upload_age_max)).await;
        match swept {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(uploads)) => tracing::info!(uploads, "removed uploads that nobody completed"),
            Ok(Err(error)) => tracing::warn!(%error, "uploads that nobody completed could not be removed"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(SWEEP_INTERVAL) => {}
        }
    }
}
