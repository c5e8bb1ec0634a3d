//! Durations and intervals without a value: the library hands them over as ones of no length.

use duckdb::core::{DataChunkHandle, FlatVector, StructVector};
use duckdb_arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use duckdb_arrow::compute::{filter, is_not_null};
use duckdb_arrow::datatypes::DataType;
use duckdb_arrow::error::ArrowError;

/// Makes nulls of those in columns of their own, and of those that are fields of a null.
pub(super) fn set_nulls(rows: &RecordBatch, chunk: &mut DataChunkHandle) {
    for (place, array) in rows.columns().iter().enumerate() {
        match array.data_type() {
            data_type if is_span(data_type) => set(array, chunk.flat_vector(place)),
            data_type @ DataType::Struct(_) if has_span(data_type) => {
                set_fields(array.as_struct(), &chunk.struct_vector(place));
            }
            _ => {}
        }
    }
}

fn set_fields(structs: &StructArray, vector: &StructVector<'_>) {
    for (place, array) in structs.columns().iter().enumerate() {
        match array.data_type() {
            data_type if is_span(data_type) => set(array, vector.child(place, array.len())),
            data_type @ DataType::Struct(_) if has_span(data_type) => {
                set_fields(array.as_struct(), &vector.struct_vector_child(place));
            }
            _ => {}
        }
    }
}

fn set(array: &ArrayRef, mut column: FlatVector<'_>) {
    (0..array.len()).filter(|row| array.is_null(*row)).for_each(|row| column.set_null(row));
}

/// Refuses those inside of lists, structs and maps, which nobody can get at.
pub(super) fn check(batch: &RecordBatch) -> Result<(), ArrowError> {
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if !is_span(array.data_type()) && has_span(array.data_type()) && has_null(array)? {
            let column = field.name();
            let message = format!("column `{column}` has durations or intervals inside of it, and nulls among them");
            return Err(ArrowError::InvalidArgumentError(format!("{message}; make text or numbers of these")));
        }
    }
    Ok(())
}

fn is_span(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Duration(_) | DataType::Interval(_))
}

fn has_span(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_span(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_span(field.data_type())),
        data_type => is_span(data_type),
    }
}

/// Whether there is a null among the spans; what is inside of a null is none.
fn has_null(array: &ArrayRef) -> Result<bool, ArrowError> {
    let array = &filter(array, &is_not_null(array)?)?;
    let of_part =
        |part: &ArrayRef| Ok::<bool, ArrowError>(is_span(part.data_type()) && part.null_count() > 0 || has_null(part)?);
    let mut parts: Vec<ArrayRef> = match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().to_vec(),
        DataType::Map(..) => (0..array.len())
            .map(|row| array.as_map().value(row))
            .flat_map(|entries| entries.columns().to_vec())
            .collect(),
        DataType::List(_) => (0..array.len()).map(|row| array.as_list::<i32>().value(row)).collect(),
        DataType::LargeList(_) => (0..array.len()).map(|row| array.as_list::<i64>().value(row)).collect(),
        DataType::FixedSizeList(..) => (0..array.len()).map(|row| array.as_fixed_size_list().value(row)).collect(),
        _ => Vec::new(),
    };
    parts.retain(|part| has_span(part.data_type()));
    parts.iter().map(of_part).try_fold(false, |found, part| Ok(found || part?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use duckdb_arrow::array::{DurationSecondArray, FixedSizeListArray, ListArray, StructArray};
    use duckdb_arrow::buffer::{NullBuffer, OffsetBuffer};
    use duckdb_arrow::datatypes::{Field, Fields, TimeUnit};

    use super::*;

    fn is_refused(array: ArrayRef) -> bool {
        check(&RecordBatch::try_from_iter_with_nullable([("x", array, true)]).unwrap()).is_err()
    }

    #[test]
    fn a_null_among_durations_inside_of_others_is_refused_and_what_is_inside_of_a_null_is_not() {
        let spans = |values: Vec<Option<i64>>| -> ArrayRef { Arc::new(DurationSecondArray::from(values)) };
        let field = Arc::new(Field::new("item", DataType::Duration(TimeUnit::Second), true));
        let list = |values: ArrayRef| -> ArrayRef {
            Arc::new(ListArray::new(Arc::clone(&field), OffsetBuffer::from_lengths([values.len()]), values, None))
        };
        assert!(!is_refused(spans(vec![Some(1), None])), "a column of its own");
        assert!(!is_refused(list(spans(vec![Some(1), Some(0)]))));
        assert!(is_refused(list(spans(vec![Some(1), None]))));
        let nulls = || Some(NullBuffer::from(vec![true, false]));
        let fixed = |values| FixedSizeListArray::new(Arc::clone(&field), 1, spans(values), nulls());
        assert!(!is_refused(Arc::new(fixed(vec![Some(1), None]))));
        assert!(is_refused(Arc::new(fixed(vec![None, None]))));
        let fields = Fields::from(vec![Field::new("d", DataType::Duration(TimeUnit::Second), true)]);
        let of = |values| StructArray::new(fields.clone(), vec![spans(values)], nulls());
        assert!(!is_refused(Arc::new(of(vec![Some(1), None]))));
        assert!(is_refused(Arc::new(of(vec![None, Some(1)]))));
    }
}
