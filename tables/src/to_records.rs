//! A table becomes a JSON list of dicts, or one of its rows a dict.
//!
//! | the column is | the records have |
//! |---|---|
//! | integers, floats | numbers, of 32 bits exactly what they are in 64; NaN and infinities are null |
//! | bool, text, null | the same |
//! | binary | base64 text |
//! | 16 bytes marked `arrow.uuid` | the text of the UUID |
//! | date, time, timestamp | ISO 8601 text, a fraction of a second with six digits or nine; a timestamp with a zone ends with its offset, `+00:00` for zones known by name |
//! | decimal | its digits as text |
//! | list, struct, map with text keys | lists and dicts |
//! | utf8 marked `arrow.json` | what the JSON says |
//! | dictionary | what it stands for |
//! | anything else | an error that names the column |

use std::collections::{HashMap, HashSet};
use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray, RecordBatch, downcast_dictionary_array};
use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use base64::Engine;
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::TableError;

/// Name of the canonical Arrow extension for text that holds JSON.
pub(super) const JSON_EXTENSION: &str = "arrow.json";
/// Name of the canonical Arrow extension for identifiers of 16 bytes.
const UUID_EXTENSION: &str = "arrow.uuid";

/// What stands for NaN and infinities, for which JSON has no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoNumber {
    /// Null: for programs.
    Null,
    /// The words `nan`, `inf` and `-inf`: for people.
    Word,
}

/// Writes batches of one table as a JSON list of dicts, row by row.
#[derive(Debug)]
pub struct RecordsWriter<W> {
    out: W,
    rows: u64,
    no_number: NoNumber,
}

impl<W: Write> RecordsWriter<W> {
    /// Begins the list.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W) -> std::io::Result<Self> {
        Self::with(out, NoNumber::Null)
    }

    /// Begins the list, and says what stands for NaN and infinities.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn with(mut out: W, no_number: NoNumber) -> std::io::Result<Self> {
        out.write_all(b"[")?;
        Ok(Self { out, rows: 0, no_number })
    }

    /// Writes the next row.
    ///
    /// # Errors
    /// What cannot be shown as JSON; the errors of `out`, as [`TableError::NotJson`].
    pub fn row(&mut self, batch: &RecordBatch, row: usize) -> Result<(), TableError> {
        let record = record(batch, row, self.no_number)?;
        let separator = if self.rows == 0 { "" } else { "," };
        self.rows += 1;
        let written = self.out.write_all(separator.as_bytes()).and_then(|()| self.out.write_all(&record));
        written.map_err(|error| TableError::NotJson(serde_json::Error::io(error)))
    }

    /// What is written so far.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// Ends the list.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self) -> std::io::Result<W> {
        self.out.write_all(b"]")?;
        Ok(self.out)
    }
}

/// One row of a table as a JSON dict.
///
/// # Errors
/// What cannot be shown as JSON.
pub fn row_to_record(batch: &RecordBatch, row: usize) -> Result<Vec<u8>, TableError> {
    record(batch, row, NoNumber::Null)
}

fn record(batch: &RecordBatch, row: usize, no_number: NoNumber) -> Result<Vec<u8>, TableError> {
    let mut out = vec![b'{'];
    for (place, (field, column)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_json(&mut out, field.name());
        out.push(b':');
        Value { field, array: column.as_ref(), row, no_number }.write(&mut out)?;
    }
    out.push(b'}');
    Ok(out)
}

/// Whether a column of bytes says of itself that it holds UUIDs.
#[must_use]
pub fn holds_uuids(field: &Field) -> bool {
    is_marked(field, UUID_EXTENSION) && *field.data_type() == DataType::FixedSizeBinary(16)
}

fn is_marked(field: &Field, extension: &str) -> bool {
    field.metadata().get(EXTENSION_TYPE_NAME_KEY).is_some_and(|name| name == extension)
}

/// Refuses a table that JSON cannot name the columns of.
pub(super) fn check_names(schema: &Schema) -> Result<(), TableError> {
    let mut names = HashSet::new();
    match schema.fields().iter().find(|field| !names.insert(field.name())) {
        Some(field) => Err(TableError::DuplicateColumn { column: field.name().clone() }),
        None => Ok(()),
    }
}

fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Numbers, texts and bools always have a form in JSON, and a vector takes all bytes.
    let _ = serde_json::to_writer(out, value);
}

/// One value of an array, with the field that says how to read it.
struct Value<'a> {
    field: &'a Field,
    array: &'a dyn Array,
    row: usize,
    no_number: NoNumber,
}

