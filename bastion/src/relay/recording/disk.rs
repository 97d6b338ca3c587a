//! The file of a recording: open while something is written, closed while the channel rests.
//!
//! Ten thousand idle shells would otherwise keep ten thousand descriptors that nobody uses. A file
//! that is opened again must be the one that was made; anything else in its place ends the channel,
//! like any other failure of a recording.

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
    file: Option<File>,
}

impl Disk {
    /// Makes the file; there must be none of its name.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let made = identity(&file)?;
        Ok(Self { path: path.to_owned(), made, file: Some(file) })
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file()?.write_all(bytes)
    }

    /// Closes it until there is something to write again.
    pub(super) fn rest(&mut self) {
        self.file = None;
    }

    /// The file, opened again if it rested.
    pub(super) fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let file = OpenOptions::new()
                .append(true)
                .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
                .open(&self.path)?;
            if identity(&file)? != self.made {
                return Err(io::Error::other("another file has taken its place"));
            }
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| io::Error::other("it is not open"))
    }
}

#[cfg(test)]
impl Disk {
    /// A file that takes nothing.
    pub(super) fn full() -> Self {
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        Self { path, made: identity(&file).unwrap(), file: Some(file) }
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let found = file.metadata()?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_rested_goes_on_and_no_other_takes_its_place() {
        let path = std::env::temp_dir().join(format!("bastion-disk-{}", std::process::id()));
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
}
