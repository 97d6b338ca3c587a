//! A tar archive (POSIX ustar) of a few small files: how a report leaves over SSH.
//!
//! The same files give the same bytes: owner, mode and time are fixed.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

/// An archive of files, by name.
pub fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        out.extend(header(name, bytes.len()));
        out.extend(padded(bytes));
    }
    out.extend(end(0));
    out
}

/// A file in an archive: its name, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Where its bytes begin.
    pub start: u64,
    /// How many there are.
    pub bytes: u64,
}

impl Place {
    /// Where its bytes are, in the archive that it was found in.
    pub fn range(&self) -> Range<u64> {
        // It lies within a file, whose length is a number of this size.
        self.start..self.start + self.bytes
    }
}

/// The files of an archive that [`archive`] or `session fetch` made; none if it is not one, or not
/// whole.
pub fn places<R: Read + Seek>(archive: &mut R) -> io::Result<Option<Vec<Place>>> {
    let size = archive.seek(SeekFrom::End(0))?;
    let mut files = Vec::new();
    let mut at = 0;
    let block_bytes = BLOCK as u64;
    while at + block_bytes <= size {
        let mut block = [0; BLOCK];
        archive.seek(SeekFrom::Start(at))?;
        archive.read_exact(&mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(Some(files));
        }
        let Some((name, length)) = named(&block) else { return Ok(None) };
        let start = at + block_bytes;
        files.push(Place { name, start, bytes: length });
        at = start.saturating_add(length.next_multiple_of(block_bytes));
    }
    Ok(None)
}

fn named(block: &[u8; BLOCK]) -> Option<(String, u64)> {
    let name = block[..100].split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok()?;
    let size = std::str::from_utf8(&block[124..135]).ok()?;
    let size = usize::from_str_radix(size, 8).ok()?;
    (*block == header(name, size)).then(|| (name.to_owned(), size as u64))
}

const BLOCK: usize = 512;

/// The bytes of a file, filled up to whole blocks.
pub fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(bytes.len().next_multiple_of(BLOCK), 0);
    out
}

/// What follows the bytes of the last file: the rest of its block, and the archive's end.
pub fn end(size: usize) -> Vec<u8> {
    vec![0; size.next_multiple_of(BLOCK) - size + 2 * BLOCK]
}

/// What goes before the bytes of a file.
pub fn header(name: &str, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    // Names are ours and short; what is longer is cut rather than corrupting the block.
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    #[test]
    fn tar_reads_it() {
        let files = [("a.txt".to_owned(), b"hello\n".to_vec()), ("b.csv".to_owned(), vec![7; 600])];
        let bytes = archive(&files);
        let mut tar = Command::new("tar")
            .args(["-xO", "-f", "-", "a.txt"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"hello\n");
        let read = |bytes: &[u8]| places(&mut io::Cursor::new(bytes)).unwrap();
        let back = read(&bytes).unwrap();
        let back = back.into_iter().map(|Place { name, start, bytes: length }| {
            (name, bytes[start as usize..(start + length) as usize].to_vec())
        });
        assert_eq!(back.collect::<Vec<_>>(), files);
        for cut in 0..bytes.len() {
            let part = read(&bytes[..cut]).is_some();
            assert!(!part || cut >= bytes.len() - BLOCK, "cut at {cut}");
        }
        let mut changed = bytes.clone();
        changed[130] = b'7';
        assert_eq!(read(&changed), None);
    }
}
