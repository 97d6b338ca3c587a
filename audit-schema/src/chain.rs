//! Verification: entry by entry, a whole export under its checkpoint, a range, a customer's part.
//!
//! [`Chain`] is the one place that says when an entry may follow another; the writer's start-up
//! check, the export's verifier and the report all push lines into it. [`export`](crate::export)
//! builds on it what an auditor asks of a file.
//!
//! The first entry that does not hold is named, with what is wrong with it. A chain alone cannot
//! say that its end was cut off, or that all of it was written anew: the checkpoint can.

use crate::{
    canonical::CanonicalError,
    checkpoint::BadNote,
    entry::{CustomerLink, Entry, EntryError, FORMAT},
    event::Event,
    hash::Hash,
    merkle::{self, Frontier},
    time::Timestamp,
};
use std::{collections::BTreeMap, fmt};

/// What is wrong with an entry, or with the whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The line is no entry.
    #[error("it is not an entry: {0}")]
    Malformed(#[from] EntryError),
    /// The last line has no newline at its end.
    #[error("it has no newline at its end: the file was cut off within the line")]
    NoNewline,
    /// The line holds an entry that is due later.
    #[error("it is missing: entry {found} stands in its place")]
    Missing {
        /// The `seq` that stands there.
        found: u64,
    },
    /// The line holds an entry that was due before.
    #[error("entry {found} stands in its place: it is doubled, or not in order")]
    Doubled {
        /// The `seq` that stands there.
        found: u64,
    },
    /// `prev` is not the leaf hash of the entry before, and nothing says which of the two changed.
    #[error("its prev is not the hash of the entry before: one of the two was changed")]
    Prev,
    /// The next entry, which itself holds, commits to another line than this.
    #[error("it was changed: the next entry commits to other bytes")]
    Changed,
    /// The time is before that of the entry before.
    #[error("its time is before that of the entry before")]
    Time,
    /// Entry 0 is no genesis, or a later entry is one, or the genesis belongs to a customer.
    #[error("the genesis must be entry 0, entry 0 alone, and no customer's")]
    Genesis,
    /// A genesis of a format that this crate does not know.
    #[error("its format is {0}, which this verifier does not know: use a newer one")]
    Format(u64),
    /// The customer's `seq` is not the one that is due.
    #[error(
        "its customer's seq is {found} where {expected} is due: the customer's chain has a gap"
    )]
    CustomerSeq {
        /// One more than that of the customer's entry before.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// The customer's `prev` is not the leaf hash of the customer's entry before.
    #[error("its customer's prev is not the hash of the customer's entry before")]
    CustomerPrev,
    /// An entry of no customer, or of another, in a customer's export.
    #[error("it is not this customer's")]
    OtherCustomer,
    /// There is no entry at all.
    #[error("there are no entries")]
    Empty,
    /// Fewer entries than the checkpoint signs.
    #[error("it is missing, and all after it: the checkpoint signs {size} entries")]
    CutOff {
        /// What the checkpoint says.
        size: u64,
    },
    /// The entries are linked, but are not those that the checkpoint signs.
    #[error(
        "these are not the entries that the checkpoint signs: one was changed, the rest relinked"
    )]
    Root,
    /// The entries name another log than the checkpoint.
    #[error(
        "the checkpoint is another log's: the genesis, or the newest epoch, has another origin"
    )]
    Origin,
    /// The checkpoint is none, or is not signed by the key.
    #[error("the checkpoint does not hold: {0}")]
    Checkpoint(#[from] BadNote),
}

/// The first thing that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The entry, by its `seq` (the one that is due, where another stands); `None` where it is
    /// the whole that does not hold, or a customer's line that has no `seq` to be read.
    pub seq: Option<u64>,
    /// Its line, counted from 1 among those verified.
    pub line: Option<u64>,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Broken {
    /// A fault of the whole, not of one entry.
    pub(crate) fn whole(fault: Fault) -> Self {
        Self { seq: None, line: None, fault }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.seq, self.line) {
            (Some(seq), Some(line)) => write!(f, "entry {seq} (line {line}): {}", self.fault),
            (Some(seq), None) => write!(f, "entry {seq}: {}", self.fault),
            (None, Some(line)) => write!(f, "line {line}: {}", self.fault),
            (None, None) => self.fault.fmt(f),
        }
    }
}

