//! What the hub promises over HTTP: who may come in, what errors look like, what limits hold.

mod rig;

use protocol::api::{ApiErrorKind, ErrorBody, Health, LeaseAnswer, SubmitAnswer};
use protocol::{Digest, FileEntry, Manifest};
use reqwest::{Method, RequestBuilder, StatusCode};
use rig::script;
use tokio_util::sync::{CancellationToken, DropGuard};

struct Server {
    address: String,
    client: reqwest::Client,
    folder: tempfile::TempDir,
    _stop: DropGuard,
}

impl Server {
    async fn start(change: impl FnOnce(&mut bue_hub::Config)) -> Self {
        bucket::install_tls();
        let folder = tempfile::tempdir().unwrap();
        let mut config = bue_hub::Config {
            data_dir: folder.path().to_owned(),
            token: "secret".to_owned(),
            keyring: Some(bue_hub::Keyring::parse(&"07".repeat(32)).unwrap()),
            postgres: None,
            bucket: None,
            policy: rig::quick(),
            reverse_priority: false,
            limits: bue_hub::Limits::default(),
        };
        change(&mut config);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(bue_hub::serve(listener, config, stop.clone()));
        Self { address, client: reqwest::Client::new(), folder, _stop: stop.drop_guard() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address)).bearer_auth("secret")
    }

    async fn submit(&self, text: &str) -> reqwest::Response {
        self.submission(text).await.send().await.unwrap()
    }

    async fn submission(&self, text: &str) -> RequestBuilder {
        let digest = Digest::of(text.as_bytes());
        let put = self.request(Method::PUT, &format!("/v1/files/{digest}")).body(text.to_owned()).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::NO_CONTENT);
        let file = FileEntry { path: "test.bue".into(), digest, bytes: text.len() as u64 };
        let manifest = Manifest::new(vec![file]);
        let body = serde_json::json!({"manifest": manifest, "script": "test.bue"});
        self.request(Method::POST, "/v1/runs").json(&body)
    }
}

async fn refused(response: reqwest::Response, status: StatusCode, kind: ApiErrorKind) -> ErrorBody {
    assert_eq!(response.status(), status);
    let body: ErrorBody = response.json().await.unwrap();
    assert_eq!(body.error.kind, kind, "{body:?}");
    body
}

#[tokio::test]
async fn without_the_token_there_is_only_the_health_check() {
    let server = Server::start(|_| {}).await;
    let health = server.client.get(format!("{}/v1/health", server.address)).send().await.unwrap();
    assert_eq!(health.json::<Health>().await.unwrap().service, "bue-hub");
    for path in ["/v1/status", "/v1/runs", "/v1/files/x", "/v1/jobs/j1/value"] {
        let none = server.client.get(format!("{}{path}", server.address)).send().await.unwrap();
        let body = refused(none, StatusCode::UNAUTHORIZED, ApiErrorKind::Unauthorized).await;
        assert!(body.error.hint.unwrap().contains("BUE_TOKEN"));
        let wrong = server.client.get(format!("{}{path}", server.address)).bearer_auth("guess").send().await.unwrap();
        refused(wrong, StatusCode::UNAUTHORIZED, ApiErrorKind::Unauthorized).await;
    }
}

