//! The RFC 6962 tree over the lines: leaf and node hashes, the right edge, and proofs.
//!
//! The writer keeps only the right edge ([`Frontier`]): at most 53 hashes, and what it needs to
//! append a leaf or to say the root. Proofs are lists of roots of subtrees. [`inclusion_ranges`]
//! and [`consistency_ranges`] say which subtrees, so that a proof can be built from a slice of
//! leaf hashes, from tiles, or from a database; the verifiers need nothing but the proof.
//!
//! Every function is total: no input makes one panic, and a size, an index or a proof that cannot
//! be is refused. (A verifier that skipped a subtree because its index looked familiar is how
//! GO-2026-6179 came about; here each hash of a proof is consumed, and none may be left.)

use crate::hash::Hash;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// The largest tree: `seq` is a JSON integer of at most 2^53 - 1, so there are 2^53 leaves.
pub const SIZE_MAX: u64 = 1 << 53;

/// A tree of a size has one root: what a checkpoint signs and what proofs are checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// The number of leaves.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: Hash,
}

/// Bytes that are not the right edge of a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the right edge of a tree: a size and one hash for each of its set bits")]
pub struct BadFrontier;

/// A proof that does not prove what it was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// The index or the old size is not within the tree, or the tree is larger than any.
    #[error("the position is not within the tree")]
    Position,
    /// More or fewer hashes than this position has.
    #[error("the proof has {found} hashes where {expected} are due")]
    Length {
        /// What the position asks for.
        expected: usize,
        /// What the proof has.
        found: usize,
    },
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// RFC 6962 §2.1: SHA-256 of a zero byte and the leaf.
pub fn leaf_hash(line: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(line).finalize().into())
}

/// RFC 6962 §2.1: SHA-256 of a one byte and the two children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([1])
            .chain_update(left.0)
            .chain_update(right.0)
            .finalize()
            .into(),
    )
}

/// RFC 6962 §2.1: the root over leaf hashes; over none it is SHA-256 of nothing.
pub fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// The right edge of a tree: the roots of its perfect subtrees, the largest (leftmost) first, one
/// for each set bit of the size. Also called a compact range.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// The right edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Append a leaf, by its [`leaf_hash`]; amortised one node hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        // A carry of the binary counter `size`: each trailing one is a subtree as large as `node`.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.roots.push(node);
        // Cannot overflow: `decode` starts below 2^53, and nobody appends 2^63 leaves after that.
        self.size += 1;
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The RFC 6962 root; at most 52 node hashes.
    pub fn root(&self) -> Hash {
        let fold = self.roots.iter().rev().copied();
        fold.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(|| Hash::of(b""))
    }

    /// Size and root together.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }

    /// The inclusion proof of leaf `index` in the tree after this one's next leaves, `batch`, if it
    /// is one of them: from this edge and the batch alone. `None` where it is not.
    pub fn inclusion_of_appended(&self, batch: &[Hash], index: u64) -> Option<Vec<Hash>> {
        if index < self.size {
            return None;
        }
        let size = self.size.checked_add(batch.len() as u64)?;
        let ranges = inclusion_ranges(index, size)?;
        ranges.iter().map(|range| self.root_of(batch, range)).collect()
    }

    /// The proof that the tree after this one's next leaves, `batch`, extends this one.
    pub fn consistency_of_appended(&self, batch: &[Hash]) -> Option<Vec<Hash>> {
        let size = self.size.checked_add(batch.len() as u64)?;
        let ranges = consistency_ranges(self.size, size)?;
        ranges.iter().map(|range| self.root_of(batch, range)).collect()
    }

    /// The root of a range of the tree after `batch`, where it begins with a subtree of this edge
    /// or after it. A range that RFC 6962 cuts and that this edge does not hold as one subtree is
    /// never beside a leaf of the batch.
    fn root_of(&self, batch: &[Hash], range: &Range<u64>) -> Option<Hash> {
        let (mut start, mut part) = (0, Self::new());
        for hash in &self.roots {
            let length = 1 << (self.size - start).ilog2();
            if start >= range.start && start + length <= range.end {
                part.size += length;
                part.roots.push(*hash);
            }
            start += length;
        }
        let from = range.start.max(self.size) - self.size;
        let leaves = from.try_into().ok()?..range.end.saturating_sub(self.size).try_into().ok()?;
        // A range that ends before the batch takes nothing of it.
        let leaves = if leaves.start < leaves.end { batch.get(leaves)? } else { &[] };
        leaves.iter().for_each(|leaf| part.push(*leaf));
        (part.size == range.end - range.start).then(|| part.root())
    }

    /// The size as 8 bytes, big-endian, then each root's 32 bytes, the largest subtree first.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 32 * self.roots.len());
        out.extend(self.size.to_be_bytes());
        self.roots.iter().for_each(|hash| out.extend(hash.0));
        out
    }

    /// What [`Frontier::encode`] wrote; exactly one encoding of each frontier is accepted.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFrontier> {
        let (size, roots) = bytes.split_first_chunk::<8>().ok_or(BadFrontier)?;
        let size = u64::from_be_bytes(*size);
        let (roots, rest) = roots.as_chunks::<32>();
        if size > SIZE_MAX || roots.len() != size.count_ones() as usize || !rest.is_empty() {
            return Err(BadFrontier);
        }
        let roots = roots.iter().copied().map(Hash).collect();
        Ok(Self { size, roots })
    }
}

