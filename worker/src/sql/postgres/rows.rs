//! Columns of a result, from PostgreSQL's binary form into Arrow arrays.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::*;
use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field};
use tokio_postgres::types::{Kind, Type};

use super::encode::{EPOCH_DAYS, EPOCH_MICROSECONDS};
use super::kind::JSON_EXTENSION;
use super::takers::{Bools, Bytes, Decimals, Lists, Nulls, Numbers, Refused, Take, fixed, texts};

/// The form of a column of this type, and who takes its values; `None` where Arrow has none.
pub(super) fn column(name: &str, of: &Type, modifier: i32) -> Option<(Field, Box<dyn Take>)> {
    if let Kind::Domain(base) = of.kind() {
        return column(name, base, modifier);
    }
    if let Kind::Array(item) = of.kind() {
        let (field, items) = column("item", item, modifier)?;
        let field = Arc::new(field);
        let lists = Lists::new(Arc::clone(&field), items);
        return Some((Field::new(name, DataType::List(field), true), Box::new(lists)));
    }
    let field = field(name, of);
    let taker: Box<dyn Take> = match *of {
        Type::VOID => Box::new(Nulls::default()),
        Type::BOOL => Box::new(Bools::default()),
        Type::INT2 => fixed::<Int16Type>(&field, |raw| Ok(i16::from_be_bytes(exact(raw)?))),
        Type::INT4 => fixed::<Int32Type>(&field, |raw| Ok(i32::from_be_bytes(exact(raw)?))),
        Type::INT8 => fixed::<Int64Type>(&field, |raw| Ok(i64::from_be_bytes(exact(raw)?))),
        Type::OID => fixed::<UInt32Type>(&field, |raw| Ok(u32::from_be_bytes(exact(raw)?))),
        Type::FLOAT4 => fixed::<Float32Type>(&field, |raw| Ok(f32::from_be_bytes(exact(raw)?))),
        Type::FLOAT8 => fixed::<Float64Type>(&field, |raw| Ok(f64::from_be_bytes(exact(raw)?))),
        Type::DATE => fixed::<Date32Type>(&field, date),
        Type::TIME => fixed::<Time64MicrosecondType>(&field, |raw| Ok(i64::from_be_bytes(exact(raw)?))),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => fixed::<TimestampMicrosecondType>(&field, timestamp),
        Type::BYTEA => Box::new(Bytes::default()),
        Type::UUID => texts(|raw| Ok(Cow::Owned(uuid(exact(raw)?)))),
        Type::JSON => texts(utf8),
        // After the version.
        Type::JSONB => texts(|raw| utf8(raw.get(1..).unwrap_or_default())),
        Type::NUMERIC => return Some(decimals(name, modifier)),
        _ if is_text(of) => texts(utf8),
        _ => return None,
    };
    Some((field, taker))
}

fn is_text(of: &Type) -> bool {
    let texts = [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME, Type::CHAR, Type::UNKNOWN, Type::XML];
    texts.contains(of) || matches!(of.kind(), Kind::Enum(_)) || of.name() == "citext"
}

fn field(name: &str, of: &Type) -> Field {
    let data_type = match *of {
        Type::VOID => DataType::Null,
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::OID => DataType::UInt32,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(arrow_schema::TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into())),
        Type::BYTEA => DataType::Binary,
        _ => DataType::Utf8,
    };
    let field = Field::new(name, data_type, true);
    if matches!(*of, Type::JSON | Type::JSONB) {
        let mark = (EXTENSION_TYPE_NAME_KEY.to_owned(), JSON_EXTENSION.to_owned());
        return field.with_metadata(HashMap::from([mark]));
    }
    field
}

/// Numbers are decimal where their width is declared; else they are text until it is known what they need.
fn decimals(name: &str, modifier: i32) -> (Field, Box<dyn Take>) {
    match declared_width(modifier) {
        Some((digits, scale)) => {
            let field = Field::new(name, DataType::Decimal128(digits, scale), true);
            let decimals = Decimals::new(&field, usize::from(scale.unsigned_abs()));
            (field, Box::new(decimals))
        }
        None => (Field::new(name, DataType::Utf8, true), Box::new(Numbers::default())),
    }
}

/// Digits and scale of a `numeric(digits, scale)` that Arrow's 128 bits hold.
fn declared_width(modifier: i32) -> Option<(u8, i8)> {
    // `make_numeric_typmod` of PostgreSQL: the digits above, eleven bits of a signed scale below, and four added.
    let packed = modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    let digits = u8::try_from(packed >> 16).ok()?;
    let scale = ((packed & 0x7ff) ^ 1_024) - 1_024;
    let scale = i8::try_from(scale).ok()?;
    ((1..=38).contains(&digits) && (0..=digits.cast_signed()).contains(&scale)).then_some((digits, scale))
}

fn exact<const SIZE: usize>(raw: &[u8]) -> Result<[u8; SIZE], Refused> {
    raw.try_into().map_err(|_| format!("came with {} bytes instead of {SIZE}", raw.len()))
}

fn utf8(raw: &[u8]) -> Result<Cow<'_, str>, Refused> {
    std::str::from_utf8(raw).map(Cow::Borrowed).map_err(|_| "holds text that is no UTF-8".to_owned())
}

fn date(raw: &[u8]) -> Result<i32, Refused> {
    match i32::from_be_bytes(exact(raw)?) {
        i32::MAX | i32::MIN => Err(INFINITE.to_owned()),
        days => days.checked_add(EPOCH_DAYS).ok_or_else(|| BEYOND.to_owned()),
    }
}

fn timestamp(raw: &[u8]) -> Result<i64, Refused> {
    match i64::from_be_bytes(exact(raw)?) {
        i64::MAX | i64::MIN => Err(INFINITE.to_owned()),
        microseconds => microseconds.checked_add(EPOCH_MICROSECONDS).ok_or_else(|| BEYOND.to_owned()),
    }
}

const INFINITE: &str = "holds an infinite date or time, which a table does not; cast it to text or replace it";
const BEYOND: &str = "holds a date or time that is too far away for a table";

fn uuid(bytes: [u8; 16]) -> String {
    let digits = bytes.map(|byte| format!("{byte:02x}")).concat();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_widths_are_read_from_the_modifier() {
        assert_eq!(declared_width(((10 << 16) | 2) + 4), Some((10, 2)));
        assert_eq!(declared_width((38 << 16) + 4), Some((38, 0)));
        for beyond in [-1, ((39 << 16) | 2) + 4, ((5 << 16) | 0x7fe) + 4] {
            assert_eq!(declared_width(beyond), None);
        }
    }

    #[test]
    fn what_no_table_holds_is_refused() {
        assert_eq!(date(&0_i32.to_be_bytes()), Ok(10_957));
        assert!(date(&i32::MAX.to_be_bytes()).unwrap_err().contains("infinite"));
        assert!(timestamp(&(i64::MAX - 1).to_be_bytes()).unwrap_err().contains("too far"));
        assert!(column("a", &Type::INET, -1).is_none());
        assert!(column("a", &Type::INT4_ARRAY, -1).is_some());
    }
}