impl std::error::Error for Broken {}

/// The last entry of a chain, the log's or a customer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in that chain.
    pub seq: u64,
    /// Its leaf hash.
    pub leaf: Hash,
}

/// A chain of entries so far: what the next one must follow.
#[derive(Clone, Debug)]
pub struct Chain {
    last: Option<Link>,
    time: Option<Timestamp>,
    lines: u64,
    customers: BTreeMap<String, Link>,
    /// The log's name, where the entry that gave it was seen.
    origin: Option<String>,
    /// The tree, where the chain is known from entry 0 on.
    tree: Option<Frontier>,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The empty chain: entry 0 is next.
    pub fn new() -> Self {
        Self {
            last: None,
            time: None,
            lines: 0,
            customers: BTreeMap::new(),
            origin: None,
            tree: Some(Frontier::new()),
        }
    }

    /// The chain after an entry that was verified before: the beginning of a range.
    ///
    /// What came earlier is not known: there is no root, and each customer's first entry in the
    /// range is taken as it is.
    pub fn after(last: Link) -> Self {
        Self { last: Some(last), tree: None, ..Self::new() }
    }

    /// Append a line (without its newline), if it may follow; otherwise nothing changes.
    pub fn push(&mut self, line: &[u8]) -> Result<Entry, Broken> {
        self.next(line).map_err(|fault| Broken {
            seq: Some(self.size()),
            line: Some(self.lines + 1),
            fault,
        })
    }

    /// The `seq` that is due next: the number of entries, where the chain began at entry 0.
    pub fn size(&self) -> u64 {
        self.last.map_or(0, |last| last.seq + 1)
    }

    /// The last entry; `None` while there is none.
    pub fn last(&self) -> Option<Link> {
        self.last
    }

    /// The time of the last entry pushed.
    pub fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// How many lines were pushed.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The name under which the log goes on after the last entry: that of the genesis, or of the
    /// newest `log.epoch`; `None` for a range without one.
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The root of the tree; `None` for a range, whose earlier leaves are not known.
    pub fn root(&self) -> Option<Hash> {
        self.tree.as_ref().map(Frontier::root)
    }

    /// The right edge of the tree; `None` for a range.
    pub fn frontier(&self) -> Option<&Frontier> {
        self.tree.as_ref()
    }

    /// Each customer's last entry in its own chain, of those that were seen.
    pub fn customers(&self) -> &BTreeMap<String, Link> {
        &self.customers
    }

    fn next(&mut self, line: &[u8]) -> Result<Entry, Fault> {
        let entry = Entry::parse(line)?;
        let due = self.size();
        if entry.seq > due {
            return Err(Fault::Missing { found: entry.seq });
        }
        if entry.seq < due {
            return Err(Fault::Doubled { found: entry.seq });
        }
        if entry.prev != self.last.map_or(Hash::ZERO, |last| last.leaf) {
            return Err(Fault::Prev);
        }
        check_genesis(&entry)?;
        if self.time.is_some_and(|before| entry.time < before) {
            return Err(Fault::Time);
        }
        let leaf = merkle::leaf_hash(line);
        if let Some(link) = &entry.customer {
            self.follow_customer(link, leaf)?;
        }
        self.last = Some(Link { seq: entry.seq, leaf });
        self.time = Some(entry.time);
        self.lines += 1;
        if let Some(origin) = origin_of(&entry) {
            self.origin = Some(origin);
        }
        if let Some(tree) = &mut self.tree {
            tree.push(leaf);
        }
        Ok(entry)
    }

    fn follow_customer(&mut self, link: &CustomerLink, leaf: Hash) -> Result<(), Fault> {
        let known = self.customers.get(&link.id).copied();
        let taken = known.is_none() && self.tree.is_none();
        follow(link, known, taken)?;
        let last = Link { seq: link.seq, leaf };
        self.customers.insert(link.id.clone(), last);
        Ok(())
    }
}

/// One customer's entries alone, as that customer's export holds them.
///
/// Proves that none is missing between the first and the last, and that none was changed; not
/// that they are in the log, and not that the last is the newest.
#[derive(Clone, Debug, Default)]
pub struct CustomerChain {
    customer: Option<String>,
    last: Option<Link>,
    /// The last line's place in the whole log.
    log: Option<Link>,
    time: Option<Timestamp>,
    lines: u64,
}

