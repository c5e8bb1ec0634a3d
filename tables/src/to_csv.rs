//! A table as CSV: RFC 4180, with a line of names, UTF-8, lines ended by LF, and the same text for each value that its
//! JSON has. Nothing stands for null; nested values are JSON.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use serde::de::Deserializer as _;
use serde_json::value::RawValue;

use super::error::TableError;
use super::from_records::Entries;
use super::to_records::row_to_record;

/// Writes the batches of one table.
#[derive(Debug)]
pub struct CsvWriter<W> {
    out: W,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the line of names.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, schema: &Schema) -> std::io::Result<Self> {
        let names: Vec<String> = schema.fields().iter().map(|field| quoted(field.name())).collect();
        writeln!(out, "{}", names.join(","))?;
        Ok(Self { out })
    }

    /// Writes the rows of the next batch.
    ///
    /// # Errors
    /// What has no form as text; the errors of `out`, as [`TableError::NotJson`].
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        for row in 0..batch.num_rows() {
            let record = row_to_record(batch, row)?;
            let entries = serde_json::Deserializer::from_slice(&record).deserialize_map(Entries)?;
            let mut line = String::new();
            for (place, (_, value)) in entries.iter().enumerate() {
                if place > 0 {
                    line.push(',');
                }
                line.push_str(&cell(value)?);
            }
            line.push('\n');
            self.out.write_all(line.as_bytes()).map_err(serde_json::Error::io)?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self) -> std::io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

fn cell(value: &RawValue) -> Result<String, TableError> {
    match value.get() {
        "null" => Ok(String::new()),
        // An empty text is not nothing.
        "\"\"" => Ok("\"\"".to_owned()),
        text if text.starts_with('"') => Ok(quoted(&serde_json::from_str::<String>(text)?)),
        text => Ok(quoted(text)),
    }
}

fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_records;

    #[test]
    fn cells_are_quoted_where_they_must_be_and_null_is_not_the_empty_text() {
        let records = r#"[{"a,b": "x \"y\"", "n": 1.50, "l": [1, "z"], "e": ""}, {"n": null, "a,b": "two\nlines"}]"#;
        let batch = from_records(records).unwrap().batch;
        let mut writer = CsvWriter::new(Vec::new(), &batch.schema()).unwrap();
        writer.batch(&batch).unwrap();
        let text = String::from_utf8(writer.finish().unwrap()).unwrap();
        let expected = "\"a,b\",n,l,e\n\"x \"\"y\"\"\",1.5,\"[1, \"\"z\"\"]\",\"\"\n\"two\nlines\",,,\n";
        assert_eq!(text, expected);
    }
}
