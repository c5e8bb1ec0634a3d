//! What settings do to a step.

use protocol::{Isolation, Language, Runtime, Settings};

use super::{Context, paths, sources};
use crate::finding::{Finding, Findings};
use crate::parser::settings::words;
use crate::text::Span;
use crate::tree::{Setting, SettingValue};

/// Sets what `settings` say.
pub fn apply(context: &Context<'_>, settings: &[Setting], to: &mut Settings, findings: &mut Findings) {
    let text = |span: Span| span.of(context.text).to_owned();
    let names = |span: Span| words(context.text, span).map(text).collect();
    for setting in settings {
        match setting.value {
            SettingValue::Scope(name) => to.scope = text(name),
            SettingValue::Priority(priority) => to.priority = priority,
            SettingValue::Timeout { milliseconds } => to.timeout_ms = milliseconds,
            SettingValue::Retries(retries) => to.retries = retries,
            SettingValue::Backoff(backoff) => to.backoff = Some(backoff),
            SettingValue::Isolation(isolation) => to.runtime.isolation = Some(isolation),
            SettingValue::Memory { bytes } => to.runtime.memory_bytes = Some(bytes),
            SettingValue::Cpu { milliseconds } => to.runtime.cpu_ms = Some(milliseconds),
            SettingValue::Processes(processes) => to.runtime.processes = Some(processes),
            SettingValue::Network(network) => to.runtime.network = Some(network),
            SettingValue::Env(listed) => to.runtime.environment = names(listed),
            SettingValue::Secret(listed) => to.runtime.secrets = names(listed),
            SettingValue::Python(version) => to.runtime.python = Some(text(version)),
            SettingValue::Requirements(listed) => to.runtime.requirements = requirements(context, listed, findings),
            SettingValue::Connection(name) => to.runtime.connection = Some(text(name)),
        }
    }
}

/// Packages as written, and `-r` with the path of the file from the bundle's root.
fn requirements(context: &Context<'_>, listed: Span, findings: &mut Findings) -> Vec<String> {
    let mut requirements = Vec::new();
    let mut words = words(context.text, listed);
    while let Some(word) = words.next() {
        let written = word.of(context.text);
        if written != "-r" {
            requirements.push(written.to_owned());
            continue;
        }
        let Some(file) = words.next() else { continue };
        match (sources::problem(context, file, true), paths::resolve(context.script, file.of(context.text))) {
            (Some(finding), _) => findings.add(finding),
            (None, resolved) => requirements.extend(resolved.map(|path| format!("-r {path}"))),
        }
    }
    requirements
}

/// The settings of a step without what means nothing in its language: that came from the margin, for others.
pub fn of_use(language: Language, settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    let runtime = std::mem::take(&mut settings.runtime);
    settings.runtime = match language {
        Language::Python => Runtime { connection: None, ..runtime },
        Language::Postgres => Runtime { connection: runtime.connection, ..Runtime::default() },
        Language::Sqlite3 | Language::Duckdb => {
            let isolation = runtime.isolation.filter(|isolation| *isolation != Isolation::Shared);
            Runtime { isolation, memory_bytes: runtime.memory_bytes, cpu_ms: runtime.cpu_ms, ..Runtime::default() }
        }
    };
    settings
}

/// Warns of a step's own settings that mean nothing in its language. At the margin they are for others.
pub fn warn_of_idle(language: Language, settings: &[Setting], findings: &mut Findings) {
    for setting in settings {
        let is_of_use = match setting.value {
            SettingValue::Scope(_)
            | SettingValue::Priority(_)
            | SettingValue::Timeout { .. }
            | SettingValue::Retries(_)
            | SettingValue::Backoff(_) => true,
            SettingValue::Isolation(Isolation::Fresh | Isolation::Forked) => language != Language::Postgres,
            SettingValue::Memory { .. } | SettingValue::Cpu { .. } => language != Language::Postgres,
            SettingValue::Connection(_) => language == Language::Postgres,
            _ => language == Language::Python,
        };
        if !is_of_use {
            let message = format!("`!{}` means nothing in a {} step", setting.value.word(), language.as_str());
            findings.add(Finding::syntax(setting.span, message).warning());
        }
    }
}
