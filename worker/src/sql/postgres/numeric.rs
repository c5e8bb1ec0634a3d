//! Decimal numbers in PostgreSQL's binary form: groups of four digits, as `numeric_send` writes them.

use bytes::{BufMut, BytesMut};

/// Digits of one group.
const GROUP_DIGITS: usize = 4;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

/// Writes the number whose digits (with a sign, without a point) and scale these are.
pub(super) fn write(digits: &str, scale: i8, out: &mut BytesMut) {
    let (sign, digits) = digits.strip_prefix('-').map_or((0, digits), |digits| (NEGATIVE, digits));
    let scale_digits = usize::from(scale.max(0).unsigned_abs());
    let mut digits = digits.to_owned();
    digits.extend(std::iter::repeat_n('0', usize::from(scale.min(0).unsigned_abs())));
    let digits = format!("{digits:0>scale_digits$}");
    let (whole, fraction) = digits.split_at(digits.len() - scale_digits);
    let whole_width = whole.len().next_multiple_of(GROUP_DIGITS);
    let fraction_width = fraction.len().next_multiple_of(GROUP_DIGITS);
    let padded = format!("{whole:0>whole_width$}{fraction:0<fraction_width$}");
    let groups: Vec<i16> = padded.as_bytes().chunks(GROUP_DIGITS).map(group).collect();
    // Groups of zeros at both ends are left out; the weight says where the first one stands.
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let trailing = groups[leading..].iter().rev().take_while(|group| **group == 0).count();
    let significant = &groups[leading..groups.len() - trailing];
    let weight = if significant.is_empty() { 0 } else { (whole_width / GROUP_DIGITS) as i64 - leading as i64 - 1 };
    out.put_i16(significant.len() as i16);
    out.put_i16(weight as i16);
    out.put_u16(sign);
    out.put_u16(scale_digits as u16);
    significant.iter().for_each(|group| out.put_i16(*group));
}

fn group(digits: &[u8]) -> i16 {
    digits.iter().fold(0, |number, digit| number * 10 + i16::from(digit - b'0'))
}

/// A number as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Number {
    /// Sign, digits before and after the point.
    Finite { negative: bool, whole: String, fraction: String },
    /// `NaN` or an infinity, as the database writes it.
    Special(&'static str),
}

/// Reads what the database sent; `None` where it is malformed.
pub(super) fn read(bytes: &[u8]) -> Option<Number> {
    let field = |place: usize| Some(u16::from_be_bytes(*bytes.get(place * 2..)?.first_chunk()?));
    let count = usize::from(field(0)?);
    let weight = field(1)?.cast_signed();
    let negative = match field(2)? {
        0 => false,
        NEGATIVE => true,
        NAN => return Some(Number::Special("NaN")),
        INFINITY => return Some(Number::Special("Infinity")),
        NEGATIVE_INFINITY => return Some(Number::Special("-Infinity")),
        _ => return None,
    };
    let scale = usize::from(field(3)?);
    let groups: Vec<u16> = (0..count).map(|place| field(4 + place)).collect::<Option<_>>()?;
    let group_at = |weight_of_group: i32| {
        let place = usize::try_from(i32::from(weight) - weight_of_group).ok();
        place.and_then(|place| groups.get(place)).copied().unwrap_or(0)
    };
    let whole: String = (0..=i32::from(weight).max(0)).rev().map(|at| format!("{:04}", group_at(at))).collect();
    let fraction_groups = scale.div_ceil(GROUP_DIGITS) as i32;
    let mut fraction: String = (1..=fraction_groups).map(|at| format!("{:04}", group_at(-at))).collect();
    fraction.truncate(scale);
    let significant = whole.trim_start_matches('0');
    let whole = if significant.is_empty() { "0" } else { significant };
    Some(Number::Finite { negative, whole: whole.to_owned(), fraction })
}

impl Number {
    /// As the database shows it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Special(word) => (*word).to_owned(),
            Self::Finite { negative, whole, fraction } => {
                let sign = if *negative { "-" } else { "" };
                let point = if fraction.is_empty() { "" } else { "." };
                format!("{sign}{whole}{point}{fraction}")
            }
        }
    }
}

/// The number of `text` in units of the scale; `None` where it does not fit.
pub(super) fn unscaled(text: &str, scale: usize) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > scale {
        return None;
    }
    let number: i128 = format!("{whole}{fraction:0<scale$}").parse().ok()?;
    (number.unsigned_abs() < 10_u128.pow(38)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_written() {
        for (digits, scale, text) in [
            ("0", 0, "0"),
            ("0", 3, "0.000"),
            ("5", 2, "0.05"),
            ("-12345", 2, "-123.45"),
            ("10000", 0, "10000"),
            ("100000000", 4, "10000.0000"),
            ("1", 9, "0.000000001"),
            ("-7", -5, "-700000"),
            ("99999999999999999999999999999999999999", 10, "9999999999999999999999999999.9999999999"),
        ] {
            let mut bytes = BytesMut::new();
            write(digits, scale, &mut bytes);
            assert_eq!(read(&bytes).unwrap().text(), text);
        }
    }

    #[test]
    fn a_number_beyond_the_width_or_the_scale_does_not_fit() {
        assert_eq!(unscaled("-1.5", 2), Some(-150));
        assert_eq!(unscaled("1.555", 2), None);
        assert_eq!(unscaled("1", 38), None);
        assert_eq!(read(&[0, 1, 0]), None);
    }
}
