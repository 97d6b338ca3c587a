//! Reading the log: whatever leaves it was hashed again and fits the entry before.
//!
//! Lines are read in chunks, each with its own short look at the database: a long read would keep
//! SQLite's write-ahead log from being reset. Entries never change, so the chunks fit together.

use super::{
    Ledger,
    subjects::{Sealed, SubjectKeys},
};
use crate::{
    args,
    store::{Db, StoreError},
};
use audit_schema::{
    chain::{Chain, Link},
    commit::Opening,
    entry::Entry,
    hash::Hash,
    merkle,
};
use bastion_core::limits::LINES_READ_AT_ONCE;
use std::{collections::VecDeque, ops::Range};

/// An entry as it stands in the log, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The exact bytes, without a newline.
    pub line: Vec<u8>,
    /// Their leaf hash.
    pub leaf: Hash,
    /// What they say.
    pub entry: Entry,
    /// What its commitments open to, as far as it was not erased; only where it was asked for
    /// ([`Lines::with_openings`]).
    pub openings: Vec<Opening>,
}

/// Why the log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The database did not answer.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An entry is not what was written.
    #[error("the log is broken at entry {seq}: {fault}")]
    Broken {
        /// The first entry that does not hold.
        seq: u64,
        /// What is wrong with it.
        fault: String,
    },
}

impl ReadError {
    pub(super) fn broken(seq: u64, fault: impl Into<String>) -> Self {
        Self::Broken { seq, fault: fault.into() }
    }
}

/// The lines of a range, in order, each checked against the one before and each customer's against
/// that customer's one before.
#[derive(Debug)]
pub struct Lines {
    db: Db,
    range: Range<u64>,
    /// Empty until the entry before the range was read: what the first hangs on.
    chain: Option<Chain>,
    ready: VecDeque<Verified>,
    with_openings: Option<SubjectKeys>,
}

impl Lines {
    pub(super) fn new(db: Db, range: Range<u64>) -> Self {
        let chain = (range.start == 0).then(Chain::new);
        Self { db, range, chain, ready: VecDeque::new(), with_openings: None }
    }

    /// The same, with what the commitments open to, each checked against its entry.
    pub fn with_openings(self, keys: &SubjectKeys) -> Self {
        Self { with_openings: Some(keys.clone()), ..self }
    }

    /// The next entry; none at the end of the range.
    pub async fn next(&mut self) -> Result<Option<Verified>, ReadError> {
        if self.ready.is_empty() && !self.range.is_empty() {
            self.read_chunk().await?;
        }
        Ok(self.ready.pop_front())
    }

    /// The chain up to what was read.
    pub(super) fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    async fn read_chunk(&mut self) -> Result<(), ReadError> {
        let end = self.range.end.min(self.range.start + LINES_READ_AT_ONCE);
        let mut chain = match self.chain.take() {
            Some(chain) => chain,
            None => self.chain_before().await?,
        };
        let rows = self.db.rows(RANGE, &args![self.range.start, end]).await?;
        let opened = match &self.with_openings {
            Some(keys) => openings(&self.db, keys, self.range.start..end).await?,
            None => Vec::new(),
        };
        let mut opened = opened.into_iter().peekable();
        for row in &rows {
            let due = chain.size();
            // The column and the line both say where an entry stands; the chain reads the line.
            if row.u64(0)? != due {
                return Err(ReadError::broken(due, "it is missing"));
            }
            let line = row.bytes(1)?;
            let entry = chain.push(&line).map_err(|broken| ReadError::Broken {
                seq: broken.seq.unwrap_or(due),
                fault: broken.fault.to_string(),
            })?;
            let mut openings = Vec::new();
            while let Some(opening) = opened.next_if(|opening| opening.seq == due) {
                check_opening(&opening, &entry)?;
                openings.push(opening);
            }
            let leaf = merkle::leaf_hash(&line);
            self.ready.push_back(Verified { line, leaf, entry, openings });
        }
        if chain.size() < end {
            return Err(ReadError::broken(chain.size(), "it is missing"));
        }
        self.chain = Some(chain);
        self.range.start = end;
        Ok(())
    }

