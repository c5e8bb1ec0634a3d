//! Addresses, the settings of sessions, the pool, migrations.

use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};

use super::error::Told;
use super::tls::{self, Tls};
use crate::clock;
use crate::error::HubError;

/// Newest schema this program knows: the number of migrations.
const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// Append-only: the n-th brings a database from schema n to n + 1.
const MIGRATIONS: &[&str] = &[
    include_str!("001.sql"),
    include_str!("002.sql"),
    include_str!("003.sql"),
    include_str!("004.sql"),
    include_str!("005.sql"),
];

/// The advisory lock whose holder may write: "bue" and a number.
pub(super) const TURN_LOCK: i64 = 0x0062_7565_0000_0001;

/// What every session is set to.
/// - Plans are made once, and by way of the indexes: a plan made while a table was still empty must do for millions of rows.
/// - A hub that is frozen in its turn, or whose machine is gone, must not keep the others waiting.
const SESSION: &str = "-c search_path=bue -c jit=off -c plan_cache_mode=force_generic_plan -c enable_seqscan=off \
    -c enable_hashjoin=off -c enable_mergejoin=off -c idle_in_transaction_session_timeout=10s -c lock_timeout=30s \
    -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c client_min_messages=warning";

/// What connections of hubs are called.
const NAME: &str = "bue-hub";

/// How long hubs with another order of priorities are waited for, and between two looks.
const OTHERS_END: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(100);
/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the database is.
#[derive(Clone)]
pub(super) struct Place {
    pub config: Config,
    pub tls: Tls,
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, HubError> {
        let mut config = config(url)?;
        let own = config.get_options().unwrap_or_default();
        let options = format!("{SESSION} {own}");
        config.options(options).application_name(NAME).connect_timeout(CONNECT_TIMEOUT);
        let tls = match config.get_ssl_mode() {
            SslMode::Require => tls::verified().map_err(|error| HubError::Address { source: Box::new(error) })?,
            _ => tls::none(),
        };
        if config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Disable);
        }
        Ok(Self { config, tls })
    }

    /// The address without what is secret in it.
    fn shown(&self) -> String {
        use tokio_postgres::config::Host;
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("postgres://{host}:{port}/{database}")
    }

    pub(super) fn failed(&self, source: Box<dyn std::error::Error + Send + Sync>) -> HubError {
        HubError::Open { path: self.shown(), source }
    }
}

/// What an address says.
pub(super) fn config(url: &str) -> Result<Config, HubError> {
    let wrong = |source| HubError::Address { source };
    // Whoever asks for encryption gets the server verified too, by whichever word.
    let url = url.replace("sslmode=verify-full", "sslmode=require");
    let config: Config = url.parse().map_err(|error: tokio_postgres::Error| wrong(Box::new(Told::of(&error))))?;
    if config.get_hosts().is_empty() {
        return Err(wrong("it names no host; it should look like postgres://user:password@host:5432/database".into()));
    }
    Ok(config)
}

pub(super) fn pool(place: &Place, connections_max: usize) -> Result<Pool, Box<dyn std::error::Error + Send + Sync>> {
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(place.config.clone(), place.tls.clone(), manager);
    let builder = Pool::builder(manager).max_size(connections_max.max(1)).runtime(Runtime::Tokio1);
    let builder = builder.wait_timeout(Some(Duration::from_secs(30))).create_timeout(Some(2 * CONNECT_TIMEOUT));
    Ok(builder.build()?)
}

/// Brings the schema up to date and the clock in line, under the lock under which hubs write: hubs that start together do not meet in it.
pub(super) async fn migrate(place: &Place, reverse_priority: bool) -> Result<(), HubError> {
    let failed = |error: tokio_postgres::Error| place.failed(Box::new(Told::of(&error)));
    let (mut client, connection) = place.config.connect(place.tls.clone()).await.map_err(failed)?;
    let serving = tokio::spawn(connection);
    let begun = Instant::now();
    let outcome = loop {
        match migrate_on(&mut client, place, reverse_priority).await {
            // One that is ending is waited for.
            Err(HubError::OtherOrder { .. }) if begun.elapsed() < OTHERS_END => tokio::time::sleep(LOOK).await,
            outcome => break outcome,
        }
    };
    drop(client);
    let _ = serving.await;
    outcome
}

/// The time to begin with, in Unix milliseconds: that of the hubs that run, which may have begun before somebody set the database's
/// clock; else that of the database, for a time left behind by hubs that are gone may be wrong by anything.
const BEGIN_TIME: &str = "WITH others AS (
        SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()
    ), began AS (
        SELECT CASE WHEN time_ms > 0 AND EXISTS (SELECT 1 FROM others) THEN time_ms
            ELSE (extract(epoch FROM clock_timestamp()) * 1000)::bigint END AS time_ms FROM bue.numbers
    )
    UPDATE bue.numbers SET time_ms = began.time_ms FROM began RETURNING began.time_ms";

/// Whether hubs run that have jobs go out in another order.
const OTHER_ORDER: &str = "SELECT EXISTS (
        SELECT 1 FROM pg_stat_activity, bue.numbers
        WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid() AND reverse_priority <> $2
    )";

async fn migrate_on(client: &mut Client, place: &Place, reverse_priority: bool) -> Result<(), HubError> {
    let failed = |error: tokio_postgres::Error| place.failed(Box::new(Told::of(&error)));
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&TURN_LOCK]).await.map_err(failed)?;
    transaction
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS bue;
             CREATE TABLE IF NOT EXISTS bue.schema (version bigint NOT NULL);
             INSERT INTO bue.schema SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM bue.schema);",
        )
        .await
        .map_err(failed)?;
    let found: i64 = transaction.query_one("SELECT version FROM bue.schema", &[]).await.map_err(failed)?.get(0);
    if found > SCHEMA {
        return Err(HubError::Newer { path: place.shown(), found, known: SCHEMA });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(migration).await.map_err(failed)?;
    }
    transaction.execute("UPDATE bue.schema SET version = $1", &[&SCHEMA]).await.map_err(failed)?;
    let other = transaction.query_one(OTHER_ORDER, &[&NAME, &reverse_priority]).await.map_err(failed)?;
    if other.get(0) {
        return Err(HubError::OtherOrder { path: place.shown() });
    }
    let turn = "WITH turned AS (UPDATE numbers SET reverse_priority = $1 WHERE reverse_priority <> $1 RETURNING 1),
            ready AS (UPDATE ready SET rank = -rank WHERE EXISTS (SELECT 1 FROM turned))
        UPDATE held SET rank = -rank WHERE EXISTS (SELECT 1 FROM turned)";
    transaction.execute(turn, &[&reverse_priority]).await.map_err(failed)?;
    let time_ms = transaction.query_one(BEGIN_TIME, &[&NAME]).await.map_err(failed)?.get(0);
    transaction.commit().await.map_err(failed)?;
    clock::begin_with(time_ms);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_is_asked_for_by_either_word_and_else_there_is_none() {
        let mode = |query: &str| {
            let place = Place::parse(&format!("postgres://ada:p@db.example/queue{query}"));
            place.map_err(|error| error.to_string()).unwrap().config.get_ssl_mode()
        };
        assert_eq!(mode("?sslmode=require"), SslMode::Require);
        assert_eq!(mode("?sslmode=verify-full"), SslMode::Require);
        assert_eq!(mode(""), SslMode::Disable);
    }
}
