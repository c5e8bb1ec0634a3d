//! One column of a result of SQLite, kept as Arrow keeps it for as long as its values are of one type.
//!
//! SQLite's values have types, its columns have none: what comes is known when it is there. Nulls wait for the first
//! value; a second type turns the column into single values, about which [`result`](super::result) decides.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, NullArray};
use arrow_schema::DataType;
use rusqlite::types::{Value, ValueRef};

/// Rows after which a piece is finished: a builder that grows on and on copies what it has.
pub(super) const PIECE_ROWS: usize = bucket::table::PAGE.rows;

/// The values of one column.
#[derive(Debug)]
pub(super) enum Values {
    /// All of one type, in pieces.
    Alike(Pieces),
    /// Of several types.
    Mixed(Vec<Value>),
}

/// Finished pieces, each of [`PIECE_ROWS`] rows, and the one that grows.
#[derive(Debug)]
pub(super) struct Pieces {
    finished: Vec<ArrayRef>,
    growing: Growing,
    rows: usize,
}

#[derive(Debug)]
enum Growing {
    /// Nothing but nulls so far, in all pieces.
    Nulls,
    Integers(Int64Builder),
    Reals(Float64Builder),
    Texts(StringBuilder),
    Blobs(BinaryBuilder),
}

/// Text that is no UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotText;

impl Default for Values {
    fn default() -> Self {
        Self::Alike(Pieces { finished: Vec::new(), growing: Growing::Nulls, rows: 0 })
    }
}

impl Values {
    /// Takes the value of the next row.
    pub(super) fn push(&mut self, value: ValueRef<'_>) -> Result<(), NotText> {
        match self {
            Self::Mixed(values) => values.push(owned(value)?),
            Self::Alike(pieces) => {
                if !pieces.push(value)? {
                    let mut values = pieces.values();
                    values.push(owned(value)?);
                    *self = Self::Mixed(values);
                }
            }
        }
        Ok(())
    }
}

impl Values {
    /// A finished piece, while all values are of one type.
    pub(super) fn piece(&self, number: usize) -> Option<&ArrayRef> {
        match self {
            Self::Alike(pieces) => pieces.finished.get(number),
            Self::Mixed(_) => None,
        }
    }

    /// Value by value.
    pub(super) fn into_singles(self) -> Vec<Value> {
        match self {
            Self::Alike(mut pieces) => pieces.values(),
            Self::Mixed(values) => values,
        }
    }
}

fn owned(value: ValueRef<'_>) -> Result<Value, NotText> {
    Value::try_from(value).map_err(|_| NotText)
}

impl Pieces {
    /// Whether the value is of the column's type; it is taken then.
    fn push(&mut self, value: ValueRef<'_>) -> Result<bool, NotText> {
        if matches!(self.growing, Growing::Nulls) && !matches!(value, ValueRef::Null) {
            self.begin(value);
        }
        match (&mut self.growing, value) {
            (Growing::Nulls, _) => {}
            (Growing::Integers(builder), ValueRef::Null) => builder.append_null(),
            (Growing::Reals(builder), ValueRef::Null) => builder.append_null(),
            (Growing::Texts(builder), ValueRef::Null) => builder.append_null(),
            (Growing::Blobs(builder), ValueRef::Null) => builder.append_null(),
            (Growing::Integers(builder), ValueRef::Integer(number)) => builder.append_value(number),
            // Values are JSON-like: infinities have no place in them.
            (Growing::Reals(builder), ValueRef::Real(number)) => {
                builder.append_option(number.is_finite().then_some(number));
            }
            (Growing::Texts(builder), ValueRef::Text(text)) => {
                builder.append_value(std::str::from_utf8(text).map_err(|_| NotText)?);
            }
            (Growing::Blobs(builder), ValueRef::Blob(bytes)) => builder.append_value(bytes),
            _ => return Ok(false),
        }
        self.rows += 1;
        if self.rows.is_multiple_of(PIECE_ROWS) {
            let piece = self.growing.finish(PIECE_ROWS);
            self.finished.push(piece);
        }
        Ok(true)
    }

