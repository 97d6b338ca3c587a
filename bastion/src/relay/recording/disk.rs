//! The file of a recording: open while something is written, closed while the channel rests.
//!
//! Ten thousand idle shells would otherwise keep ten thousand descriptors that nobody uses. A file
//! that is opened again must be the one that was made; anything else in its place ends the channel,
//! like any other failure of a recording.
//!
//! What is written is not read again here, so it has no business in the kernel's cache, where it
//! costs a copy, a search for pages and their writing later, and pushes out what others need. Whole
//! blocks of a busy recording go past it (`O_DIRECT`), from memory that lies as the file does
//! ([`crate::relay::Page`]). What does not fill a block goes the usual way, and so does everything
//! where the file system knows no other.

use bastion_core::limits::{RECORDING_BLOCK_BYTES, RECORDING_DIRECT_BYTES_MIN};
use nix::{errno::Errno, fcntl::OFlag};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// A recording's file.
pub(super) struct Disk {
    path: PathBuf,
    made: (u64, u64),
    length: u64,
    file: Option<File>,
    past_cache: PastCache,
}

/// The second way into the same file.
enum PastCache {
    NotYet,
    Open(File),
    Impossible,
}

impl Disk {
    /// Makes the file; there must be none of its name.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let (made, path) = (identity(&file)?, path.to_owned());
        Ok(Self { path, made, length: 0, file: Some(file), past_cache: PastCache::NotYet })
    }

    /// How long the file is.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (head, blocks, tail) = self.divided(bytes);
        self.append(head)?;
        self.append_blocks(blocks)?;
        self.append(tail)
    }

    /// What ends a block that was begun, whole blocks, and what begins one.
    fn divided<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], &'a [u8], &'a [u8]) {
        const BLOCK: usize = RECORDING_BLOCK_BYTES;
        // A remainder is below `BLOCK`.
        let begun = (self.length % BLOCK as u64) as usize;
        let lies_as_the_file = bytes.as_ptr().addr() % BLOCK == begun;
        let is_possible = !matches!(self.past_cache, PastCache::Impossible);
        if bytes.len() < RECORDING_DIRECT_BYTES_MIN || !lies_as_the_file || !is_possible {
            return (bytes, &[], &[]);
        }
        let (head, rest) = bytes.split_at((BLOCK - begun) % BLOCK);
        let (blocks, tail) = rest.split_at(rest.len() - rest.len() % BLOCK);
        (head, blocks, tail)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file()?.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn append_blocks(&mut self, mut blocks: &[u8]) -> io::Result<()> {
        while !blocks.is_empty() {
            let Some(file) = self.past_cache()? else { return self.append(blocks) };
            let written = match file.write(blocks) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(why) if is_refusal(&why) => 0,
                Err(why) => return Err(why),
            };
            if written % RECORDING_BLOCK_BYTES != 0 || written == 0 {
                self.past_cache = PastCache::Impossible;
            }
            self.length += written as u64;
            blocks = &blocks[written..];
        }
        Ok(())
    }

    /// Closes it until there is something to write again.
    pub(super) fn rest(&mut self) {
        self.file = None;
        if matches!(self.past_cache, PastCache::Open(_)) {
            self.past_cache = PastCache::NotYet;
        }
    }

    /// The file, opened again if it rested.
    pub(super) fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            self.file = Some(self.open_again(OFlag::empty())?);
        }
        self.file.as_mut().ok_or_else(|| io::Error::other("it is not open"))
    }

    fn past_cache(&mut self) -> io::Result<Option<&mut File>> {
        if let PastCache::NotYet = self.past_cache {
            self.past_cache = match self.open_again(OFlag::O_DIRECT) {
                Ok(file) => PastCache::Open(file),
                Err(why) if is_refusal(&why) => PastCache::Impossible,
                Err(why) => return Err(why),
            };
        }
        Ok(match &mut self.past_cache {
            PastCache::Open(file) => Some(file),
            PastCache::NotYet | PastCache::Impossible => None,
        })
    }

    fn open_again(&self, how: OFlag) -> io::Result<File> {
        let flags = (OFlag::O_NOFOLLOW | how).bits();
        let file = OpenOptions::new().append(true).custom_flags(flags).open(&self.path)?;
        if identity(&file)? != self.made {
            return Err(io::Error::other("another file has taken its place"));
        }
        Ok(file)
    }
}

/// The file system has no such way, or wants larger blocks.
fn is_refusal(why: &io::Error) -> bool {
    [Errno::EINVAL, Errno::EOPNOTSUPP].iter().any(|no| why.raw_os_error() == Some(*no as i32))
}

#[cfg(test)]
impl Disk {
    /// A file that takes nothing.
    pub(super) fn full() -> Self {
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let made = identity(&file).unwrap();
        Self { path, made, length: 0, file: Some(file), past_cache: PastCache::Impossible }
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let found = file.metadata()?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::Page;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("bastion-disk-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_file_that_rested_goes_on_and_no_other_takes_its_place() {
        let path = path("rest");
        let mut disk = Disk::create(&path).unwrap();
        disk.write(b"one ").unwrap();
        disk.rest();
        disk.write(b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one two");
        disk.rest();
        let aside = path.with_extension("aside");
        std::fs::rename(&path, &aside).unwrap();
        std::fs::write(&path, b"forged").unwrap();
        assert!(disk.write(b"three").is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(disk.write(b"three").is_err());
        std::fs::remove_file(&aside).unwrap();
    }

    /// Sizes around blocks, on pages that lie as the file does, and on some that do not.
    #[test]
    fn whichever_way_bytes_go_they_stand_in_order() {
        let path = path("order");
        let mut disk = Disk::create(&path).unwrap();
        let (mut wanted, mut page) = (Vec::new(), Page::default());
        let sizes = [5, 300_000, 1, 65_536, 4096, 131_072, 8191, 1 << 20, 70_001];
        for (number, size) in sizes.into_iter().cycle().take(27).enumerate() {
            let aside = u64::from(number % 5 == 4);
            page.begin_at(disk.length() + aside, RECORDING_BLOCK_BYTES);
            let piece: Vec<u8> = (0..size).map(|at| (at * 7 + number) as u8).collect();
            page.put(&piece);
            disk.write(page.filled()).unwrap();
            wanted.extend_from_slice(&piece);
            assert_eq!(disk.length(), wanted.len() as u64);
            if number % 7 == 6 {
                disk.rest();
            }
        }
        disk.file().unwrap().sync_all().unwrap();
        assert!(std::fs::read(&path).unwrap() == wanted);
        std::fs::remove_file(&path).unwrap();
    }
}
