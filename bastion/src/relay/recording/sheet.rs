//! Plaintext of a recording on its way from the relay to the writer thread.
//!
//! A keystroke is a few bytes behind others. A piece of a file is the very bytes that the relay is
//! about to pass on: these are shared, not copied, so what a recording costs the relay does not
//! grow with what goes through it.

use bytes::Bytes;

/// Text, with shared pieces between its bytes.
#[derive(Default)]
pub(super) struct Sheet {
    text: Vec<u8>,
    /// Each stands before the byte of the text that it names.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
}

/// Smaller pieces are copied: sharing costs an entry, and keeps the whole packet in memory.
const SHARED_BYTES_MIN: usize = 4 << 10;

impl Sheet {
    /// All of it.
    pub(super) fn len(&self) -> usize {
        self.text.len() + self.shared_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where text is added.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Adds contents.
    pub(super) fn put(&mut self, data: &Bytes) {
        if data.len() < SHARED_BYTES_MIN {
            self.text.extend_from_slice(data);
        } else {
            self.shared_bytes += data.len();
            self.shared.push((self.text.len(), data.clone()));
        }
    }

    /// What is on it, in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut before = 0;
        let shared = self.shared.iter().flat_map(move |(at, data)| {
            let text = &self.text[before..*at];
            before = *at;
            [text, &data[..]]
        });
        let last = self.shared.last().map_or(0, |(at, _)| *at);
        shared.chain(std::iter::once(&self.text[last..]))
    }

    /// Empties it, and keeps its room.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.shared.clear();
        self.shared_bytes = 0;
    }

    /// How much text it has room for.
    pub(super) fn room(&self) -> usize {
        self.text.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_out_in_the_order_in_which_they_went_in() {
        let mut sheet = Sheet::default();
        let mut wanted = Vec::new();
        let large = Bytes::from(vec![b'x'; SHARED_BYTES_MIN]);
        for data in [&large, &Bytes::from_static(b"small"), &large, &large] {
            sheet.text().extend_from_slice(b"line\n");
            sheet.put(data);
            wanted.extend_from_slice(b"line\n");
            wanted.extend_from_slice(data);
        }
        assert_eq!(sheet.pieces().collect::<Vec<_>>().concat(), wanted);
        assert_eq!(sheet.len(), wanted.len());
        sheet.text().extend_from_slice(b"end");
        assert_eq!(sheet.pieces().last(), Some(&b"end"[..]));
        sheet.clear();
        assert!(sheet.is_empty() && sheet.pieces().all(<[u8]>::is_empty));
    }
}
