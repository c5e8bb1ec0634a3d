//! Answers about one script: diagnostics, hover, definition, completion, symbols, formatting.

use language::index::{Found, Index, NameKind, Symbol, SymbolWork, WorkSource};
use language::text::{Lines, Place, Span};
use protocol::{Diagnostic, DiagnosticKind, Language, Severity};
use serde_json::{Value, json};

use super::document::{Document, range, uri_of};

/// Numbers of kinds, as the protocol defines them.
const SYMBOL_FUNCTION: u32 = 12;
const SYMBOL_EVENT: u32 = 24;
const SYMBOL_VARIABLE: u32 = 13;
const COMPLETION_FUNCTION: u32 = 3;
const COMPLETION_EVENT: u32 = 23;
const COMPLETION_VARIABLE: u32 = 6;
const COMPLETION_PROPERTY: u32 = 10;
const COMPLETION_KEYWORD: u32 = 14;
const COMPLETION_FILE: u32 = 17;

/// What is wrong with it.
pub fn diagnostics(document: &Document) -> Value {
    let compiled = language::compile(&document.name(), document.text.as_bytes(), document);
    compiled.diagnostics.iter().map(|found| diagnostic(document, found)).collect()
}

fn diagnostic(document: &Document, found: &Diagnostic) -> Value {
    let lines = Lines::of(&document.text);
    let span = |line, column, end_line, end_column| {
        let start = lines.offset(Place { line, column }).unwrap_or(0);
        let end = lines.offset(Place { line: end_line, column: end_column }).unwrap_or(start);
        range(&document.text, Span::new(start, end))
    };
    let more = [found.expected.as_ref().map(|expected| format!("expected: {expected}")), found.hint.clone()];
    let message: Vec<String> = std::iter::once(found.message.clone()).chain(more.into_iter().flatten()).collect();
    let related: Vec<Value> = found
        .related
        .iter()
        .map(|place| {
            let range = span(place.line, place.column, place.end_line, place.end_column);
            json!({"location": {"uri": document.uri, "range": range}, "message": place.message})
        })
        .collect();
    json!({
        "range": span(found.line, found.column, found.end_line, found.end_column),
        "severity": if found.severity == Severity::Error { 1 } else { 2 },
        "code": kind(found.kind),
        "source": "bue",
        "message": message.join("\n"),
        "relatedInformation": related,
    })
}

fn kind(kind: DiagnosticKind) -> &'static str {
    match kind {
        DiagnosticKind::Syntax => "syntax",
        DiagnosticKind::Name => "name",
        DiagnosticKind::File => "file",
        DiagnosticKind::Loop => "loop",
        DiagnosticKind::Step => "step",
    }
}

/// What is under the pointer.
pub fn hover(document: &Document, parameters: &Value) -> Value {
    let index = Index::of(&document.text);
    let found = document.offset(&parameters["position"]).and_then(|place| index.at(place));
    let Some((span, found)) = found else { return Value::Null };
    let text = match found {
        Found::Setting(word) => setting_help(word),
        Found::Symbol(symbol) | Found::Function(symbol) | Found::File(symbol) => symbol_help(document, symbol),
    };
    json!({"contents": {"kind": "markdown", "value": text}, "range": range(&document.text, span)})
}

fn setting_help(word: &str) -> String {
    let example = language::SETTING_WORDS.iter().find(|(name, _)| *name == word).map_or("", |(_, example)| example);
    let meaning = match word {
        "scope" => {
            "the queue that a step's jobs wait in; workers name the scopes they serve. Default: `default`. Also `$ name`."
        }
        "priority" => "higher runs first within its scope. Default: 0. Also `!9`.",
        "timeout" => "seconds that one attempt may take; an arithmetic expression. Default: 1200.",
        "retries" => "further attempts after an error, a timeout or a crash. Default: 0.",
        "backoff" => {
            "bounds of the random pause before a further attempt: the first one, doubled up to the longest. Default: the hub's, 1s..5m."
        }
        "isolation" => {
            "how an attempt gets its interpreter: `forked` from a warm one, a `fresh` one, or `shared` by `async def` steps. Default: `forked`."
        }
        "memory" => "the most memory that an attempt may use. Default: the worker's.",
        "cpu" => "the most time on a processor, in seconds; an arithmetic expression. Default: the worker's.",
        "processes" => "the most processes and threads at once. Default: the worker's.",
        "network" => "`off` leaves the attempt no network. Default: `on`.",
        "env" => "variables of the worker's environment that the step gets; all others are kept from it.",
        "secret" => "secrets of the hub (`bue secret set NAME`) that the step gets as variables of its environment.",
        "python" => "the version of the interpreter. Default: the worker's.",
        "requirements" => {
            "Python packages that the step needs, as pip takes them, or `-r` and a file beside the script."
        }
        "connection" => {
            "the name of the database that a postgres step runs in. Default: the worker's default connection."
        }
        _ => "",
    };
    format!("**{word}**: {meaning}\n\nExample: {example}")
}

