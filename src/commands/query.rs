//! `bue query`: asks DuckDB about the tables of a run, each by the name of its step.

use std::collections::{BTreeMap, BTreeSet};

use bucket::table::NoNumber;
use bucket::value::Accepted;
use protocol::api::JobView;
use protocol::frame::Input;
use protocol::{RunState, ValueRef};

use crate::cli::QueryArguments;
use crate::client::Client;
use crate::commands::value;
use crate::context::{Context, block_on};
use crate::error::{Error, Kind, Result};
use crate::export;
use crate::fetched::{self, Desk, Named};
use crate::output;
use crate::runs::Runs;
use crate::show::value::rows_of;

/// Rows that are printed.
const ROWS_MAX: usize = 40;
/// Names that are listed in a hint.
const NAMES_MAX: usize = 20;
/// Most jobs of which values are fetched: each is a table of its own, until the query makes them one.
const JOBS_MAX: usize = 1_000;

/// Runs the query and prints, or writes, what it returns.
pub fn run(context: &Context, arguments: &QueryArguments) -> Result {
    export::check(&arguments.export)?;
    let client = context.client(&arguments.hub)?;
    let found = block_on(find(&client, arguments))?;
    let desk = Desk::open(context, arguments.bucket.as_deref())?;
    let tables = block_on(fetch(&desk, found.values))?;
    let answer = desk.query(context, &arguments.sql, tables, None);
    let answer = answer.map_err(|error| with_tables(error, &found.tables))?;
    let Some(arrow) = answer else { return Ok(()) };
    if !arguments.export.is_none() {
        let table = Named { name: "value".to_owned(), content: Input::ArrowFile(arrow) };
        return value::write(context, &desk, table, &arguments.export);
    }
    if arguments.json {
        let (text, _) = fetched::first_rows(&arrow, usize::MAX, NoNumber::Null)?;
        return output::print_content(&text);
    }
    let (text, rows) = fetched::first_rows(&arrow, ROWS_MAX, NoNumber::Word)?;
    match rows_of(&text, rows, ROWS_MAX) {
        Some(drawn) => output::print(&drawn),
        None => {
            output::note("the query returned no rows");
            Ok(())
        }
    }
}

/// What a run has for a query.
#[derive(Default)]
struct Found {
    /// The values of the steps that the query names.
    values: Vec<(String, ValueRef)>,
    /// All steps that have tables.
    tables: BTreeSet<String>,
}

async fn find(client: &Client, arguments: &QueryArguments) -> Result<Found> {
    let mut found = Found::default();
    let mut names: BTreeMap<String, bool> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = Runs::jobs(client, &arguments.run, after, None).await?;
        for job in page.jobs {
            if job.item {
                continue;
            }
            let is_named = *names.entry(job.name.clone()).or_insert_with(|| is_named(&arguments.sql, &job.name));
            let Some((name, value)) = table_of(job) else { continue };
            if !found.tables.contains(&name) {
                found.tables.insert(name.clone());
            }
            if is_named {
                found.values.push((name, value));
            }
            if found.values.len() > JOBS_MAX {
                let message = format!("the query is about more than {JOBS_MAX} jobs of run {}", arguments.run);
                return Err(Error::usage(message).hint("a step after the loop can put their values together"));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if found.values.is_empty() {
        let is_over = client.run(&arguments.run).await?.state != RunState::Running;
        return Err(nothing(arguments, &names, &found.tables, if is_over { "" } else { " so far" }));
    }
    Ok(found)
}

/// A query about a table that is not there is told which there are.
fn with_tables(error: Error, tables: &BTreeSet<String>) -> Error {
    let message = error.message();
    if error.kind() != Kind::Usage || !message.contains("Table with name") || !message.contains("does not exist") {
        return error;
    }
    error.hint(format_args!("the tables of this run are {}; other names than words go between quotes", listed(tables)))
}

fn listed(names: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// Whether a query has a name somewhere, as a word or between quotes.
fn is_named(sql: &str, name: &str) -> bool {
    let (sql, name) = (sql.to_lowercase(), name.to_lowercase());
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    sql.match_indices(&name).any(|(place, _)| {
        let before = sql[..place].chars().next_back();
        let after = sql[place + name.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

fn table_of(job: JobView) -> Option<(String, ValueRef)> {
    let value = job.value?;
    value.passes().map(|_| (job.name, value))
}

fn nothing(
    arguments: &QueryArguments,
    names: &BTreeMap<String, bool>,
    tables: &BTreeSet<String>,
    so_far: &str,
) -> Error {
    let named: Vec<&str> = names.iter().filter(|(_, is_named)| **is_named).map(|(name, _)| name.as_str()).collect();
    if !named.is_empty() {
        let message = format!("{} of run {} has no table{so_far}", named.join(", "), arguments.run);
        return Error::usage(message)
            .hint("a table is the value of a step that returned rows; `bue status RUN --all` shows its jobs");
    }
    let message = format!("the query names no step of run {}", arguments.run);
    let hint = if tables.is_empty() {
        format!("its steps are {}, none of which has a table{so_far}", listed(&names.keys().cloned().collect()))
    } else {
        format!("its tables are {}; other names than words go between quotes", listed(tables))
    };
    Error::usage(message).hint(hint)
}

async fn fetch(desk: &Desk, values: Vec<(String, ValueRef)>) -> Result<Vec<Named>> {
    let mut tables = Vec::with_capacity(values.len());
    for (number, (name, value)) in values.into_iter().enumerate() {
        tables.push(Named { name, content: desk.fetch(&value, number, Accepted::Compressed).await? });
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_of_its_own() {
        for sql in ["select * from orders", "SELECT 1 FROM \"Orders\" o", "with x as (from orders) select 1"] {
            assert!(is_named(sql, "orders"), "{sql}");
        }
        for sql in ["select * from orders_2", "select reorders from x", "select 1"] {
            assert!(!is_named(sql, "orders"), "{sql}");
        }
        assert!(is_named("select * from \"my orders\"", "my orders"));
    }
}
