//! What a witness remembers: of each log the last checkpoint that it cosigned.
//!
//! ```text
//! bastion-witness/v1
//! witness witness.example/w1+8d66cf3c+BNdaIB…=
//! log 4711 9f3c… bastion.example
//! digest 53aa…
//! ```
//!
//! This file is all that keeps a witness from cosigning two histories. So it is replaced whole,
//! flushed, and its folder flushed, before a cosignature leaves; one that is gone, cannot be read
//! or is another key's is refused and never begun anew; and one process at a time has it. An older
//! copy that is put back makes a witness forget, and nobody can tell: see THREATS.md.

use crate::durable::sync_folder_of;
use audit_schema::{cosignature::WitnessKey, hash::Hash, merkle::TreeHead};
use bastion_core::limits::{WITNESS_LOGS_MAX, WITNESS_STATE_BYTES_MAX};
use nix::fcntl::{Flock, FlockArg};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

const HEADER: &str = "bastion-witness/v1";

/// Why there is no memory to witness by.
#[derive(Debug, thiserror::Error)]
pub enum BadMemory {
    /// It is not there.
    #[error(
        "{0} is gone, and without it this witness could cosign a second history: put it back as \
         it was last. If it is lost for good, make a witness with a new key (`bastion witness \
         init`) and tell everybody whose policy names the old one"
    )]
    Gone(PathBuf),
    /// It cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// It is not what this witness wrote.
    #[error(
        "{0}: {1}. Nothing is cosigned by it: put back what this witness wrote last, or make a \
         witness with a new key"
    )]
    Unusable(PathBuf, &'static str),
    /// Another process has it.
    #[error("another witness runs in {0}: two of them could cosign two histories")]
    Taken(PathBuf),
}

/// The memory in its folder; nobody else has it while this lives.
#[derive(Debug)]
pub struct Memory {
    file: PathBuf,
    witness: String,
    known: BTreeMap<String, TreeHead>,
    _lock: Flock<File>,
}

impl Memory {
    /// Begins an empty one, for a key that is new.
    pub fn create(folder: &Path, witness: &WitnessKey) -> Result<(), BadMemory> {
        let file = file_in(folder);
        let failed = |error| BadMemory::Io(file.clone(), error);
        if file.try_exists().map_err(failed)? {
            return Err(BadMemory::Unusable(file, "it is there already"));
        }
        replace(&file, &text(&witness.to_string(), &BTreeMap::new())).map_err(failed)
    }

    /// Reads it, and flushes it: what a crash left unflushed counts only from then on.
    pub fn open(folder: &Path, witness: &WitnessKey) -> Result<Self, BadMemory> {
        let file = file_in(folder);
        let failed = |error| BadMemory::Io(file.clone(), error);
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(folder.join("lock")).map_err(failed)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| BadMemory::Taken(folder.to_owned()))?;
        let mut found = String::new();
        match File::open(&file) {
            Ok(file) => file.take(WITNESS_STATE_BYTES_MAX).read_to_string(&mut found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BadMemory::Gone(file));
            }
            Err(error) => Err(error),
        }
        .map_err(failed)?;
        let parsed = parse(&found);
        let (of, known) = parsed.ok_or(BadMemory::Unusable(file.clone(), "it is damaged"))?;
        let witness = witness.to_string();
        if of != witness {
            return Err(BadMemory::Unusable(file, "it is of another witness's key"));
        }
        replace(&file, &found).map_err(failed)?;
        Ok(Self { file, witness, known, _lock: lock })
    }

    /// The last checkpoint of a log, if any was cosigned.
    pub fn last(&self, origin: &str) -> Option<&TreeHead> {
        self.known.get(origin)
    }

    /// Remembers a checkpoint: it is on the disk when this returns. After an error it is not known
    /// what is on the disk, and nothing may be cosigned any more.
    pub fn keep(&mut self, origin: &str, head: TreeHead) -> io::Result<()> {
        if !self.known.contains_key(origin) && self.known.len() == WITNESS_LOGS_MAX {
            return Err(io::Error::other("a witness remembers 256 logs at most"));
        }
        let mut known = self.known.clone();
        known.insert(origin.to_owned(), head);
        replace(&self.file, &text(&self.witness, &known))?;
        self.known = known;
        Ok(())
    }
}

fn file_in(folder: &Path) -> PathBuf {
    folder.join("state")
}

/// Replaces a file whole: its bytes, its name and its folder are flushed.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&new, file)?;
    sync_folder_of(file)
}

fn text(witness: &str, known: &BTreeMap<String, TreeHead>) -> String {
    let mut text = format!("{HEADER}\nwitness {witness}\n");
    for (origin, TreeHead { size, root }) in known {
        text += &format!("log {size} {root} {origin}\n");
    }
    let digest = Hash::of(text.as_bytes());
    text + &format!("digest {digest}\n")
}

fn parse(found: &str) -> Option<(String, BTreeMap<String, TreeHead>)> {
    let mut lines = found.lines().skip(1);
    let witness = lines.next()?.strip_prefix("witness ")?.to_owned();
    let mut known = BTreeMap::new();
    for line in lines {
        let Some(log) = line.strip_prefix("log ") else { continue };
        let mut words = log.splitn(3, ' ');
        let (size, root) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        known.insert(words.next()?.to_owned(), TreeHead { size, root });
    }
    // One spelling: whatever else stands there, or does not, ends here.
    (text(&witness, &known) == found).then_some((witness, known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    fn key(seed: u8) -> WitnessKey {
        WitnessKey::new("w.example", SigningKey::from_bytes(&[seed; 32]).verifying_key()).unwrap()
    }

    #[test]
    fn what_was_kept_comes_back_and_nothing_else_is_believed() {
        let folder = format!("bastion-witness-memory-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        assert!(matches!(Memory::open(&folder, &key(1)), Err(BadMemory::Gone(_))));
        Memory::create(&folder, &key(1)).unwrap();
        assert!(Memory::create(&folder, &key(1)).is_err(), "a memory is never begun again");
        let head = TreeHead { size: 7, root: Hash([9; 32]) };
        let mut memory = Memory::open(&folder, &key(1)).unwrap();
        assert!(matches!(Memory::open(&folder, &key(1)), Err(BadMemory::Taken(_))));
        assert_eq!(memory.last("a.example"), None);
        memory.keep("a.example", head).unwrap();
        memory.keep("b.example", TreeHead { size: 9, ..head }).unwrap();
        drop(memory);
        let memory = Memory::open(&folder, &key(1)).unwrap();
        assert_eq!(memory.last("a.example"), Some(&head));
        drop(memory);
        assert!(matches!(Memory::open(&folder, &key(2)), Err(BadMemory::Unusable(..))));
        let whole = fs::read_to_string(folder.join("state")).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            fs::write(folder.join("state"), &bytes).unwrap();
            assert!(Memory::open(&folder, &key(1)).is_err(), "byte {at}");
            fs::write(folder.join("state"), &whole.as_bytes()[..at]).unwrap();
            assert!(Memory::open(&folder, &key(1)).is_err(), "cut at {at}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
