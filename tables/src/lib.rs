//! Tables: Arrow on one side, JSON records on the other.
//!
//! A table is rows with named columns. It travels as one Arrow IPC stream; where JSON is wanted it is a list of
//! dicts, and a list of dicts can become a table.
//!
//! | records have | the column is |
//! |---|---|
//! | whole numbers | int64; one beyond 64 bit is an error |
//! | decimal numbers, or both | float64; text where a whole number would lose digits |
//! | true and false | bool |
//! | texts | utf8 |
//! | lists and dicts | utf8 that holds JSON, marked `arrow.json`, and nested again when it is read |
//! | nothing but null | null |
//! | different kinds | utf8, or JSON where lists or dicts are among them; told as [`Widened`] |
//!
//! What is missing in a record is null. Columns stand in the order in which the records first name them.

mod cell;
mod cut;
mod error;
mod from_records;
mod stream;
mod to_csv;
mod to_records;

pub use cut::{PAGE, PieceMax, cut};
pub use error::TableError;
pub use from_records::{Converted, Widened, from_records};
pub use stream::{Framing, Scan, at_column, read_stream, scan_stream, scan_trusted, write_stream};
pub use to_csv::CsvWriter;
pub use to_records::{NoNumber, RecordsWriter, holds_uuids, row_to_record};
