//! What other hubs changed, heard by NOTIFY: it wakes those who wait here.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::{AsyncMessage, Connection, Socket};

use super::connect::Place;
use super::error::Told;
use super::tls::Encrypted;
use crate::store::{Effects, EffectsSink};

/// The channel on which hubs tell each other.
pub(super) const CHANNEL: &str = "bue_queue";

/// Longest notice; PostgreSQL takes up to 8,000 bytes.
const NOTICE_BYTES_MAX: usize = 7_000;

/// Pauses before a database that is away is tried again.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What one hub tells the others.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Notice {
    hub: u64,
    effects: Effects,
}

impl Notice {
    /// A notice that fits: one of too many scopes says that anything may be ready.
    pub(super) fn of(hub: u64, effects: &Effects) -> Self {
        let bytes: usize = effects.ready.keys().map(|scope| 6 * scope.len() + 30).sum();
        let mut effects = effects.clone();
        if bytes > NOTICE_BYTES_MAX {
            effects.ready.clear();
            effects.everything = true;
        }
        Self { hub, effects }
    }
}

/// Listens for notices of other hubs.
pub(crate) struct Listener {
    place: Place,
    hub: u64,
    sink: EffectsSink,
}

impl Listener {
    pub(super) fn new(place: Place, hub: u64, sink: EffectsSink) -> Self {
        Self { place, hub, sink }
    }

    /// Listens for ever. After each new connection everything is taken for changed: what was said in between was not heard.
    pub(crate) async fn run(self) {
        let mut pause = RETRY_MIN;
        loop {
            match self.listen(&mut pause).await {
                Ok(()) => tracing::warn!("the connection that listens for other hubs was closed; making a new one"),
                Err(error) => {
                    let error = Told::of(&error);
                    tracing::warn!(%error, "failed to listen for other hubs; trying again");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(RETRY_MAX);
        }
    }

    async fn listen(&self, pause: &mut Duration) -> Result<(), tokio_postgres::Error> {
        let (client, connection) = self.place.config.connect(self.place.tls.clone()).await?;
        let mut messages = Messages { connection };
        {
            let listening = client.batch_execute("LISTEN bue_queue");
            tokio::pin!(listening);
            loop {
                tokio::select! {
                    done = &mut listening => break done?,
                    message = messages.next() => if message?.is_none() { return Ok(()) },
                }
            }
        }
        *pause = RETRY_MIN;
        (self.sink)(Effects::unknown());
        while let Some(message) = messages.next().await? {
            if let AsyncMessage::Notification(notification) = message {
                self.hear(notification.payload());
            }
        }
        Ok(())
    }

    fn hear(&self, payload: &str) {
        match serde_json::from_str::<Notice>(payload) {
            Ok(notice) if notice.hub == self.hub => {}
            Ok(notice) => (self.sink)(notice.effects),
            // A newer hub may say what this one does not know.
            Err(_) => (self.sink)(Effects::unknown()),
        }
    }
}

struct Messages {
    connection: Connection<Socket, Encrypted>,
}

impl Messages {
    async fn next(&mut self) -> Result<Option<AsyncMessage>, tokio_postgres::Error> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<AsyncMessage>, tokio_postgres::Error>> {
        Pin::new(&mut self.connection).get_mut().poll_message(context).map(Option::transpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_of_too_many_scopes_says_that_anything_may_be_ready() {
        let mut effects = Effects::default();
        for number in 0..10_000 {
            effects.ready.insert(format!("scope-{number}"), 1);
        }
        let notice = Notice::of(1, &effects);
        assert!(notice.effects.everything && notice.effects.ready.is_empty());
        effects.ready.retain(|scope, _| scope == "scope-7");
        let text = serde_json::to_string(&Notice::of(1, &effects)).unwrap();
        let read: Notice = serde_json::from_str(&text).unwrap();
        assert_eq!(read.effects, effects);
    }
}
