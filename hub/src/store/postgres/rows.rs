//! One open transaction: queries, and columns of what they answer.

use deadpool_postgres::Object;
use futures::future::try_join_all;
use protocol::api::Pause;
use tokio::runtime::{Handle, Runtime};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

use crate::error::QueueError;

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
    pub(super) hub: u64,
    pub(super) reverse_priority: bool,
    /// Read together with the numbers, and used up by the first who asks.
    pub(super) pauses: Option<Vec<Pause>>,
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
}

impl<'c> PostgresRows<'c> {
    pub(super) fn new(connection: &'c Object, driver: Driver<'c>, hub: u64, reverse_priority: bool) -> Self {
        Self { connection, driver, hub, reverse_priority, pauses: None }
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
