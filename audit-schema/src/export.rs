//! What an auditor asks of a file: does this export hold, under this checkpoint?
//!
//! Lines are taken *with* their newline, as `read_until(b'\n')` or `split_inclusive` give them:
//! the last byte of a file counts too.
//!
//! ```
//! # fn verify(file: &[u8], note: &str, key: &audit_schema::checkpoint::Vkey)
//! # -> Result<(), audit_schema::chain::Broken> {
//! let lines = file.split_inclusive(|byte| *byte == b'\n');
//! let verified = audit_schema::export::verify_export(lines, Some((note, key)))?;
//! assert_eq!(verified.beyond, 0);
//! # Ok(()) }
//! ```

use crate::{
    chain::{Broken, Chain, CustomerChain, Fault, Link},
    checkpoint::{self, Checkpoint, Vkey},
    entry::Entry,
    hash::Hash,
    merkle,
    time::Timestamp,
};

/// What was verified of an export or a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries.
    pub entries: u64,
    /// The last of them.
    pub last: Link,
    /// Its time.
    pub time: Timestamp,
    /// The root over all entries; `None` for a range.
    pub root: Option<Hash>,
    /// The checkpoint that the entries were held against.
    pub checkpoint: Option<Checkpoint>,
    /// How many entries come after the checkpoint: they are linked, but nothing signs them. Equal
    /// to `entries` where there is no checkpoint. Say so wherever this is not 0.
    pub beyond: u64,
}

/// What was verified of one customer's export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCustomer {
    /// The customer.
    pub customer: String,
    /// How many entries: all that this customer had, up to the last one here.
    pub entries: u64,
    /// The last of them in the customer's chain.
    pub last: Link,
}

/// Verify all lines of an export from entry 0 on; with a checkpoint also that they are those that
/// its note, signed by this key, stands for.
pub fn verify_export<L: AsRef<[u8]>>(
    lines: impl IntoIterator<Item = L>,
    signed: Option<(&str, &Vkey)>,
) -> Result<Verified, Broken> {
    let mut export = match signed {
        Some((note, key)) => Export::under(note, key)?,
        None => Export::whole(),
    };
    lines.into_iter().try_for_each(|line| export.push(line.as_ref()))?;
    export.finish()
}

/// Verify the lines of a range, given the entry before its first.
pub fn verify_range<L: AsRef<[u8]>>(
    lines: impl IntoIterator<Item = L>,
    before: Link,
) -> Result<Verified, Broken> {
    let mut export = Export::range(before);
    lines.into_iter().try_for_each(|line| export.push(line.as_ref()))?;
    export.finish()
}

/// Verify one customer's export; `None` takes the customer of the first line.
pub fn verify_customer_export<L: AsRef<[u8]>>(
    lines: impl IntoIterator<Item = L>,
    customer: Option<&str>,
) -> Result<VerifiedCustomer, Broken> {
    let mut chain = CustomerChain::new(customer);
    for line in lines {
        let next = || chain.lines() + 1;
        let line = without_newline(line.as_ref()).map_err(|fault| Broken {
            seq: None,
            line: Some(next()),
            fault,
        })?;
        chain.push(line)?;
    }
    match (chain.customer(), chain.last()) {
        (Some(customer), Some(last)) => {
            Ok(VerifiedCustomer { customer: customer.to_owned(), entries: chain.lines(), last })
        }
        _ => Err(Broken::whole(Fault::Empty)),
    }
}

/// The verification of an export, line by line: for files too large to hold.
#[derive(Clone, Debug)]
pub struct Export {
    chain: Chain,
    checkpoint: Option<Checkpoint>,
    /// The root when there were as many entries as the checkpoint signs.
    root_there: Option<Hash>,
    /// Whether they then named the log as the checkpoint does.
    origin_there: bool,
    /// A line whose `prev` is wrong: the next line tells whether it or the one before was changed.
    suspect: Option<(Broken, Hash)>,
}

