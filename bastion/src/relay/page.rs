//! Bytes that are filled again and again, and never cleared in between.
//!
//! What a cipher writes into has to be there before it writes, and growing a `Vec` for every piece
//! means writing zeros first, which costs as much as copying. A page keeps what it has once had.
//! It can also begin where a file wants its bytes to lie in memory: see `recording::disk`.

/// A page.
#[derive(Default)]
pub struct Page {
    /// All of it has been written before, by whatever was here.
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Page {
    /// Empties it.
    pub fn clear(&mut self) {
        (self.from, self.to) = (0, 0);
    }

    /// Empties it; the next byte will lie in memory as `position` lies between multiples of
    /// `block`, unless it has to grow too much for that.
    pub(crate) fn begin_at(&mut self, position: u64, block: usize) {
        self.clear();
        self.bytes.resize(self.bytes.len().max(block), 0);
        // Both remainders are below `block`.
        let wanted = (position % block as u64) as usize;
        let there = self.bytes.as_ptr().addr() % block;
        self.from = (block + wanted - there) % block;
        self.to = self.from;
    }

    /// What is on it.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    /// How many bytes are on it.
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    /// Whether nothing is on it.
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Adds bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.to += bytes.len();
    }

    /// Adds what `fill` writes into room for `most` bytes; it says how many those are.
    pub(crate) fn put_with<E>(
        &mut self,
        most: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let written = fill(self.room(most))?;
        self.to += written.min(most);
        Ok(())
    }

    fn room(&mut self, more: usize) -> &mut [u8] {
        let end = self.to + more;
        if end > self.bytes.len() {
            self.bytes.resize(end.next_power_of_two(), 0);
        }
        &mut self.bytes[self.to..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_there_and_what_was_there_is_not() {
        let mut page = Page::default();
        page.put(b"old and long");
        page.clear();
        page.put(b"new");
        page.put_with(8, |room| {
            room[..2].copy_from_slice(b"er");
            Ok::<_, ()>(2)
        })
        .unwrap();
        assert_eq!(page.filled(), b"newer");
        assert_eq!(page.len(), 5);
    }

    #[test]
    fn a_page_begins_where_the_file_does() {
        let mut page = Page::default();
        page.put(&[1; 100_000]);
        for position in [0, 1, 4095, 4096, 5000] {
            page.begin_at(position, 4096);
            assert!(page.is_empty());
            page.put(b"x");
            assert_eq!(page.filled().as_ptr().addr() as u64 % 4096, position % 4096);
        }
    }
}