impl CustomerChain {
    /// The empty chain of this customer; `None`: of the customer of the first line.
    pub fn new(customer: Option<&str>) -> Self {
        let customer = customer.map(str::to_owned);
        Self { customer, ..Self::default() }
    }

    /// Append a line (without its newline), if it may follow; otherwise nothing changes.
    pub fn push(&mut self, line: &[u8]) -> Result<Entry, Broken> {
        let broken = |seq, fault| Broken { seq, line: Some(self.lines + 1), fault };
        let entry = Entry::parse(line).map_err(|e| broken(None, e.into()))?;
        let leaf = merkle::leaf_hash(line);
        let link = self.next(&entry).map_err(|fault| broken(Some(entry.seq), fault))?;
        self.customer = Some(link.id.clone());
        self.last = Some(Link { seq: link.seq, leaf });
        self.log = Some(Link { seq: entry.seq, leaf });
        self.time = Some(entry.time);
        self.lines += 1;
        Ok(entry)
    }

    /// The customer, once known.
    pub fn customer(&self) -> Option<&str> {
        self.customer.as_deref()
    }

    /// The last entry in the customer's own chain.
    pub fn last(&self) -> Option<Link> {
        self.last
    }

    /// The last entry in the log's chain.
    pub fn last_in_log(&self) -> Option<Link> {
        self.log
    }

    /// How many lines were pushed.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    fn next<'a>(&self, entry: &'a Entry) -> Result<&'a CustomerLink, Fault> {
        let link = entry.customer.as_ref().ok_or(Fault::OtherCustomer)?;
        if self.customer.as_ref().is_some_and(|id| *id != link.id) {
            return Err(Fault::OtherCustomer);
        }
        check_genesis(entry)?;
        follow(link, self.last, false)?;
        if let Some(log) = self.log {
            if entry.seq <= log.seq {
                return Err(Fault::Doubled { found: entry.seq });
            }
            if entry.seq == log.seq + 1 && entry.prev != log.leaf {
                return Err(Fault::Prev);
            }
        }
        if self.time.is_some_and(|before| entry.time < before) {
            return Err(Fault::Time);
        }
        Ok(link)
    }
}

/// Whether a customer's link may follow the customer's last entry; `taken`: what came before is
/// not known, so that only the first of all can be checked.
fn follow(link: &CustomerLink, last: Option<Link>, taken: bool) -> Result<(), Fault> {
    let expected = last.map_or(0, |last| last.seq + 1);
    let first_of_range = taken && link.seq > 0;
    if link.seq != expected && !first_of_range {
        return Err(Fault::CustomerSeq { expected, found: link.seq });
    }
    if link.prev != last.map_or(Hash::ZERO, |last| last.leaf) && !first_of_range {
        return Err(Fault::CustomerPrev);
    }
    Ok(())
}

/// The log's name from here on, in the two events that give it one.
fn origin_of(entry: &Entry) -> Option<String> {
    let named = matches!(entry.type_name(), Ok(("genesis" | "log.epoch", _)));
    match named.then(|| entry.event()).flatten()? {
        Event::Genesis { origin, .. } | Event::LogEpoch { origin, .. } => Some(origin),
        _ => None,
    }
}

/// Entry 0 and no other is a genesis, of a known format, and no customer's.
fn check_genesis(entry: &Entry) -> Result<(), Fault> {
    let (name, _) = entry.type_name()?;
    if (name == "genesis") != (entry.seq == 0) {
        return Err(Fault::Genesis);
    }
    if entry.seq > 0 {
        return Ok(());
    }
    match entry.event() {
        _ if entry.customer.is_some() => Err(Fault::Genesis),
        Some(Event::Genesis { format: FORMAT, .. }) => Ok(()),
        Some(Event::Genesis { format, .. }) => Err(Fault::Format(format)),
        _ => Err(Fault::Malformed(EntryError::Shape("not a genesis of version 1".into()))),
    }
}

impl From<CanonicalError> for Fault {
    fn from(error: CanonicalError) -> Self {
        Self::Malformed(error.into())
    }
}
