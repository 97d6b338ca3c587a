//! A part of a file, as a file of its own: where a container stands among other things.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

/// A part of a file.
pub struct Section {
    file: File,
    start: u64,
    length: u64,
    at: u64,
}

impl Section {
    /// The bytes of a file in a range, from their beginning.
    ///
    /// # Errors
    /// Where the file cannot be positioned.
    pub fn of(file: File, place: Range<u64>) -> io::Result<Self> {
        let length = place.end.saturating_sub(place.start);
        let mut section = Self { file, start: place.start, length, at: 0 };
        section.rewind()?;
        Ok(section)
    }

    /// The file that it is a part of.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Read for Section {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // What does not fit into memory is read in more than one go.
        let left = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
        let most = into.len().min(left);
        let read = self.file.read(&mut into[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        let at = at.filter(|at| *at <= self.length).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.seek(SeekFrom::Start(self.start + at))?;
        self.at = at;
        Ok(at)
    }
}
