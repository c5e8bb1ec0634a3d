//! Whom the hubs of a database heard from: one row for each worker, written every few seconds for all of them at once.
//!
//! Ages cross the database, measured by its clock: the clocks of hubs need not agree. What that clock dates after itself is from
//! before it was set back, and counts for nothing: whoever lives is heard from again. The [time](crate::clock) that hubs go by is told here
//! as well, so that one that starts knows it although nothing is written.

use std::time::Duration;

use deadpool_postgres::Pool;
use protocol::SessionId;
use protocol::api::WorkerInfo;

use super::write::TELL_TIME;
use crate::clock::now_ms;
use crate::error::QueueError;
use crate::store::row::json;

/// A worker, and how long ago it was heard from.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub session: SessionId,
    pub silence: Duration,
    pub info: WorkerInfo,
}

/// What the hubs of one database tell each other about workers.
pub(crate) struct Fleet {
    pool: Pool,
}

/// Rows of workers that were not heard from for this long are deleted.
const FORGOTTEN_MS: i64 = 3_600_000;

const FORGET: &str = "WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms)
    DELETE FROM sessions USING clock WHERE heard_ms < now_ms - $1 OR heard_ms > now_ms";

const HEAR: &str = "INSERT INTO sessions (session, heard_ms, info)
    SELECT session, (extract(epoch FROM clock_timestamp()) * 1000)::bigint - silence, info
    FROM unnest($1::bytea[], $2::bigint[], $3::text[]) AS heard(session, silence, info)
    ON CONFLICT (session) DO UPDATE SET heard_ms = greatest(sessions.heard_ms, excluded.heard_ms), info = excluded.info";

impl Fleet {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Forgets a worker whose session is over. Another hub that heard from it forgets it when it has been silent for long enough.
    pub(crate) async fn forget(&self, session: SessionId) -> Result<(), QueueError> {
        let connection = self.pool.get().await?;
        let statement = connection.prepare_cached("DELETE FROM sessions WHERE session = $1").await?;
        connection.execute(&statement, &[&&session.0[..]]).await?;
        Ok(())
    }

    /// Tells whom this hub heard from, and answers with whom any hub heard from within `span`.
    pub(crate) async fn share(&self, heard: &[Heard], span: Duration) -> Result<Vec<Heard>, QueueError> {
        let connection = self.pool.get().await?;
        let statement = connection.prepare_cached(TELL_TIME).await?;
        connection.execute(&statement, &[&now_ms()]).await?;
        let statement = connection.prepare_cached(FORGET).await?;
        connection.execute(&statement, &[&FORGOTTEN_MS]).await?;
        if !heard.is_empty() {
            let sessions: Vec<&[u8]> = heard.iter().map(|heard| &heard.session.0[..]).collect();
            let silences: Vec<i64> = heard.iter().map(|heard| milliseconds(heard.silence)).collect();
            let infos: Vec<String> = heard.iter().map(|heard| json(&heard.info)).collect::<Result<_, _>>()?;
            let statement = connection.prepare_cached(HEAR).await?;
            connection.execute(&statement, &[&sessions, &silences, &infos]).await?;
        }
        let sql = "SELECT session, silence, info FROM (
                SELECT session, (extract(epoch FROM clock_timestamp()) * 1000)::bigint - heard_ms AS silence, info FROM sessions
            ) AS heard WHERE silence BETWEEN 0 AND $1";
        let statement = connection.prepare_cached(sql).await?;
        let rows = connection.query(&statement, &[&milliseconds(span)]).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &tokio_postgres::Row) -> Result<Heard, QueueError> {
    let silence: i64 = super::rows::get(row, 1)?;
    let info = serde_json::from_str(super::rows::get(row, 2)?)
        .map_err(|error| QueueError::Unreadable(format!("a worker: {error}")))?;
    let silence = Duration::from_millis(u64::try_from(silence).unwrap_or(0));
    Ok(Heard { session: SessionId(super::rows::bytes(row, 0)?), silence, info })
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
