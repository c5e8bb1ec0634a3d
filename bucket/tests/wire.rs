//! What the client of a bucket sends, and what becomes of it where it does not come as it was sent.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bue_bucket::server::{Limits, ServerConfig, serve};
use bue_bucket::{Bucket, BucketError, Credentials};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longest time for anything here that should happen soon.
const SOON: Duration = Duration::from_secs(30);
/// What contents here are made of; the wire changes its first letter.
const WORD: &[u8] = b"content.";
const SPOILT: &[u8] = b"Content.";

/// A server, and a wire to it that keeps what goes there.
struct Rig {
    server: SocketAddr,
    wire: SocketAddr,
    sent: Arc<Mutex<Vec<u8>>>,
    credentials: Credentials,
    scratch: TempDir,
    _shutdown: DropGuard,
}

impl Rig {
    async fn start(spoils: bool) -> Self {
        bue_bucket::install_tls();
        let scratch = tempfile::tempdir().unwrap();
        let credentials = Credentials::random().unwrap();
        let (listener, entry) = (listen().await, listen().await);
        let (server, wire) = (listener.local_addr().unwrap(), entry.local_addr().unwrap());
        let folder = scratch.path().join("served");
        let config = ServerConfig { folder, credentials: credentials.clone(), limits: Limits::default() };
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(listener, config, shutdown.clone()));
        let sent = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(carry(entry, server, Arc::clone(&sent), spoils));
        Self { server, wire, sent, credentials, scratch, _shutdown: shutdown.drop_guard() }
    }

    fn bucket(&self, url: &str) -> Bucket {
        Bucket::open(&url.parse().unwrap(), Some(&self.credentials)).unwrap()
    }

    fn sent(&self) -> String {
        String::from_utf8_lossy(&self.sent.lock().unwrap()).into_owned()
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn carry(entry: TcpListener, server: SocketAddr, sent: Arc<Mutex<Vec<u8>>>, spoils: bool) {
    loop {
        let (client, _) = entry.accept().await.unwrap();
        let server = TcpStream::connect(server).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let sent = Arc::clone(&sent);
        tokio::spawn(async move {
            let mut piece = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from_client.read(&mut piece).await {
                let piece = &mut piece[..length];
                sent.lock().unwrap().extend_from_slice(piece);
                let word = piece.windows(WORD.len()).position(|window| window == WORD);
                if let Some(place) = word.filter(|_| spoils) {
                    piece[place..][..SPOILT.len()].copy_from_slice(SPOILT);
                }
                if to_server.write_all(piece).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spoilt_on_its_way_is_refused_and_may_be_sent_again() {
    let rig = Rig::start(true).await;
    let spoilt = rig.bucket(&rig.wire.to_string());
    let file = rig.scratch.path().join("file");
    std::fs::File::create(&file).unwrap().write_all(&WORD.repeat(2 << 20)).unwrap();
    let file = std::fs::File::open(&file).unwrap();
    let outcomes = [
        spoilt.put("small", Bytes::from(WORD.repeat(100))).await,
        spoilt.put("medium", Bytes::from(WORD.repeat(1 << 18))).await,
        spoilt.put_file("large", file, 1 << 30).await,
    ];
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("crc64nvme"), "{error}");
    }
    assert_eq!(rig.bucket(&rig.server.to_string()).list("").await.unwrap(), []);
}

#[tokio::test]
async fn our_own_server_is_sent_a_checksum_and_others_a_signature_of_the_content() {
    let rig = Rig::start(false).await;
    let stored = rig.bucket(&rig.wire.to_string()).put("k", Bytes::from(WORD)).await.unwrap();
    let sent = rig.sent();
    assert!(sent.contains("UNSIGNED-PAYLOAD") && sent.contains("x-amz-checksum-crc64nvme"), "{sent}");
    rig.sent.lock().unwrap().clear();
    let other = rig.bucket(&format!("s3://bue?endpoint=http://{}", rig.wire));
    assert_eq!(other.put("k", Bytes::from(WORD)).await.unwrap(), stored);
    let sent = rig.sent();
    assert!(!sent.contains("UNSIGNED-PAYLOAD") && sent.contains(&stored.sha256.to_string()), "{sent}");
    // Whoever reads holds it to the digest anyway.
    let error = other.get_verified("k", bue_bucket::Stored { bytes: stored.bytes - 1, ..stored }).await.unwrap_err();
    assert!(matches!(error, BucketError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_refused_content_that_was_never_sent_is_not_waited_for() {
    let rig = Rig::start(false).await;
    let mut stream = TcpStream::connect(rig.server).await.unwrap();
    let head = "PUT /bue/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("connection: close"), "{answer}");
}
