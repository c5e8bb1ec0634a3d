//! `bue query`: asks DuckDB about the tables of a run, each by the name of its step.

use std::collections::BTreeMap;

use bucket::table::NoNumber;
use bucket::value::Accepted;
use protocol::ValueRef;
use protocol::api::JobView;
use protocol::frame::Input;

use crate::cli::QueryArguments;
use crate::client::Client;
use crate::commands::value;
use crate::context::{Context, block_on};
use crate::error::{Error, Result};
use crate::fetched::{self, Desk, Named};
use crate::output;
use crate::runs::Runs;
use crate::show::value::rows_of;

/// Rows that are printed.
const ROWS_MAX: usize = 40;
/// Most jobs of which values are fetched: each is a table of its own, until the query makes them one.
const JOBS_MAX: usize = 1_000;

/// Runs the query and prints, or writes, what it returns.
pub fn run(context: &Context, arguments: &QueryArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let values = block_on(values(&client, arguments))?;
    let desk = Desk::open(context, arguments.bucket.as_deref())?;
    let tables = block_on(fetch(&desk, values))?;
    let answer = desk.query(context, &arguments.sql, tables, None)?;
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

/// The values of the steps that the query names.
async fn values(client: &Client, arguments: &QueryArguments) -> Result<Vec<(String, ValueRef)>> {
    let mut found = Vec::new();
    let mut names: BTreeMap<String, bool> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = Runs::jobs(client, &arguments.run, after, None).await?;
        for job in page.jobs {
            let is_named = *names.entry(job.name.clone()).or_insert_with(|| is_named(&arguments.sql, &job.name));
            if !is_named || job.item {
                continue;
            }
            found.extend(table_of(job));
            if found.len() > JOBS_MAX {
                let message = format!("the query is about more than {JOBS_MAX} jobs of run {}", arguments.run);
                return Err(Error::usage(message).hint("a step after the loop can put their values together"));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if found.is_empty() {
        return Err(nothing(arguments, &names));
    }
    Ok(found)
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

fn nothing(arguments: &QueryArguments, names: &BTreeMap<String, bool>) -> Error {
    let named: Vec<&str> = names.iter().filter(|(_, is_named)| **is_named).map(|(name, _)| name.as_str()).collect();
    if named.is_empty() {
        let steps: Vec<&str> = names.keys().take(20).map(String::as_str).collect();
        let message = format!("the query names no step of run {}", arguments.run);
        return Error::usage(message)
            .hint(format!("its steps are {}; other names go between quotes", steps.join(", ")));
    }
    let message = format!("{} of run {} has no table so far", named.join(", "), arguments.run);
    Error::usage(message)
        .hint("a table is the value of a step that returned rows; `bue status RUN --all` shows its jobs")
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
