//! Lists in brackets: on one line, or one element on a line where they were written over lines.

use crate::text::{Span, line_end};

/// How elements are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// `a, b`
    Comma,
    /// `a | b`
    Bar,
}

/// A list in brackets.
#[derive(Debug)]
pub struct List<'t> {
    /// The script.
    pub text: &'t str,
    /// From the opening to the closing bracket.
    pub span: Span,
    /// What is in it, in order: where it is written, and how it is to be written.
    pub elements: Vec<(Span, String)>,
    /// How elements are joined.
    pub joint: Joint,
}

impl List<'_> {
    /// The list as lines; the first begins with the opening bracket, the last ends with the closing one.
    pub fn lines(&self, unit: &str) -> Vec<String> {
        let comments = self.comments();
        let over_lines = line_end(self.span.of(self.text)).is_some() && !self.elements.is_empty();
        if !over_lines && comments.is_empty() {
            let joint = if self.joint == Joint::Comma { ", " } else { " | " };
            let elements: Vec<&str> = self.elements.iter().map(|(_, element)| element.as_str()).collect();
            return vec![format!("({})", elements.join(joint))];
        }
        let mut lines = vec!["(".to_owned()];
        let mut comments = comments.into_iter().peekable();
        for (number, (span, element)) in self.elements.iter().enumerate() {
            while let Some(comment) = comments.next_if(|comment| comment.start() < span.start()) {
                lines.push(format!("{unit}{}", self.comment(comment)));
            }
            let next = self.elements.get(number + 1).map_or(self.span.end(), |(next, _)| next.start());
            let trailing = comments.next_if(|comment| comment.start() < next && self.on_one_line(*span, *comment));
            let trailing = trailing.map_or(String::new(), |comment| format!("  {}", self.comment(comment)));
            lines.push(match self.joint {
                Joint::Comma => format!("{unit}{element},{trailing}"),
                Joint::Bar if number == 0 => format!("{unit}{element}{trailing}"),
                Joint::Bar => format!("{unit}| {element}{trailing}"),
            });
        }
        lines.extend(comments.map(|comment| format!("{unit}{}", self.comment(comment))));
        lines.push(")".to_owned());
        lines
    }

    fn comment(&self, comment: Span) -> &str {
        comment.of(self.text).trim_end()
    }

    /// Whether a comment begins in an element or behind it on its last line.
    fn on_one_line(&self, element: Span, comment: Span) -> bool {
        self.text.get(element.end()..comment.start()).is_none_or(|between| line_end(between).is_none())
    }

    /// In lists, `#` begins a comment wherever it stands.
    fn comments(&self) -> Vec<Span> {
        let mut found = Vec::new();
        let mut at = self.span.start();
        while let Some(start) = self.text[at..self.span.end()].find('#').map(|place| at + place) {
            let rest = &self.text[start..self.span.end()];
            let end = start + line_end(rest).map_or(rest.len(), |end| end.start);
            found.push(Span::new(start, end));
            at = end;
        }
        found
    }
}
