//! Values of Arrow arrays in PostgreSQL's binary form.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, TimeUnit};
use bytes::{BufMut, BytesMut};
use tokio_postgres::types::Type;

use super::kind::Kind;
use super::numeric;

/// What a binary COPY begins with: a mark, no flags, no further header.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Days and microseconds from 1970, where Arrow counts from, to 2000, where PostgreSQL does.
pub(super) const EPOCH_DAYS: i32 = 10_957;
pub(super) const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
/// The version that begins every binary jsonb.
const JSONB_VERSION: u8 = 1;

/// A column as it can be written: its values, or their JSON.
pub(super) enum Cells {
    Array(ArrayRef),
    Json(Vec<Option<String>>),
}

/// Writes rows in the form of a binary COPY.
pub(super) struct Encoder {
    /// What is not sent yet.
    pub(super) out: BytesMut,
    /// For each column, whether a time lost its nanoseconds.
    pub(super) digits_lost: Vec<bool>,
}

/// Why a value cannot be written, in words that go on after the column's name.
pub(super) type Refused = String;

impl Encoder {
    /// Begins a copy into so many columns.
    pub(super) fn new(columns: usize) -> Self {
        Self { out: BytesMut::from(HEADER), digits_lost: vec![false; columns] }
    }

    /// Writes a row; an error names the column by its place.
    pub(super) fn row(&mut self, columns: &[Cells], row: usize) -> Result<(), (usize, Refused)> {
        self.out.put_i16(i16::try_from(columns.len()).unwrap_or(i16::MAX));
        for (place, cells) in columns.iter().enumerate() {
            self.cell(cells, row, place).map_err(|reason| (place, reason))?;
        }
        Ok(())
    }

    fn cell(&mut self, cells: &Cells, row: usize, place: usize) -> Result<(), Refused> {
        match cells {
            Cells::Json(values) => match &values[row] {
                None => self.out.put_i32(-1),
                Some(text) => self.sized(|encoder| {
                    encoder.out.put_u8(JSONB_VERSION);
                    encoder.text(text)
                })?,
            },
            Cells::Array(array) => self.value(array.as_ref(), row, place)?,
        }
        Ok(())
    }

    fn value(&mut self, array: &dyn Array, row: usize, place: usize) -> Result<(), Refused> {
        if array.is_null(row) || *array.data_type() == DataType::Null {
            self.out.put_i32(-1);
            return Ok(());
        }
        self.sized(|encoder| encoder.content(array, row, place))
    }

    /// Writes the size of what `write` writes before it.
    fn sized(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Refused>) -> Result<(), Refused> {
        let start = self.out.len();
        self.out.put_i32(0);
        write(self)?;
        let size = i32::try_from(self.out.len() - start - 4).map_err(|_| "holds a value over 2 GiB".to_owned())?;
        self.out[start..start + 4].copy_from_slice(&size.to_be_bytes());
        Ok(())
    }

