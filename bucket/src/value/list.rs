//! A list in a file, out of which single elements are read.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::ValueError;
use crate::table::{self, RecordsWriter};

/// A JSON list in a file, and where each of its elements is.
#[derive(Debug)]
pub(super) struct List {
    file: File,
    /// First byte of each element, and the byte after its last.
    elements: Vec<(u64, u64)>,
    bytes: u64,
}

impl List {
    /// The list in a file that holds one JSON document; `None` where that is something else.
    pub(super) fn from_json(mut file: File, path: &Path) -> Result<Option<Self>, ValueError> {
        let in_file = |source| ValueError::io(path, source);
        file.rewind().map_err(in_file)?;
        let mut scanner = Scanner::default();
        let mut reader = BufReader::with_capacity(64 << 10, &file);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = reader.read(&mut buffer).map_err(in_file)?;
            if length == 0 {
                break;
            }
            buffer[..length].iter().for_each(|byte| scanner.add(*byte));
        }
        let bytes = scanner.position;
        Ok(scanner.finish().map(|elements| Self { file, elements, bytes }))
    }

    /// The rows of the table in a file that holds an Arrow stream, each as a dict.
    pub(super) fn from_table(file: &File, path: &Path) -> Result<Self, ValueError> {
        let folder = path.parent().unwrap_or(path);
        let in_folder = |source| ValueError::io(folder, source);
        let records = tempfile::tempfile_in(folder).map_err(in_folder)?;
        let mut writer = RecordsWriter::new(BufWriter::new(&records)).map_err(in_folder)?;
        for batch in table::read_stream(BufReader::new(file))? {
            let batch = batch.map_err(table::TableError::from)?;
            for row in 0..batch.num_rows() {
                writer.row(&batch, row)?;
            }
        }
        let written =
            writer.finish().and_then(|buffer| buffer.into_inner().map_err(std::io::IntoInnerError::into_error));
        written.map_err(in_folder)?;
        let list = Self::from_json(records, path)?;
        list.ok_or_else(|| ValueError::Table(table::TableError::Malformed("its rows are no list".to_owned())))
    }

    /// The JSON text of one element.
    pub(super) fn element(&self, index: u64) -> Result<String, ValueError> {
        let place = usize::try_from(index).ok().and_then(|index| self.elements.get(index));
        let length = self.elements.len() as u64;
        let (start, end) = *place.ok_or(ValueError::NoElement { index, length })?;
        let mut text = vec![0; (end - start) as usize];
        self.file
            .read_exact_at(&mut text, start)
            .map_err(|source| ValueError::io(Path::new("a cached list"), source))?;
        String::from_utf8(text).map_err(|error| ValueError::NotJson(serde::de::Error::custom(error)))
    }

    /// What it takes: its file on disk and its index in memory.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.bytes + size_of_val(self.elements.as_slice()) as u64
    }
}

/// Finds the elements of a JSON list that is known to be whole, byte by byte.
#[derive(Default)]
struct Scanner {
    position: u64,
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// The document begins with something other than a list.
    other: bool,
    /// First byte of the current element, and the byte after the last that is no blank.
    current: Option<(u64, u64)>,
    elements: Vec<(u64, u64)>,
}

impl Scanner {
    fn add(&mut self, byte: u8) {
        let position = self.position;
        self.position += 1;
        if self.in_string {
            self.string_byte(byte);
            self.extend(position);
            return;
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b',' if self.depth == 1 => self.elements.extend(self.current.take()),
            b']' | b'}' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.elements.extend(self.current.take());
                } else {
                    self.extend(position);
                }
            }
            b'[' if self.depth == 0 => self.depth = 1,
            _ if self.depth == 0 => self.other = true,
            _ => {
                self.in_string = byte == b'"';
                self.depth += u64::from(matches!(byte, b'[' | b'{'));
                self.extend(position);
            }
        }
    }

    fn string_byte(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
        }
    }

    fn extend(&mut self, position: u64) {
        let (start, _) = self.current.unwrap_or((position, position));
        self.current = Some((start, position + 1));
    }

    fn finish(self) -> Option<Vec<(u64, u64)>> {
        (!self.other && self.position > 0).then_some(self.elements)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn list(text: &str) -> Option<List> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        List::from_json(file, Path::new("test")).unwrap()
    }

    #[test]
    fn elements_are_cut_out_as_they_were_written() {
        let text =
            " [ 1 , -2.50,\"a,]\\\"b\\\\\" ,[1, [2]] , {\"k\" : [\"}\"]} ,null,12345678901234567890123,[],{}\n] ";
        let expected = [
            "1",
            "-2.50",
            "\"a,]\\\"b\\\\\"",
            "[1, [2]]",
            "{\"k\" : [\"}\"]}",
            "null",
            "12345678901234567890123",
            "[]",
            "{}",
        ];
        let list = list(text).unwrap();
        for (index, element) in expected.iter().enumerate() {
            assert_eq!(list.element(index as u64).unwrap(), *element);
        }
        assert!(matches!(list.element(9), Err(ValueError::NoElement { index: 9, length: 9 })));
    }

    #[test]
    fn an_empty_list_has_no_elements() {
        assert!(matches!(list(" [ ] ").unwrap().element(0), Err(ValueError::NoElement { index: 0, length: 0 })));
    }

    #[test]
    fn what_is_no_list_has_no_elements_at_all() {
        for text in ["{\"a\": [1]}", "\"[1]\"", "12", "null"] {
            assert!(list(text).is_none(), "{text}");
        }
    }
}
