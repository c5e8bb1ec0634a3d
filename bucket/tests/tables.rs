//! Tables and records, both ways.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema};
use bue_bucket::table::{self, Converted, PieceMax, RecordsWriter, TableError};

fn convert(json: &str) -> Converted {
    table::from_records(json).unwrap()
}

fn records(batch: &RecordBatch) -> Result<String, TableError> {
    let mut writer = RecordsWriter::new(Vec::new()).unwrap();
    for row in 0..batch.num_rows() {
        writer.row(batch, row)?;
    }
    Ok(String::from_utf8(writer.finish().unwrap()).unwrap())
}

fn one_column(array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([("x", array)]).unwrap()
}

fn stream_of(batch: &RecordBatch) -> Vec<u8> {
    let mut stream = Vec::new();
    table::write_stream(&mut stream, &batch.schema(), [batch]).unwrap();
    stream
}

#[test]
fn records_come_back_as_they_were() {
    for json in [
        r#"[{"id":1,"name":"a","price":1.5,"sold":true}]"#,
        r#"[{"id":-9223372036854775808},{"id":9223372036854775807}]"#,
        r#"[{"text":"quote \" slash \\ line \n é 日 \u0000"}]"#,
        r#"[{"nested":{"z":1,"a":[1.50,null]}},{"nested":[]}]"#,
        r#"[{"nothing":null},{"nothing":null}]"#,
        r#"[{"é":1,"":2,"with blank":3}]"#,
        "[]",
    ] {
        let shown = records(&convert(json).batch).unwrap();
        let expected: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), expected, "{shown}");
    }
}

#[test]
fn decimal_numbers_come_to_the_last_bit() {
    // A generator of Marsaglia's: the same numbers in every run.
    let mut state = 88_172_645_463_325_252_u64;
    let numbers = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f64::from_bits(state)
    });
    let numbers: Vec<f64> = numbers.filter(|number| number.is_finite()).take(10_000).collect();
    let json: Vec<String> = numbers.iter().map(|number| format!("{{\"x\":{number:e}}}")).collect();
    let batch = convert(&format!("[{}]", json.join(","))).batch;
    let read = batch.column(0).as_primitive::<Float64Type>().values();
    let altered = read.iter().zip(&numbers).filter(|(read, number)| read.to_bits() != number.to_bits()).count();
    assert_eq!(altered, 0);
}

#[test]
fn columns_are_the_union_of_the_keys_in_order_of_appearance() {
    let converted = convert(r#"[{"b": 1}, {"a": "x", "b": 2}, {}, {"c": true, "a": "y"}]"#);
    let names: Vec<_> = converted.batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["b", "a", "c"]);
    assert_eq!(
        records(&converted.batch).unwrap(),
        r#"[{"b":1,"a":null,"c":null},{"b":2,"a":"x","c":null},{"b":null,"a":null,"c":null},{"b":null,"a":"y","c":true}]"#
    );
    assert_eq!(converted.widened, []);
}

