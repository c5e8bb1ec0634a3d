//! Arithmetic in settings: `20 * 60`, with Python's precedence and meaning, but never large and never slow.

use std::sync::LazyLock;

use pest::pratt_parser::{Assoc, Op, PrattParser};

use crate::grammar::{self, Piece, Rule};
use crate::limits::{BRACKET_DEPTH_MAX, EXPRESSION_BYTES_MAX};
use crate::text::Span;

/// What an expression comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i128),
    /// A fraction, always finite.
    Float(f64),
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExpressionError {
    /// It is not of the form.
    #[error("this is no arithmetic expression")]
    Form {
        /// Up to where it was.
        place: usize,
        /// What could have gone on there.
        expected: Option<String>,
    },
    /// It is too long.
    #[error("an expression has at most {EXPRESSION_BYTES_MAX} characters")]
    Long,
    /// It is nested too deeply.
    #[error("an expression has at most {BRACKET_DEPTH_MAX} brackets inside brackets")]
    Deep,
    /// Something is divided by zero.
    #[error("division by zero")]
    Zero,
    /// A number on the way is too large.
    #[error("a number in it is too large")]
    Large,
    /// A root of a negative number.
    #[error("a negative number has no such power")]
    Power,
}

impl Number {
    /// As a float.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Float(float) => float,
        }
    }

    fn is_zero(self) -> bool {
        matches!(self, Self::Whole(0)) || matches!(self, Self::Float(float) if float == 0.0)
    }
}

static PRECEDENCE: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    PrattParser::new()
        .op(Op::infix(Rule::add, Assoc::Left) | Op::infix(Rule::subtract, Assoc::Left))
        .op(Op::infix(Rule::multiply, Assoc::Left)
            | Op::infix(Rule::divide, Assoc::Left)
            | Op::infix(Rule::floor_divide, Assoc::Left)
            | Op::infix(Rule::modulo, Assoc::Left))
        .op(Op::prefix(Rule::minus) | Op::prefix(Rule::plus))
        .op(Op::infix(Rule::power, Assoc::Right))
});

/// The value of the expression at `span`.
pub fn evaluate(text: &str, span: Span) -> Result<Number, ExpressionError> {
    let expression = span.of(text);
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(ExpressionError::Long);
    }
    if depth(expression) > BRACKET_DEPTH_MAX {
        return Err(ExpressionError::Deep);
    }
    let matched = grammar::parse(Rule::arithmetic, text, span)
        .map_err(|mismatch| ExpressionError::Form { place: mismatch.place, expected: mismatch.expected })?;
    matched.pieces().next().map_or(Err(ExpressionError::Form { place: span.start(), expected: None }), value)
}

/// The deepest nesting of round brackets.
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn value(expression: Piece<'_>) -> Result<Number, ExpressionError> {
    PRECEDENCE
        .map_primary(|pair| {
            let digits = pair.as_str();
            match pair.as_rule() {
                Rule::integer => digits.parse().map(Number::Whole).map_err(|_| ExpressionError::Large),
                Rule::decimal => digits.parse().map_err(|_| ExpressionError::Large).and_then(finite),
                _ => value(Piece::of(pair)),
            }
        })
        .map_prefix(|sign, operand| if sign.as_rule() == Rule::minus { negative(operand?) } else { operand })
        .map_infix(|left, operator, right| combine(left?, operator.as_rule(), right?))
        .parse(expression.into_pairs())
}

fn negative(number: Number) -> Result<Number, ExpressionError> {
    match number {
        Number::Whole(whole) => whole.checked_neg().map(Number::Whole).ok_or(ExpressionError::Large),
        Number::Float(float) => Ok(Number::Float(-float)),
    }
}

fn combine(left: Number, how: Rule, right: Number) -> Result<Number, ExpressionError> {
    let divides = matches!(how, Rule::divide | Rule::floor_divide | Rule::modulo);
    if divides && right.is_zero() {
        return Err(ExpressionError::Zero);
    }
    match (left, right) {
        (Number::Whole(left), Number::Whole(right)) => combine_whole(left, how, right),
        _ => combine_float(left.as_f64(), how, right.as_f64()),
    }
}