    async fn chain_before(&self) -> Result<Chain, ReadError> {
        // `new` gives a range that starts at 0 its chain, so there is an entry before.
        let seq = self.range.start.saturating_sub(1);
        let rows = self.db.rows(RANGE, &args![seq, self.range.start]).await?;
        let row = rows.first().ok_or_else(|| ReadError::broken(seq, "it is missing"))?;
        let leaf = merkle::leaf_hash(&row.bytes(1)?);
        Ok(Chain::after(Link { seq, leaf }))
    }
}

const RANGE: &str = "SELECT seq, line FROM entries WHERE seq >= $1 AND seq < $2 ORDER BY seq";

impl Ledger {
    /// The entries from one seq to before another, checked while they are read. The end is cut to
    /// what is there.
    pub async fn lines(&self, from: u64, to: u64) -> Result<Lines, ReadError> {
        lines(self.db(), from, to).await
    }

    /// One entry.
    pub async fn entry(&self, seq: u64) -> Result<Option<Verified>, ReadError> {
        let mut lines = self.lines(seq, seq.saturating_add(1)).await?;
        lines.next().await
    }

    /// What the commitments of an entry open to, as far as it was not erased; checked.
    pub async fn openings(&self, seq: u64) -> Result<Vec<Opening>, ReadError> {
        let lines = self.lines(seq, seq.saturating_add(1)).await?;
        let found = lines.with_openings(self.keys()).next().await?;
        Ok(found.map(|found| found.openings).unwrap_or_default())
    }

    /// The openings of a range of entries, by entry and field; not held against their entries.
    pub async fn openings_between(&self, range: Range<u64>) -> Result<Vec<Opening>, ReadError> {
        openings(self.db(), self.keys(), range).await
    }
}

/// [`Ledger::lines`], for a store that is read while no gateway runs.
pub async fn lines(db: &Db, from: u64, to: u64) -> Result<Lines, ReadError> {
    let size = super::head::Head::read(db).await?.size();
    let to = to.min(size);
    Ok(Lines::new(db.clone(), from.min(to)..to))
}

/// A line as it is stored, unchecked; none where the log has none.
pub(super) async fn line_raw(db: &Db, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let row = db.row_opt("SELECT line FROM entries WHERE seq = $1", &args![seq]).await?;
    row.map(|row| row.bytes(0)).transpose()
}

/// The lines of a range that is in the log, as they are stored, unchecked.
pub(super) async fn lines_raw(db: &Db, range: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows = db.rows(RANGE, &args![range.start, range.end]).await?;
    if rows.len() as u64 != range.end.saturating_sub(range.start) {
        let fault = format!("entries are missing between {} and {}", range.start, range.end);
        return Err(StoreError::failed(fault));
    }
    rows.iter().map(|row| row.bytes(1)).collect()
}

/// The openings of a range of entries, by entry and field, as far as they were not erased.
pub(super) async fn openings(
    db: &Db,
    keys: &SubjectKeys,
    range: Range<u64>,
) -> Result<Vec<Opening>, ReadError> {
    let sealed = sealed(db, range).await?;
    keys.unseal(sealed).await?.map_err(|seq| {
        ReadError::broken(seq, "what a commitment opens to was changed, or moved from elsewhere")
    })
}

pub(super) async fn sealed(db: &Db, range: Range<u64>) -> Result<Vec<Sealed>, StoreError> {
    let sql = "SELECT seq, field, key, sealed FROM openings
               WHERE seq >= $1 AND seq < $2 ORDER BY seq, field";
    let rows = db.rows(sql, &args![range.start, range.end]).await?;
    let sealed = rows.iter().map(|row| {
        Ok(Sealed { seq: row.u64(0)?, field: row.text(1)?, key: row.i64(2)?, bytes: row.bytes(3)? })
    });
    sealed.collect()
}

/// An opening that does not open its commitment was put there by somebody else than the log.
fn check_opening(opening: &Opening, entry: &Entry) -> Result<(), ReadError> {
    opening.check(entry).map_err(|bad| {
        ReadError::broken(entry.seq, format!("what `{}` opens to: {bad}", opening.field))
    })
}
