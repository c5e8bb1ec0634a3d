//! A batch of a table in pieces of a bounded size.

use arrow_array::{Array, RecordBatch};

/// How large a piece may be. One row is a piece, however large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceMax {
    /// Rows.
    pub rows: usize,
    /// Bytes of all columns, uncompressed and as rows are on the average.
    pub bytes: u64,
}

/// A piece as stored tables have it. Whoever reads a table holds one in memory, so that who writes one has no reason for larger ones.
pub const PAGE: PieceMax = PieceMax { rows: 16_384, bytes: 1 << 20 };

/// The pieces of a batch, in order and without a copy, as few as there can be and of about the same size; one for a batch without rows.
pub fn cut(batch: &RecordBatch, max: PieceMax) -> impl Iterator<Item = RecordBatch> + '_ {
    let rows = batch.num_rows();
    let piece_rows = match slice_bytes(batch) {
        0 => max.rows,
        bytes => (u128::from(max.bytes) * rows as u128 / u128::from(bytes)).min(max.rows as u128) as usize,
    };
    let pieces = rows.div_ceil(piece_rows.max(1)).max(1);
    let piece_rows = rows.div_ceil(pieces).max(1);
    (0..rows.max(1)).step_by(piece_rows).map(move |start| batch.slice(start, piece_rows.min(rows - start)))
}

/// What the rows of a batch take. Batches that were read from a stream share one buffer among all columns, which
/// `get_array_memory_size` counts for each.
fn slice_bytes(batch: &RecordBatch) -> u64 {
    let of_column = |column: &dyn Array| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()) as u64
    };
    batch.columns().iter().map(|column| of_column(column.as_ref())).sum()
}
