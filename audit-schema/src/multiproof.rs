//! One proof for many leaves: the smallest set of subtree roots from which, with those leaves, the
//! root of the tree is computed.
//!
//! A customer's entries share most of their inclusion proofs. Here each hash stands once: the tree
//! is cut as RFC 6962 cuts it; a part without a leaf of ours gives its root, a leaf of ours gives
//! nothing, any other part is cut again. The order is from the left, so the leaves' places alone
//! say what each hash is, and how many there must be.

use crate::{
    hash::Hash,
    merkle::{BadProof, SIZE_MAX, TreeHead, node_hash, split},
};
use std::ops::Range;

/// The subtrees whose roots make the proof for these leaves, from the left; `None` where the leaves
/// are none, not in ascending order, or not all within the tree.
pub fn ranges(leaves: &[u64], size: u64) -> Option<Vec<Range<u64>>> {
    let ascending = leaves.windows(2).all(|pair| pair[0] < pair[1]);
    let within = leaves.last().is_some_and(|last| *last < size) && size <= SIZE_MAX;
    let mut out = Vec::new();
    (ascending && within).then(|| {
        cut(&(0..size), leaves, &mut out);
        out
    })
}

/// Check that these leaves, by number and hash and in ascending order, are in a tree.
pub fn verify(leaves: &[(u64, Hash)], proof: &[Hash], head: &TreeHead) -> Result<(), BadProof> {
    let places: Vec<u64> = leaves.iter().map(|(place, _)| *place).collect();
    let expected = ranges(&places, head.size).ok_or(BadProof::Position)?.len();
    if proof.len() != expected {
        return Err(BadProof::Length { expected, found: proof.len() });
    }
    let mut proof = proof.iter();
    match join(&(0..head.size), leaves, &mut proof) {
        Some(root) if root == head.root && proof.as_slice().is_empty() => Ok(()),
        _ => Err(BadProof::Root),
    }
}

/// Recursion ends after 53 cuts: a range is halved each time, and a tree has at most 2^53 leaves.
fn cut(range: &Range<u64>, leaves: &[u64], out: &mut Vec<Range<u64>>) {
    if leaves.is_empty() {
        out.push(range.clone());
    } else if range.end - range.start > 1 {
        let middle = split(range);
        let (left, right) = leaves.split_at(leaves.partition_point(|leaf| *leaf < middle));
        cut(&(range.start..middle), left, out);
        cut(&(middle..range.end), right, out);
    }
}

/// The root of a range; `None` where the proof has too few hashes.
fn join(
    range: &Range<u64>,
    leaves: &[(u64, Hash)],
    proof: &mut std::slice::Iter<'_, Hash>,
) -> Option<Hash> {
    match leaves {
        [] => proof.next().copied(),
        [(_, leaf)] if range.end - range.start == 1 => Some(*leaf),
        _ => {
            let middle = split(range);
            let cut = leaves.partition_point(|(place, _)| *place < middle);
            let left = join(&(range.start..middle), &leaves[..cut], proof)?;
            let right = join(&(middle..range.end), &leaves[cut..], proof)?;
            Some(node_hash(&left, &right))
        }
    }
}
