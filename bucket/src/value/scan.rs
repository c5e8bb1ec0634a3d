//! The elements of a JSON list, found without keeping what they are.

/// Finds the elements of a JSON list that is known to be whole, byte by byte.
#[derive(Default)]
pub(super) struct Scanner {
    pub(super) position: u64,
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
    /// Reads on.
    pub(super) fn add_all(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.add(*byte));
    }

    /// The elements that were found since the last time: first byte, and the byte after the last.
    pub(super) fn take(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.elements)
    }

    /// Whether what was read is a list.
    pub(super) fn is_list(&self) -> bool {
        !self.other && self.position > 0
    }

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
}
