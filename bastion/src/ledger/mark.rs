//! The high-water mark: the largest log that this gateway has answered for, kept away from it.
//!
//! Whoever restores an older backup restores a log that holds: its chain is whole, its head fits.
//! Only what is kept elsewhere can tell that it was longer. So each gateway keeps the size and the
//! root after its last batch in a small file on another path than the store (`[log] high_water`),
//! and a start refuses a log that is shorter, or another ([`super::rollback`]).
//!
//! The file has two slots, written in turn, each a line with its own digest: a write that was torn
//! leaves the one before. It is written before anybody is answered, without a flush of its own: a
//! process that dies loses nothing of it, and a machine that loses its power loses at most what
//! came after the last [`Mark::flush`] (the publisher's, once a second), while the log itself
//! flushed every entry.

use crate::durable::sync_folder_of;
use audit_schema::{hash::Hash, merkle::TreeHead};
use bastion_core::limits::MARK_SLOT_BYTES;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What a log was, as somebody outside the store remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The name that the log had.
    pub origin: String,
    /// Its size and root.
    pub head: TreeHead,
}

/// A gateway's mark.
#[derive(Debug)]
pub struct Mark {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    last: Option<Remembered>,
    /// How often it was written: even ones go into the first slot.
    writes: u64,
    dirty: bool,
}

const FORM: &str = "bastion-mark/1";

impl Mark {
    /// The mark in a file, which is made if there is none.
    ///
    /// # Errors
    /// Where it cannot be read or made, and where neither slot holds what a mark wrote: then
    /// somebody has changed it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        if file.metadata()?.len() == 0 {
            // Its whole length at once: a full disk is met here, not at an entry.
            file.write_all_at(&[b'\n'; 2 * MARK_SLOT_BYTES], 0)?;
            file.sync_all()?;
            sync_folder_of(path)?;
        }
        let mut slots = [0; 2 * MARK_SLOT_BYTES];
        file.read_exact_at(&mut slots, 0)?;
        let (first, second) = slots.split_at(MARK_SLOT_BYTES);
        let found = [parse(first), parse(second)];
        let blank = slots.iter().all(|byte| *byte == b'\n');
        let last = found.iter().flatten().max_by_key(|found| found.0).cloned();
        if last.is_none() && !blank {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a high-water mark"));
        }
        let writes = last.as_ref().map_or(0, |(write, _)| write + 1);
        let last = last.map(|(_, remembered)| remembered);
        let state = State { file, last, writes, dirty: false };
        Ok(Self { path: path.to_path_buf(), state: Mutex::new(state) })
    }

    /// What the mark in a file says, without making one.
    pub fn read(path: &Path) -> io::Result<Option<Remembered>> {
        match path.exists() {
            true => Ok(Self::open(path)?.last()),
            false => Ok(None),
        }
    }

    /// What it says; none before the first entry that was answered with it.
    pub fn last(&self) -> Option<Remembered> {
        self.state().last.clone()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a head, if the log of this name was never as large. Not flushed.
    pub fn raise(&self, origin: &str, head: TreeHead) -> io::Result<()> {
        let mut state = self.state();
        let known = state.last.as_ref().filter(|last| last.origin == origin);
        if known.is_some_and(|last| last.head.size >= head.size) {
            return Ok(());
        }
        let remembered = Remembered { origin: origin.to_owned(), head };
        let slot = line(state.writes, &remembered)?;
        state.file.write_all_at(&slot, (state.writes % 2) * MARK_SLOT_BYTES as u64)?;
        state.writes += 1;
        state.dirty = true;
        state.last = Some(remembered);
        Ok(())
    }

    /// What was written survives a loss of power from here on.
    pub fn flush(&self) -> io::Result<()> {
        let file = {
            let mut state = self.state();
            if !std::mem::take(&mut state.dirty) {
                return Ok(());
            }
            state.file.try_clone()?
        };
        // Outside the lock: the log's writer does not wait for this disk.
        file.sync_data().inspect_err(|_| self.state().dirty = true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever was written stands in `last`, whoever panicked after it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(write: u64, remembered: &Remembered) -> io::Result<Vec<u8>> {
    let Remembered { origin, head } = remembered;
    let text = format!("{FORM} {write} {origin} {} {}", head.size, head.root);
    let digest = Hash::of(text.as_bytes());
    let mut slot = format!("{text} {digest}\n").into_bytes();
    if slot.len() > MARK_SLOT_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the log's name is too long"));
    }
    slot.resize(MARK_SLOT_BYTES, b'\n');
    Ok(slot)
}

fn parse(slot: &[u8]) -> Option<(u64, Remembered)> {
    let text = std::str::from_utf8(slot).ok()?.trim_end_matches('\n');
    let (text, digest) = text.rsplit_once(' ')?;
    if Hash::of(text.as_bytes()).to_string() != digest {
        return None;
    }
    let mut words = text.strip_prefix(FORM)?.strip_prefix(' ')?.split(' ');
    let (write, origin, size, root) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let head = TreeHead { size: size.parse().ok()?, root: root.parse().ok()? };
    let remembered = Remembered { origin: origin.to_owned(), head };
    words.next().is_none().then_some((write.parse().ok()?, remembered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn head(size: u64) -> TreeHead {
        TreeHead { size, root: Hash::of(&size.to_be_bytes()) }
    }

    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("bastion-mark-{name}-{}", std::process::id()));
        if path.exists() {
            fs::remove_file(&path).unwrap();
        }
        path
    }

    #[test]
    fn it_only_rises_and_is_found_again() {
        let path = path("rises");
        let mark = Mark::open(&path).unwrap();
        assert_eq!(mark.last(), None);
        for (size, kept) in [(3, 3), (9, 9), (4, 9), (9, 9), (10, 10)] {
            mark.raise("a/log", head(size)).unwrap();
            mark.flush().unwrap();
            let found = Mark::open(&path).unwrap().last().unwrap();
            assert_eq!(found, Remembered { origin: "a/log".into(), head: head(kept) });
        }
        // Another epoch begins with what survived.
        mark.raise("a/log/epoch-2", head(5)).unwrap();
        assert_eq!(Mark::open(&path).unwrap().last().unwrap().head, head(5));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_torn_write_leaves_the_one_before_and_nonsense_is_refused() {
        let path = path("torn");
        let mark = Mark::open(&path).unwrap();
        mark.raise("a/log", head(1)).unwrap();
        mark.raise("a/log", head(2)).unwrap();
        let whole = fs::read(&path).unwrap();
        for byte in MARK_SLOT_BYTES..MARK_SLOT_BYTES + 100 {
            let mut torn = whole.clone();
            torn[byte] ^= 1;
            fs::write(&path, &torn).unwrap();
            assert_eq!(Mark::open(&path).unwrap().last().unwrap().head, head(1), "byte {byte}");
        }
        fs::write(&path, vec![b'x'; whole.len()]).unwrap();
        assert!(Mark::open(&path).is_err());
        fs::remove_file(&path).unwrap();
    }
}
