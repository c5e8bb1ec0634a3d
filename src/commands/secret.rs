//! `bue secret`: what steps get as variables and nobody can read back.
//!
//! A value is never taken from the command line, which other users of the machine and the shell's history see.

use std::io::{self, IsTerminal, Read, Write};

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use protocol::secret::{CONNECTION_PREFIX, SecretText, name_defect};

use crate::cli::{SecretArguments, SecretCommand, SecretListArguments, SecretNameArguments};
use crate::context::{Context, block_on};
use crate::error::{Error, Result};
use crate::output;
use crate::settings::engines;

/// Most that is read of standard input; the hub has a limit of its own.
const VALUE_BYTES_MAX: u64 = 1 << 20;

/// Sets, lists or removes.
pub fn run(context: &Context, arguments: &SecretArguments) -> Result {
    match &arguments.command {
        SecretCommand::Set(arguments) => set(context, arguments),
        SecretCommand::List(arguments) => list(context, arguments),
        SecretCommand::Remove(arguments) => remove(context, arguments),
    }
}

fn set(context: &Context, arguments: &SecretNameArguments) -> Result {
    let name = checked(&arguments.name)?;
    let client = context.client(&arguments.hub)?;
    let value = read_value(name)?;
    if let Some(defect) = name.strip_prefix(CONNECTION_PREFIX).and_then(|_| engines::address_defect(&value.0)) {
        return Err(Error::usage(format_args!("the value of {name} is no address of a database: {defect}")));
    }
    if value.0.len() < worker::SECRET_BYTES_HIDDEN_MIN {
        output::note(&format!(
            "warning: a value of fewer than {} bytes is not hidden in logs",
            worker::SECRET_BYTES_HIDDEN_MIN
        ));
    }
    block_on(async { Ok(client.set_secret(name, value).await?) })?;
    output::note(&match name.strip_prefix(CONNECTION_PREFIX) {
        None => format!("secret {name} is set: steps with `!secret {name}` get it as the variable {name}"),
        Some(connection) => {
            let connection = connection.to_ascii_lowercase();
            format!("secret {name} is set: postgres steps with `!connection {connection}` run in that database")
        }
    });
    Ok(())
}

fn list(context: &Context, arguments: &SecretListArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let secrets = block_on(async { Ok(client.secrets().await?) })?;
    if arguments.json {
        return output::print(&serde_json::to_string_pretty(&secrets).map_err(Error::internal)?);
    }
    if secrets.is_empty() {
        output::note("there are no secrets; `bue secret set NAME` sets one");
        return Ok(());
    }
    let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
    output::print(&names.join("\n"))
}

fn remove(context: &Context, arguments: &SecretNameArguments) -> Result {
    let name = checked(&arguments.name)?;
    let client = context.client(&arguments.hub)?;
    block_on(async { Ok(client.remove_secret(name).await?) })?;
    output::note(&format!("secret {name} is removed"));
    Ok(())
}

fn checked(name: &str) -> Result<&str> {
    match name_defect(name) {
        Some(defect) => Err(Error::usage(defect)),
        None => Ok(name),
    }
}

/// One line from a person, who does not see it; else all of standard input, without a line end at its end.
fn read_value(name: &str) -> Result<SecretText> {
    let failed = |error: io::Error| Error::machine(format_args!("cannot read the value of {name}: {error}"));
    let mut text = String::new();
    if io::stdin().is_terminal() {
        eprint!("value of {name}: ");
        // Where it cannot be shown, the person types without being asked.
        let _ = io::stderr().flush();
        read_unseen(&mut text).map_err(failed)?;
        eprintln!();
    } else {
        io::stdin().lock().take(VALUE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    }
    if text.len() as u64 > VALUE_BYTES_MAX {
        return Err(Error::usage(format_args!("the value of {name} is longer than {VALUE_BYTES_MAX} bytes")));
    }
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(Error::usage(format_args!("no value for {name}"))
            .hint(format_args!("write it to standard input: `bue secret set {name} < FILE`")));
    }
    Ok(SecretText(value.to_owned()))
}

/// Reads a line while the terminal does not echo; puts the terminal back as it was.
fn read_unseen(line: &mut String) -> io::Result<()> {
    let terminal = io::stdin();
    let before = tcgetattr(&terminal)?;
    let mut unseen = before.clone();
    unseen.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &unseen)?;
    let read = terminal.read_line(line);
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &before)?;
    read.map(drop)
}
