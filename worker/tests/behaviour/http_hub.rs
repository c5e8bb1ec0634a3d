//! The hub behind HTTP, played by a server of a few lines.

use std::sync::{Arc, Mutex};

use bue_worker::{HttpHub, Hub, HubError};
use protocol::api::{GoodbyeRequest, LeaseRequest, SettleRequest, Settled, Settlement};
use protocol::{Digest, JobId, LeaseToken, Outcome, SessionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers each request with what `answer` makes of its head; one request for each connection.
async fn serve(answer: impl Fn(&str) -> (u16, &'static str) + Send + 'static) -> String {
    bucket::install_tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 16_384];
            let count = stream.read(&mut head).await.unwrap();
            let (status, body) = answer(&String::from_utf8_lossy(&head[..count]));
            let length = body.len();
            let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    address
}

fn lease_request() -> LeaseRequest {
    LeaseRequest {
        session: SessionId([1; 8]),
        scopes: vec!["default".to_owned()],
        slots: 1,
        shared_slots: 0,
        wait_ms: 0,
        info: Default::default(),
    }
}

#[tokio::test]
async fn a_token_that_is_made_later_is_found() {
    let address = serve(|head| match head.contains("authorization: Bearer right") {
        true => (200, r#"{"leases":[]}"#),
        false => (401, r#"{"error":{"kind":"unauthorized","message":"no token"}}"#),
    })
    .await;
    let token = Arc::new(Mutex::new(None));
    let source = Arc::clone(&token);
    let hub = HttpHub::new(&address, move || source.lock().unwrap().clone()).unwrap();
    let error = hub.lease(lease_request()).await.unwrap_err();
    assert!(matches!(&error, HubError::Refused { reason, .. } if reason == "no token"), "{error}");
    *token.lock().unwrap() = Some("right".to_owned());
    assert!(hub.lease(lease_request()).await.unwrap().leases.is_empty());
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_named() {
    bucket::install_tls();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let hub = HttpHub::new(&address, || None).unwrap();
    let error = hub.plan(Digest::of(b"x")).await.unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }));
    assert!(error.to_string().contains(&address) && error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn settlements_that_are_all_stale_are_an_answer() {
    let address = serve(|_| (409, r#"{"error":{"kind":"stale","message":"the lease is no longer yours"}}"#)).await;
    let hub = HttpHub::new(&address, || None).unwrap();
    let settlement = Settlement {
        job: JobId(1),
        attempt: 1,
        token: LeaseToken([0; 16]),
        outcome: Outcome::Reset,
        log: None,
        sandbox: None,
    };
    let request = SettleRequest { session: SessionId([1; 8]), settlements: vec![settlement.clone(), settlement] };
    assert_eq!(hub.settle(request).await.unwrap().answers, [Settled::Stale; 2]);
}

#[tokio::test]
async fn an_error_without_a_body_of_ours_is_named_by_its_status() {
    let address = serve(|_| (503, "<html>")).await;
    let hub = HttpHub::new(&address, || None).unwrap();
    let error = hub.manifest(Digest::of(b"x")).await.unwrap_err();
    assert!(!error.is_final());
    assert!(error.to_string().contains("503"), "{error}");
}

#[tokio::test]
async fn a_hub_that_does_not_know_the_goodbye_is_told_from_one_that_does() {
    let new = serve(|head| if head.starts_with("POST /v1/goodbye ") { (204, "") } else { (500, "") }).await;
    let old = serve(|_| (404, r#"{"error":{"kind":"not_found","message":"there is no such route"}}"#)).await;
    let request = GoodbyeRequest { session: SessionId([1; 8]) };
    HttpHub::new(&new, || None).unwrap().goodbye(request).await.unwrap();
    let error = HttpHub::new(&old, || None).unwrap().goodbye(request).await.unwrap_err();
    assert!(error.is_final(), "{error}");
}
