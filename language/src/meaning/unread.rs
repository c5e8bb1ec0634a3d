//! Names that stand in what could not be read: they may be defined or used there, so that nothing is said of them.

use std::collections::HashSet;

use crate::grammar::is_letter;
use crate::text::Span;

/// The words of all that could not be read.
#[derive(Debug, Default)]
pub struct UnreadWords<'t>(HashSet<&'t str>);

impl<'t> UnreadWords<'t> {
    /// Of these places.
    pub fn of(text: &'t str, unread: &[Span]) -> Self {
        Self(unread.iter().flat_map(|span| words(span.of(text))).collect())
    }

    /// Whether a name may stand there.
    pub fn may_hold(&self, name: &str) -> bool {
        !self.0.is_empty() && words(name).all(|word| self.0.contains(word))
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let separates =
        |letter: char| letter.is_ascii() && !is_ascii_letter(letter) || !letter.is_ascii() && !is_letter(letter);
    text.split(separates).filter(|word| !word.is_empty())
}

fn is_ascii_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}
