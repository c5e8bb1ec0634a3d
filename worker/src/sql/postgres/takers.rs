//! Values one by one into arrays: one kind of taker for each form of column.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::Decimal128Type;
use arrow_array::{ArrayRef, ArrowPrimitiveType, ListArray, NullArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::Field;

use super::numeric::{self, Number};

/// Why a value cannot be taken, in words that go on after the column's name.
pub(super) type Refused = String;

/// Takes the values of one column.
pub(super) trait Take {
    /// Takes the next one; `None` is null.
    fn take(&mut self, raw: Option<&[u8]>) -> Result<(), Refused>;
    /// All values since the last time.
    fn finish(&mut self) -> ArrayRef;
    /// What a column of numbers without a declared width needs so far; `None` for all other columns.
    fn widest(&self) -> Option<Widest> {
        None
    }
}

/// What decimal numbers of a column need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Widest {
    pub(super) whole_digits: usize,
    pub(super) fraction_digits: usize,
    /// There is a NaN or an infinity.
    pub(super) special: bool,
}

/// Values of one size.
pub(super) fn fixed<T: ArrowPrimitiveType>(
    field: &Field,
    read: fn(&[u8]) -> Result<T::Native, Refused>,
) -> Box<dyn Take> {
    Box::new(Fixed { builder: PrimitiveBuilder::<T>::new().with_data_type(field.data_type().clone()), read })
}

struct Fixed<T: ArrowPrimitiveType> {
    builder: PrimitiveBuilder<T>,
    read: fn(&[u8]) -> Result<T::Native, Refused>,
}

impl<T: ArrowPrimitiveType> Take for Fixed<T> {
    fn take(&mut self, raw: Option<&[u8]>) -> Result<(), Refused> {
        self.builder.append_option(raw.map(self.read).transpose()?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

type ReadText = for<'raw> fn(&'raw [u8]) -> Result<Cow<'raw, str>, Refused>;

/// Values that have a text.
pub(super) fn texts(read: ReadText) -> Box<dyn Take> {
    Box::new(Texts { builder: StringBuilder::new(), read })
}

struct Texts {
    builder: StringBuilder,
    read: ReadText,
}

impl Take for Texts {
    fn take(&mut self, raw: Option<&[u8]>) -> Result<(), Refused> {
        self.builder.append_option(raw.map(self.read).transpose()?);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// Nothing but nulls.
#[derive(Default)]
pub(super) struct Nulls(usize);

impl Take for Nulls {
    fn take(&mut self, _: Option<&[u8]>) -> Result<(), Refused> {
        self.0 += 1;
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(NullArray::new(std::mem::take(&mut self.0)))
    }
}

/// True and false.
#[derive(Default)]
pub(super) struct Bools(BooleanBuilder);

impl Take for Bools {
    fn take(&mut self, raw: Option<&[u8]>) -> Result<(), Refused> {
        self.0.append_option(raw.map(|raw| raw != [0]));
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// Bytes as they are.
#[derive(Default)]
pub(super) struct Bytes(BinaryBuilder);

impl Take for Bytes {
    fn take(&mut self, raw: Option<&[u8]>) -> Result<(), Refused> {
        self.0.append_option(raw);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

const MALFORMED: &str = "came with a number that is malformed";

/// Decimal numbers of a declared width.
pub(super) struct Decimals {
    builder: PrimitiveBuilder<Decimal128Type>,
    scale: usize,
}

impl Decimals {
    pub(super) fn new(field: &Field, scale: usize) -> Self {
        Self { builder: PrimitiveBuilder::new().with_data_type(field.data_type().clone()), scale }
    }
}

impl Take for Decimals {
    fn take(&mut self, raw: Option<&[u8]>) -> Result<(), Refused> {
        let number = |raw: &[u8]| {
            let text = numeric::read(raw).ok_or(MALFORMED)?.text();
            let no_decimal = || format!("holds {text}, which no decimal number is; cast it to text or float8");
            numeric::unscaled(&text, self.scale).ok_or_else(no_decimal)
        };
        let number = raw.map(number).transpose()?;
        self.builder.append_option(number);
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// Decimal numbers of any width, as text.
#[derive(Default)]
pub(super) struct Numbers {
    builder: StringBuilder,
    widest: Widest,
}

impl Take for Numbers {
    fn take(&mut self, raw: Option<&[u8]>) -> Result<(), Refused> {
        let Some(raw) = raw else {
            self.builder.append_null();
            return Ok(());
        };
        let number = numeric::read(raw).ok_or(MALFORMED)?;
        match &number {
            Number::Special(_) => self.widest.special = true,
            Number::Finite { whole, fraction, .. } => {
                self.widest.whole_digits = self.widest.whole_digits.max(whole.len());
                self.widest.fraction_digits = self.widest.fraction_digits.max(fraction.len());
            }
        }
        self.builder.append_value(number.text());
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }

    fn widest(&self) -> Option<Widest> {
        Some(self.widest)
    }
}

/// Lists of values.
pub(super) struct Lists {
    item: Arc<Field>,
    items: Box<dyn Take>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl Lists {
    pub(super) fn new(item: Arc<Field>, items: Box<dyn Take>) -> Self {
        Self { item, items, lengths: Vec::new(), valid: Vec::new() }
    }

    /// Reads what `array_send` of the database writes; the number of items.
    fn items(&mut self, raw: &[u8]) -> Result<usize, Refused> {
        let mut raw = Reader(raw);
        match raw.integer()? {
            0 => return Ok(0),
            1 => {}
            _ => return Err("holds arrays of several dimensions; make JSON of them with to_jsonb".to_owned()),
        }
        // Whether there are nulls, and the type of the items: both are known otherwise.
        raw.integer()?;
        raw.integer()?;
        let length = usize::try_from(raw.integer()?).map_err(|_| MALFORMED_ARRAY)?;
        // Where subscripts begin.
        raw.integer()?;
        for _ in 0..length {
            let item = match usize::try_from(raw.integer()?) {
                Ok(size) => Some(raw.bytes(size)?),
                Err(_) => None,
            };
            self.items.take(item)?;
        }
        Ok(length)
    }
}

impl Take for Lists {
    fn take(&mut self, raw: Option<&[u8]>) -> Result<(), Refused> {
        let length = raw.map_or(Ok(0), |raw| self.items(raw))?;
        self.lengths.push(length);
        self.valid.push(raw.is_some());
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        let offsets = OffsetBuffer::from_lengths(std::mem::take(&mut self.lengths));
        let valid = NullBuffer::from(std::mem::take(&mut self.valid));
        Arc::new(ListArray::new(Arc::clone(&self.item), offsets, self.items.finish(), Some(valid)))
    }
}

const MALFORMED_ARRAY: &str = "came with an array that is malformed";

struct Reader<'raw>(&'raw [u8]);

impl<'raw> Reader<'raw> {
    fn bytes(&mut self, count: usize) -> Result<&'raw [u8], Refused> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(MALFORMED_ARRAY)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn integer(&mut self) -> Result<i32, Refused> {
        let bytes = self.bytes(4)?;
        Ok(bytes.try_into().map(i32::from_be_bytes).map_err(|_| MALFORMED_ARRAY)?)
    }
}
