//! Why something is no table, or a table no records.

use arrow_schema::{ArrowError, DataType};

/// Something is no table, or cannot be shown as records.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The value is not a list.
    #[error("a table is needed, and {kind} came; return a list of dicts")]
    NotAList {
        /// What it is, with its article.
        kind: &'static str,
    },
    /// An element of the list is not a dict.
    #[error("a table is needed, and [{index}] is {kind}; return a list of dicts")]
    NotARecord {
        /// Its place in the list, from 0.
        index: usize,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// A whole number does not fit a column of a table.
    #[error("[{index}].{column} is a whole number beyond signed 64 bit; return it as a string")]
    IntegerTooLarge {
        /// Place of the record, from 0.
        index: usize,
        /// Name of the column.
        column: String,
    },
    /// A decimal number is beyond what a column of 64-bit floats holds.
    #[error("[{index}].{column} is a number beyond a 64-bit float; return it as a string")]
    FloatTooLarge {
        /// Place of the record, from 0.
        index: usize,
        /// Name of the column.
        column: String,
    },
    /// The text is not JSON.
    #[error("the value is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The records take more room than a table can have.
    #[error("{bytes} bytes of records are over the limit of {bytes_max} bytes of one table")]
    TooLarge {
        /// Their size as JSON.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Two columns have one name.
    #[error("two columns of the table are called `{column}`")]
    DuplicateColumn {
        /// The name.
        column: String,
    },
    /// A type of Arrow that JSON and SQLite have no form for.
    #[error(
        "the column `{column}` has the type {data_type}, for which JSON and SQLite have no form; convert it to text or a number"
    )]
    Unsupported {
        /// Name of the column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// A date or time that no calendar has.
    #[error("[{index}].{column} is a date or time outside of the calendar")]
    OutOfCalendar {
        /// Place of the record in its batch, from 0.
        index: usize,
        /// Name of the column.
        column: String,
    },
    /// The values of a column are not what they should be, such as text that is no UTF-8.
    #[error("the column `{column}` of the table cannot be read: {reason}")]
    Column {
        /// Name of the column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The Arrow stream does not hold together.
    #[error("the table is not a whole Arrow stream: {0}")]
    Malformed(String),
}

impl From<ArrowError> for TableError {
    fn from(error: ArrowError) -> Self {
        Self::Malformed(error.to_string())
    }
}
