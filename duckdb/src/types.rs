//! Which type of DuckDB a column of an Arrow table becomes, and the Arrow type that is handed over for it.

use std::sync::Arc;

use duckdb_arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};

use super::database::quoted;

/// Name of the Arrow extension for text that holds JSON.
pub(super) const JSON_EXTENSION: &str = "arrow.json";
/// Name of the Arrow extension for identifiers of 16 bytes.
const UUID_EXTENSION: &str = "arrow.uuid";
/// Digits that a decimal number of DuckDB holds.
const DIGITS_MAX: u8 = 38;

/// The type as it stands in a definition; `None` where DuckDB has none.
pub(super) fn sql(field: &Field) -> Option<String> {
    match field.extension_type_name() {
        Some(JSON_EXTENSION) => return Some("JSON".to_owned()),
        Some(UUID_EXTENSION) => return Some("UUID".to_owned()),
        _ => {}
    }
    Some(match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) => format!("{}[]", sql(item)?),
        DataType::FixedSizeList(item, length) => format!("{}[{length}]", sql(item)?),
        DataType::Struct(fields) if !fields.is_empty() => {
            let members: Option<Vec<String>> =
                fields.iter().map(|field| Some(format!("{} {}", quoted(field.name()), sql(field)?))).collect();
            format!("STRUCT({})", members?.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => match &fields[..] {
                [key, value] => format!("MAP({}, {})", sql(key)?, sql(value)?),
                _ => return None,
            },
            _ => return None,
        },
        DataType::Decimal128(digits, scale @ 0..) => format!("DECIMAL({digits}, {scale})"),
        data_type => scalar(data_type)?.to_owned(),
    })
}

fn scalar(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INTEGER",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "UTINYINT",
        DataType::UInt16 => "USMALLINT",
        DataType::UInt32 => "UINTEGER",
        DataType::UInt64 => "UBIGINT",
        DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "BLOB",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Timestamp(TimeUnit::Second, None) => "TIMESTAMP_S",
        DataType::Timestamp(TimeUnit::Millisecond, None) => "TIMESTAMP_MS",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP",
        DataType::Timestamp(TimeUnit::Nanosecond, None) => "TIMESTAMP_NS",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ",
        DataType::Duration(_) | DataType::Interval(_) => "INTERVAL",
        _ => return None,
    })
}

/// The Arrow type in which a column is handed over, where its own is not taken.
pub(super) fn handed_over(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null => DataType::Utf8,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(digits, scale) | DataType::Decimal64(digits, scale) => {
            DataType::Decimal128(*digits, *scale)
        }
        DataType::Decimal256(digits, scale @ 0..) if *digits <= DIGITS_MAX => DataType::Decimal128(*digits, *scale),
        // Numbers of whole hundreds, thousands …, which are whole numbers here.
        DataType::Decimal128(digits, scale @ ..0) if digits.saturating_add(scale.unsigned_abs()) <= DIGITS_MAX => {
            DataType::Decimal128(digits + scale.unsigned_abs(), 0)
        }
        DataType::Dictionary(_, values) => handed_over(values),
        // A day has no nanoseconds in DuckDB, and neither has an instant.
        DataType::Time64(TimeUnit::Nanosecond) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Duration(TimeUnit::Nanosecond) => DataType::Duration(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Nanosecond, Some(zone)) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone.clone()))
        }
        DataType::List(item) => DataType::List(field_handed_over(item)),
        DataType::LargeList(item) => DataType::LargeList(field_handed_over(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(field_handed_over(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field_handed_over).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(field_handed_over(entries), *is_sorted),
        other => other.clone(),
    }
}

fn field_handed_over(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(handed_over(field.data_type())))
}

/// Whether the way to `handed_over` may lose digits.
pub(super) fn may_lose_digits(data_type: &DataType) -> bool {
    match data_type {
        DataType::Time64(TimeUnit::Nanosecond)
        | DataType::Duration(TimeUnit::Nanosecond)
        | DataType::Timestamp(TimeUnit::Nanosecond, Some(_)) => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            may_lose_digits(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| may_lose_digits(field.data_type())),
        DataType::Map(entries, _) => may_lose_digits(entries.data_type()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_of_any_scale_have_a_type_where_their_digits_have_room() {
        for (given, expected) in [
            (DataType::Decimal32(5, 2), Some("DECIMAL(5, 2)")),
            (DataType::Decimal256(38, 10), Some("DECIMAL(38, 10)")),
            (DataType::Decimal256(39, 10), None),
            (DataType::Decimal128(5, -2), Some("DECIMAL(7, 0)")),
            (DataType::Decimal128(38, -2), None),
        ] {
            let handed = Field::new("x", handed_over(&given), true);
            assert_eq!(sql(&handed).as_deref(), expected, "{given}");
        }
    }
}