/// The subtrees whose roots prove that leaf `index` is in a tree of `size`, the lowest first
/// (RFC 9162 §2.1.3.1); `None` where there is no such leaf.
pub fn inclusion_ranges(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if index >= size || size > SIZE_MAX {
        return None;
    }
    let (mut range, mut siblings) = (0..size, Vec::new());
    while range.end - range.start > 1 {
        let middle = split(&range);
        if index < middle {
            siblings.push(middle..range.end);
            range.end = middle;
        } else {
            siblings.push(range.start..middle);
            range.start = middle;
        }
    }
    siblings.reverse();
    Some(siblings)
}

/// The subtrees whose roots prove that a tree of `size` extends the one of its first `old` leaves,
/// in the order of RFC 9162 §2.1.4.1; empty where `old` is 0 or `size`, and `None` where it is
/// more.
pub fn consistency_ranges(old: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if old > size || size > SIZE_MAX {
        return None;
    }
    if old == 0 || old == size {
        return Some(Vec::new());
    }
    let (mut range, mut siblings) = (0..size, Vec::new());
    while range.end != old {
        let middle = split(&range);
        if old <= middle {
            siblings.push(middle..range.end);
            range.end = middle;
        } else {
            siblings.push(range.start..middle);
            range.start = middle;
        }
    }
    // Where the old tree is itself a subtree, its root is what the verifier already has.
    if range.start > 0 {
        siblings.push(range);
    }
    siblings.reverse();
    Some(siblings)
}

/// The inclusion proof of leaf `index` in the tree over all these leaf hashes; `None` where there
/// is no such leaf. Hashes every leaf once: build from stored nodes where trees are large.
pub fn inclusion_proof(leaves: &[Hash], index: u64) -> Option<Vec<Hash>> {
    prove(leaves, inclusion_ranges(index, leaves.len() as u64)?)
}

/// The proof that the tree over all these leaf hashes extends the one over the first `old`;
/// `None` where `old` is more than there are.
pub fn consistency_proof(leaves: &[Hash], old: u64) -> Option<Vec<Hash>> {
    prove(leaves, consistency_ranges(old, leaves.len() as u64)?)
}

/// Check that the leaf with this hash is number `index` of the tree (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    proof: &[Hash],
    head: &TreeHead,
) -> Result<(), BadProof> {
    let ranges = inclusion_ranges(index, head.size).ok_or(BadProof::Position)?;
    same_length(&ranges, proof)?;
    let mut node = *leaf;
    for (range, sibling) in ranges.iter().zip(proof) {
        node =
            if range.start > index { node_hash(&node, sibling) } else { node_hash(sibling, &node) };
    }
    if node == head.root { Ok(()) } else { Err(BadProof::Root) }
}

/// Check that the new tree begins with the old one (RFC 9162 §2.1.4.2). Every tree extends the
/// empty one; equal sizes need equal roots and an empty proof.
pub fn verify_consistency(old: &TreeHead, new: &TreeHead, proof: &[Hash]) -> Result<(), BadProof> {
    let ranges = consistency_ranges(old.size, new.size).ok_or(BadProof::Position)?;
    same_length(&ranges, proof)?;
    let sound = |head: &TreeHead| head.size > 0 || head.root == Hash::of(b"");
    let same = old.size != new.size || old.root == new.root;
    if !(sound(old) && sound(new) && same) {
        return Err(BadProof::Root);
    }
    if old.size == 0 || old.size == new.size {
        return Ok(());
    }
    // Both roots are computed from the same hashes, so they cannot disagree about the old leaves.
    let mut pairs = ranges.iter().zip(proof);
    let (mut old_node, mut new_node) = if old.size.is_power_of_two() {
        (old.root, old.root)
    } else {
        // Not a power of two, so the old tree is not a subtree and its last part leads the proof.
        pairs.next().map_or((old.root, old.root), |(_, hash)| (*hash, *hash))
    };
    for (range, hash) in pairs {
        if range.start >= old.size {
            new_node = node_hash(&new_node, hash);
        } else {
            old_node = node_hash(hash, &old_node);
            new_node = node_hash(hash, &new_node);
        }
    }
    if old_node == old.root && new_node == new.root { Ok(()) } else { Err(BadProof::Root) }
}

/// Where RFC 6962 cuts a range of more than one leaf: after the largest power of two that leaves
/// something to the right.
pub(crate) fn split(range: &Range<u64>) -> u64 {
    let length = range.end - range.start;
    range.start + (1 << (length - 1).ilog2())
}

fn same_length(ranges: &[Range<u64>], proof: &[Hash]) -> Result<(), BadProof> {
    if ranges.len() == proof.len() {
        Ok(())
    } else {
        Err(BadProof::Length { expected: ranges.len(), found: proof.len() })
    }
}

fn prove(leaves: &[Hash], ranges: Vec<Range<u64>>) -> Option<Vec<Hash>> {
    let subtree = |range: Range<u64>| {
        let (start, end) = (range.start.try_into().ok()?, range.end.try_into().ok()?);
        leaves.get::<Range<usize>>(start..end).map(root)
    };
    ranges.into_iter().map(subtree).collect()
}
