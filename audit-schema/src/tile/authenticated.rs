//! Tiles that were checked: the only ones that proofs are built from.
//!
//! The partial tiles of a tree are its right edge, so their hashes lead to its root, all of them.
//! Every full tile has its root in the tile above, which is checked before it. A tile that is
//! nowhere tied to the root is refused, not skipped: there is no list of "already seen" places that
//! an index could run past (GO-2026-6179), only the set of tiles itself.

use super::{HEIGHT, Tile, edge::root_of_levels, root_of_full};
use crate::{
    hash::Hash,
    merkle::{self, TreeHead, consistency_ranges, inclusion_ranges, node_hash},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// Why tiles are not those of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTiles {
    /// The file has another length than its name says.
    #[error("{0}: it is not as long as its name says")]
    Length(Tile),
    /// A tile is needed and not there.
    #[error("{0}: it is missing")]
    Absent(Tile),
    /// A tile that this tree does not have.
    #[error("{0}: a tree of this size has no such tile")]
    Foreign(Tile),
    /// Its root is not the hash that the tile above has of it.
    #[error("{0}: it was changed, or the tile above it was: its root is not what stands there")]
    Changed(Tile),
    /// The tiles of the right edge lead to another root.
    #[error(
        "the partial tiles lead to another root than the checkpoint's: one of them was changed"
    )]
    Root,
    /// Leaves that this tree does not have, or a tree that is larger than any.
    #[error("the position is not within the tree")]
    Position,
}

/// The tiles that the roots of these ranges of leaves are computed from in a tree of this size, and
/// all that tie them to its root. Ranges are those that RFC 6962 cuts: see
/// [`inclusion_ranges`], [`consistency_ranges`].
pub fn needed(ranges: &[Range<u64>], size: u64) -> BTreeSet<Tile> {
    let mut tiles: BTreeSet<Tile> = Tile::partial(size).collect();
    for range in ranges {
        for subtree in subtrees(range) {
            let mut next = place(&subtree, size).map(|(tile, _)| tile);
            while let Some(tile) = next.filter(|tile| tiles.insert(*tile)) {
                next = tile.above(size).map(|(above, _)| above);
            }
        }
    }
    tiles
}

/// Tiles of a tree, every one of which was checked against its root.
#[derive(Clone, Debug)]
pub struct Tiles {
    head: TreeHead,
    tiles: BTreeMap<Tile, Vec<Hash>>,
}

impl Tiles {
    /// Check files against a root. All partial tiles of the tree must be there, and for each full
    /// tile those above it; [`needed`] names them. One that is not of this tree is refused.
    pub fn authenticate(head: TreeHead, files: BTreeMap<Tile, Vec<u8>>) -> Result<Self, BadTiles> {
        if head.size > merkle::SIZE_MAX {
            return Err(BadTiles::Position);
        }
        let mut tiles = BTreeMap::new();
        for (tile, bytes) in files {
            let hashes = tile.decode(&bytes).ok_or(BadTiles::Length(tile))?;
            tiles.insert(tile, hashes);
        }
        let mut edge = Vec::new();
        for tile in Tile::partial(head.size) {
            edge.push(tiles.get(&tile).ok_or(BadTiles::Absent(tile))?.as_slice());
        }
        if root_of_levels(edge.into_iter()) != head.root {
            return Err(BadTiles::Root);
        }
        // Each tile against the one above it. That one is in the set and is checked here too, so
        // that each has an unbroken way up to a partial tile, whose hashes all are in the root.
        for (tile, hashes) in &tiles {
            if Tile::of_tree(tile.level(), tile.index(), head.size) != Some(*tile) {
                return Err(BadTiles::Foreign(*tile));
            }
            if !tile.is_full() {
                continue;
            }
            let (above, at) = tile.above(head.size).ok_or(BadTiles::Foreign(*tile))?;
            let expected = tiles.get(&above).ok_or(BadTiles::Absent(above))?[at];
            if root_of_full(hashes) != expected {
                return Err(BadTiles::Changed(*tile));
            }
        }
        Ok(Self { head, tiles })
    }

    /// The tree that these tiles are of.
    pub fn head(&self) -> TreeHead {
        self.head
    }

    /// The hashes of a tile that was checked.
    pub fn hashes(&self, tile: Tile) -> Option<&[Hash]> {
        self.tiles.get(&tile).map(Vec::as_slice)
    }

    /// The hash of a leaf.
    pub fn leaf(&self, index: u64) -> Result<Hash, BadTiles> {
        self.root_of(&(index..index.saturating_add(1)))
    }

    /// The root of a range of leaves that RFC 6962 cuts.
    pub fn root_of(&self, range: &Range<u64>) -> Result<Hash, BadTiles> {
        if range.is_empty() || range.end > self.head.size {
            return Err(BadTiles::Position);
        }
        let mut right = None;
        for subtree in subtrees(range).into_iter().rev() {
            let left = self.subtree(&subtree)?;
            right = Some(right.map_or(left, |right| node_hash(&left, &right)));
        }
        right.ok_or(BadTiles::Position)
    }

    /// The inclusion proof of a leaf.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, BadTiles> {
        let ranges = inclusion_ranges(index, self.head.size).ok_or(BadTiles::Position)?;
        ranges.iter().map(|range| self.root_of(range)).collect()
    }

    /// The proof that this tree extends that of its first `old` leaves.
    pub fn consistency(&self, old: u64) -> Result<Vec<Hash>, BadTiles> {
        let ranges = consistency_ranges(old, self.head.size).ok_or(BadTiles::Position)?;
        ranges.iter().map(|range| self.root_of(range)).collect()
    }

    fn subtree(&self, subtree: &Range<u64>) -> Result<Hash, BadTiles> {
        let (tile, places) = place(subtree, self.head.size).ok_or(BadTiles::Position)?;
        let hashes = self.tiles.get(&tile).ok_or(BadTiles::Absent(tile))?;
        hashes.get(places).map(root_of_full).ok_or(BadTiles::Position)
    }
}

/// A range, cut into its perfect subtrees, from the left.
fn subtrees(range: &Range<u64>) -> Vec<Range<u64>> {
    let (mut start, mut cut) = (range.start, Vec::new());
    while start < range.end {
        let largest = 1_u64 << (range.end - start).ilog2();
        let aligned = if start == 0 { largest } else { 1 << start.trailing_zeros() };
        let length = largest.min(aligned);
        cut.push(start..start + length);
        start += length;
    }
    cut
}

/// Where a perfect subtree stands: the lowest tile of a tree of this size that has it whole, as the
/// hashes that it is the root of.
fn place(subtree: &Range<u64>, size: u64) -> Option<(Tile, Range<usize>)> {
    let height = (subtree.end - subtree.start).ilog2();
    let level = u8::try_from(height / HEIGHT).ok()?;
    let first = subtree.start >> (HEIGHT * u32::from(level));
    let tile = Tile::of_tree(level, first / super::WIDTH, size)?;
    let at = (first % super::WIDTH) as usize;
    Some((tile, at..at + (1 << (height % HEIGHT))))
}
