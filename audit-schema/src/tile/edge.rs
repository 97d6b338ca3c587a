//! The writer's side: leaves in, files out.
//!
//! An edge keeps the hashes of the partial tiles, at most 255 for each level, and so all that is
//! needed to go on. It says nothing of signing: whoever writes the files signs the root after them.

use super::{BadTiles, HEIGHT, LEVEL_MAX, Tile, Tiles, WIDTH, root_of_full};
use crate::{
    hash::Hash,
    merkle::{SIZE_MAX, TreeHead, node_hash},
};
use std::collections::BTreeMap;

/// A tile and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its name, which is its path as text.
    pub tile: Tile,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The right edge of a tree as tiles: the hashes of its partial tiles.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    /// By level: what its last tile has so far, fewer than 256 hashes.
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree whose partial tiles ([`Tile::partial`]) are these; they must lead to its
    /// root.
    pub fn open(head: TreeHead, files: BTreeMap<Tile, Vec<u8>>) -> Result<Self, BadTiles> {
        let tiles = Tiles::authenticate(head, files)?;
        let mut edge = Self { size: head.size, levels: Vec::new() };
        for tile in Tile::partial(head.size) {
            let hashes = tiles.hashes(tile).ok_or(BadTiles::Absent(tile))?;
            edge.level(tile.level()).extend(hashes);
        }
        Ok(edge)
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size and RFC 6962 root.
    pub fn head(&self) -> TreeHead {
        let levels = self.levels.iter().map(Vec::as_slice);
        TreeHead { size: self.size, root: root_of_levels(levels) }
    }

    /// Append leaves, by their hashes: the tiles that are full from here on, in the order in which
    /// they became so. `None` where the tree would be larger than any, and nothing changes.
    pub fn append(&mut self, leaves: &[Hash]) -> Option<Vec<Written>> {
        let size = self.size.checked_add(leaves.len() as u64).filter(|size| *size <= SIZE_MAX)?;
        let mut full = Vec::new();
        for leaf in leaves {
            self.push(*leaf, &mut full);
        }
        self.size = size;
        Some(full)
    }

    /// The partial tiles as they are now: with the full ones, all that a checkpoint of this size
    /// needs.
    pub fn partial(&self) -> Vec<Written> {
        let written = |tile: Tile| {
            let hashes = self.levels.get(usize::from(tile.level()))?;
            Some(Written { tile, bytes: tile.encode(hashes)? })
        };
        Tile::partial(self.size).filter_map(written).collect()
    }

    fn push(&mut self, leaf: Hash, full: &mut Vec<Written>) {
        let (mut hash, mut level) = (leaf, 0);
        self.size += 1;
        // Ends at the highest level: 256 hashes there would be more leaves than `append` lets in.
        while level <= LEVEL_MAX {
            let hashes = self.level(level);
            hashes.push(hash);
            if (hashes.len() as u64) < WIDTH {
                return;
            }
            let hashes = std::mem::take(hashes);
            let index = (self.size >> (HEIGHT * u32::from(level))) / WIDTH - 1;
            if let Some(tile) = Tile::new(level, index, WIDTH as u16)
                && let Some(bytes) = tile.encode(&hashes)
            {
                full.push(Written { tile, bytes });
            }
            hash = root_of_full(&hashes);
            level += 1;
        }
    }

    fn level(&mut self, level: u8) -> &mut Vec<Hash> {
        let level = usize::from(level);
        if self.levels.len() <= level {
            self.levels.resize(level + 1, Vec::new());
        }
        &mut self.levels[level]
    }
}

/// The root of a tree from the hashes of its partial tiles, by level: each is cut into the perfect
/// subtrees of its width, and what stands further right is joined first.
pub(super) fn root_of_levels<'a>(levels: impl Iterator<Item = &'a [Hash]>) -> Hash {
    let mut right = None;
    for hashes in levels {
        let mut rest = hashes;
        while !rest.is_empty() {
            let (before, subtree) = rest.split_at(rest.len() - (1 << rest.len().trailing_zeros()));
            let left = root_of_full(subtree);
            right = Some(right.map_or(left, |right| node_hash(&left, &right)));
            rest = before;
        }
    }
    right.unwrap_or_else(|| Hash::of(b""))
}
