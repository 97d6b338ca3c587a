//! The newest part of the tree, in memory: what a proof about a recent entry needs, without asking
//! the store.
//!
//! It holds every node of the tree that ends after a place called its start, and the right edge of
//! the tree at that place: together they are enough for the proof of any entry from there on, and
//! for the proof that the log extends any size from there on. What lies before stands in the
//! published tiles. The writer appends each batch when it is durable; entries of other gateways
//! are read from the store by whoever needs them.

use audit_schema::{
    hash::Hash,
    merkle::{Frontier, TreeHead, node_hash},
};
use bastion_core::limits::TAIL_LEAVES_MAX;
use std::ops::Range;

/// A node: the root over the `2^level` leaves from `index * 2^level` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub level: u32,
    pub index: u64,
}

impl Node {
    /// The leaves that it is the root over.
    pub fn leaves(&self) -> Range<u64> {
        self.index << self.level..(self.index + 1) << self.level
    }
}

/// The newest part of the tree.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    start: u64,
    end: u64,
    /// The roots of the perfect subtrees before the start, the lowest level first.
    edge: Vec<Option<Hash>>,
    /// By level, the nodes from `start >> level` on.
    levels: Vec<Vec<Hash>>,
}

impl Tail {
    /// Of a log with this right edge, and nothing after it yet.
    pub fn after(frontier: &Frontier) -> Self {
        let start = frontier.size();
        let encoded = frontier.encode();
        // The size, then each root, the largest subtree first.
        let (_, roots) = encoded.split_at(size_of::<u64>());
        let mut roots = roots.as_chunks::<32>().0.iter().rev().copied().map(Hash);
        let bits = 0..u64::BITS - start.leading_zeros();
        let edge = bits.map(|level| if start >> level & 1 == 1 { roots.next() } else { None });
        Self { start, end: start, edge: edge.collect(), levels: Vec::new() }
    }

    /// From where on it can prove.
    pub fn start(&self) -> u64 {
        self.start
    }
    /// The size of the log as far as it is known here.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// One more leaf.
    pub fn push(&mut self, leaf: Hash) {
        let (mut node, mut index) = (leaf, self.end);
        for level in 0.. {
            if self.levels.len() <= level as usize {
                self.levels.push(Vec::new());
            }
            let left = (index % 2 == 1).then(|| self.node(Node { level, index: index - 1 }));
            self.levels[level as usize].push(node);
            // A left node there always is: all before the end is in the edge or in the levels.
            let Some(Some(left)) = left else { break };
            node = node_hash(&left, &node);
            index >>= 1;
        }
        self.end += 1;
        if self.end - self.start > TAIL_LEAVES_MAX as u64 {
            self.begin_at(self.end - TAIL_LEAVES_MAX as u64 / 2);
        }
    }

    /// A node, if it is whole and here.
    pub fn node(&self, at: Node) -> Option<Hash> {
        let level = at.level as usize;
        let first = self.start >> at.level;
        match at.index.checked_sub(first) {
            Some(behind) => self.levels.get(level)?.get(usize::try_from(behind).ok()?).copied(),
            None if at.index + 1 == first => self.edge.get(level).copied().flatten(),
            None => None,
        }
    }

    /// The root over the first `size` leaves.
    pub fn head(&self, size: u64) -> Option<TreeHead> {
        if size == 0 {
            return Some(Frontier::new().head());
        }
        let root = fold(nodes_of(&(0..size)).iter().map(|node| self.node(*node)))?;
        (size <= self.end).then_some(TreeHead { size, root })
    }

    /// Forgets what ends before a place.
    fn begin_at(&mut self, start: u64) {
        let bits = 0..u64::BITS - start.leading_zeros();
        let edge = bits.map(|level| {
            let before = Node { level, index: (start >> level).saturating_sub(1) };
            if start >> level & 1 == 1 { self.node(before) } else { None }
        });
        let edge = edge.collect();
        for (level, nodes) in self.levels.iter_mut().enumerate() {
            let gone = (start >> level) - (self.start >> level);
            nodes.drain(..nodes.len().min(usize::try_from(gone).unwrap_or(usize::MAX)));
        }
        self.edge = edge;
        self.start = start;
    }
}

/// The perfect subtrees that a subtree of a proof is made of, from left to right: one, unless it
/// is at the right edge of the tree.
pub(super) fn nodes_of(range: &Range<u64>) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let level = (range.end - at).ilog2();
        nodes.push(Node { level, index: at >> level });
        at += 1 << level;
    }
    nodes
}

/// The root over perfect subtrees, from left to right; none where one is missing.
pub(super) fn fold(nodes: impl DoubleEndedIterator<Item = Option<Hash>>) -> Option<Hash> {
    let mut nodes = nodes.rev();
    let last = nodes.next()??;
    nodes.try_fold(last, |right, left| Some(node_hash(&left?, &right)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit_schema::merkle;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|seq| merkle::leaf_hash(&seq.to_be_bytes())).collect()
    }

    fn tail(leaves: &[Hash], start: usize) -> Tail {
        let mut frontier = Frontier::new();
        leaves[..start].iter().for_each(|leaf| frontier.push(*leaf));
        let mut tail = Tail::after(&frontier);
        leaves[start..].iter().for_each(|leaf| tail.push(*leaf));
        tail
    }

    fn root_of(tail: &Tail, range: &Range<u64>) -> Option<Hash> {
        fold(nodes_of(range).iter().map(|node| tail.node(*node)))
    }

    /// Every proof from the start on is there, whatever the start, and is the one of all leaves.
    #[test]
    fn all_proofs_from_the_start_on_are_here() {
        for size in 1..40_u64 {
            let all = leaves(size);
            for start in 0..=size {
                let tail = tail(&all, start as usize);
                let head = TreeHead { size, root: merkle::root(&all) };
                assert_eq!(tail.head(size), Some(head), "{start} of {size}");
                for at in start..size {
                    let ranges = merkle::inclusion_ranges(at, size).unwrap();
                    let proof: Option<Vec<_>> =
                        ranges.iter().map(|range| root_of(&tail, range)).collect();
                    assert_eq!(proof, merkle::inclusion_proof(&all, at), "{at} of {size}");
                }
                for old in start..=size {
                    let ranges = merkle::consistency_ranges(old, size).unwrap();
                    let proof: Option<Vec<_>> =
                        ranges.iter().map(|range| root_of(&tail, range)).collect();
                    assert_eq!(proof, merkle::consistency_proof(&all, old), "{old} to {size}");
                }
            }
        }
    }

    #[test]
    fn what_is_forgotten_is_not_needed_from_then_on() {
        let all = leaves(100);
        for start in 0..100 {
            let mut cut = tail(&all, 0);
            cut.begin_at(start);
            let fresh = tail(&all, start as usize);
            assert_eq!((&cut.edge, cut.start, cut.end), (&fresh.edge, fresh.start, fresh.end));
            for (level, nodes) in fresh.levels.iter().enumerate() {
                assert_eq!(&cut.levels[level], nodes, "level {level} from {start}");
            }
        }
    }
}
