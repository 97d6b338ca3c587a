//! The head of the log: how many entries there are, and what the next one hangs on; and the heads
//! of the customers' own chains.

use super::empty;
use crate::{
    args,
    store::{Db, Row, StoreError, Tx},
};
use audit_schema::{hash::Hash, merkle::Frontier, time::Timestamp};

/// The one row of `head`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    frontier: Frontier,
    leaf: Hash,
    time: Timestamp,
}

const READ: &str = "SELECT size, leaf, frontier, time FROM head WHERE id = 1";
/// The clock is asked outside the locking part, so that it is read after the wait for the lock.
const LOCK: &str = "SELECT size, leaf, frontier, time,
      (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    FROM (SELECT size, leaf, frontier, time FROM head WHERE id = 1 FOR UPDATE) AS locked";

impl Head {
    /// The head of a log without entries.
    pub fn empty() -> Self {
        Self { frontier: empty(), leaf: Hash::ZERO, time: Timestamp::from_micros(0) }
    }

    /// The head as it is now.
    pub async fn read(db: &Db) -> Result<Self, StoreError> {
        let row = db.row_opt(READ, &[]).await?;
        Self::of(&row.ok_or_else(missing)?)
    }

    /// The head inside a transaction that only reads.
    pub async fn read_in(tx: &mut Tx) -> Result<Option<Self>, StoreError> {
        let row = tx.row_opt(READ, &[]).await?;
        row.map(|row| Self::of(&row)).transpose()
    }

    /// Takes the head: nobody else can append until this transaction ends. Answers the database's
    /// clock too, where it has one of its own.
    pub async fn lock(tx: &mut Tx) -> Result<(Self, Option<Timestamp>), StoreError> {
        let postgres = tx.is_postgres();
        let row = tx.row_opt(if postgres { LOCK } else { READ }, &[]).await?;
        let row = row.ok_or_else(missing)?;
        let clock = if postgres { row.opt_time(4)? } else { None };
        Ok((Self::of(&row)?, clock))
    }

    fn of(row: &Row) -> Result<Self, StoreError> {
        let shape = |what: &str| StoreError::Shape(format!("the head's {what}"));
        let frontier = Frontier::decode(&row.bytes(2)?).map_err(|_| shape("frontier"))?;
        let leaf = Hash::from_slice(&row.bytes(1)?).map_err(|_| shape("leaf"))?;
        if row.u64(0)? != frontier.size() {
            return Err(shape("size"));
        }
        Ok(Self { frontier, leaf, time: row.time(3)? })
    }

    /// The head after one more entry.
    pub fn push(&mut self, leaf: Hash, time: Timestamp) {
        self.frontier.push(leaf);
        self.leaf = leaf;
        self.time = time;
    }

    /// Writes this head where `before` stands. Nobody else can have moved it under our lock; if
    /// somebody has, the compare fails and the batch with it.
    pub async fn replace(&self, before: &Self, tx: &mut Tx) -> Result<(), StoreError> {
        let changed = tx
            .run(
                "UPDATE head SET size = $1, leaf = $2, frontier = $3, time = $4
                 WHERE id = 1 AND size = $5 AND leaf = $6",
                &args![
                    self.size(),
                    self.leaf.as_bytes().as_slice(),
                    self.frontier.encode(),
                    self.time,
                    before.size(),
                    before.leaf.as_bytes().as_slice(),
                ],
            )
            .await?;
        match changed {
            1 => Ok(()),
            _ => Err(StoreError::failed("the head of the log moved under its lock")),
        }
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }
    /// The leaf hash of the last entry; zeros before the first.
    pub fn leaf(&self) -> Hash {
        self.leaf
    }
    /// The time of the last entry.
    pub fn time(&self) -> Timestamp {
        self.time
    }
    /// The right edge of the tree over all entries.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}

fn missing() -> StoreError {
    StoreError::Unfit("the store has no log: make a deployment with `bastion init` first".into())
}

/// Where each customer's own chain ends.
pub(super) const CUSTOMER_HEADS: &str = "SELECT customer, seq, leaf FROM customer_heads";

/// A row of [`CUSTOMER_HEADS`]: the customer, its last entry's place in its chain, and its leaf.
pub(super) fn customer_head(row: &Row) -> Result<(String, (u64, Hash)), StoreError> {
    Ok((row.text(0)?, (row.u64(1)?, customer_leaf(row, 2)?)))
}

/// The leaf of a customer's last entry, in a column of a row.
pub(super) fn customer_leaf(row: &Row, column: usize) -> Result<Hash, StoreError> {
    let leaf = Hash::from_slice(&row.bytes(column)?);
    leaf.map_err(|_| StoreError::Shape("a customer's leaf".into()))
}
