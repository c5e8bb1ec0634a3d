//! One open transaction: queries, and columns of what they answer.

use deadpool_postgres::Object;
use futures::future::try_join_all;
use protocol::api::Pause;
use tokio::runtime::{Handle, Runtime};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Row, SimpleColumn, SimpleQueryRow};

use crate::clock;
use crate::error::QueueError;
use crate::store::row::Numbers;

/// A parameter of a statement.
pub(super) type Parameter<'p> = &'p (dyn ToSql + Sync);

/// Who serves a connection while its thread waits.
#[derive(Clone, Copy)]
pub(super) enum Driver<'r> {
    /// The thread itself.
    Own(&'r Runtime),
    /// Other threads.
    Others(&'r Handle),
}

impl Driver<'_> {
    pub(super) fn wait<F: Future>(self, future: F) -> F::Output {
        match self {
            Self::Own(runtime) => runtime.block_on(future),
            Self::Others(handle) => handle.block_on(future),
        }
    }
}

/// One open transaction of a connection.
pub(super) struct PostgresRows<'c> {
    connection: &'c Object,
    driver: Driver<'c>,
    pub(super) own: Own,
    /// The number of the transaction, by which its fate can be asked for later.
    pub(super) transaction: Option<i64>,
}

/// What a turn knows of its hub, and what it began with.
#[derive(Default)]
pub(super) struct Own {
    pub hub: u64,
    pub reverse_priority: bool,
    /// Used up by those who ask first.
    pub beginning: Option<Beginning>,
}

/// What every change begins with.
#[derive(Default)]
pub(super) struct Beginning {
    pub numbers: Option<(Numbers, bool)>,
    pub pauses: Option<Vec<Pause>>,
}

pub(super) const SELECT_NUMBERS: &str = "SELECT job, frame, loop, run, scope, reverse_priority, time_ms FROM numbers";

impl Beginning {
    /// Adds a row of one of its queries.
    pub(super) fn add(&mut self, row: &SimpleQueryRow) -> Result<(), QueueError> {
        let wrong = |what: &str| QueueError::Unreadable(format!("{what} where a turn begins"));
        match row.columns().first().map(SimpleColumn::name) {
            Some("job") => {
                let number = |name| {
                    let text = row.try_get(name)?;
                    text.and_then(|text| text.parse().ok()).ok_or_else(|| wrong(name))
                };
                let numbers = Numbers {
                    job: number("job")?,
                    frame: number("frame")?,
                    of_loop: number("loop")?,
                    run: number("run")?,
                    scope: number("scope")?,
                };
                clock::follow(number("time_ms")?);
                self.numbers = Some((numbers, row.try_get("reverse_priority")? == Some("t")));
                self.pauses = Some(Vec::new());
            }
            Some("what") => {
                let text = row.try_get("what")?.unwrap_or_default();
                let pause = serde_json::from_str(text).map_err(|error| wrong(&format!("a pause ({error})")))?;
                self.pauses.get_or_insert_default().push(pause);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Statements to be carried out one after the other, sent without waiting for answers in between.
#[derive(Default)]
pub(super) struct Batch {
    statements: Vec<(&'static str, Vec<Box<dyn ToSql + Sync>>)>,
}

impl Batch {
    pub(super) fn add(&mut self, sql: &'static str, columns: Vec<Box<dyn ToSql + Sync>>) {
        self.statements.push((sql, columns));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

impl<'c> PostgresRows<'c> {
    pub(super) fn new(connection: &'c Object, driver: Driver<'c>, own: Own) -> Self {
        Self { connection, driver, own, transaction: None }
    }

    /// All rows of a query.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        read: impl FnMut(&Row) -> Result<T, QueueError>,
    ) -> Result<Vec<T>, QueueError> {
        let rows = self.driver.wait(async {
            let statement = self.connection.prepare_cached(sql).await?;
            self.connection.query(&statement, parameters).await
        })?;
        rows.iter().map(read).collect()
    }

    /// The rows of a query over some numbers; without any, nothing is asked.
    pub(super) fn some<T>(
        &self,
        sql: &str,
        numbers: &[i64],
        read: impl FnMut(&Row) -> Result<T, QueueError>,
    ) -> Result<Vec<T>, QueueError> {
        if numbers.is_empty() { Ok(Vec::new()) } else { self.all(sql, &[&numbers], read) }
    }

    /// The first row of a query.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        read: impl FnMut(&Row) -> Result<T, QueueError>,
    ) -> Result<Option<T>, QueueError> {
        Ok(self.all(sql, parameters, read)?.into_iter().next())
    }

    /// Carries out a statement; answers with the number of rows it changed.
    pub(super) fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, QueueError> {
        Ok(self.driver.wait(async {
            let statement = self.connection.prepare_cached(sql).await?;
            self.connection.execute(&statement, parameters).await
        })?)
    }

    /// Carries out a batch in one round trip.
    pub(super) fn execute_all(&self, batch: Batch) -> Result<(), QueueError> {
        Ok(self.driver.wait(async {
            let mut prepared = Vec::with_capacity(batch.statements.len());
            for (sql, columns) in &batch.statements {
                prepared.push((self.connection.prepare_cached(sql).await?, columns));
            }
            let running = prepared.iter().map(|(statement, columns)| async move {
                let columns: Vec<Parameter<'_>> = columns.iter().map(|column| &**column as Parameter<'_>).collect();
                self.connection.execute(statement, &columns).await
            });
            try_join_all(running).await.map(drop)
        })?)
    }
}

/// A column of a row.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, place: usize) -> Result<T, QueueError> {
    Ok(row.try_get(place)?)
}

/// A column that counts something small.
pub(super) fn small(row: &Row, place: usize) -> Result<u32, QueueError> {
    let number: i32 = get(row, place)?;
    u32::try_from(number).map_err(|_| QueueError::Unreadable(format!("the number {number}")))
}

/// A column that counts something.
pub(super) fn count(row: &Row, place: usize) -> Result<u64, QueueError> {
    let number: i64 = get(row, place)?;
    u64::try_from(number).map_err(|_| QueueError::Unreadable(format!("the number {number}")))
}

/// A column of a fixed number of bytes.
pub(super) fn bytes<const N: usize>(row: &Row, place: usize) -> Result<[u8; N], QueueError> {
    let bytes: &[u8] = get(row, place)?;
    bytes.try_into().map_err(|_| QueueError::Unreadable(format!("{} bytes instead of {N}", bytes.len())))
}
