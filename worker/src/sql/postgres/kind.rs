//! Which type of PostgreSQL a column of an Arrow table becomes.

use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field};
use bucket::table::holds_uuids;
use tokio_postgres::types::Type;

/// Name of the Arrow extension for text that holds JSON.
pub(super) const JSON_EXTENSION: &str = "arrow.json";

/// The type of a column of a temporary table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// One of the database's own scalar types, by its name.
    Scalar(Type),
    /// Decimal numbers of this many digits, of which so many are behind the point.
    Decimal { digits: u8, scale: i8 },
    /// Lists and structures, as JSON.
    Json,
    /// Lists of one scalar type.
    List(Type),
}

impl Kind {
    /// The kind for an Arrow type; `None` where PostgreSQL has none.
    pub(super) fn of(field: &Field) -> Option<Self> {
        if holds_json(field) {
            return Some(Self::Json);
        }
        if holds_uuids(field) {
            // Its binary form is the sixteen bytes.
            return Some(Self::Scalar(Type::UUID));
        }
        match field.data_type() {
            DataType::Decimal32(digits, scale)
            | DataType::Decimal64(digits, scale)
            | DataType::Decimal128(digits, scale)
            | DataType::Decimal256(digits, scale) => Some(Self::Decimal { digits: *digits, scale: *scale }),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Some(scalar(item.data_type()).filter(|_| !holds_json(item)).map_or(Self::Json, Self::List))
            }
            DataType::Struct(_) | DataType::Map(..) => Some(Self::Json),
            data_type => scalar(data_type).map(Self::Scalar),
        }
    }

    /// As it stands in a definition.
    pub(super) fn sql(&self) -> String {
        match self {
            Self::Scalar(scalar) => scalar.name().to_owned(),
            Self::Decimal { digits, scale } => format!("numeric({digits}, {scale})"),
            Self::Json => "jsonb".to_owned(),
            Self::List(item) => format!("{}[]", item.name()),
        }
    }
}

fn scalar(data_type: &DataType) -> Option<Type> {
    Some(match data_type {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Type::INT2,
        DataType::Int32 | DataType::UInt16 => Type::INT4,
        DataType::Int64 | DataType::UInt32 => Type::INT8,
        DataType::UInt64 => Type::NUMERIC,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::TEXT,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Type::BYTEA,
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Duration(_) => Type::INTERVAL,
        _ => return None,
    })
}

/// Whether a column of text says of itself that it holds JSON.
pub(super) fn holds_json(field: &Field) -> bool {
    field.metadata().get(EXTENSION_TYPE_NAME_KEY).is_some_and(|name| name == JSON_EXTENSION)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn sql(data_type: DataType) -> Option<String> {
        Kind::of(&Field::new("a", data_type, true)).map(|kind| kind.sql())
    }

    #[test]
    fn arrow_types_have_their_place_in_the_database() {
        let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
        for (data_type, expected) in [
            (DataType::UInt32, "int8"),
            (DataType::UInt64, "numeric"),
            (DataType::Decimal32(9, 2), "numeric(9, 2)"),
            (DataType::Decimal128(10, 2), "numeric(10, 2)"),
            (DataType::Timestamp(arrow_schema::TimeUnit::Second, Some("UTC".into())), "timestamptz"),
            (list(DataType::Utf8), "text[]"),
            (list(list(DataType::Utf8)), "jsonb"),
        ] {
            assert_eq!(sql(data_type).as_deref(), Some(expected));
        }
        assert_eq!(sql(DataType::Interval(arrow_schema::IntervalUnit::DayTime)), None);
    }
}