fn combine_whole(left: i128, how: Rule, right: i128) -> Result<Number, ExpressionError> {
    let whole = match how {
        Rule::add => left.checked_add(right),
        Rule::subtract => left.checked_sub(right),
        Rule::multiply => left.checked_mul(right),
        Rule::floor_divide => floor_divide(left, right),
        Rule::modulo => floor_divide(left, right).and_then(|times| left.checked_sub(times.checked_mul(right)?)),
        Rule::power if right >= 0 => power(left, right),
        _ => return combine_float(Number::Whole(left).as_f64(), how, Number::Whole(right).as_f64()),
    };
    whole.map(Number::Whole).ok_or(ExpressionError::Large)
}

fn floor_divide(left: i128, right: i128) -> Option<i128> {
    let (times, rest) = (left.checked_div(right)?, left.checked_rem(right)?);
    if rest != 0 && (rest < 0) != (right < 0) { times.checked_sub(1) } else { Some(times) }
}

fn power(base: i128, exponent: i128) -> Option<i128> {
    match base {
        0 | 1 if exponent > 0 => Some(base),
        -1 => Some(if exponent % 2 == 0 { 1 } else { -1 }),
        _ => base.checked_pow(u32::try_from(exponent).ok()?),
    }
}

fn combine_float(left: f64, how: Rule, right: f64) -> Result<Number, ExpressionError> {
    finite(match how {
        Rule::add => left + right,
        Rule::subtract => left - right,
        Rule::multiply => left * right,
        Rule::divide => left / right,
        Rule::floor_divide => (left / right).floor(),
        Rule::modulo => left - right * (left / right).floor(),
        _ if left == 0.0 && right < 0.0 => return Err(ExpressionError::Zero),
        _ if left < 0.0 && right.fract() != 0.0 => return Err(ExpressionError::Power),
        _ => left.powf(right),
    })
}

fn finite(number: f64) -> Result<Number, ExpressionError> {
    if number.is_finite() { Ok(Number::Float(number)) } else { Err(ExpressionError::Large) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Number, ExpressionError> {
        evaluate(text, Span::new(0, text.len()))
    }

    fn seconds(text: &str) -> f64 {
        of(text).unwrap().as_f64()
    }

    #[test]
    fn precedence_is_that_of_python() {
        for (text, expected) in [
            ("20 * 60", 1200.0),
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("-2 ** 2", -4.0),
            ("2 ** -1", 0.5),
            ("2 ** 3 ** 2", 512.0),
            ("7 // 2", 3.0),
            ("-7 // 2", -4.0),
            ("-7 % 3", 2.0),
            ("7 % -3", -2.0),
            ("7 / 2", 3.5),
            ("1 - 2 - 3", -4.0),
            ("2 * 3 % 4", 2.0),
            ("- - 3", 3.0),
            ("+3", 3.0),
            (".5 + 1.", 1.5),
            ("-7.5 // 2", -4.0),
            ("0 ** 0", 1.0),
            ("4 ** 0.5", 2.0),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_exact_where_floats_are_not() {
        assert_eq!(of("10 ** 30 + 60 - 10 ** 30"), Ok(Number::Whole(60)));
    }

    #[test]
    fn a_number_that_is_too_large_is_an_error_and_no_hang() {
        for text in ["9**9**9**9", "9.0**9**9", "2 ** 127", "1e400", "9".repeat(60).as_str()] {
            assert!(of(text).is_err(), "{text}");
        }
        assert_eq!(of("9**9**9**9"), Err(ExpressionError::Large));
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        for text in ["1 / 0", "1 // 0", "1 % 0.0", "0 ** -1"] {
            assert_eq!(of(text), Err(ExpressionError::Zero), "{text}");
        }
        assert_eq!(of("(-8) ** 0.5"), Err(ExpressionError::Power));
    }

    #[test]
    fn length_and_depth_are_limited() {
        let deep = format!("{}1{}", "(".repeat(BRACKET_DEPTH_MAX + 1), ")".repeat(BRACKET_DEPTH_MAX + 1));
        assert_eq!(of(&deep), Err(ExpressionError::Deep));
        assert!(of(&deep[1..deep.len() - 1]).is_ok());
        assert_eq!(of(&"1".repeat(EXPRESSION_BYTES_MAX + 1)), Err(ExpressionError::Long));
    }

    #[test]
    fn other_forms_are_errors_at_their_place() {
        for (text, place) in [("", 0), ("1 +", 3), ("1 2", 2), ("a", 0), ("1 ^ 2", 2), ("(1", 2), ("1,5", 1)] {
            assert!(
                matches!(of(text), Err(ExpressionError::Form { place: at, .. }) if at == place),
                "{text}: {:?}",
                of(text)
            );
        }
    }
}