fn symbol_help(document: &Document, symbol: &Symbol) -> String {
    let text = &document.text;
    let name = symbol.name.of(text);
    match (symbol.kind, symbol.work) {
        (NameKind::Step, Some(work)) => {
            let source = match work.source {
                WorkSource::File(path) => format!("`{}`", path.of(text)),
                WorkSource::Code(_) => "code in the script".to_owned(),
            };
            let settings: Vec<String> = symbol.settings.iter().map(|span| format!("`{}`", span.of(text))).collect();
            let settings = if settings.is_empty() { String::new() } else { format!("\n\n{}", settings.join(" ")) };
            let function = work.function.of(text);
            format!("step **{name}**: {} `{function}` in {source}{settings}", work.language.as_str())
        }
        (NameKind::Step, None) => format!("step **{name}**"),
        (NameKind::Pipe, _) => format!("pipe\n```bue\n{}\n```", symbol.span.of(text)),
        (NameKind::Variable, _) => format!("variable\n```bue\n{}\n```", symbol.span.of(text)),
    }
}

/// Where a name is defined; of a step's function, and of a step that is imported, where the function is defined in its code.
pub fn definition(document: &Document, parameters: &Value) -> Value {
    let index = Index::of(&document.text);
    let found = document.offset(&parameters["position"]).and_then(|place| index.at(place));
    match found {
        Some((_, Found::Symbol(symbol))) => {
            let imported = symbol.work.filter(|_| symbol.is_imported());
            let function = imported.and_then(|work| python_function(document, work));
            function.unwrap_or_else(|| json!({"uri": document.uri, "range": range(&document.text, symbol.name)}))
        }
        Some((_, Found::Function(symbol))) => function_definition(document, symbol).unwrap_or(Value::Null),
        Some((_, Found::File(symbol))) => file_start(document, symbol).unwrap_or(Value::Null),
        Some((_, Found::Setting(_))) | None => Value::Null,
    }
}

fn function_definition(document: &Document, symbol: &Symbol) -> Option<Value> {
    python_function(document, symbol.work?).or_else(|| file_start(document, symbol))
}

fn python_function(document: &Document, work: SymbolWork) -> Option<Value> {
    if work.language != Language::Python {
        return None;
    }
    let function = work.function.of(&document.text);
    match work.source {
        WorkSource::Code(code) => {
            let place = find_function(code.of(&document.text), function)?;
            let span = Span::new(code.start() + place.start(), code.start() + place.end());
            Some(json!({"uri": document.uri, "range": range(&document.text, span)}))
        }
        WorkSource::File(path) => {
            let path = document.file(path.of(&document.text))?;
            let text = Document::read(&path)?;
            let place = find_function(&text, function)?;
            Some(json!({"uri": uri_of(&path), "range": range(&text, place)}))
        }
    }
}

fn file_start(document: &Document, symbol: &Symbol) -> Option<Value> {
    let WorkSource::File(path) = symbol.work?.source else { return None };
    let path = document.file(path.of(&document.text)).filter(|path| path.is_file())?;
    Some(json!({"uri": uri_of(&path), "range": range("", Span::at(0))}))
}

/// Where a module gives a name its meaning: `def`, `async def`, `class` or an assignment at the margin.
fn find_function(code: &str, name: &str) -> Option<Span> {
    let lines = Lines::of(code);
    (1..=u32::try_from(lines.count()).unwrap_or(u32::MAX)).find_map(|line| {
        let text = lines.text(line)?;
        let rest = ["async def ", "def ", "class "].iter().find_map(|word| text.strip_prefix(word)).unwrap_or(text);
        let after = rest.trim_start().strip_prefix(name)?.trim_start();
        let named =
            if rest.len() < text.len() { after.starts_with(['(', ':', '[']) } else { after.starts_with(['=', ':']) };
        let start = lines.offset(Place { line, column: 1 })? + text.len() - rest.trim_start().len();
        named.then(|| Span::new(start, start + name.len()))
    })
}

