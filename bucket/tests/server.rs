//! What the server of `bue bucket` promises beyond what every bucket does.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bue_bucket::server::{Limits, ServerConfig, serve};
use bue_bucket::{Bucket, BucketError, BucketUrl, Credentials};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as StorePath;
use object_store::signer::Signer;
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longest time for anything here that should happen soon.
const SOON: Duration = Duration::from_secs(30);
const BYTES_MAX: u64 = 1 << 30;

struct Served {
    address: SocketAddr,
    credentials: Credentials,
    scratch: TempDir,
    _shutdown: DropGuard,
}

async fn served(limits: Limits) -> Served {
    bue_bucket::install_tls();
    let scratch = tempfile::tempdir().unwrap();
    let credentials = Credentials::random().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    spawn_server(listener, scratch.path(), &credentials, limits, &shutdown);
    Served { address, credentials, scratch, _shutdown: shutdown.drop_guard() }
}

fn spawn_server(
    listener: TcpListener,
    folder: &Path,
    credentials: &Credentials,
    limits: Limits,
    shutdown: &CancellationToken,
) -> JoinHandle<Result<(), bue_bucket::server::ServerError>> {
    let config = ServerConfig { folder: folder.to_owned(), credentials: credentials.clone(), limits };
    tokio::spawn(serve(listener, config, shutdown.clone()))
}

fn open(address: SocketAddr, credentials: &Credentials) -> Bucket {
    let url: BucketUrl = address.to_string().parse().unwrap();
    Bucket::open(&url, Some(credentials)).unwrap()
}

impl Served {
    fn bucket(&self) -> Bucket {
        open(self.address, &self.credentials)
    }

    fn store(&self) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.address))
            .with_allow_http(true)
            .with_bucket_name("bue")
            .with_region("us-east-1")
            .with_access_key_id(&self.credentials.access_key)
            .with_secret_access_key(&self.credentials.secret_key)
            .build()
            .unwrap()
    }

    /// Sends `head` of a request for a presigned URL, and `body`; gives the open connection.
    async fn send(&self, method: &str, key: &str, headers: &str, body: &[u8]) -> TcpStream {
        let method_type = method.parse().unwrap();
        let url = self.store().signed_url(method_type, &StorePath::from(key), SOON).await.unwrap();
        let target = format!("{}?{}", url.path(), url.query().unwrap());
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream
    }
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 64 << 10];
    let length = timeout(SOON, stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn nobody_gets_in_without_the_key_pair() {
    let served = served(Limits::default()).await;
    served.bucket().put("secret", Bytes::from_static(b"x")).await.unwrap();
    let wrong_secret = Credentials::new(&served.credentials.access_key, "wrong");
    let unknown = Credentials::random().unwrap();
    for credentials in [wrong_secret, unknown] {
        let bucket = open(served.address, &credentials);
        let outcomes = [
            bucket.check().await,
            bucket.get("secret", BYTES_MAX).await.map(|_| ()),
            bucket.put("secret", Bytes::new()).await.map(|_| ()),
            bucket.list("").await.map(|_| ()),
            bucket.delete_prefix("secret").await.map(|_| ()),
        ];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(BucketError::Refused { .. })), "{outcome:?}");
        }
    }
    for request in ["GET /bue/secret", "PUT /bue/secret", "DELETE /bue/secret", "GET /", "POST /bue?delete"] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let text = format!("{request} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{request}: {answer}");
    }
    assert_eq!(served.bucket().get("secret", BYTES_MAX).await.unwrap(), "x");
}

#[tokio::test]
async fn a_changed_signature_of_a_presigned_url_is_refused() {
    let served = served(Limits::default()).await;
    served.bucket().put("k", Bytes::from_static(b"content")).await.unwrap();
    let url = served.store().signed_url("GET".parse().unwrap(), &StorePath::from("k"), SOON).await.unwrap();
    let target = format!("{}?{}", url.path(), url.query().unwrap());
    for (target, status) in [(target.clone(), "200"), (target.replace("/k?", "/other?"), "403")] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn a_key_can_be_an_object_and_a_folder() {
    let served = served(Limits::default()).await;
    let bucket = served.bucket();
    for key in ["a/b/c", "a", "a/b", "a.object/b", "a.object"] {
        bucket.put(key, Bytes::from(key)).await.unwrap();
    }
    let keys: Vec<_> = bucket.list("").await.unwrap().into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["a", "a.object", "a.object/b", "a/b", "a/b/c"]);
    bucket.delete("a").await.unwrap();
    bucket.delete("a/b/c").await.unwrap();
    assert_eq!(bucket.get("a/b", BYTES_MAX).await.unwrap(), "a/b");
}

