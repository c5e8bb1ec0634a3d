//! `bue value`: what one job returned, as JSON, at a glance, or in a file or a pipe.

use bucket::value::Accepted;
use protocol::frame::Input;
use protocol::{JobId, ValueRef};

use crate::cli::{Export, ValueArguments};
use crate::client::Client;
use crate::context::{Context, block_on};
use crate::error::{Error, Result};
use crate::fetched::{self, Desk, Named};
use crate::show::value::{describe, rows_of};
use crate::{export, output, show};

/// Prints what the job returned, or writes it into files.
pub fn run(context: &Context, arguments: &ValueArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let job = block_on(async { Ok(client.find(&arguments.job).await?) })?;
    export::check(&arguments.export)?;
    if arguments.export.is_none() {
        return block_on(print(&client, job, arguments.head));
    }
    let value = block_on(value_of(&client, job))?;
    let desk = Desk::open(context, arguments.bucket.as_deref())?;
    if value.passes().is_none() {
        let message = format!("the value of job {job} is {}, which has no columns", describe(&value));
        return Err(Error::usage(message).hint(format_args!("`bue value {job}` prints it as JSON")));
    }
    let content = block_on(desk.fetch(&client, &value, 0, Accepted::Plain))?;
    let table = Named { name: "value".to_owned(), content };
    write(context, &desk, table, &arguments.export)?;
    output::note(&format!("{} of job {job} written", describe(&value)));
    Ok(())
}

async fn print(client: &Client, job: JobId, head: Option<u64>) -> Result {
    let Some(count) = head else {
        return output::print_content(&client.value(job).await?);
    };
    let value = value_of(client, job).await?;
    let text = client.head(job, count).await?;
    match rows_of(&text, value.length.unwrap_or_default(), count as usize) {
        Some(rows) => output::print(&rows),
        None => output::print_content(&text),
    }
}

async fn value_of(client: &Client, job: JobId) -> Result<ValueRef> {
    let job = client.explain(job).await?.job;
    job.value.ok_or_else(|| {
        let state = show::job_word(job.state);
        Error::usage(format_args!("job {} (`{}`) has no value: it is {state}", job.id, job.name))
    })
}

/// Writes a table where it was asked for.
pub fn write(context: &Context, desk: &Desk, table: Named, export: &Export) -> Result {
    let arrow = desk.as_arrow(table.content)?;
    if let Some(target) = &export.csv {
        fetched::write_csv(&arrow, target)?;
    }
    if let Some(target) = &export.arrow {
        fetched::copy(&arrow, target)?;
    }
    let Some(target) = &export.parquet else { return Ok(()) };
    // The program that writes it knows files only, and has words of its own for one that cannot be written.
    let file = desk.place("value.parquet");
    let table = Named { name: "value".to_owned(), content: Input::ArrowFile(arrow) };
    desk.query(context, "SELECT * FROM value", vec![table], Some(&file))?;
    fetched::copy(&file, target)
}