impl Export {
    /// All entries from 0 on, without a checkpoint: a cut-off end does not show.
    pub fn whole() -> Self {
        Self {
            chain: Chain::new(),
            checkpoint: None,
            root_there: None,
            origin_there: false,
            suspect: None,
        }
    }

    /// All entries from 0 on, under a checkpoint that this key signed.
    pub fn under(note: &str, key: &Vkey) -> Result<Self, Broken> {
        let checkpoint = checkpoint::verify(note, key).map_err(|e| Broken::whole(e.into()))?;
        let mut export = Self { checkpoint: Some(checkpoint), ..Self::whole() };
        export.note_root();
        Ok(export)
    }

    /// The entries after this one.
    pub fn range(before: Link) -> Self {
        Self { chain: Chain::after(before), ..Self::whole() }
    }

    /// Take the next line, with its newline. An error may concern an earlier line.
    pub fn push(&mut self, line: &[u8]) -> Result<(), Broken> {
        if let Some((broken, leaf)) = self.suspect.take() {
            return Err(accuse(broken, leaf, line));
        }
        let due = self.chain.size();
        let at = self.chain.lines() + 1;
        let line = without_newline(line).map_err(|fault| Broken {
            seq: Some(due),
            line: Some(at),
            fault,
        })?;
        match self.chain.push(line) {
            Ok(_) => {}
            Err(broken) if broken.fault == Fault::Prev && at > 1 => {
                self.suspect = Some((broken, merkle::leaf_hash(line)));
                return Ok(());
            }
            Err(broken) => return Err(broken),
        };
        self.note_root();
        Ok(())
    }

    /// The end of the file: all that was given holds, or the first thing that does not.
    pub fn finish(self) -> Result<Verified, Broken> {
        if let Some((broken, _)) = self.suspect {
            return Err(broken);
        }
        let (size, entries) = (self.chain.size(), self.chain.lines());
        if let Some(checkpoint) = &self.checkpoint {
            if size < checkpoint.size {
                let fault = Fault::CutOff { size: checkpoint.size };
                return Err(Broken { seq: Some(size), line: None, fault });
            }
            if !self.origin_there {
                return Err(Broken::whole(Fault::Origin));
            }
            if self.root_there != Some(checkpoint.root) {
                return Err(Broken::whole(Fault::Root));
            }
        }
        let (Some(last), Some(time)) = (self.chain.last(), self.chain.time()) else {
            return Err(Broken::whole(Fault::Empty));
        };
        let signed = self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        Ok(Verified {
            entries,
            last,
            time,
            root: self.chain.root(),
            beyond: entries - signed.min(entries),
            checkpoint: self.checkpoint,
        })
    }

    fn note_root(&mut self) {
        let Some(checkpoint) = &self.checkpoint else { return };
        if checkpoint.size == self.chain.size() {
            self.root_there = self.chain.root();
            // Before the first entry there is no name that could be another.
            let origin = self.chain.origin();
            self.origin_there = origin.is_none_or(|origin| origin == checkpoint.origin);
        }
    }
}

/// Line k+1 has a wrong `prev`. If the line after it commits to k+1 as it stands, then k+1 is what
/// was written and k is what was changed; otherwise nothing says so.
fn accuse(broken: Broken, leaf: Hash, after: &[u8]) -> Broken {
    let intact = without_newline(after)
        .ok()
        .and_then(|line| Entry::parse(line).ok())
        .is_some_and(|entry| entry.prev == leaf);
    if !intact {
        return broken;
    }
    Broken {
        seq: broken.seq.map(|seq| seq.saturating_sub(1)),
        line: broken.line.map(|line| line.saturating_sub(1)),
        fault: Fault::Changed,
    }
}

fn without_newline(line: &[u8]) -> Result<&[u8], Fault> {
    line.strip_suffix(b"\n").ok_or(Fault::NoNewline)
}