impl Value<'_> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), TableError> {
        if self.array.is_null(self.row) || matches!(self.array.data_type(), DataType::Null) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match self.array.data_type() {
            DataType::Boolean => write_json(out, &self.array.as_boolean().value(self.row)),
            DataType::Int8 => self.number::<Int8Type>(out),
            DataType::Int16 => self.number::<Int16Type>(out),
            DataType::Int32 => self.number::<Int32Type>(out),
            DataType::Int64 => self.number::<Int64Type>(out),
            DataType::UInt8 => self.number::<UInt8Type>(out),
            DataType::UInt16 => self.number::<UInt16Type>(out),
            DataType::UInt32 => self.number::<UInt32Type>(out),
            DataType::UInt64 => self.number::<UInt64Type>(out),
            DataType::Float16 => self.float(out, self.array.as_primitive::<Float16Type>().value(self.row).into()),
            // As the number that it is: whoever reads it reads 64 bits.
            DataType::Float32 => self.float(out, self.array.as_primitive::<Float32Type>().value(self.row).into()),
            DataType::Float64 => self.float(out, self.array.as_primitive::<Float64Type>().value(self.row)),
            DataType::Utf8 => self.text(out, self.array.as_string::<i32>().value(self.row)),
            DataType::LargeUtf8 => self.text(out, self.array.as_string::<i64>().value(self.row)),
            DataType::Utf8View => self.text(out, self.array.as_string_view().value(self.row)),
            DataType::Binary => base64(out, self.array.as_binary::<i32>().value(self.row)),
            DataType::LargeBinary => base64(out, self.array.as_binary::<i64>().value(self.row)),
            DataType::FixedSizeBinary(_) if holds_uuids(self.field) => {
                write_json(out, &uuid(self.array.as_fixed_size_binary().value(self.row)));
            }
            DataType::FixedSizeBinary(_) => base64(out, self.array.as_fixed_size_binary().value(self.row)),
            DataType::BinaryView => base64(out, self.array.as_binary_view().value(self.row)),
            DataType::Decimal32(..) => {
                write_json(out, &self.array.as_primitive::<Decimal32Type>().value_as_string(self.row))
            }
            DataType::Decimal64(..) => {
                write_json(out, &self.array.as_primitive::<Decimal64Type>().value_as_string(self.row))
            }
            DataType::Decimal128(..) => {
                write_json(out, &self.array.as_primitive::<Decimal128Type>().value_as_string(self.row))
            }
            DataType::Decimal256(..) => {
                write_json(out, &self.array.as_primitive::<Decimal256Type>().value_as_string(self.row))
            }
            DataType::List(item) => self.list(out, item, &self.array.as_list::<i32>().value(self.row))?,
            DataType::LargeList(item) => self.list(out, item, &self.array.as_list::<i64>().value(self.row))?,
            DataType::FixedSizeList(item, _) => {
                self.list(out, item, &self.array.as_fixed_size_list().value(self.row))?
            }
            DataType::Struct(_) => self.structure(out)?,
            DataType::Map(..) => self.map(out)?,
            DataType::Dictionary(..) => self.dictionary(out)?,
            _ => return self.temporal(out),
        }
        Ok(())
    }

    fn number<T>(&self, out: &mut Vec<u8>)
    where
        T: ArrowPrimitiveType,
        T::Native: Serialize,
    {
        write_json(out, &self.array.as_primitive::<T>().value(self.row));
    }

    fn float(&self, out: &mut Vec<u8>, value: f64) {
        match self.no_number {
            NoNumber::Word if value.is_nan() => write_json(out, "nan"),
            NoNumber::Word if value.is_infinite() => write_json(out, if value > 0.0 { "inf" } else { "-inf" }),
            // serde_json writes what is no number as null.
            _ => write_json(out, &value),
        }
    }

    fn text(&self, out: &mut Vec<u8>, text: &str) {
        let holds_json = is_marked(self.field, JSON_EXTENSION);
        // The mark is a claim of whoever wrote the table.
        match holds_json.then(|| serde_json::from_str::<&RawValue>(text)) {
            Some(Ok(value)) => out.extend_from_slice(value.get().as_bytes()),
            _ => write_json(out, text),
        }
    }

    fn list(&self, out: &mut Vec<u8>, item: &Field, array: &dyn Array) -> Result<(), TableError> {
        out.push(b'[');
        for row in 0..array.len() {
            if row > 0 {
                out.push(b',');
            }
            Value { field: item, array, row, ..*self }.write(out)?;
        }
        out.push(b']');
        Ok(())
    }

    fn structure(&self, out: &mut Vec<u8>) -> Result<(), TableError> {
        let array = self.array.as_struct();
        out.push(b'{');
        for (place, (field, column)) in array.fields().iter().zip(array.columns()).enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_json(out, field.name());
            out.push(b':');
            Value { field, array: column.as_ref(), ..*self }.write(out)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn map(&self, out: &mut Vec<u8>) -> Result<(), TableError> {
        let entries = self.array.as_map().value(self.row);
        let [key, value] = &entries.fields()[..] else { return Err(self.unsupported()) };
        if !matches!(key.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
            return Err(self.unsupported());
        }
        // A key is text, whatever it claims to hold.
        let key = key.as_ref().clone().with_metadata(HashMap::new());
        out.push(b'{');
        for row in 0..entries.len() {
            if row > 0 {
                out.push(b',');
            }
            Value { field: &key, array: entries.column(0).as_ref(), row, ..*self }.write(out)?;
            out.push(b':');
            Value { field: value, array: entries.column(1).as_ref(), row, ..*self }.write(out)?;
        }
        out.push(b'}');
        Ok(())
    }

    fn dictionary(&self, out: &mut Vec<u8>) -> Result<(), TableError> {
        let dictionary = self.array;
        downcast_dictionary_array! {
            dictionary => match dictionary.key(self.row) {
                Some(row) => Value { array: dictionary.values().as_ref(), row, ..*self }.write(out),
                None => {
                    out.extend_from_slice(b"null");
                    Ok(())
                }
            },
            _ => Err(self.unsupported()),
        }
    }

    fn temporal(&self, out: &mut Vec<u8>) -> Result<(), TableError> {
        let text = match self.array.data_type() {
            DataType::Date32 => self.date::<Date32Type>(),
            DataType::Date64 => self.date::<Date64Type>(),
            DataType::Time32(TimeUnit::Second) => self.time::<Time32SecondType>(),
            DataType::Time32(TimeUnit::Millisecond) => self.time::<Time32MillisecondType>(),
            DataType::Time64(TimeUnit::Microsecond) => self.time::<Time64MicrosecondType>(),
            DataType::Time64(TimeUnit::Nanosecond) => self.time::<Time64NanosecondType>(),
            DataType::Timestamp(unit, zone) => {
                let zone = zone.as_deref();
                match unit {
                    TimeUnit::Second => self.timestamp::<TimestampSecondType>(zone, 1),
                    TimeUnit::Millisecond => self.timestamp::<TimestampMillisecondType>(zone, 1_000),
                    TimeUnit::Microsecond => self.timestamp::<TimestampMicrosecondType>(zone, 1_000_000),
                    TimeUnit::Nanosecond => self.timestamp::<TimestampNanosecondType>(zone, 1_000_000_000),
                }
            }
            _ => return Err(self.unsupported()),
        };
        let out_of_calendar = || TableError::OutOfCalendar { index: self.row, column: self.field.name().clone() };
        write_json(out, &text.ok_or_else(out_of_calendar)?);
        Ok(())
    }

    fn date<T: ArrowTemporalType>(&self) -> Option<String>
    where
        i64: From<T::Native>,
    {
        self.array.as_primitive::<T>().value_as_date(self.row).map(|date| date.to_string())
    }

    fn time<T: ArrowTemporalType>(&self) -> Option<String>
    where
        i64: From<T::Native>,
    {
        self.array.as_primitive::<T>().value_as_time(self.row).map(|time| with_whole_fraction(time.to_string()))
    }

    /// The wall clock of the zone where its offset is known, else that of UTC, and the offset.
    fn timestamp<T>(&self, zone: Option<&str>, units_per_second: i64) -> Option<String>
    where
        T: ArrowTemporalType<Native = i64>,
    {
        let offset_minutes = zone.map(offset_minutes);
        let shift = offset_minutes.unwrap_or(0) * 60 * units_per_second;
        let instant = self.array.as_primitive::<T>().value(self.row).checked_add(shift)?;
        // `Debug` is the ISO 8601 form with a `T` between date and time.
        let wall_clock = PrimitiveArray::<T>::from_value(instant, 1).value_as_datetime(0)?;
        let suffix = offset_minutes.map(|minutes| {
            let sign = if minutes < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
        });
        Some(with_whole_fraction(format!("{wall_clock:?}")) + &suffix.unwrap_or_default())
    }

    fn unsupported(&self) -> TableError {
        TableError::Unsupported { column: self.field.name().clone(), data_type: self.array.data_type().clone() }
    }
}

/// Minutes east of UTC of a zone like `+02:00`; zero for UTC and for zones known by name.
fn offset_minutes(zone: &str) -> i64 {
    let parse = || {
        let (sign, digits) = match zone.split_at_checked(1)? {
            ("+", digits) => (1, digits),
            ("-", digits) => (-1, digits),
            _ => return None,
        };
        let (hours, minutes) = digits.split_once(':')?;
        Some(sign * (hours.parse::<u8>().ok()? as i64 * 60 + minutes.parse::<u8>().ok()? as i64))
    };
    parse().unwrap_or(0)
}

/// A moment with a fraction as Python's `isoformat` writes it: six digits, or nine where those are needed.
fn with_whole_fraction(text: String) -> String {
    match text.rsplit_once('.') {
        Some((_, milliseconds)) if milliseconds.len() == 3 => text + "000",
        _ => text,
    }
}

fn uuid(bytes: &[u8]) -> String {
    let digits = hex::encode(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    write_json(out, &base64::engine::general_purpose::STANDARD.encode(bytes));
}
