//! What is inside of a null. Arrow leaves open what the fields of a struct hold where the struct itself is null; the library hands them
//! over as they are, and the database would take them for values.

use std::sync::Arc;

use duckdb_arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, LargeListArray, ListArray, MapArray, StructArray,
};
use duckdb_arrow::compute::{is_null, nullif};
use duckdb_arrow::datatypes::DataType;
use duckdb_arrow::error::ArrowError;

/// The same values, with fields that are null wherever their struct is.
pub(super) fn pushed_down(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !has_struct(array.data_type()) {
        return Ok(Arc::clone(array));
    }
    let nulls = array.nulls().cloned();
    Ok(match array.data_type() {
        DataType::Struct(_) => Arc::new(in_struct(array.as_struct())?),
        DataType::List(item) => {
            let lists = array.as_list::<i32>();
            let values = pushed_down(lists.values())?;
            Arc::new(ListArray::try_new(Arc::clone(item), lists.offsets().clone(), values, nulls)?)
        }
        DataType::LargeList(item) => {
            let lists = array.as_list::<i64>();
            let values = pushed_down(lists.values())?;
            Arc::new(LargeListArray::try_new(Arc::clone(item), lists.offsets().clone(), values, nulls)?)
        }
        DataType::FixedSizeList(item, size) => {
            let values = pushed_down(array.as_fixed_size_list().values())?;
            Arc::new(FixedSizeListArray::try_new(Arc::clone(item), *size, values, nulls)?)
        }
        DataType::Map(item, is_ordered) => {
            let maps = array.as_map();
            let entries = in_struct(maps.entries())?;
            Arc::new(MapArray::try_new(Arc::clone(item), maps.offsets().clone(), entries, nulls, *is_ordered)?)
        }
        _ => Arc::clone(array),
    })
}

fn in_struct(array: &StructArray) -> Result<StructArray, ArrowError> {
    let gone = if array.null_count() > 0 { Some(is_null(array)?) } else { None };
    let field = |field: &ArrayRef| match &gone {
        Some(gone) => pushed_down(&nullif(field, gone)?),
        None => pushed_down(field),
    };
    let fields = array.columns().iter().map(field).collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
    StructArray::try_new_with_length(array.fields().clone(), fields, array.nulls().cloned(), array.len())
}

fn has_struct(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) | DataType::Map(..) => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_struct(item.data_type())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use duckdb_arrow::array::{Int64Array, StringArray};
    use duckdb_arrow::buffer::{NullBuffer, OffsetBuffer};
    use duckdb_arrow::datatypes::{Field, Fields, Int64Type};

    use super::*;

    fn fields() -> Fields {
        Fields::from(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)])
    }

    /// Three structs, of which the second is null and holds values.
    fn structs() -> StructArray {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1, 2, 3])), Arc::new(StringArray::from(vec!["a", "b", "c"]))];
        StructArray::new(fields(), columns, Some(NullBuffer::from(vec![true, false, true])))
    }

    fn numbers(structs: &StructArray) -> Vec<Option<i64>> {
        structs.column(0).as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn fields_of_a_null_are_null_wherever_it_is() {
        let down = |array: ArrayRef| pushed_down(&array).unwrap();
        let expected = [Some(1), None, Some(3)];
        let plain = down(Arc::new(structs()));
        assert_eq!(numbers(plain.as_struct()), expected);
        assert_eq!(
            plain.as_struct().column(1).as_string::<i32>().iter().collect::<Vec<_>>(),
            [Some("a"), None, Some("c")]
        );
        assert_eq!(numbers(down(Arc::new(structs().slice(1, 2))).as_struct()), [None, Some(3)]);

        let outer = Fields::from(vec![Field::new("inner", DataType::Struct(fields()), true)]);
        let nested =
            StructArray::new(outer, vec![Arc::new(structs())], Some(NullBuffer::from(vec![false, true, true])));
        let nested = down(Arc::new(nested));
        let inner = nested.as_struct().column(0);
        assert_eq!((inner.null_count(), numbers(inner.as_struct())), (2, vec![None, None, Some(3)]));

        let item = Arc::new(Field::new("item", DataType::Struct(fields()), true));
        let offsets = OffsetBuffer::from_lengths([2, 1]);
        let list = down(Arc::new(ListArray::new(Arc::clone(&item), offsets, Arc::new(structs()), None)));
        assert_eq!(numbers(list.as_list::<i32>().values().as_struct()), expected);
        let fixed = down(Arc::new(FixedSizeListArray::new(item, 3, Arc::new(structs()), None)));
        assert_eq!(numbers(fixed.as_fixed_size_list().values().as_struct()), expected);
    }

    #[test]
    fn what_has_no_structs_is_left_alone() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        assert!(Arc::ptr_eq(&pushed_down(&array).unwrap(), &array));
    }
}
