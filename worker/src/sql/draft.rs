//! The table of a result, written while its rows still come: who stores it need not wait for the last one.
//!
//! It is one only as long as each column has values of one type. Else the result is written when all of it is known.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use bucket::table::PAGE;
use protocol::frame::DRAFT_NAME;

use super::result::Column;

/// A table that may become the result.
pub(super) struct Draft {
    path: PathBuf,
    state: State,
}

enum State {
    Begin,
    Written(Box<Pieces>),
    GivenUp,
}

/// What of a table is written.
pub(super) struct Pieces {
    path: PathBuf,
    schema: Arc<Schema>,
    writer: StreamWriter<BufWriter<File>>,
    pub(super) count: usize,
}

impl Draft {
    pub(super) fn new(folder: &Path) -> Self {
        Self { path: folder.join(DRAFT_NAME), state: State::Begin }
    }

    /// Writes the next piece of each column, which has just been finished.
    pub(super) fn add(&mut self, columns: &[Column]) {
        let pieces = match std::mem::replace(&mut self.state, State::GivenUp) {
            State::Begin => self.begin(columns).map(Box::new),
            State::Written(pieces) => Some(pieces),
            State::GivenUp => return,
        };
        match pieces.and_then(|pieces| pieces.with_next(columns)) {
            Some(pieces) => self.state = State::Written(Box::new(pieces)),
            None => self.remove(),
        }
    }

    fn begin(&self, columns: &[Column]) -> Option<Pieces> {
        let field = |column: &Column| {
            let data_type = column.values.piece(0)?.data_type().clone();
            // What nulls are of is not known yet.
            (data_type != DataType::Null).then(|| Field::new(&column.name, data_type, true))
        };
        let fields = columns.iter().map(field).collect::<Option<Vec<Field>>>()?;
        Pieces::create(&self.path, &Arc::new(Schema::new(fields))).ok()
    }

    /// What is written of a table with these columns, where it is that; a new one, where it is not.
    pub(super) fn of(self, schema: &Arc<Schema>) -> Result<Pieces, ArrowError> {
        match self.state {
            State::Written(pieces) if pieces.schema == *schema => Ok(*pieces),
            _ => Pieces::create(&self.path, schema),
        }
    }

    /// There is no such table.
    pub(super) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Pieces {
    /// In a file of its own: who reads what was there before must not find this one in it.
    fn create(path: &Path, schema: &Arc<Schema>) -> Result<Self, ArrowError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        let writer = StreamWriter::try_new(file, schema)?;
        Ok(Self { path: path.to_owned(), schema: Arc::clone(schema), writer, count: 0 })
    }

    fn with_next(mut self, columns: &[Column]) -> Option<Self> {
        let piece = columns.iter().map(|column| column.values.piece(self.count).cloned());
        let piece = piece.collect::<Option<Vec<ArrayRef>>>()?;
        let rows = piece.first()?.len();
        self.write(piece, rows).ok().map(|()| self)
    }

    /// Writes the next piece of each column.
    pub(super) fn write(&mut self, piece: Vec<ArrayRef>, rows: usize) -> Result<(), ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), piece, &options)?;
        self.count += 1;
        bucket::table::cut(&batch, PAGE).try_for_each(|part| self.writer.write(&part))
    }

    /// Makes it the table at `place`.
    pub(super) fn finish(mut self, place: &Path) -> Result<(), ArrowError> {
        self.writer.finish()?;
        self.writer.into_inner()?.flush()?;
        Ok(std::fs::rename(self.path, place)?)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::types::{Value, ValueRef};

    use super::super::column::{PIECE_ROWS, Values};
    use super::super::result;
    use super::*;

    /// The result of rows of two columns, whether it was a table as it was written, and the file that there was before its last row.
    fn written(rows: usize, row: impl Fn(usize) -> [Value; 2]) -> (Vec<RecordBatch>, bool, bool) {
        let folder = tempfile::tempdir().unwrap();
        let column = |name: &str| Column {
            name: name.to_owned(),
            declared: None,
            values: Values::default(),
            has_infinity: false,
        };
        let mut columns = vec![column("a"), column("b")];
        let mut draft = Draft::new(folder.path());
        for number in 0..rows {
            for (column, value) in columns.iter_mut().zip(row(number)) {
                column.values.push(ValueRef::from(&value)).unwrap();
            }
            if (number + 1) % PIECE_ROWS == 0 {
                draft.add(&columns);
            }
        }
        let was_there = folder.path().join(DRAFT_NAME).exists();
        let is_written = matches!(draft.state, State::Written(_));
        result::write(columns, rows, folder.path(), draft).unwrap();
        assert!(!folder.path().join(DRAFT_NAME).exists());
        let file = File::open(folder.path().join("value.arrow"));
        let batches = file.map(|file| bucket::table::read_stream(file).unwrap().map(Result::unwrap).collect());
        (batches.unwrap_or_default(), was_there, is_written)
    }

    fn numbers(batches: &[RecordBatch]) -> usize {
        batches.iter().map(RecordBatch::num_rows).sum()
    }

    #[test]
    fn a_table_is_there_before_its_last_row_and_has_all_rows_in_the_end() {
        let row = |number| [Value::Integer(number as i64), Value::Text(format!("text {number}"))];
        for rows in [2 * PIECE_ROWS + 5, 2 * PIECE_ROWS] {
            let (batches, was_there, is_written) = written(rows, row);
            assert!(was_there && is_written);
            assert_eq!(numbers(&batches), rows);
            let all = arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap();
            let expected: arrow_array::Int64Array = (0..rows as i64).collect();
            assert_eq!(all.column(0).as_ref(), &expected);
        }
        let (batches, was_there, _) = written(PIECE_ROWS - 1, row);
        assert!(!was_there && numbers(&batches) == PIECE_ROWS - 1);
    }

    #[test]
    fn what_is_known_late_changes_all_of_it() {
        let late = PIECE_ROWS + 7;
        let nulls = |number| [Value::Integer(1), if number < late { Value::Null } else { Value::Real(0.5) }];
        let (batches, was_there, _) = written(2 * PIECE_ROWS, nulls);
        assert!(!was_there && batches[0].schema().field(1).data_type() == &DataType::Float64);

        let wider = |number| [Value::Integer(1), if number < late { Value::Integer(2) } else { Value::Real(0.5) }];
        let (batches, was_there, is_written) = written(2 * PIECE_ROWS + 1, wider);
        assert!(!was_there && !is_written && numbers(&batches) == 2 * PIECE_ROWS + 1);
        assert_eq!(batches[0].schema().field(1).data_type(), &DataType::Float64);
        // After its last whole piece.
        let (batches, was_there, is_written) = written(late + 1, wider);
        assert!(was_there && is_written && numbers(&batches) == late + 1);
        assert_eq!(batches[0].schema().field(1).data_type(), &DataType::Float64);

        let mixed =
            |number| [Value::Integer(1), if number < late { Value::Integer(2) } else { Value::Text("x".into()) }];
        let (batches, was_there, _) = written(late + 1, mixed);
        assert!(was_there && batches.is_empty(), "a list of dicts");
    }
}
