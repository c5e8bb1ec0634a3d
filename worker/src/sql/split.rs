//! Where one statement of a text ends and the next begins, by PostgreSQL's rules of quoting, which DuckDB shares.

/// One statement, without blanks and comments before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement<'sql> {
    pub(super) text: &'sql str,
    /// Place of its first character in the whole, in bytes.
    pub(super) start: usize,
    /// Its first words, in small letters.
    pub(super) words: Vec<String>,
}

/// Words that are kept of a statement: enough to know what it is.
const WORDS_MAX: usize = 4;

impl Statement<'_> {
    /// Whether it changes rows and returns their number, as far as its first word says.
    pub(super) fn changes_rows(&self) -> bool {
        let changing = ["insert", "update", "delete", "merge", "copy", "create", "truncate"];
        self.words.first().is_some_and(|word| changing.contains(&word.as_str()))
    }

    /// The word for what would end or begin a transaction, if it is that.
    pub(super) fn transaction_control(&self) -> Option<&str> {
        let word = |place: usize| self.words.get(place).map_or("", String::as_str);
        let is_control = match word(0) {
            "begin" | "commit" | "end" | "abort" => true,
            "start" | "prepare" => word(1) == "transaction",
            "rollback" => !self.words.iter().any(|word| word == "to"),
            _ => false,
        };
        is_control.then(|| word(0))
    }
}

/// The statements of `sql`, in order.
pub(super) fn split(sql: &str) -> Vec<Statement<'_>> {
    let mut scanner = Scanner { sql, place: 0, current: Current::default(), statements: Vec::new() };
    while let Some(byte) = scanner.byte(0) {
        scanner.token(byte);
    }
    scanner.end_statement();
    scanner.statements
}

/// What is known of the statement that is being read.
#[derive(Default)]
struct Current {
    start: Option<usize>,
    end: usize,
    words: Vec<String>,
    brackets: usize,
    /// Depth of `begin … end` and `case … end` in the body of a function.
    blocks: usize,
}

impl Current {
    /// Whether a semicolon may stand inside, in `begin atomic … end`.
    fn makes_routine(&self) -> bool {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let rest = match words.as_slice() {
            ["create", "or", "replace", rest @ ..] | ["create", rest @ ..] => rest,
            _ => return false,
        };
        matches!(rest.first(), Some(&("function" | "procedure")))
    }
}

struct Scanner<'sql> {
    sql: &'sql str,
    place: usize,
    current: Current,
    statements: Vec<Statement<'sql>>,
}

