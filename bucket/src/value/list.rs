//! A list in a file, out of which single elements are read.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::ValueError;
use super::list_cache::Weigh;
use super::scan::Scanner;
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
            scanner.add_all(&buffer[..length]);
        }
        let bytes = scanner.position;
        Ok(scanner.is_list().then(|| Self { file, elements: scanner.take(), bytes }))
    }

    /// The rows of the table that an Arrow stream holds, each as a dict, in a file of its own in `folder`.
    pub(super) fn from_table(stream: impl Read, folder: &Path) -> Result<Self, ValueError> {
        let in_folder = |source| ValueError::io(folder, source);
        let records = tempfile::tempfile_in(folder).map_err(in_folder)?;
        let mut writer = RecordsWriter::new(BufWriter::new(&records)).map_err(in_folder)?;
        for batch in table::read_stream(stream)? {
            let batch = batch.map_err(table::TableError::from)?;
            for row in 0..batch.num_rows() {
                writer.row(&batch, row)?;
            }
        }
        let written =
            writer.finish().and_then(|buffer| buffer.into_inner().map_err(std::io::IntoInnerError::into_error));
        written.map_err(in_folder)?;
        let list = Self::from_json(records, folder)?;
        list.ok_or_else(|| ValueError::Table(table::TableError::Malformed("its rows are no list".to_owned())))
    }

    /// Some elements of a JSON list, with the commas between them, in a file of its own in `folder`.
    pub(super) fn from_elements(elements: &[u8], folder: &Path) -> Result<Self, ValueError> {
        let in_folder = |source| ValueError::io(folder, source);
        let mut file = tempfile::tempfile_in(folder).map_err(in_folder)?;
        [b"[", elements, b"]"].into_iter().try_for_each(|part| file.write_all(part)).map_err(in_folder)?;
        let not_json = || ValueError::NotJson(serde::de::Error::custom("a page of it is no list"));
        Self::from_json(file, folder)?.ok_or_else(not_json)
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
}

impl Weigh for List {
    fn weight_bytes(&self) -> u64 {
        self.bytes + size_of_val(self.elements.as_slice()) as u64
    }
}

#[cfg(test)]
mod tests {
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
