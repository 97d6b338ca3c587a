//! The replay of the log in a backup: what a restore does, and what whoever makes one does first.
//!
//! Every entry is parsed, hashed and linked, in the log's chain and in its customer's, and the tree
//! over all of them must be the one that the checkpoint signs and that the head names.

use super::{
    BackupError, Header,
    body::{Row, bad},
    reader::Keys,
    text::{bytes, integer, text},
};
use crate::store::Arg;
use audit_schema::{
    checkpoint::Vkey,
    export::{Export, Verified},
    hash::Hash,
    merkle::Frontier,
};

/// A log that is being replayed from the rows of a backup.
pub(super) struct Replay {
    export: Export,
    entries: u64,
    head: Option<Head>,
    keys: Keys,
}

struct Head {
    size: u64,
    leaf: Hash,
    root: Hash,
    time: i64,
}

/// What stands in a row instead of a recording's wrapped key.
pub(super) fn digest_of_key(wrapped: &str) -> String {
    format!("sha256:{}", Hash::of(wrapped.as_bytes()))
}

impl Replay {
    /// Of a log whose checkpoint this key must have signed.
    pub fn new(header: &Header, vkey: &Vkey, keys: Keys) -> Result<Self, BackupError> {
        let export = Export::under(&header.checkpoint, vkey);
        let export = export.map_err(|broken| BackupError::Log(broken.to_string()))?;
        Ok(Self { export, entries: 0, head: None, keys })
    }

    /// Takes a row; answers it as it is put back.
    pub fn row(&mut self, row: Row) -> Result<Row, BackupError> {
        match row.table {
            "entries" => self.entry(&row.values)?,
            "head" => self.head = Some(head(&row.values)?),
            "recording_keys" => return self.key(row),
            _ => {}
        }
        Ok(row)
    }

    fn entry(&mut self, values: &[Arg]) -> Result<(), BackupError> {
        let [seq, line] = values else { return Err(bad("an entry has other columns")) };
        let mut line = bytes(line).ok_or_else(|| bad("an entry is no bytes"))?;
        if integer(seq).and_then(|seq| u64::try_from(seq).ok()) != Some(self.entries) {
            return Err(bad("the entries are not in order"));
        }
        line.push(b'\n');
        self.entries += 1;
        self.export.push(&line).map_err(|broken| BackupError::Log(broken.to_string()))
    }

    /// The wrapped key stands in a line of its own, which an erasure may have overwritten.
    fn key(&mut self, mut row: Row) -> Result<Row, BackupError> {
        let line = self.keys.next()?.ok_or_else(|| bad("the key of a recording is missing"))?;
        let [recording, _, wrapped, _] = row.values.as_mut_slice() else {
            return Err(bad("the key of a recording has other columns"));
        };
        let fits = text(wrapped) == Some(&digest_of_key(&line.wrapped));
        let erased = line.wrapped.starts_with("erased ");
        if text(recording) != Some(&line.recording) || !(fits || erased) {
            return Err(bad("the key of a recording was changed"));
        }
        *wrapped = Arg::Text(line.wrapped);
        Ok(row)
    }

    /// After the last row.
    pub fn finish(mut self, header: &Header) -> Result<Verified, BackupError> {
        if self.keys.next()?.is_some() {
            return Err(bad("there are more keys of recordings than recordings"));
        }
        let verified = self.export.finish();
        let verified = verified.map_err(|broken| BackupError::Log(broken.to_string()))?;
        let head = self.head.ok_or_else(|| bad("the head of the log is missing"))?;
        let fits = head.size == verified.entries
            && header.size == verified.entries
            && head.leaf == verified.last.leaf
            && Some(head.root) == verified.root
            && head.time == verified.time.micros();
        match fits {
            true => Ok(verified),
            false => Err(BackupError::Log("its head is not that of its entries".into())),
        }
    }
}

fn head(values: &[Arg]) -> Result<Head, BackupError> {
    let read = || {
        let [_, size, leaf, frontier, time] = values else { return None };
        let frontier = Frontier::decode(&bytes(frontier)?).ok()?;
        let size = u64::try_from(integer(size)?).ok().filter(|size| *size == frontier.size())?;
        let leaf = Hash::from_slice(&bytes(leaf)?).ok()?;
        Some(Head { size, leaf, root: frontier.root(), time: integer(time)? })
    };
    read().ok_or_else(|| bad("the head of the log is not one"))
}