impl<'sql> Scanner<'sql> {
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.sql.as_bytes().get(self.place + ahead).copied()
    }

    fn rest(&self) -> &'sql str {
        // Tokens end before ASCII bytes or after whole words, so this is a boundary.
        self.sql.get(self.place..).unwrap_or_default()
    }

    fn token(&mut self, byte: u8) {
        match byte {
            b'-' if self.byte(1) == Some(b'-') => self.skip(self.rest().find('\n').unwrap_or(self.rest().len())),
            b'/' if self.byte(1) == Some(b'*') => self.comment(),
            b';' if self.current.brackets == 0 && self.current.blocks == 0 => {
                self.end_statement();
                self.skip(1);
            }
            byte if byte.is_ascii_whitespace() => self.skip(1),
            _ => {
                self.current.start.get_or_insert(self.place);
                self.part(byte);
                self.current.end = self.place;
            }
        }
    }

    /// A token that belongs to a statement.
    fn part(&mut self, byte: u8) {
        match byte {
            b'\'' => self.quoted(b'\'', Backslash::Plain),
            b'"' => self.quoted(b'"', Backslash::Plain),
            b'$' => self.dollar(),
            b'(' => {
                self.current.brackets += 1;
                self.skip(1);
            }
            b')' => {
                self.current.brackets = self.current.brackets.saturating_sub(1);
                self.skip(1);
            }
            byte if begins_word(byte) => self.word(),
            byte if byte.is_ascii_digit() => self.skip(length(self.rest(), |byte| goes_on(byte) || byte == b'.')),
            _ => self.skip(1),
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.place = (self.place + bytes).min(self.sql.len());
    }

    /// Comments of this kind stand within each other.
    fn comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'/'), Some(b'*')) => (depth += 1, self.skip(2)).1,
                (Some(b'*'), Some(b'/')) => (depth -= 1, self.skip(2)).1,
                (None, _) => return,
                _ => self.skip(1),
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// A quote within is doubled, which looks like two texts side by side and ends at the same place.
    fn quoted(&mut self, quote: u8, backslash: Backslash) {
        self.skip(1);
        while let Some(byte) = self.byte(0) {
            self.skip(1);
            if byte == quote {
                return;
            }
            if byte == b'\\' && backslash == Backslash::Escapes {
                self.skip(1);
            }
        }
    }

    fn dollar(&mut self) {
        let tag = length(&self.rest()[1..], |byte| goes_on(byte) && byte != b'$');
        let is_tag = self.byte(1 + tag) == Some(b'$') && !self.byte(1).is_some_and(|byte| byte.is_ascii_digit());
        if !is_tag {
            return self.skip(1);
        }
        let (mark, body) = self.rest().split_at(tag + 2);
        let end = body.find(mark).map_or(body.len(), |place| place + mark.len());
        self.skip(mark.len() + end);
    }

    fn word(&mut self) {
        let word = &self.rest()[..length(self.rest(), goes_on)];
        self.skip(word.len());
        if word.eq_ignore_ascii_case("e") && self.byte(0) == Some(b'\'') {
            return self.quoted(b'\'', Backslash::Escapes);
        }
        if self.current.words.len() < WORDS_MAX {
            self.current.words.push(word.to_ascii_lowercase());
        }
        if self.current.brackets == 0 && self.current.makes_routine() {
            self.count_blocks(word);
        }
    }

    fn count_blocks(&mut self, word: &str) {
        let blocks = &mut self.current.blocks;
        if word.eq_ignore_ascii_case("begin") || (*blocks > 0 && word.eq_ignore_ascii_case("case")) {
            *blocks += 1;
        } else if word.eq_ignore_ascii_case("end") {
            *blocks = blocks.saturating_sub(1);
        }
    }

    fn end_statement(&mut self) {
        let current = std::mem::take(&mut self.current);
        if let Some(start) = current.start {
            self.statements.push(Statement { text: &self.sql[start..current.end], start, words: current.words });
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    Plain,
    Escapes,
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn goes_on(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// How many of the first bytes are such.
fn length(text: &str, is_such: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|byte| !is_such(byte)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        split(sql).into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn semicolons_part_statements_and_comments_are_none() {
        assert_eq!(texts("select 1;\n;; -- a; b\nselect 2 /* ; /* ; */ ; */ ;"), ["select 1", "select 2"]);
        assert_eq!(texts(" -- nothing;\n/* at all */ ; "), [""; 0]);
        assert_eq!(split("\n\n select é; select 2")[1].start, 14);
    }

    #[test]
    fn semicolons_in_quotes_and_brackets_part_nothing() {
        for sql in [
            "select 'a;''b;', \"c;\"\"d;\"",
            "select E'it\\';s', e'\\\\'",
            "select $$a;b$$, $x$a;$$;b$x$, $é$;$é$, a$1, $1",
            "create rule r as on insert to t do (select 1; select 2)",
            "select 'open; ",
            "select /* ; ",
            "select a$b$;c$b$",
        ] {
            let expected = if sql.contains("a$b$") { 2 } else { 1 };
            assert_eq!(split(sql).len(), expected, "{sql}");
        }
        assert_eq!(texts(r"select 'a\'; select 2"), [r"select 'a\'", "select 2"]);
    }

    #[test]
    fn the_body_of_a_routine_is_one_with_it() {
        let body =
            "create or replace function f() returns int begin atomic select case when true then 1 end; select 2; end";
        assert_eq!(texts(&format!("{body}; select f()")), [body, "select f()"]);
        assert_eq!(texts("select 1 as begin; select 2"), ["select 1 as begin", "select 2"]);
    }

    #[test]
    fn what_controls_the_transaction_is_known() {
        let control = |sql: &str| split(sql)[0].transaction_control().map(str::to_owned);
        for sql in ["BEGIN", "commit work", "START transaction", "rollback", "end", "prepare transaction 'x'"] {
            assert!(control(sql).is_some(), "{sql}");
        }
        for sql in ["select 1", "rollback to savepoint a", "savepoint a", "prepare x as select 1", "start"] {
            assert_eq!(control(sql), None, "{sql}");
        }
    }
}