#[test]
fn columns_have_the_type_of_their_values() {
    let batch = convert(r#"[{"i": 1, "f": 0.5, "t": "x", "b": false, "n": null, "j": [1]}]"#).batch;
    let types: Vec<_> = batch.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let expected =
        [DataType::Int64, DataType::Float64, DataType::Utf8, DataType::Boolean, DataType::Null, DataType::Utf8];
    assert_eq!(types, expected);
    assert_eq!(batch.schema().field(5).metadata()["ARROW:extension:name"], "arrow.json");
}

#[test]
fn values_of_different_kinds_widen_and_it_is_told() {
    for (json, shown, kind) in [
        (r#"[{"x":1},{"x":2.5}]"#, r#"[{"x":1.0},{"x":2.5}]"#, "decimal numbers"),
        (r#"[{"x":9007199254740993},{"x":0.5}]"#, r#"[{"x":"9007199254740993"},{"x":"0.5"}]"#, "text"),
        (r#"[{"x":1},{"x":"a"},{"x":null}]"#, r#"[{"x":"1"},{"x":"a"},{"x":null}]"#, "text"),
        (r#"[{"x":true},{"x":1}]"#, r#"[{"x":"true"},{"x":"1"}]"#, "text"),
        (r#"[{"x":{"a":1}},{"x":"a"},{"x":1}]"#, r#"[{"x":{"a":1}},{"x":"a"},{"x":1}]"#, "JSON"),
    ] {
        let converted = convert(json);
        assert_eq!(records(&converted.batch).unwrap(), shown);
        let told: Vec<_> = converted.widened.iter().map(|widened| (widened.column.as_str(), widened.kind)).collect();
        assert_eq!(told, [("x", kind)], "{json}");
    }
}

#[test]
fn a_key_that_a_record_has_twice_has_its_last_value() {
    assert_eq!(records(&convert(r#"[{"a":1},{"a":2,"a":3}]"#).batch).unwrap(), r#"[{"a":1},{"a":3}]"#);
}

#[test]
fn what_is_no_table_is_refused_by_place_and_kind() {
    for (json, message) in [
        ("{\"a\": 1}", "a table is needed, and a dict came; return a list of dicts"),
        ("12", "a table is needed, and a number came; return a list of dicts"),
        ("null", "a table is needed, and None came; return a list of dicts"),
        ("[{\"a\": 1}, 3]", "a table is needed, and [1] is a number; return a list of dicts"),
        ("[[1]]", "a table is needed, and [0] is a list; return a list of dicts"),
        (
            "[{\"id\": 1}, {\"id\": 9223372036854775808}]",
            "[1].id is a whole number beyond signed 64 bit; return it as a string",
        ),
        ("[{\"x\": 1e400}]", "[0].x is a number beyond a 64-bit float; return it as a string"),
    ] {
        assert_eq!(table::from_records(json).unwrap_err().to_string(), message);
    }
    assert!(matches!(table::from_records("[{"), Err(TableError::NotJson(_))));
}

#[test]
fn every_type_of_arrow_with_a_form_in_json_is_shown() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None]), None]);
    let structure = StructArray::from(vec![(
        Arc::new(Field::new("inner", DataType::Boolean, true)),
        Arc::new(BooleanArray::from(vec![Some(true), None])) as ArrayRef,
    )]);
    let dictionary: DictionaryArray<Int32Type> = ["one", "one"].into_iter().collect();
    let arrays: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(Int8Array::from(vec![-1])), "-1"),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), "18446744073709551615"),
        (Arc::new(Float32Array::from(vec![0.1])), "0.10000000149011612"),
        (Arc::new(Float64Array::from(vec![f64::NAN])), "null"),
        (Arc::new(Float64Array::from(vec![f64::INFINITY])), "null"),
        (Arc::new(LargeStringArray::from(vec!["a"])), "\"a\""),
        (Arc::new(StringViewArray::from(vec!["a"])), "\"a\""),
        (Arc::new(BinaryArray::from(vec![&[0_u8, 255][..]])), "\"AP8=\""),
        (Arc::new(Date32Array::from(vec![19_723])), "\"2024-01-01\""),
        (Arc::new(Time64MicrosecondArray::from(vec![3_723_000_001])), "\"01:02:03.000001\""),
        (Arc::new(Time64MicrosecondArray::from(vec![3_723_500_000])), "\"01:02:03.500000\""),
        (Arc::new(TimestampMicrosecondArray::from(vec![1_704_067_200_000_000])), "\"2024-01-01T00:00:00\""),
        (Arc::new(TimestampMillisecondArray::from(vec![1_704_067_200_250])), "\"2024-01-01T00:00:00.250000\""),
        (Arc::new(TimestampNanosecondArray::from(vec![1])), "\"1970-01-01T00:00:00.000000001\""),
        (
            Arc::new(TimestampSecondArray::from(vec![1_704_067_200]).with_timezone("-03:30")),
            "\"2023-12-31T20:30:00-03:30\"",
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![1_704_067_200]).with_timezone("Europe/Berlin")),
            "\"2024-01-01T00:00:00+00:00\"",
        ),
        (Arc::new(Decimal128Array::from(vec![-12_345]).with_precision_and_scale(10, 2).unwrap()), "\"-123.45\""),
        (Arc::new(list), "[1,null]"),
        (Arc::new(structure), "{\"inner\":true}"),
        (Arc::new(dictionary), "\"one\""),
    ];
    for (array, json) in arrays {
        let data_type = array.data_type().clone();
        let record = table::row_to_record(&one_column(array), 0).unwrap();
        assert_eq!(String::from_utf8(record).unwrap(), format!("{{\"x\":{json}}}"), "{data_type}");
    }
}