#[tokio::test]
async fn a_run_can_be_submitted_leased_and_settled_and_a_stale_settlement_gets_409() {
    let server = Server::start(|_| {}).await;
    let response = server.submit(&script(&["a"], "p = | a\np()\n")).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let run = response.json::<SubmitAnswer>().await.unwrap().run;
    let session = "w0000000000000001";
    let body = serde_json::json!({"session": session, "scopes": ["default"], "slots": 4, "wait_ms": 1000});
    let answer = server.request(Method::POST, "/v1/lease").json(&body).send().await.unwrap();
    let lease = answer.json::<LeaseAnswer>().await.unwrap().leases.remove(0);
    let settlement = |token: String| {
        let outcome = serde_json::json!({"success": {"value": {"kind": "number", "place": {"json": 42}}}});
        let settlement = serde_json::json!({"job": lease.job, "attempt": 1, "token": token, "outcome": outcome});
        serde_json::json!({"session": session, "settlements": [settlement]})
    };
    let settle = async |token: String| {
        server.request(Method::POST, "/v1/settle").json(&settlement(token)).send().await.unwrap().status()
    };
    assert_eq!(settle("00".repeat(16)).await, StatusCode::CONFLICT);
    assert_eq!(settle(lease.token.to_string()).await, StatusCode::OK);
    let value = server.request(Method::GET, &format!("/v1/jobs/{}/value", lease.job)).send().await.unwrap();
    assert_eq!(value.text().await.unwrap(), "42");
    let view = server.request(Method::GET, &format!("/v1/runs/{}", run.id)).send().await.unwrap();
    assert!(view.text().await.unwrap().contains(r#""state":"succeeded""#));
}

#[tokio::test]
async fn a_wrong_script_gets_422_with_its_diagnostics_as_data_and_as_text() {
    let server = Server::start(|_| {}).await;
    let response = server.submit(&script(&["a"], "p = | b\np()\n")).await;
    let body = refused(response, StatusCode::UNPROCESSABLE_ENTITY, ApiErrorKind::Script).await;
    assert!(!body.diagnostics.is_empty());
    assert!(body.rendered.unwrap().contains("test.bue"));
}

#[tokio::test]
async fn bad_requests_are_named() {
    let server = Server::start(|config| {
        config.limits.request_bytes_max = 1_000;
        config.limits.file_bytes_max = 10;
    })
    .await;
    let get = async |path: &str| server.request(Method::GET, path).send().await.unwrap();
    refused(get("/v1/nothing").await, StatusCode::NOT_FOUND, ApiErrorKind::NotFound).await;
    refused(get("/v1/jobs/j99").await, StatusCode::NOT_FOUND, ApiErrorKind::NotFound).await;
    let wrong = get("/v1/lease").await;
    assert_eq!(wrong.headers()["allow"], "POST");
    refused(wrong, StatusCode::METHOD_NOT_ALLOWED, ApiErrorKind::Invalid).await;
    let body = refused(get("/v1/jobs/99").await, StatusCode::BAD_REQUEST, ApiErrorKind::Invalid).await;
    assert!(body.error.message.contains("`99`"));
    for path in [
        "/v1/runs?limit=many",
        "/v1/runs/r0123456789ab?version=-1",
        "/v1/runs/r0123456789ab/jobs?state=asleep",
        "/v1/jobs/j1/log?attempt=last",
        "/v1/jobs/j1/value?head=-1",
        "/v1/jobs/%FF",
    ] {
        refused(get(path).await, StatusCode::BAD_REQUEST, ApiErrorKind::Invalid).await;
    }
    refused(get("/v1/runs/r0123456789ab").await, StatusCode::NOT_FOUND, ApiErrorKind::NotFound).await;
    let post = async |path: &str, body: String| {
        let request = server.request(Method::POST, path).header("content-type", "application/json");
        request.body(body).send().await.unwrap()
    };
    refused(post("/v1/lease", "{".into()).await, StatusCode::BAD_REQUEST, ApiErrorKind::Invalid).await;
    refused(post("/v1/lease", "{}".into()).await, StatusCode::BAD_REQUEST, ApiErrorKind::Invalid).await;
    let long = format!("{}{}", " ".repeat(2_000), "{}");
    refused(post("/v1/lease", long).await, StatusCode::PAYLOAD_TOO_LARGE, ApiErrorKind::TooLarge).await;
    let digest = Digest::of(b"eleven bytes");
    let put = server.request(Method::PUT, &format!("/v1/files/{digest}")).body("eleven bytes").send().await.unwrap();
    refused(put, StatusCode::PAYLOAD_TOO_LARGE, ApiErrorKind::TooLarge).await;
    let outside = serde_json::json!({"files": [{"path": "../x", "digest": digest, "bytes": 1}]});
    let body =
        refused(post("/v1/bundles", outside.to_string()).await, StatusCode::BAD_REQUEST, ApiErrorKind::Invalid).await;
    assert!(body.error.message.contains("../x"));
}

#[tokio::test]
async fn a_hub_that_is_told_to_stop_answers_those_who_wait() {
    let server = Server::start(|_| {}).await;
    let body = serde_json::json!({"session": "w0000000000000001", "scopes": ["default"], "slots": 4, "wait_ms": 30000});
    let waiting = tokio::spawn(server.request(Method::POST, "/v1/lease").json(&body).send());
    // The worker is shown once its request has come in.
    loop {
        let status = server.request(Method::GET, "/v1/status").send().await.unwrap();
        if status.status() == StatusCode::OK && server.folder.path().join("queue.db").exists() {
            break;
        }
    }
    let started = std::time::Instant::now();
    drop(server);
    match waiting.await.unwrap() {
        Ok(answer) => assert!(answer.json::<LeaseAnswer>().await.unwrap().leases.is_empty()),
        Err(error) => assert!(error.is_connect() || error.is_request(), "{error}"),
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

#[tokio::test]
async fn a_submission_that_is_repeated_under_the_same_key_in_its_header_makes_one_run() {
    let server = Server::start(|_| {}).await;
    let text = script(&["a"], "p = | a\np()\n");
    let submit = async |text: &str, key: &str| {
        let answer = server.submission(text).await.header("Idempotency-Key", key).send().await.unwrap();
        (answer.status(), answer)
    };
    let (made, first) = submit(&text, "nightly").await;
    let (repeated, second) = submit(&text, "nightly").await;
    assert_eq!((made, repeated), (StatusCode::CREATED, StatusCode::OK));
    let (first, second): (SubmitAnswer, SubmitAnswer) = (first.json().await.unwrap(), second.json().await.unwrap());
    assert_eq!(first.run.id, second.run.id);
    assert!(!first.repeated && second.repeated);
    let (status, _) = submit(&text, "weekly").await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, other) = submit(&script(&["b"], "p = | b\np()\n"), "nightly").await;
    refused(other, StatusCode::CONFLICT, ApiErrorKind::Conflict).await;
    let (_, empty) = submit(&text, "").await;
    refused(empty, StatusCode::BAD_REQUEST, ApiErrorKind::Invalid).await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_and_those_that_say_nothing_are_closed() {
    use tokio::io::AsyncReadExt;
    let server = Server::start(|config| {
        config.limits.connections_max = 2;
        config.limits.header_timeout = std::time::Duration::from_millis(300);
    })
    .await;
    let place = server.address.strip_prefix("http://").unwrap().to_owned();
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(tokio::net::TcpStream::connect(&place).await.unwrap());
    }
    // It is served as soon as one of those before it is closed.
    let health = server.client.get(format!("{}/v1/health", server.address)).send();
    let answered = tokio::time::timeout(std::time::Duration::from_secs(20), health).await.unwrap().unwrap();
    assert_eq!(answered.status(), StatusCode::OK);
    for mut silent in silent {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(std::time::Duration::from_secs(20), silent.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "a connection that says nothing stays open");
    }
}

#[tokio::test]
async fn a_job_is_asked_for_by_its_name_with_its_run() {
    let server = Server::start(|_| {}).await;
    let text = script(&["a"], "p = | a\np()\n");
    let first: SubmitAnswer = server.submit(&text).await.json().await.unwrap();
    let second: SubmitAnswer = server.submit(&text).await.json().await.unwrap();
    for route in ["", "/explain", "/log"] {
        let path = |run: &protocol::RunId| format!("/v1/jobs/{run}%2Fj1{route}");
        let found = server.request(Method::GET, &path(&first.run.id)).send().await.unwrap();
        assert_eq!(found.status(), StatusCode::OK, "{route}");
        let wrong = server.request(Method::GET, &path(&second.run.id)).send().await.unwrap();
        let body = refused(wrong, StatusCode::NOT_FOUND, ApiErrorKind::NotFound).await;
        assert!(body.error.message.contains(first.run.id.as_str()), "{body:?}");
    }
    let explained = server.request(Method::GET, &format!("/v1/runs/{}/explain", first.run.id)).send().await.unwrap();
    let explained: protocol::api::RunExplanation = explained.json().await.unwrap();
    assert_eq!(explained.open.len(), 1);
}