    /// The type is that of the first value; the nulls before it are of the same.
    fn begin(&mut self, value: ValueRef<'_>) {
        self.growing = match value {
            ValueRef::Null => return,
            ValueRef::Integer(_) => Growing::Integers(Int64Builder::new()),
            ValueRef::Real(_) => Growing::Reals(Float64Builder::new()),
            ValueRef::Text(_) => Growing::Texts(StringBuilder::new()),
            ValueRef::Blob(_) => Growing::Blobs(BinaryBuilder::new()),
        };
        let data_type = self.data_type();
        for piece in &mut self.finished {
            *piece = arrow_array::new_null_array(&data_type, piece.len());
        }
        for _ in 0..self.rows % PIECE_ROWS {
            self.growing.append_null();
        }
    }

    /// The type of its values; null where there is none.
    pub(super) fn data_type(&self) -> DataType {
        match self.growing {
            Growing::Nulls => DataType::Null,
            Growing::Integers(_) => DataType::Int64,
            Growing::Reals(_) => DataType::Float64,
            Growing::Texts(_) => DataType::Utf8,
            Growing::Blobs(_) => DataType::Binary,
        }
    }

    /// The pieces, the last one shorter; none where there are no rows.
    pub(super) fn finish(mut self) -> Vec<ArrayRef> {
        self.end();
        self.finished
    }

    fn end(&mut self) {
        let rest = self.rows % PIECE_ROWS;
        if rest > 0 {
            let piece = self.growing.finish(rest);
            self.finished.push(piece);
        }
        self.rows = 0;
    }

    fn values(&mut self) -> Vec<Value> {
        self.end();
        let pieces = std::mem::take(&mut self.finished);
        pieces.iter().flat_map(|piece| (0..piece.len()).map(|row| single(piece, row))).collect()
    }
}

impl Growing {
    fn append_null(&mut self) {
        match self {
            Self::Nulls => {}
            Self::Integers(builder) => builder.append_null(),
            Self::Reals(builder) => builder.append_null(),
            Self::Texts(builder) => builder.append_null(),
            Self::Blobs(builder) => builder.append_null(),
        }
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        match self {
            Self::Nulls => Arc::new(NullArray::new(rows)),
            Self::Integers(builder) => Arc::new(builder.finish()),
            Self::Reals(builder) => Arc::new(builder.finish()),
            Self::Texts(builder) => Arc::new(builder.finish()),
            Self::Blobs(builder) => Arc::new(builder.finish()),
        }
    }
}

fn single(piece: &ArrayRef, row: usize) -> Value {
    if piece.is_null(row) {
        return Value::Null;
    }
    match piece.data_type() {
        DataType::Int64 => Value::Integer(piece.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Value::Real(piece.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::Text(piece.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => Value::Blob(piece.as_binary::<i32>().value(row).to_owned()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: impl IntoIterator<Item = Value>) -> Values {
        let mut column = Values::default();
        for value in values {
            column.push(ValueRef::from(&value)).unwrap();
        }
        column
    }

    #[test]
    fn values_of_one_type_become_pieces_of_it_whatever_nulls_come_first() {
        let nulls = PIECE_ROWS + 3;
        let values = (0..nulls).map(|_| Value::Null).chain((0..PIECE_ROWS as i64).map(Value::Integer));
        let Values::Alike(pieces) = column(values) else { panic!("the values are alike") };
        assert_eq!(pieces.data_type(), DataType::Int64);
        let pieces = pieces.finish();
        assert_eq!(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [PIECE_ROWS, PIECE_ROWS, 3]);
        assert_eq!(pieces.iter().map(|piece| piece.null_count()).sum::<usize>(), nulls);
        assert_eq!(single(&pieces[1], 3), Value::Integer(0));
        assert_eq!(single(&pieces[2], 2), Value::Integer(PIECE_ROWS as i64 - 1));
    }

    #[test]
    fn a_second_type_keeps_every_value_as_it_came() {
        let values = [Value::Null, Value::Integer(1), Value::Text("ü".into()), Value::Blob(vec![0]), Value::Real(0.5)];
        let Values::Mixed(kept) = column(values.clone()) else { panic!("the values are of several types") };
        assert_eq!(kept, values);
        let many = (0..PIECE_ROWS as i64 + 1).map(Value::Integer).chain([Value::Real(1.5)]);
        let Values::Mixed(kept) = column(many.clone()) else { panic!("the values are of several types") };
        assert!(kept.into_iter().eq(many));
    }

    #[test]
    fn text_that_is_no_utf8_is_refused() {
        let mut column = Values::default();
        assert_eq!(column.push(ValueRef::Text(b"\xff")), Err(NotText));
    }
}