#[test]
fn what_has_no_form_in_json_is_an_error_that_names_the_column() {
    let duration = one_column(Arc::new(DurationSecondArray::from(vec![1])));
    assert!(records(&duration).unwrap_err().to_string().contains("`x` has the type Duration"));
    let far = one_column(Arc::new(Date32Array::from(vec![i32::MAX])));
    assert!(matches!(records(&far), Err(TableError::OutOfCalendar { index: 0, .. })));
}

#[test]
fn bytes_that_are_marked_as_uuids_are_their_text() {
    let bytes = FixedSizeBinaryArray::try_from_iter([[0x6b_u8; 16]].iter()).unwrap();
    let metadata = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())]);
    let field = Field::new("x", DataType::FixedSizeBinary(16), true).with_metadata(metadata);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(bytes.clone())]).unwrap();
    assert_eq!(records(&batch).unwrap(), r#"[{"x":"6b6b6b6b-6b6b-6b6b-6b6b-6b6b6b6b6b6b"}]"#);
    assert_eq!(records(&one_column(Arc::new(bytes))).unwrap(), r#"[{"x":"a2tra2tra2tra2tra2traw=="}]"#);
}

#[test]
fn text_that_only_claims_to_be_json_stays_text() {
    let metadata = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.json".to_owned())]);
    let field = Field::new("x", DataType::Utf8, true).with_metadata(metadata);
    let column: ArrayRef = Arc::new(StringArray::from(vec!["{\"a\":1}", "{broken"]));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap();
    assert_eq!(records(&batch).unwrap(), r#"[{"x":{"a":1}},{"x":"{broken"}]"#);
}

#[test]
fn a_stream_is_scanned_for_its_rows() {
    let batch = convert(r#"[{"a": 1}, {"a": 2}, {"a": 3}]"#).batch;
    let stream = stream_of(&batch);
    assert_eq!(table::scan_stream(Cursor::new(&stream), stream.len() as u64).unwrap().rows, 3);
    let read: Vec<_> = table::read_stream(stream.as_slice()).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, [batch]);
}

#[test]
fn a_stream_that_does_not_hold_together_is_refused() {
    let stream = stream_of(&convert(r#"[{"a": 1}, {"a": 2}]"#).batch);
    for length in 0..stream.len() - 8 {
        let cut = &stream[..length];
        let scanned = table::scan_stream(Cursor::new(cut), length as u64);
        // A stream may end after any whole message; everything else must be seen.
        if let Ok(scan) = scanned {
            let rows: usize = table::read_stream(cut).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
            assert_eq!(scan.rows, rows as u64, "cut at {length}");
        }
    }
    for broken in [&b""[..], b"[1, 2, 3]", b"ARROW1\0\0", &[0xff; 40]] {
        assert!(table::scan_stream(Cursor::new(broken), broken.len() as u64).is_err(), "{broken:?}");
    }
}

#[test]
fn rows_that_nobody_gets_through_are_refused() {
    let stream = stream_of(&one_column(Arc::new(NullArray::new(1 << 60))));
    let error = table::scan_stream(Cursor::new(&stream), stream.len() as u64).unwrap_err();
    assert!(error.to_string().contains("claims more than 4294967296 rows"), "{error}");
}

#[test]
fn a_batch_is_cut_by_rows_and_by_bytes_into_few_pieces_of_about_one_size() {
    let batch = one_column(Arc::new(Int64Array::from_iter_values(0..1_000)));
    let rows = |rows, bytes| -> Vec<usize> {
        table::cut(&batch, PieceMax { rows, bytes }).map(|piece| piece.num_rows()).collect()
    };
    assert_eq!(rows(400, u64::MAX), [334, 334, 332]);
    assert_eq!(rows(999, u64::MAX), [500, 500]);
    assert_eq!(rows(usize::MAX, u64::MAX), [1_000]);
    assert_eq!(rows(usize::MAX, 4_000), [500, 500]);
    assert_eq!(rows(usize::MAX, 1).len(), 1_000);
    let empty = batch.slice(0, 0);
    assert_eq!(table::cut(&empty, PieceMax { rows: 7, bytes: 7 }).count(), 1);
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let schema = Schema::new(vec![Field::new("x", DataType::Null, true), Field::new("x", DataType::Null, true)]);
    let nulls: ArrayRef = Arc::new(NullArray::new(1));
    let batch = RecordBatch::try_new(Arc::new(schema), vec![nulls.clone(), nulls]).unwrap();
    let stream = stream_of(&batch);
    assert!(
        matches!(table::read_stream(stream.as_slice()), Err(TableError::DuplicateColumn { column }) if column == "x")
    );
}
