//! One connection, one transaction: inputs in, statements run in order, the last one's rows out, then the commit.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt;
use protocol::ErrorKind;
use protocol::frame::{ErrorFrame, Output, PostgresFrame, StartFrame};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, RowStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::copy::{self, Shape};
use super::fault::{self, Place};
use super::table::TableWriter;
use super::tls::Tls;
use crate::sql::split::{self, Statement};
use crate::sql::{Sql, failure};

/// How often the database looks whether this process is still there, while it runs a statement.
const PRESENCE_CHECK: Duration = Duration::from_secs(2);

/// A connection in whose transaction a step runs.
pub(super) struct Session {
    client: Client,
    address: String,
    tls: Tls,
}

impl Session {
    /// Connects and begins the transaction.
    pub(super) async fn open(database: &PostgresFrame, step: &str) -> Result<Self, ErrorFrame> {
        let address = format!("{}:{}", database.host, database.port);
        let limit = Duration::from_millis(database.connect_timeout_ms);
        let tls = Tls::new(database).map_err(|reason| fault::of_certificates(&reason, &address))?;
        let config = config(database, step, &tls);
        let (client, mut connection) = match tokio::time::timeout(limit, config.connect(tls.connector.clone())).await {
            Ok(connected) => connected.map_err(|error| fault::of_connecting(&error, &address))?,
            Err(_) => return Err(fault::no_answer(&address, limit)),
        };
        // It ends when the client is dropped; what goes wrong on it is told to who waits for an answer.
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message {
                    eprintln!("{}: {}", notice.severity().to_lowercase(), notice.message());
                }
            }
        });
        let begin = format!(
            "BEGIN; SET LOCAL statement_timeout = {}; \
             SELECT set_config(name, '{}ms', true) FROM pg_settings WHERE name = 'client_connection_check_interval'",
            database.statement_timeout_ms.clamp(1, i32::MAX as u64),
            PRESENCE_CHECK.as_millis()
        );
        client.batch_execute(&begin).await.map_err(|error| fault::of_connecting(&error, &address))?;
        Ok(Self { client, address, tls })
    }

    /// What cancels the statement that runs.
    pub(super) fn cancel_token(&self) -> CancelToken {
        self.client.cancel_token()
    }

    /// What a request to cancel is encrypted by.
    pub(super) fn connector(&self) -> MakeRustlsConnect {
        self.tls.connector.clone()
    }

    /// Runs the step. Where it fails the connection is dropped, and with it the transaction.
    pub(super) async fn run(&self, frame: &StartFrame, sql: &Sql<'_>) -> Result<Output, ErrorFrame> {
        let statements = split::split(sql.text);
        refuse_transaction_control(&statements, sql)?;
        let mut unknown = Vec::new();
        for (number, input) in frame.inputs.iter().enumerate() {
            let name = if number == 0 { frame.function.clone() } else { format!("pipe{number}") };
            if copy::load(&self.client, &name, input).await? == Shape::Unknown {
                unknown.push(name);
            }
        }
        let output = self.execute(&statements, frame, sql).await.map_err(|error| explain(error, &unknown))?;
        self.client.batch_execute("COMMIT").await.map_err(|error| fault::of_commit(&error, &self.address))?;
        Ok(output)
    }

    async fn execute(
        &self,
        statements: &[Statement<'_>],
        frame: &StartFrame,
        sql: &Sql<'_>,
    ) -> Result<Output, ErrorFrame> {
        let mut output = None;
        for (number, statement) in statements.iter().enumerate() {
            let place = Place { sql, statement, address: &self.address };
            let prepared = self.client.prepare(statement.text).await.map_err(|error| place.fault(&error))?;
            if !prepared.params().is_empty() {
                return Err(place.failure("it has a parameter such as $1, and nobody gives it a value"));
            }
            let is_last = number + 1 == statements.len();
            let mut table = match is_last {
                true => Some(TableWriter::new(prepared.columns(), &frame.values, frame.value_bytes_max)?),
                false => None,
            };
            let none: [&(dyn ToSql + Sync); 0] = [];
            let rows: RowStream = self.client.query_raw(&prepared, none).await.map_err(|error| place.fault(&error))?;
            let mut rows = pin!(rows);
            while let Some(row) = rows.try_next().await.map_err(|error| place.fault(&error))? {
                if let Some(table) = &mut table {
                    table.push(&row)?;
                }
            }
            output = table.map(TableWriter::finish).transpose()?;
        }
        match output {
            Some(output) => Ok(output),
            None => TableWriter::new(&[], &frame.values, frame.value_bytes_max)?.finish(),
        }
    }
}

fn config(database: &PostgresFrame, step: &str, tls: &Tls) -> Config {
    let mut config = Config::new();
    config.host(&database.host).port(database.port).user(&database.user).dbname(&database.database);
    if let Some(password) = &database.password {
        config.password(password);
    }
    config.ssl_mode(tls.mode);
    config.application_name(format!("bue step {step}"));
    config
}

fn refuse_transaction_control(statements: &[Statement<'_>], sql: &Sql<'_>) -> Result<(), ErrorFrame> {
    let controlling = statements.iter().find_map(|statement| Some((statement, statement.transaction_control()?)));
    let Some((statement, word)) = controlling else { return Ok(()) };
    let rule = "a step is one transaction, which is committed when all its statements have succeeded; leave it out";
    let line = fault::line(sql, statement.start);
    Err(failure(ErrorKind::Sql, format!("`{word}` cannot stand in a step ({}, line {line}): {rule}", sql.script)))
}

/// A missing column of a table that came as an empty list is no mistake of the statement's.
fn explain(mut error: ErrorFrame, unknown: &[String]) -> ErrorFrame {
    if let (true, [name, ..]) = (error.message.starts_with("column "), unknown) {
        error.kind = ErrorKind::Input;
        error.message = format!(
            "{}; input `{name}` is an empty list, so its columns are unknown: begin this step with \
             `ALTER TABLE \"{}\" ADD COLUMN IF NOT EXISTS …;`, or return an empty table of pandas, polars or pyarrow, which has columns",
            error.message,
            name.replace('"', "\"\"")
        );
    }
    error
}
