//! What a signer remembers: the last head that it signed, in a file of its own.
//!
//! ```text
//! bastion-signer/v1
//! origin bastion.example
//! size 4711
//! root 9f3c…
//! ```
//!
//! It is replaced whole before a signature leaves, so that a killed signer knows what it signed.
//! The flush to the disk comes after the answer: nobody waits for it. A power cut may therefore
//! lose the last moments of it, and the head that is then remembered is an older one of the same
//! log.

use audit_schema::{
    hash::Hash,
    merkle::{self, TreeHead},
};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

const HEADER: &str = "bastion-signer/v1";

/// The state and its file.
#[derive(Debug)]
pub(super) struct State {
    file: PathBuf,
    origin: String,
    last: TreeHead,
    unflushed: Option<File>,
}

impl State {
    /// The state of a log's signer; a log that was never signed begins at nothing.
    pub fn open(folder: &Path, (gateway, origin): (&str, &str)) -> io::Result<Self> {
        let log = Hash::of(origin.as_bytes()).to_string();
        // A log of another name (a new epoch, say) is another log, with a state of its own; and
        // gateways that share a folder have each a signer.
        let file = folder.join(format!("{gateway}-{}.state", &log[..16]));
        let last = match fs::read_to_string(&file) {
            Ok(text) => parse(&text, origin).ok_or_else(|| unusable(&file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                TreeHead { size: 0, root: merkle::root(&[]) }
            }
            Err(error) => return Err(error),
        };
        Ok(Self { file, origin: origin.to_owned(), last, unflushed: None })
    }

    /// What was signed last.
    pub fn last(&self) -> TreeHead {
        self.last
    }

    /// Remembers a head, before it is signed.
    pub fn keep(&mut self, head: TreeHead) -> io::Result<()> {
        let text = text(&self.origin, head);
        let new = self.file.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, &self.file)?;
        self.last = head;
        self.unflushed = Some(file);
        Ok(())
    }

    /// Puts on the disk what was remembered since the last time.
    pub fn flush(&mut self) -> io::Result<()> {
        match self.unflushed.take() {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }
    }
}

fn text(origin: &str, TreeHead { size, root }: TreeHead) -> String {
    format!("{HEADER}\norigin {origin}\nsize {size}\nroot {root}\n")
}

fn parse(text_found: &str, origin: &str) -> Option<TreeHead> {
    let mut lines = text_found.lines().skip(2);
    let size = lines.next()?.strip_prefix("size ")?.parse().ok()?;
    let root = lines.next()?.strip_prefix("root ")?.parse().ok()?;
    let head = TreeHead { size, root };
    (text(origin, head) == text_found).then_some(head)
}

fn unusable(file: &Path) -> io::Error {
    io::Error::other(format!(
        "{}: not what a signer of this log writes: restore it, or begin a new epoch of the log",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was_kept_and_no_other_does() {
        let name = format!("bastion-signer-state-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut state = State::open(&folder, ("gw-1", "a.example")).unwrap();
        assert_eq!(state.last().size, 0);
        let head = TreeHead { size: 7, root: Hash([9; 32]) };
        state.keep(head).unwrap();
        state.flush().unwrap();
        assert_eq!(State::open(&folder, ("gw-1", "a.example")).unwrap().last(), head);
        assert_eq!(State::open(&folder, ("gw-1", "b.example")).unwrap().last().size, 0);
        assert_eq!(State::open(&folder, ("gw-2", "a.example")).unwrap().last().size, 0);
        let whole = fs::read_to_string(&state.file).unwrap();
        for bad in ["", &whole[1..], &whole[..whole.len() - 1], &whole.replace("size 7", "size 07")]
        {
            fs::write(&state.file, bad).unwrap();
            assert!(State::open(&folder, ("gw-1", "a.example")).is_err(), "{bad:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
