//! The queue in PostgreSQL: several hubs over one database.
//!
//! Hubs take turns: a transaction that writes holds one advisory lock, and does whole batches of requests with a handful of
//! statements over sets of rows. Turns were chosen over row locks with `SKIP LOCKED` because the counts of a run, the families of its
//! jobs and the entry of a loop are shared by nearly all changes anyway: row locks would queue at the same places, could
//! deadlock, and would give up the exact order of jobs. What several hubs add is that each can die, and that compiling, JSON and HTTP
//! are spread.
//!
//! - [`connect`]: addresses, sessions' settings, the pool, migrations. [`tls`]: encrypted connections.
//! - [`turn`]: one transaction that writes; what happens when the connection is cut.
//! - [`jobs`], [`loops`], [`index`], [`leases`], [`runs`], [`kept`], [`secrets`], [`unended`]: reading rows.
//! - `write`: writing what a batch came to.
//! - [`listen`]: what other hubs changed. [`fleet`]: whom other hubs heard from.

mod connect;
mod error;
mod fleet;
mod index;
mod jobs;
mod kept;
mod leases;
mod listen;
mod loops;
mod rows;
mod runs;
mod secrets;
mod tls;
mod turn;
mod unended;
mod write;

use std::sync::Arc;
use std::time::Duration;

use super::{EffectsSink, Store, StoreOptions};
use crate::error::HubError;

pub(crate) use fleet::{Fleet, Heard};
pub(crate) use listen::Listener;

/// How a PostgreSQL queue is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PostgresOptions {
    /// Connections of this hub at the most, one more for listening.
    pub connections_max: usize,
    /// How long changes wait for a database that is away before they are refused.
    pub patience: Duration,
}

/// A queue in PostgreSQL, with what concerns the other hubs.
pub(crate) struct Opened {
    pub store: Store,
    pub listener: Listener,
    pub fleet: Fleet,
}

impl Store {
    /// Opens the queue at `url`, bringing its schema up to date. It hears nothing of other hubs.
    ///
    /// # Errors
    /// The address is wrong, the database cannot be reached, or a newer version made it.
    pub async fn postgres(url: &str, options: StoreOptions, sink: EffectsSink) -> Result<Self, HubError> {
        let limits = crate::Limits::default();
        let (connections_max, patience) = (limits.postgres_connections_max, limits.postgres_patience);
        Ok(open(url, PostgresOptions { connections_max, patience }, options, sink).await?.store)
    }
}

/// Says whether `url` is the address of a database, without asking anybody.
///
/// # Errors
/// It is none.
pub fn check_address(url: &str) -> Result<(), HubError> {
    connect::config(url).map(drop)
}

/// Opens the queue at `url`, bringing its schema up to date.
///
/// # Errors
/// The address is wrong, the database cannot be reached, or a newer version made it.
pub(crate) async fn open(
    url: &str,
    postgres: PostgresOptions,
    options: StoreOptions,
    sink: EffectsSink,
) -> Result<Opened, HubError> {
    let place = connect::Place::parse(url)?;
    connect::migrate(&place, options.reverse_priority).await?;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| place.failed(source);
    let pool = connect::pool(&place, postgres.connections_max).map_err(failed)?;
    let hub = getrandom::u64().map_err(|error| place.failed(error.to_string().into()))?;
    let listener = Listener::new(place.clone(), hub, Arc::clone(&sink));
    let own = connect::pool(&place, 1).map_err(failed)?;
    let turns = turn::Turns::new(own, hub, postgres.patience, options.reverse_priority);
    let turns = turns.map_err(|source| place.failed(Box::new(source)))?;
    let reader = Arc::new(turn::Snapshots::new(pool.clone()));
    let store = Store::over(Box::new(turns), reader, options, sink).map_err(|source| place.failed(Box::new(source)))?;
    Ok(Opened { store, listener, fleet: Fleet::new(pool) })
}
