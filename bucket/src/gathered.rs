//! Pieces of a content that came from the network, until there are enough of them to go to the disk.

use bytes::{Bytes, BytesMut};

/// Pieces from this size on are written as they came. Smaller ones are copied: each would hold on to what was read with it.
const PIECE_BYTES_MIN: usize = 16 << 10;

/// Pieces of a content that go to the disk together.
#[derive(Default)]
pub(crate) struct Gathered {
    pieces: Vec<Bytes>,
    small: BytesMut,
    bytes: usize,
}

impl Gathered {
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() < PIECE_BYTES_MIN {
            self.small.extend_from_slice(&piece);
        } else {
            self.end_small();
            self.pieces.push(piece);
        }
    }

    /// How many there are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }

    /// All of them, in their order.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.end_small();
        self.bytes = 0;
        std::mem::take(&mut self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_order_and_small_ones_become_one() {
        let large = |byte: u8| Bytes::from(vec![byte; PIECE_BYTES_MIN]);
        let given = [Bytes::from("a"), Bytes::from("b"), large(1), large(2), Bytes::new(), Bytes::from("c")];
        let mut gathered = Gathered::default();
        given.iter().for_each(|piece| gathered.push(piece.clone()));
        assert_eq!(gathered.bytes(), given.iter().map(Bytes::len).sum::<usize>());
        let (taken, expected) = (gathered.take(), [Bytes::from("ab"), large(1), large(2), Bytes::from("c")]);
        assert_eq!(taken, expected);
        assert_eq!(taken[1].as_ptr(), given[2].as_ptr(), "a large one is not copied");
        assert!(gathered.bytes() == 0 && gathered.take().is_empty());
    }
}
