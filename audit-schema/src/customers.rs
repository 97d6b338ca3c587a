//! The map of customers: where each one's own chain had come to, at a heartbeat.
//!
//! ```text
//! {"customer":"9c1f…64 hex…","head":"95f2…64 hex…","seq":41}
//! ```
//!
//! Each customer has one such line: `customer` is its id, blinded, `seq` and `head` are those of
//! its newest entry. The lines, sorted by `customer`, are the leaves of an RFC 6962 tree whose root
//! and size every `heartbeat` entry holds. So a customer that is handed its place in that tree
//! knows that the log committed to *this* end of its chain, before everybody, and learns nothing of
//! the others: what stands beside it in the proof are hashes over blinded ids.

use crate::{
    commit,
    hash::Hash,
    merkle::{self, BadProof, TreeHead},
};

/// A customer's id as the map has it: HMAC-SHA256 with the customer's blind, 32 random bytes that
/// it knows and keeps, as the key, over its id.
pub fn blinded(customer: &str, blind: &[u8; 32]) -> Hash {
    commit::commitment(blind, customer)
}

/// A customer's line of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The blinded id.
    pub customer: Hash,
    /// The leaf hash of its newest entry.
    pub head: Hash,
    /// That entry's number in the customer's chain.
    pub seq: u64,
}

impl Row {
    /// The line, canonical as an entry is.
    pub fn line(&self) -> String {
        format!(r#"{{"customer":"{}","head":"{}","seq":{}}}"#, self.customer, self.head, self.seq)
    }

    fn leaf(&self) -> Hash {
        merkle::leaf_hash(self.line().as_bytes())
    }
}

/// The map at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerMap {
    rows: Vec<Row>,
    leaves: Vec<Hash>,
}

impl CustomerMap {
    /// The map of these rows, in whatever order; `None` where a customer stands there twice.
    pub fn new(mut rows: Vec<Row>) -> Option<Self> {
        rows.sort_unstable();
        let twice = rows.windows(2).any(|pair| pair[0].customer == pair[1].customer);
        let leaves = rows.iter().map(Row::leaf).collect();
        (!twice).then_some(Self { rows, leaves })
    }

    /// How many customers, and the root over their rows: what a heartbeat holds.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.rows.len() as u64, root: merkle::root(&self.leaves) }
    }

    /// A customer's row, its index, and the proof that it stands there.
    pub fn place(&self, customer: &Hash) -> Option<(Row, u64, Vec<Hash>)> {
        let at = self.rows.binary_search_by_key(customer, |row| row.customer).ok()?;
        let proof = merkle::inclusion_proof(&self.leaves, at as u64)?;
        Some((self.rows[at], at as u64, proof))
    }
}

/// Check that a row is number `index` of the map with this size and root.
pub fn verify_place(row: &Row, index: u64, proof: &[Hash], map: &TreeHead) -> Result<(), BadProof> {
    merkle::verify_inclusion(&row.leaf(), index, proof, map)
}