#[tokio::test]
async fn reads_have_conditions_and_ranges() {
    let served = served(Limits::default()).await;
    let (store, path) = (served.store(), StorePath::from("k"));
    let written = store.put(&path, "0123456789".into()).await.unwrap();
    let etag = written.e_tag.unwrap();
    assert_eq!(etag, "\"15f9b1ee4cfd9c1d000000000000000a-1\"");
    assert_eq!(store.head(&path).await.unwrap().e_tag.unwrap(), etag);

    let same = GetOptions::new().with_if_none_match(Some(&etag));
    assert!(matches!(store.get_opts(&path, same).await, Err(Error::NotModified { .. })));
    let other = GetOptions::new().with_if_match(Some("\"other\""));
    assert!(matches!(store.get_opts(&path, other).await, Err(Error::Precondition { .. })));
    let same = GetOptions::new().with_if_match(Some(&etag));
    assert_eq!(store.get_opts(&path, same).await.unwrap().bytes().await.unwrap(), "0123456789");
    assert_eq!(store.get_range(&path, 2..5).await.unwrap(), "234");
    assert_eq!(store.get_range(&path, 8..100).await.unwrap(), "89");
    assert!(store.get_range(&path, 10..11).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_updaters_of_one_version_exactly_one_wins() {
    let served = served(Limits::default()).await;
    let path = StorePath::from("counter");
    let version: UpdateVersion = served.store().put(&path, "0".into()).await.unwrap().into();
    let updates = (0..16).map(|number| {
        let (store, path, version) = (served.store(), path.clone(), version.clone());
        let options = PutOptions { mode: PutMode::Update(version), ..PutOptions::default() };
        tokio::spawn(async move { store.put_opts(&path, format!("by {number}").into(), options).await })
    });
    let outcomes: Vec<_> = join_all(updates).await.into_iter().map(Result::unwrap).collect();
    let winners = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(winners, 1, "{outcomes:?}");
    let lost = |outcome: &Result<_, Error>| matches!(outcome, Ok(_) | Err(Error::Precondition { .. }));
    assert!(outcomes.iter().all(lost), "{outcomes:?}");
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let served = served(Limits::default()).await;
    let (store, path) = (served.store(), StorePath::from("parts"));
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part(vec![7; 6 << 20].into()).await.unwrap();
    upload.abort().await.unwrap();
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    assert!(upload.complete().await.is_err());
    assert_eq!(std::fs::read_dir(served.scratch.path().join("uploads")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_copy_is_an_object_of_its_own() {
    let served = served(Limits::default()).await;
    let (store, one, other) = (served.store(), StorePath::from("one"), StorePath::from("folder/other"));
    store.put(&one, vec![1; 3 << 20].into()).await.unwrap();
    store.copy(&one, &other).await.unwrap();
    store.put(&one, "changed".into()).await.unwrap();
    assert_eq!(store.get(&other).await.unwrap().bytes().await.unwrap(), vec![1; 3 << 20]);
}

#[tokio::test]
async fn an_object_over_the_limit_is_refused() {
    let limits = Limits { object_bytes_max: 1_000, ..Limits::default() };
    let served = served(limits).await;
    let bucket = served.bucket();
    bucket.put("fits", vec![0; 1_000].into()).await.unwrap();
    let error = bucket.put("large", vec![0; 1_001].into()).await.unwrap_err();
    assert!(matches!(&error, BucketError::Invalid { reason, .. } if reason.contains("EntityTooLarge")), "{error:?}");
    assert_eq!(bucket.list("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_object_is_named_and_can_be_written_again_or_deleted() {
    let served = served(Limits::default()).await;
    let bucket = served.bucket();
    let folder = served.scratch.path().join("buckets/bue");
    for key in ["one", "two"] {
        let stored = bucket.put(key, Bytes::from(vec![7; 100_000])).await.unwrap();
        let file = std::fs::File::options().write(true).open(folder.join(format!("{key}.object"))).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        let target = served.scratch.path().join("target");
        let outcomes = [
            bucket.get(key, BYTES_MAX).await.map(drop),
            bucket.get_verified(key, stored).await.map(drop),
            bucket.get_range(key, 0..10, stored.sha256).await.map(drop),
            bucket.get_to_file(key, &target, stored).await,
        ];
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert!(matches!(&error, BucketError::Corrupt { key: named, .. } if named == key), "{error}");
        }
    }
    assert_eq!(bucket.list("").await.unwrap().len(), 2);
    let stored = bucket.put("one", Bytes::from_static(b"again")).await.unwrap();
    assert_eq!(bucket.get_verified("one", stored).await.unwrap(), "again");
    bucket.delete_prefix("two").await.unwrap();
    bucket.delete("two").await.unwrap();
    assert_eq!(bucket.list("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_refused_with_its_reason() {
    let served = served(Limits::default()).await;
    let url: BucketUrl = format!("s3://missing/prefix?endpoint=http://{}", served.address).parse().unwrap();
    let bucket = Bucket::open(&url, Some(&served.credentials)).unwrap();
    for outcome in [bucket.check().await, bucket.put("k", Bytes::new()).await.map(|_| ())] {
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("is not a bucket: the service has none of this name"), "{text}");
    }
}

#[tokio::test]
async fn a_bucket_in_the_host_is_asked_for_there_and_in_its_region() {
    bue_bucket::install_tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // A bucket called 127 has a host of this machine without the help of any name service.
    let url = format!("s3://127/p?endpoint=http://0.0.1:{port}&style=virtual&region=eu-test-1").parse().unwrap();
    let bucket = Bucket::open(&url, Some(&Credentials::new("key", "secret"))).unwrap();
    let put = tokio::spawn(async move { bucket.put("k", Bytes::from_static(b"x")).await });
    let (mut stream, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let request = answer(&mut stream).await;
    put.abort();
    for part in ["PUT /p/k ", &format!("host: 127.0.0.1:{port}\r\n"), "/eu-test-1/s3/aws4_request"] {
        assert!(request.contains(part), "`{part}` is not in:\n{request}");
    }
}

#[tokio::test]
async fn a_prefix_keeps_buckets_of_one_service_apart() {
    let served = served(Limits::default()).await;
    let with_prefix = |prefix: &str| {
        let url: BucketUrl = format!("s3://bue/{prefix}?endpoint=http://{}", served.address).parse().unwrap();
        Bucket::open(&url, Some(&served.credentials)).unwrap()
    };
    let (one, other) = (with_prefix("one/deep"), with_prefix("other"));
    one.put("k", Bytes::from_static(b"1")).await.unwrap();
    other.put("k", Bytes::from_static(b"2")).await.unwrap();
    assert_eq!(one.list("").await.unwrap()[0].key, "k");
    assert_eq!(one.get("k", BYTES_MAX).await.unwrap(), "1");
    let all: Vec<_> = served.bucket().list("").await.unwrap().into_iter().map(|entry| entry.key).collect();
    assert_eq!(all, ["one/deep/k", "other/k"]);
}

#[tokio::test]
async fn a_folder_has_one_server_at_a_time() {
    let served = served(Limits::default()).await;
    served.bucket().check().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = spawn_server(
        listener,
        served.scratch.path(),
        &served.credentials,
        Limits::default(),
        &CancellationToken::new(),
    );
    let error = timeout(SOON, second).await.unwrap().unwrap().unwrap_err().to_string();
    assert!(error.contains("in use by another bucket server"), "{error}");
}

#[tokio::test]
async fn a_content_that_stops_coming_is_given_up() {
    let served = served(Limits { body_timeout: Duration::from_millis(200), ..Limits::default() }).await;
    let mut stream = served.send("PUT", "half", "Content-Length: 100\r\n", b"only this").await;
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("RequestTimeout"), "{answer}");
    assert_eq!(served.bucket().list("").await.unwrap(), []);
}

#[tokio::test]
async fn a_content_that_breaks_off_is_not_stored() {
    let served = served(Limits::default()).await;
    drop(served.send("PUT", "half", "Content-Length: 100\r\n", b"only this").await);
    served.bucket().put("whole", Bytes::new()).await.unwrap();
    let drafts = served.scratch.path().join("drafts");
    wait_until(|| std::fs::read_dir(&drafts).unwrap().count() == 0).await;
    assert_eq!(served.bucket().list("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_closed() {
    let served = served(Limits { header_timeout: Duration::from_millis(200), ..Limits::default() }).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /bue").await.unwrap();
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reader_that_takes_nothing_makes_room_for_others() {
    let limits = Limits { connections_max: 1, write_timeout: Duration::from_millis(300), ..Limits::default() };
    let served = served(limits).await;
    let stalled_reader = {
        let bucket = served.bucket();
        bucket.put("large", vec![0; 32 << 20].into()).await.unwrap();
        // Dropping it closes its idle connections.
        drop(bucket);
        served.send("GET", "large", "", b"").await
    };
    timeout(SOON, served.bucket().check()).await.unwrap().unwrap();
    drop(stalled_reader);
}

#[tokio::test]
async fn an_outage_is_waited_out_or_named_in_bounded_time() {
    bue_bucket::install_tls();
    let scratch = tempfile::tempdir().unwrap();
    let credentials = Credentials::random().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bucket = open(address, &credentials);

    let begun = Instant::now();
    let error = bucket.check().await.unwrap_err();
    assert!(matches!(error, BucketError::Unreachable { .. }) && error.is_transient(), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    let put = tokio::spawn({
        let bucket = bucket.clone();
        async move { bucket.put("k", Bytes::from_static(b"x")).await }
    });
    let given_up = bucket.get("other", BYTES_MAX).await;
    assert!(matches!(given_up, Err(BucketError::Unreachable { .. })), "{given_up:?}");
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert!(matches!(put.await.unwrap(), Err(BucketError::Unreachable { .. })));

    let put = tokio::spawn(async move { bucket.put("k", Bytes::from_static(b"x")).await });
    let listener = TcpListener::bind(address).await.unwrap();
    let shutdown = CancellationToken::new();
    let server = spawn_server(listener, scratch.path(), &credentials, Limits::default(), &shutdown);
    put.await.unwrap().unwrap();
    shutdown.cancel();
    timeout(SOON, server).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_server_loses_no_answered_write_and_tears_no_object() {
    bue_bucket::install_tls();
    let folder = tempfile::tempdir().unwrap();
    let credentials = Credentials::random().unwrap();
    for round in 0..3 {
        let mut server = Process::start(folder.path(), &credentials);
        let bucket = open(server.address, &credentials);
        let writers: Vec<_> =
            (0..8).map(|writer| tokio::spawn(write_until_killed(bucket.clone(), round, writer))).collect();
        // Somewhere in the midst of them; where exactly differs from round to round.
        let some = async { while bucket.list(&format!("r{round}")).await.unwrap().len() < 20 {} };
        timeout(SOON, some).await.unwrap();
        server.kill();
        let answered: Vec<_> =
            futures::stream::iter(writers).then(|writer| async { writer.await.unwrap() }).collect().await;

        let server = Process::start(folder.path(), &credentials);
        let bucket = open(server.address, &credentials);
        for key in answered.into_iter().flatten() {
            assert_whole(&bucket, &key).await;
        }
        for entry in bucket.list("").await.unwrap() {
            assert_whole(&bucket, &entry.key).await;
        }
        assert_eq!(std::fs::read_dir(folder.path().join("drafts")).unwrap().count(), 0);
    }
}

/// Writes objects until the server is gone; gives the keys whose writes were answered.
async fn write_until_killed(bucket: Bucket, round: usize, writer: usize) -> Vec<String> {
    let mut answered = Vec::new();
    for number in 0.. {
        let key = format!("r{round}/w{writer}/{number}");
        let put = bucket.put(&key, content_of(&key));
        // Not the client's patience is tested here.
        match timeout(Duration::from_secs(2), put).await {
            Ok(Ok(_)) => answered.push(key),
            _ => break,
        }
    }
    answered
}

/// Differs from key to key, in length too.
fn content_of(key: &str) -> Bytes {
    let length = key.bytes().map(usize::from).sum::<usize>() * 500;
    key.bytes().cycle().take(length).collect()
}

async fn assert_whole(bucket: &Bucket, key: &str) {
    let content = bucket.get(key, BYTES_MAX).await.unwrap();
    assert!(content == content_of(key), "{key} has {} bytes", content.len());
}

async fn wait_until(condition: impl Fn() -> bool) {
    let waited = timeout(SOON, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
}

/// A server in a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &Path, credentials: &Credentials) -> Self {
        let mut child = Command::new(example("serve"))
            .arg(folder)
            .arg("127.0.0.1:0")
            .env("AWS_ACCESS_KEY_ID", &credentials.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &credentials.secret_key)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An example of this package, which cargo builds beside its tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples").join(name)
}