    fn content(&mut self, array: &dyn Array, row: usize, place: usize) -> Result<(), Refused> {
        let out = &mut self.out;
        match array.data_type() {
            DataType::Boolean => out.put_u8(array.as_boolean().value(row).into()),
            DataType::Int8 => out.put_i16(array.as_primitive::<Int8Type>().value(row).into()),
            DataType::Int16 => out.put_i16(array.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => out.put_i32(array.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => out.put_i64(array.as_primitive::<Int64Type>().value(row)),
            DataType::UInt8 => out.put_i16(array.as_primitive::<UInt8Type>().value(row).into()),
            DataType::UInt16 => out.put_i32(array.as_primitive::<UInt16Type>().value(row).into()),
            DataType::UInt32 => out.put_i64(array.as_primitive::<UInt32Type>().value(row).into()),
            DataType::UInt64 => numeric::write(&array.as_primitive::<UInt64Type>().value(row).to_string(), 0, out),
            DataType::Float16 => out.put_f32(array.as_primitive::<Float16Type>().value(row).to_f32()),
            DataType::Float32 => out.put_f32(array.as_primitive::<Float32Type>().value(row)),
            DataType::Float64 => out.put_f64(array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal32(_, scale) => {
                numeric::write(&array.as_primitive::<Decimal32Type>().value(row).to_string(), *scale, out);
            }
            DataType::Decimal64(_, scale) => {
                numeric::write(&array.as_primitive::<Decimal64Type>().value(row).to_string(), *scale, out);
            }
            DataType::Decimal128(_, scale) => {
                numeric::write(&array.as_primitive::<Decimal128Type>().value(row).to_string(), *scale, out);
            }
            DataType::Decimal256(_, scale) => {
                numeric::write(&array.as_primitive::<Decimal256Type>().value(row).to_string(), *scale, out);
            }
            DataType::Utf8 => self.text(array.as_string::<i32>().value(row))?,
            DataType::LargeUtf8 => self.text(array.as_string::<i64>().value(row))?,
            DataType::Utf8View => self.text(array.as_string_view().value(row))?,
            DataType::Binary => out.put_slice(array.as_binary::<i32>().value(row)),
            DataType::LargeBinary => out.put_slice(array.as_binary::<i64>().value(row)),
            DataType::BinaryView => out.put_slice(array.as_binary_view().value(row)),
            DataType::FixedSizeBinary(_) => out.put_slice(array.as_fixed_size_binary().value(row)),
            DataType::List(_) => self.list(&array.as_list::<i32>().value(row), place)?,
            DataType::LargeList(_) => self.list(&array.as_list::<i64>().value(row), place)?,
            DataType::FixedSizeList(..) => self.list(&array.as_fixed_size_list().value(row), place)?,
            _ => self.temporal(array, row, place)?,
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Refused> {
        if text.contains('\0') {
            return Err("holds text with a NUL character, which PostgreSQL does not store".to_owned());
        }
        self.out.put_slice(text.as_bytes());
        Ok(())
    }

    fn list(&mut self, items: &ArrayRef, place: usize) -> Result<(), Refused> {
        let Some(Kind::Scalar(item)) = Kind::of(&Field::new("item", items.data_type().clone(), true)) else {
            return Err("holds a list of lists".to_owned());
        };
        self.out.put_i32(i32::from(!items.is_empty()));
        self.out.put_i32(i32::from(items.null_count() > 0));
        self.out.put_u32(item.oid());
        if !items.is_empty() {
            self.out.put_i32(i32::try_from(items.len()).map_err(|_| "holds a list that is too long".to_owned())?);
            // Subscripts begin at 1.
            self.out.put_i32(1);
        }
        (0..items.len()).try_for_each(|row| self.value(items.as_ref(), row, place))
    }

    fn temporal(&mut self, array: &dyn Array, row: usize, place: usize) -> Result<(), Refused> {
        let beyond = || "holds a date or time beyond PostgreSQL's calendar".to_owned();
        let kind = Kind::of(&Field::new("value", array.data_type().clone(), true));
        let Some(Kind::Scalar(scalar)) = kind else {
            return Err(format!("holds values of the Arrow type {}", array.data_type()));
        };
        if scalar == Type::DATE {
            let days = days(array, row).and_then(|days| days.checked_sub(EPOCH_DAYS)).ok_or_else(beyond)?;
            self.out.put_i32(days);
            return Ok(());
        }
        let (microseconds, rest) = microseconds(array, row).ok_or_else(beyond)?;
        self.digits_lost[place] |= rest != 0;
        match scalar {
            Type::TIMESTAMP | Type::TIMESTAMPTZ => {
                self.out.put_i64(microseconds.checked_sub(EPOCH_MICROSECONDS).ok_or_else(beyond)?);
            }
            Type::INTERVAL => {
                self.out.put_i64(microseconds);
                // No days, no months.
                self.out.put_i64(0);
            }
            _ => self.out.put_i64(microseconds),
        }
        Ok(())
    }
}

fn days(array: &dyn Array, row: usize) -> Option<i32> {
    match array.data_type() {
        DataType::Date32 => Some(array.as_primitive::<Date32Type>().value(row)),
        DataType::Date64 => i32::try_from(array.as_primitive::<Date64Type>().value(row).div_euclid(86_400_000)).ok(),
        _ => None,
    }
}

/// Microseconds of a time, timestamp or duration, and the nanoseconds that are left over.
fn microseconds(array: &dyn Array, row: usize) -> Option<(i64, i64)> {
    let (unit, value) = match array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            (TimeUnit::Second, array.as_primitive::<Time32SecondType>().value(row).into())
        }
        DataType::Time32(unit) => (*unit, array.as_primitive::<Time32MillisecondType>().value(row).into()),
        DataType::Time64(TimeUnit::Microsecond) => {
            (TimeUnit::Microsecond, array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Time64(unit) => (*unit, array.as_primitive::<Time64NanosecondType>().value(row)),
        DataType::Timestamp(unit, _) => (*unit, timestamp(array, *unit, row)),
        DataType::Duration(unit) => (*unit, duration(array, *unit, row)),
        _ => return None,
    };
    match unit {
        TimeUnit::Second => Some((value.checked_mul(1_000_000)?, 0)),
        TimeUnit::Millisecond => Some((value.checked_mul(1_000)?, 0)),
        TimeUnit::Microsecond => Some((value, 0)),
        TimeUnit::Nanosecond => Some((value.div_euclid(1_000), value.rem_euclid(1_000))),
    }
}

fn timestamp(array: &dyn Array, unit: TimeUnit, row: usize) -> i64 {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row),
    }
}

fn duration(array: &dyn Array, unit: TimeUnit, row: usize) -> i64 {
    match unit {
        TimeUnit::Second => array.as_primitive::<DurationSecondType>().value(row),
        TimeUnit::Millisecond => array.as_primitive::<DurationMillisecondType>().value(row),
        TimeUnit::Microsecond => array.as_primitive::<DurationMicrosecondType>().value(row),
        TimeUnit::Nanosecond => array.as_primitive::<DurationNanosecondType>().value(row),
    }
}