/// Names that fit at a place.
pub fn completion(document: &Document, parameters: &Value) -> Value {
    let Some(place) = document.offset(&parameters["position"]) else { return json!([]) };
    let before = &document.text[..place];
    let line = before.rsplit(['\n', '\r']).next().unwrap_or("");
    let index = Index::of(&document.text);
    let names = |kind: NameKind, number: u32| {
        let mut names: Vec<&str> = index
            .symbols
            .iter()
            .filter(|symbol| symbol.kind == kind && (kind != NameKind::Variable || symbol.name.end() < place))
            .map(|symbol| symbol.name.of(&document.text))
            .collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| item(name, number, "")).collect::<Vec<Value>>()
    };
    let written = line.trim_start_matches([' ', '\t']);
    let arguments = line.matches('(').count() > line.matches(')').count();
    let items = if written.starts_with("import") {
        language::LANGUAGE_WORDS.iter().map(|(word, _)| item(word, COMPLETION_KEYWORD, "language")).collect()
    } else if let Some(setting) = line.rsplit([' ', '\t', ',']).next().filter(|word| word.starts_with('!')) {
        settings(setting)
    } else if arguments {
        names(NameKind::Variable, COMPLETION_VARIABLE)
    } else if line.contains('|') || line.contains('=') {
        let pipes = names(NameKind::Pipe, COMPLETION_EVENT);
        let steps = names(NameKind::Step, COMPLETION_FUNCTION);
        if line.contains('|') { steps } else { [steps, pipes].concat() }
    } else if line.len() > written.len() {
        [languages(), names(NameKind::Pipe, COMPLETION_EVENT), files(document)].concat()
    } else {
        names(NameKind::Pipe, COMPLETION_EVENT)
    };
    Value::Array(items)
}

fn item(label: &str, kind: u32, detail: &str) -> Value {
    json!({"label": label, "kind": kind, "detail": detail})
}

fn languages() -> Vec<Value> {
    let canonical = language::LANGUAGE_WORDS.iter().filter(|(word, language)| *word == language.as_str());
    canonical.map(|(word, _)| item(word, COMPLETION_KEYWORD, "language")).collect()
}

/// The editor replaces the word behind the `!`, so that it is not part of what is put in.
fn settings(written: &str) -> Vec<Value> {
    let words = language::SETTING_WORDS.iter().filter(|(word, _)| word.starts_with(written.trim_start_matches('!')));
    words
        .map(|(word, example)| {
            let mut item = item(&format!("!{word}"), COMPLETION_PROPERTY, example.trim_matches('`'));
            item["insertText"] = (*word).into();
            item["filterText"] = (*word).into();
            item
        })
        .collect()
}

fn files(document: &Document) -> Vec<Value> {
    let mut paths = language::Files::paths(document);
    paths.retain(|path| path.ends_with(".py") || path.ends_with(".sql"));
    paths.sort();
    paths.iter().map(|path| item(path, COMPLETION_FILE, "file")).collect()
}

/// Steps, pipes and variables, in order.
pub fn symbols(document: &Document, _: &Value) -> Value {
    let text = &document.text;
    let index = Index::of(text);
    let symbols = index.symbols.iter().map(|symbol| {
        let (kind, detail) = match symbol.kind {
            NameKind::Step => (SYMBOL_FUNCTION, symbol.work.map_or("step", |work| work.language.as_str())),
            NameKind::Pipe => (SYMBOL_EVENT, "pipe"),
            NameKind::Variable => (SYMBOL_VARIABLE, "variable"),
        };
        let whole = Span::new(symbol.span.start().min(symbol.name.start()), symbol.span.end().max(symbol.name.end()));
        json!({
            "name": symbol.name.of(text),
            "detail": detail,
            "kind": kind,
            "range": range(text, whole),
            "selectionRange": range(text, symbol.name),
        })
    });
    symbols.collect()
}

/// The whole text, written anew; nothing where it cannot be.
pub fn formatting(document: &Document, _: &Value) -> Value {
    match language::format(&document.text) {
        Ok(formatted) if formatted == document.text => json!([]),
        Ok(formatted) => {
            let whole = Span::new(0, document.text.len());
            json!([{"range": whole_range(&document.text, whole), "newText": formatted}])
        }
        Err(_) => Value::Null,
    }
}

/// The range of a whole text; a byte order mark belongs to its first line.
fn whole_range(text: &str, whole: Span) -> Value {
    let mut range = range(text, whole);
    range["start"] = json!({"line": 0, "character": 0});
    range
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_where_the_module_defines_it() {
        let code =
            "import f\n# def f\nx = f()\n\nclass g:\n    def f(self): pass\n\nasync def f(x):\n    pass\nh = f\n";
        let at = |name: &str| find_function(code, name).map(|span| code[..span.start()].matches('\n').count() + 1);
        assert_eq!((at("f"), at("g"), at("h"), at("nothing")), (Some(8), Some(5), Some(10), None));
    }
}
