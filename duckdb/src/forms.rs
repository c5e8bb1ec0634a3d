//! Which values of the database a table has no form for.

use duckdb::core::{LogicalTypeHandle, LogicalTypeId};
use duckdb_arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use duckdb_arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};

/// The smallest whole number that is too long for a decimal of 38 digits. The library hands HUGEINT over as one, which has room for more.
const TOO_LONG: u128 = 10_u128.pow(38);

/// The name of the type, or of one inside of it, that no type of Arrow stands for. The library hands some of these over all the
/// same: as bytes of the database's own, or as a time that has lost its offset.
pub(super) fn without_form(logical: &LogicalTypeHandle, data_type: &DataType) -> Option<String> {
    without_form_in_arrow(data_type).or_else(|| without_form_in_database(logical))
}

fn without_form_in_arrow(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Interval(_) | DataType::Duration(_) | DataType::Union(..) => Some(data_type.to_string()),
        DataType::List(item) | DataType::FixedSizeList(item, _) => without_form_in_arrow(item.data_type()),
        DataType::Struct(fields) => fields.iter().find_map(|field| without_form_in_arrow(field.data_type())),
        _ => None,
    }
}

fn without_form_in_database(logical: &LogicalTypeHandle) -> Option<String> {
    let word = match logical.try_id() {
        Ok(LogicalTypeId::TimeTZ) => "TIMETZ",
        Ok(LogicalTypeId::UHugeint) => "UHUGEINT",
        Ok(LogicalTypeId::Bignum) => "BIGNUM",
        Ok(LogicalTypeId::Bit) => "BIT",
        Ok(LogicalTypeId::Geometry) => "GEOMETRY",
        Ok(LogicalTypeId::Variant) => "VARIANT",
        Ok(LogicalTypeId::List | LogicalTypeId::Array | LogicalTypeId::Map | LogicalTypeId::Struct) => {
            return (0..logical.num_children()).find_map(|place| without_form_in_database(&logical.child(place)));
        }
        _ => return None,
    };
    Some(word.to_owned())
}

/// Whether there is an infinite date or timestamp among the values, or inside of them.
pub(super) fn has_infinite_date(array: &ArrayRef) -> bool {
    match array.data_type() {
        DataType::Date32 => has_extreme::<Date32Type>(array, i32::MAX),
        DataType::Timestamp(TimeUnit::Second, _) => has_extreme::<TimestampSecondType>(array, i64::MAX),
        DataType::Timestamp(TimeUnit::Millisecond, _) => has_extreme::<TimestampMillisecondType>(array, i64::MAX),
        DataType::Timestamp(TimeUnit::Microsecond, _) => has_extreme::<TimestampMicrosecondType>(array, i64::MAX),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => has_extreme::<TimestampNanosecondType>(array, i64::MAX),
        DataType::List(_) => has_infinite_date(array.as_list::<i32>().values()),
        DataType::FixedSizeList(..) => has_infinite_date(array.as_fixed_size_list().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().any(has_infinite_date),
        DataType::Map(..) => array.as_map().entries().columns().iter().any(has_infinite_date),
        _ => false,
    }
}

/// A number among the values, or inside of them, that has more digits than its type of Arrow.
pub(super) fn too_long_number(array: &ArrayRef) -> Option<i128> {
    match array.data_type() {
        DataType::Decimal128(..) => {
            let numbers: &PrimitiveArray<Decimal128Type> = array.as_primitive();
            numbers.iter().flatten().find(|number| number.unsigned_abs() >= TOO_LONG)
        }
        DataType::List(_) => too_long_number(array.as_list::<i32>().values()),
        DataType::FixedSizeList(..) => too_long_number(array.as_fixed_size_list().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().find_map(too_long_number),
        DataType::Map(..) => array.as_map().entries().columns().iter().find_map(too_long_number),
        _ => None,
    }
}

/// Whether a value is `extreme` or its negative: the database's infinities.
fn has_extreme<T: ArrowPrimitiveType>(array: &ArrayRef, extreme: T::Native) -> bool
where
    T::Native: std::ops::Neg<Output = T::Native>,
{
    let array: &PrimitiveArray<T> = array.as_primitive();
    array.iter().flatten().any(|value| value == extreme || value == -extreme)
}
