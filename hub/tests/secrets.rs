//! Secrets: who gets them, who does not, and what is on the disk.

mod rig;

use bue_hub::{Keyring, QueueError};
use protocol::SessionId;
use protocol::api::Lease;
use protocol::secret::{SecretText, SecretsAnswer, SecretsRequest};
use rig::{On, Rig, WORKER, script};

fn text(value: &str) -> SecretText {
    SecretText(value.to_owned())
}

/// What a session gets for a lease.
async fn ask(rig: &Rig, session: SessionId, lease: &Lease) -> Result<SecretsAnswer, QueueError> {
    let request = SecretsRequest { session, job: lease.job, token: lease.token };
    rig.queue.secrets_of_lease(request).await
}

async fn a_secret_reaches_the_holder_of_a_lease_that_declares_it_and_nobody_else(on: On) {
    let rig = Rig::new(on).await;
    rig.queue.set_secret("API_TOKEN".to_owned(), text("hunter2")).await.unwrap();
    rig.queue.set_secret("OTHER".to_owned(), text("not asked for")).await.unwrap();
    rig.submit(&script(&["a !secret API_TOKEN GONE", "b"], "p = a | b\np()\n")).await;
    let a = rig.next_of("a").await;
    let answer = ask(&rig, WORKER, &a).await.unwrap();
    assert_eq!(answer.secrets.into_iter().collect::<Vec<_>>(), [("API_TOKEN".to_owned(), text("hunter2"))]);
    assert_eq!(answer.missing, ["GONE"]);
    assert!(matches!(ask(&rig, SessionId([9; 8]), &a).await, Err(QueueError::Conflict(_))));
    rig.succeed(&a, "1").await;
    assert!(matches!(ask(&rig, WORKER, &a).await, Err(QueueError::Conflict(_))), "a settled lease opens nothing");
    let answer = ask(&rig, WORKER, &rig.next_of("b").await).await.unwrap();
    assert!(answer.secrets.is_empty() && answer.missing.is_empty(), "b declares none");
}

async fn a_secret_can_be_changed_listed_and_removed(on: On) {
    let rig = Rig::new(on).await;
    for (name, value) in [("B", "1"), ("A", "1"), ("B", "2")] {
        rig.queue.set_secret(name.to_owned(), text(value)).await.unwrap();
    }
    let names: Vec<String> = rig.queue.secrets().await.unwrap().into_iter().map(|secret| secret.name).collect();
    assert_eq!(names, ["A", "B"]);
    rig.queue.remove_secret("A".to_owned()).await.unwrap();
    assert!(matches!(rig.queue.remove_secret("A".to_owned()).await, Err(QueueError::NotFound { .. })));
    assert_eq!(rig.queue.secrets().await.unwrap().len(), 1);
    let rig = rig.restart().await;
    assert_eq!(rig.queue.secrets().await.unwrap()[0].name, "B");
}

async fn what_is_no_secret_is_refused_by_name(on: On) {
    let rig = Rig::with(on, |config| {
        config.limits.secrets_max = 1;
        config.limits.secret_bytes_max = 10;
    })
    .await;
    for (name, value) in [("a-b", "1"), ("BUE_TOKEN", "1"), ("A", ""), ("A", "a\0b"), ("A", "12345678901")] {
        let refused = rig.queue.set_secret(name.to_owned(), text(value)).await.unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains(name), "{refused}");
    }
    rig.queue.set_secret("A".to_owned(), text("1")).await.unwrap();
    rig.queue.set_secret("A".to_owned(), text("2")).await.unwrap();
    assert!(matches!(rig.queue.set_secret("B".to_owned(), text("1")).await, Err(QueueError::TooLarge { .. })));
}

async fn secrets_are_sealed_anew_when_the_key_was_changed(on: On) {
    let mut rig = Rig::new(on).await;
    rig.queue.set_secret("A".to_owned(), text("hunter2")).await.unwrap();
    let (old, new) = ("07".repeat(32), "08".repeat(32));
    rig.config.keyring = Some(Keyring::parse(&format!("{new}\n{old}")).unwrap());
    let mut rig = rig.restart().await;
    rig.config.keyring = Some(Keyring::parse(&new).unwrap());
    let rig = rig.restart().await;
    rig.submit(&script(&["a !secret A"], "p = a |\np()\n")).await;
    let answer = ask(&rig, WORKER, &rig.next_of("a").await).await.unwrap();
    assert_eq!(answer.secrets["A"], text("hunter2"));
}

async fn a_secret_of_a_lost_key_says_what_to_do(on: On) {
    let mut rig = Rig::new(on).await;
    rig.queue.set_secret("A".to_owned(), text("hunter2")).await.unwrap();
    rig.config.keyring = Some(Keyring::parse(&"08".repeat(32)).unwrap());
    let rig = rig.restart().await;
    rig.submit(&script(&["a !secret A"], "p = a |\np()\n")).await;
    let lease = rig.next_of("a").await;
    let error = ask(&rig, WORKER, &lease).await.unwrap_err().to_string();
    assert!(error.contains("BUE_SECRET_KEY") && error.contains("bue secret set A"), "{error}");
    rig.queue.set_secret("A".to_owned(), text("again")).await.unwrap();
    assert_eq!(ask(&rig, WORKER, &lease).await.unwrap().secrets["A"], text("again"));
}

on_both_stores! {
    a_secret_reaches_the_holder_of_a_lease_that_declares_it_and_nobody_else,
    a_secret_can_be_changed_listed_and_removed,
    what_is_no_secret_is_refused_by_name,
    secrets_are_sealed_anew_when_the_key_was_changed,
    a_secret_of_a_lost_key_says_what_to_do,
}

#[tokio::test]
async fn the_database_holds_no_value_of_a_secret() {
    let rig = Rig::new(On::Sqlite).await;
    rig.queue.set_secret("A".to_owned(), text("hunter2-hunter2")).await.unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(rig.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let content = std::fs::read(&path).unwrap();
            assert!(!content.windows(7).any(|part| part == b"hunter2"), "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 2, "the database and its log were looked at");
}
