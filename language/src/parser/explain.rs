//! Why a statement was not understood: the signs of the mistakes that people make, and what to write instead.
//!
//! Nothing here decides what is accepted: that is the grammar's work, and this is asked only when it said no.

use crate::finding::{Finding, quote};
use crate::grammar::{self, Mismatch};
use crate::text::{BLANKS, Span, is_odd_blank};

/// What a statement wants to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `p = a | b`
    Pipe,
    /// `v = p(a)`
    Call,
    /// `for x in p():`
    Loop,
    /// `import python (f) file.py`
    Import,
}

impl Form {
    fn example(self) -> &'static str {
        match self {
            Self::Pipe => "a pipe is written `name = step | step`",
            Self::Call => "a call is written `pipe()`, `pipe(variable)` or `variable = pipe()`",
            Self::Loop => "a loop is written `for item in pipe():`",
            Self::Import => "an import is written `import python (function as step, …) file.py`",
        }
    }
}

/// Words with which a line of Python begins and a line of a script does not.
const PYTHON_WORDS: [&str; 22] = [
    "def", "class", "from", "import", "if", "elif", "else", "while", "return", "with", "try", "except", "finally",
    "async", "await", "print", "lambda", "pass", "break", "continue", "raise", "assert",
];

/// A statement that does not match its form.
pub fn mismatch(text: &str, span: Span, mismatch: Mismatch, form: Form) -> Finding {
    if let Some(finding) = odd_character(text, span) {
        return finding;
    }
    let place = found_at(text, span, mismatch.place);
    if matches!(form, Form::Call | Form::Loop)
        && let Some(finding) = no_variable(text, span, place)
    {
        return finding;
    }
    let found = place.of(text);
    let message = match found {
        "" => "the statement ends too early".to_owned(),
        _ => format!("unexpected {}", quote(found)),
    };
    let special = match form {
        Form::Call | Form::Loop => call_hint(text, span, place),
        Form::Pipe => pipe_hint(text, span, place),
        Form::Import => import_hint(text, span, place),
    };
    let python = Some(span.of(text)).filter(|_| form != Form::Import).and_then(python_hint);
    let hint = python.map(str::to_owned).or(special).unwrap_or_else(|| form.example().to_owned());
    let finding = Finding::syntax(place, message).hint(hint);
    match mismatch.expected {
        Some(expected) => finding.expected(expected),
        None => finding,
    }
}

/// A line that shows no sign of any statement.
pub fn no_statement(text: &str, span: Span) -> Finding {
    if let Some(finding) = odd_character(text, span) {
        return finding;
    }
    let line = span.of(text);
    let finding = Finding::syntax(span, format!("{} is no statement", quote(line)));
    let finding = finding.expected("a setting, a step, a pipe, a call, a loop or an import");
    if line.starts_with('{') {
        return finding.hint("a leading JSON object must be whole".to_owned());
    }
    if let Some(colon) = line.find(':') {
        let (name, rest) = (line[..colon].trim_matches(BLANKS), line[colon + 1..].trim_matches(BLANKS));
        if grammar::is_name(name) && !rest.is_empty() {
            return finding
                .hint("a step's language, function and source stand on lines of their own below its name".to_owned());
        }
        return finding
            .hint("a step begins with its name and `:`; names hold letters, digits, `_`, `-` and blanks".to_owned());
    }
    match python_hint(line) {
        Some(hint) => finding.hint(hint.to_owned()),
        None if line.contains('|') => finding.hint("a pipe needs a name: `name = step | step`".to_owned()),
        None if grammar::is_name(line) => finding.hint(format!(
            "a step begins with {}, a call is {}",
            quote(&format!("{line}:")),
            quote(&format!("{line}()"))
        )),
        None => finding,
    }
}

/// The word or sign at a place.
fn found_at(text: &str, span: Span, place: usize) -> Span {
    let rest = text.get(place..span.end()).unwrap_or("");
    let skipped = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    let start = place + skipped;
    let rest = &rest[skipped..];
    let word = rest.find(|letter: char| !grammar::is_letter(letter)).unwrap_or(rest.len());
    let length = if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) };
    if length == 0 { Span::at(span.end()) } else { Span::new(start, start + length) }
}

/// Arguments that are calls or literals.
fn no_variable(text: &str, span: Span, place: Span) -> Option<Finding> {
    let before = &text[span.start()..place.start()];
    if before.matches('(').count() <= before.matches(')').count() {
        return None;
    }
    let start = place.start() - (before.len() - before.trim_end_matches(grammar::is_letter).len());
    let rest = &text[place.start()..span.end()];
    match place.of(text) {
        "(" if start < place.start() => {
            let end = rest.find(')').map_or(place.end(), |bracket| place.start() + bracket + 1);
            let call = Span::new(start, end);
            let hint = "calls are not nested: assign the inner one first, `v = pipe()`, then pass `v`".to_owned();
            Some(Finding::syntax(call, format!("the call {} is an argument", quote(call.of(text)))).hint(hint))
        }
        sign @ ("'" | "\"") => {
            let end = rest[1..].find(sign).map_or(rest.len(), |close| close + 2);
            Some(literal(text, Span::new(place.start(), place.start() + end)))
        }
        "." if start < place.start() && rest[1..].starts_with(|next: char| next.is_ascii_digit()) => {
            let digits = rest[1..].find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(rest.len() - 1);
            Some(literal(text, Span::new(start, place.end() + digits)))
        }
        _ => None,
    }
}

