//! The grammar of statements, and what it says of a text that it does not match, in words for people.

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};
use pest::iterators::{Pair, Pairs};
use pest::unicode::{ALPHABETIC, MARK, NUMBER};

use crate::text::Span;

#[allow(missing_docs)]
mod rules {
    #[derive(pest_derive::Parser)]
    #[grammar = "bue.pest"]
    pub struct Statements;
}

pub use rules::Rule;

/// A piece of a statement, and where it is in the script.
#[derive(Debug)]
pub struct Piece<'t> {
    pair: Pair<'t, Rule>,
    offset: usize,
}

impl<'t> Piece<'t> {
    /// What it is.
    pub fn rule(&self) -> Rule {
        self.pair.as_rule()
    }

    /// Where it is.
    pub fn span(&self) -> Span {
        let span = self.pair.as_span();
        Span::new(self.offset + span.start(), self.offset + span.end())
    }

    /// A piece of a text that was matched by itself, where places do not matter.
    pub fn of(pair: Pair<'t, Rule>) -> Self {
        Self { pair, offset: 0 }
    }

    /// Its own pieces as the grammar's machine gives them.
    pub fn into_pairs(self) -> Pairs<'t, Rule> {
        self.pair.into_inner()
    }

    /// Its own pieces.
    pub fn pieces(self) -> impl Iterator<Item = Piece<'t>> {
        let offset = self.offset;
        self.pair.into_inner().map(move |pair| Piece { pair, offset })
    }
}

/// A text that does not match.
#[derive(Debug)]
pub struct Mismatch {
    /// The place up to which it could have matched.
    pub place: usize,
    /// What could have gone on there: "a name or `|`".
    pub expected: Option<String>,
}

/// Matches a stretch of the script.
pub fn parse(rule: Rule, text: &str, span: Span) -> Result<Piece<'_>, Mismatch> {
    let matched = rules::Statements::parse(rule, span.of(text));
    match matched.map(|mut pairs| pairs.next()) {
        Ok(Some(pair)) => Ok(Piece { pair, offset: span.start() }),
        Ok(None) => Err(Mismatch { place: span.start(), expected: None }),
        Err(error) => {
            let place = match error.location {
                InputLocation::Pos(place) | InputLocation::Span((place, _)) => place,
            };
            Err(Mismatch { place: span.start() + place, expected: expectation(&error.variant) })
        }
    }
}

/// Whether this is a name and nothing else.
pub fn is_name(text: &str) -> bool {
    rules::Statements::parse(Rule::only_name, text).is_ok()
}

/// Whether a name may hold this character.
pub fn is_letter(character: char) -> bool {
    let ascii = character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    ascii || !character.is_ascii() && (ALPHABETIC(character) || NUMBER(character) || MARK(character))
}

fn expectation(variant: &ErrorVariant<Rule>) -> Option<String> {
    let ErrorVariant::ParsingError { positives, .. } = variant else { return None };
    let mut words: Vec<&str> = positives.iter().filter_map(|rule| phrase(*rule)).collect();
    words.sort_by_key(|word| word.starts_with("the end"));
    words.dedup();
    let last = words.pop()?;
    Some(if words.is_empty() { last.to_owned() } else { format!("{} or {last}", words.join(", ")) })
}

/// What a person calls it; `None` for pieces that say nothing at the place of an error.
fn phrase(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::name | Rule::only_name | Rule::variable | Rule::item => "a name",
        Rule::function | Rule::imported => "a function",
        Rule::language => "a language",
        Rule::bar => "`|`",
        Rule::open | Rule::arguments => "`(`",
        Rule::close => "`)`",
        Rule::colon => "`:`",
        Rule::comma => "`,`",
        Rule::equal => "`=`",
        Rule::in_word => "`in`",
        Rule::as_word => "`as`",
        Rule::setting => "a setting",
        Rule::expression | Rule::arithmetic => "a number or `(`",
        Rule::integer | Rule::decimal => "a number",
        Rule::EOI => "the end of the line",
        Rule::power | Rule::floor_divide | Rule::multiply | Rule::divide => "an operator",
        Rule::modulo | Rule::add | Rule::subtract => "an operator",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_the_grammar() {
        let all = (0..=u32::from(char::MAX)).filter_map(char::from_u32);
        for letter in all.filter(|letter| u32::from(*letter) < 0x3_0000 || u32::from(*letter) > 0xe_0000) {
            assert_eq!(is_letter(letter), is_name(letter.encode_utf8(&mut [0; 4])), "{letter:?}");
        }
    }
}
