//! `bue query`: asks DuckDB about the tables of a run, each by the name of its step.

use std::collections::{BTreeMap, BTreeSet};

use bucket::table::NoNumber;
use bucket::value::Accepted;
use protocol::frame::Input;
use protocol::value::Place;
use protocol::{JobId, RunState, ValueKind, ValueRef};

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

/// First words of statements that the database runs and does not explain.
const UNEXPLAINED: [&str; 8] = ["ANALYZE", "ATTACH", "COMMENT", "DETACH", "EXPLAIN", "EXPORT", "IMPORT", "USE"];

/// Runs the query and prints, or writes, what it returns.
pub fn run(context: &Context, arguments: &QueryArguments) -> Result {
    export::check(&arguments.export)?;
    let client = context.client(&arguments.hub)?;
    let found = match block_on(find(&client, arguments))? {
        Ok(found) => found,
        Err(nothing) => return Err(syntax_error(context, arguments).unwrap_or(nothing)),
    };
    let desk = Desk::open(context, arguments.bucket.as_deref())?;
    let values = block_on(fetch(&client, &desk, found.values))?;
    let answer = desk.query(context, &arguments.sql, values, None);
    let answer = match answer {
        Err(error) if is_of_missing_table(&error) => {
            let tables = block_on(async { Ok(tables(&client, found.candidates).await) })?;
            return Err(error.hint(format_args!(
                "the tables of this run are {}; other names than words go between quotes",
                listed(&tables)
            )));
        }
        answer => answer?,
    };
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
    /// All steps that may have tables; of one with a list that is not here its job, for what is in the list is yet to be looked at.
    candidates: BTreeMap<String, Option<JobId>>,
}

/// What there is; the inner error says that there is nothing.
async fn find(client: &Client, arguments: &QueryArguments) -> Result<Result<Found>> {
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
            let Some(value) = job.value.filter(|value| value.passes().is_some()) else { continue };
            match (value.kind, &value.place) {
                (ValueKind::List, Place::Json(list)) if !begins_with_a_dict(list.get()) => {}
                (ValueKind::List, Place::Object { .. } | Place::Element { .. }) => {
                    found.candidates.entry(job.name.clone()).or_insert(Some(job.id));
                }
                _ => drop(found.candidates.insert(job.name.clone(), None)),
            }
            if is_named {
                found.values.push((job.name, value));
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
        let tables = tables(client, found.candidates).await;
        return Ok(Err(nothing(arguments, &names, &tables, if is_over { "" } else { " so far" })));
    }
    Ok(Ok(found))
}

/// What the database says of a query that names no table: it may be none, by a slip of the pen.
fn syntax_error(context: &Context, arguments: &QueryArguments) -> Option<Error> {
    let first: String = arguments.sql.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    if UNEXPLAINED.iter().any(|word| word.eq_ignore_ascii_case(&first)) {
        return None;
    }
    Desk::open(context, arguments.bucket.as_deref()).ok()?.syntax_error(context, &arguments.sql)
}

/// Whether a query is about a table that is not there: whoever asked is told which there are.
fn is_of_missing_table(error: &Error) -> bool {
    let message = error.message();
    error.kind() == Kind::Usage && message.contains("Table with name") && message.contains("does not exist")
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

/// The steps that have tables, for errors; only so many lists are looked at as names are shown.
async fn tables(client: &Client, candidates: BTreeMap<String, Option<JobId>>) -> BTreeSet<String> {
    let (mut names, mut looks) = (BTreeSet::new(), 0);
    for (name, list) in candidates {
        if let Some(job) = list.filter(|_| looks < NAMES_MAX) {
            looks += 1;
            if client.head(job, 1).await.is_ok_and(|first| !begins_with_a_dict(&first)) {
                continue;
            }
        }
        names.insert(name);
    }
    names
}

fn begins_with_a_dict(list: &str) -> bool {
    list.trim_start().strip_prefix('[').is_some_and(|elements| elements.trim_start().starts_with('{'))
}

/// The error of a query for which there is nothing.
fn nothing(
    arguments: &QueryArguments,
    names: &BTreeMap<String, bool>,
    tables: &BTreeSet<String>,
    so_far: &str,
) -> Error {
    let named: Vec<&str> = names.iter().filter(|(_, is_named)| **is_named).map(|(name, _)| name.as_str()).collect();
    if !named.is_empty() {
        let message = format!("{} of run {} has no table{so_far}", named.join(", "), arguments.run);
        return Error::usage(message).hint(format_args!(
            "a table is the value of a step that returned rows; `bue status {} --all` shows its jobs",
            arguments.run
        ));
    }
    let message = format!("the query names no step of run {}", arguments.run);
    let hint = if tables.is_empty() {
        format!("its steps are {}, none of which has a table{so_far}", listed(&names.keys().cloned().collect()))
    } else {
        format!("its tables are {}; other names than words go between quotes", listed(tables))
    };
    Error::usage(message).hint(hint)
}

async fn fetch(client: &Client, desk: &Desk, values: Vec<(String, ValueRef)>) -> Result<Vec<Named>> {
    let mut tables = Vec::with_capacity(values.len());
    for (number, (name, value)) in values.into_iter().enumerate() {
        tables.push(Named { name, content: desk.fetch(client, &value, number, Accepted::Compressed).await? });
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