/// A literal in the place of a variable.
pub fn literal(text: &str, span: Span) -> Finding {
    let message = format!("{} is a literal and no variable", quote(span.of(text)));
    Finding::syntax(span, message).hint(LITERAL_HINT.to_owned())
}

fn call_hint(text: &str, span: Span, place: Span) -> Option<String> {
    let before = &text[span.start()..place.start()];
    let inside = before.matches('(').count() > before.matches(')').count();
    let hint = match (place.of(text), inside) {
        ("[" | "{" | "." | "*", true) => LITERAL_HINT,
        ("=", true) => "arguments have no names: they are passed in their order",
        ("=", false) if before.ends_with('=') => "one `=` assigns; there is no comparison in a script",
        ("|", false) => "steps are joined in a pipe first, `p = a | b`, which is then called, `p()`",
        (".", false) => "there are no attributes in a script: a step returns what is needed",
        (":", false) if !text[span.range()].starts_with("for") => "only a loop and a step's name end with `:`",
        (";", _) => "one statement on a line",
        (",", false) if text[span.range()].starts_with("for") => "a loop has one variable; take its parts in the step",
        _ => return missing_in_loop(text, span, place),
    };
    Some(hint.to_owned())
}

/// What to say of things that are no variables.
const LITERAL_HINT: &str = "only variables can be passed: return the value from a step and pass its result";

fn missing_in_loop(text: &str, span: Span, place: Span) -> Option<String> {
    let line = span.of(text);
    if !line.starts_with("for") {
        return None;
    }
    if place.of(text).is_empty() && line.ends_with(')') {
        return Some("a loop's first line ends with `:`".to_owned());
    }
    (!line.contains('('))
        .then(|| "a loop runs over the result of a call, so the pipe's name is followed by `()`".to_owned())
}

fn pipe_hint(text: &str, span: Span, place: Span) -> Option<String> {
    let hint = match place.of(text) {
        "(" => "a pipe joins steps by their names: without calls and without inner brackets",
        "," | ">" | "&" | "+" | ";" | "/" => "steps are joined by `|`",
        "\"" | "'" | "[" | "{" | "." => "a pipe holds names of steps, a variable the result of a call: `v = pipe()`",
        "\\" => "brackets let a pipe go on over lines: `p = (a |` … `)`",
        "=" if span.of(text).contains("==") => "one `=` assigns; there is no comparison in a script",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn import_hint(text: &str, span: Span, place: Span) -> Option<String> {
    let hint = match place.of(text) {
        "(" if text[span.start()..place.start()].trim_end_matches(BLANKS) == "import" => {
            "the language stands before the bracket: `import python (…) file.py`"
        }
        ")" => "the brackets hold at least one function",
        "." => "a function is named by its name in the file, without the module's",
        "*" => "every step is named: there is no `*`",
        "as" | "," | "=" if text[span.start()..place.start()].ends_with("as") || place.of(text) != "=" => {
            "behind `as` stands the step's name: `function as step`"
        }
        "=" => "a step gets another name by `as`: `function as step`",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What to say of a line that begins like one of Python.
pub fn python_hint(line: &str) -> Option<&'static str> {
    let first = line.split(|letter: char| !grammar::is_letter(letter) || letter == ' ').next().unwrap_or("");
    match first {
        "import" => {
            Some("a script imports steps: `import python (function) file.py`; modules are imported in the step's code")
        }
        _ if PYTHON_WORDS.contains(&first) => Some("a script holds no Python: put it into a step's file or code block"),
        _ => None,
    }
}

/// The first character that looks like another one, or like nothing.
fn odd_character(text: &str, span: Span) -> Option<Finding> {
    let mut comment = false;
    let odd = |letter: char| {
        comment = !matches!(letter, '\n' | '\r') && (comment || letter == '#');
        !comment && !letter.is_ascii() && !grammar::is_letter(letter)
    };
    let mut odd = odd;
    let (at, character) = span.of(text).char_indices().find(|(_, letter)| odd(*letter))?;
    let place = Span::new(span.start() + at, span.start() + at + character.len_utf8());
    let code = format!("U+{:04X}", character as u32);
    let shown = quote(character.encode_utf8(&mut [0; 4]));
    let finding = Finding::syntax(place, format!("unexpected character {shown} ({code})"));
    let meant = match character {
        '\u{85}' | '\u{2028}' | '\u{2029}' => Some("the end of a line, which is LF, CRLF or CR"),
        _ if is_odd_blank(character) => Some("a space"),
        '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => Some("nothing: it is invisible"),
        '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' => Some("a plain quote"),
        '\u{ff08}' => Some("`(`"),
        '\u{ff09}' => Some("`)`"),
        '\u{ff1a}' => Some("`:`"),
        '\u{ff1d}' => Some("`=`"),
        '\u{ff0c}' => Some("`,`"),
        '\u{ff5c}' | '\u{2502}' => Some("`|`"),
        '\u{ff01}' => Some("`!`"),
        '\u{2010}'..='\u{2015}' => Some("`-`"),
        _ => None,
    };
    Some(finding.hint(meant.map(|meant| format!("it probably stands for {meant}"))))
}
