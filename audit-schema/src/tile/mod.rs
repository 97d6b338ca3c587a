//! Tiles (c2sp.org/tlog-tiles): the tree cut into files that never change.
//!
//! ```text
//! checkpoint                     the newest signed checkpoint
//! tile/0/x001/234                leaf hashes 1234 * 256 and the 255 after it: 8,192 bytes
//! tile/1/004.p/210               210 roots of full tiles of level 0, the 257th not yet there
//! tile/entries/x001/234          the entries of tile/0/x001/234, each behind its length
//! ```
//!
//! A tile of level `l` holds up to 256 roots of subtrees of 256^l leaves each; a full one is a hash
//! in a tile of the level above. So tiles are written once, can be kept anywhere, and build any
//! proof. None is believed: [`Tiles`] checks every tile that it is handed against the tile above,
//! and the top against the checkpoint. [`Edge`] is the writer's side, [`Bundle`] the entries'.

mod authenticated;
mod bundle;
mod edge;

pub use authenticated::{BadTiles, Tiles, needed};
pub use bundle::{BadBundle, Bundle};
pub use edge::{Edge, Written};

use crate::{
    hash::Hash,
    merkle::{Frontier, SIZE_MAX},
};
use std::{fmt, ops::Range, str::FromStr};

/// How many hashes or entries a full tile or bundle has.
pub const WIDTH: u64 = 256;

/// The binary levels of the tree that a tile spans: 2^8 is [`WIDTH`].
pub const HEIGHT: u32 = 8;

/// The highest level of which a tile can exist: a tree has at most 2^53 leaves, and a hash of level
/// 7 would stand for 2^56.
pub const LEVEL_MAX: u8 = 6;

/// Where checkpoints are published.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// A text that is not the path of a tile or bundle, in the one spelling, that can exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile or bundle, like tile/0/x001/234.p/5")]
pub struct BadPath;

/// The name of a hash tile: level, index within the level, and how many hashes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// A tile that exists in some tree of at most 2^53 leaves.
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        if level > LEVEL_MAX || width == 0 || u64::from(width) > WIDTH {
            return None;
        }
        let end = index.checked_mul(WIDTH)?.checked_add(width.into())?;
        let leaves = end.checked_mul(1 << (HEIGHT * u32::from(level)))?;
        (leaves <= SIZE_MAX).then_some(Self { level, index, width })
    }

    /// The tile of this level and index in a tree of this size: full, partial, or none.
    pub fn of_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        if level > LEVEL_MAX || size > SIZE_MAX {
            return None;
        }
        let hashes = size >> (HEIGHT * u32::from(level));
        let width = hashes.checked_sub(index.checked_mul(WIDTH)?)?.min(WIDTH);
        Self::new(level, index, width as u16)
    }

    /// The partial tiles of a tree of this size, the lowest level first: its right edge. Together
    /// they are all that is needed to know its root.
    pub fn partial(size: u64) -> impl Iterator<Item = Self> {
        (0..=LEVEL_MAX).filter_map(move |level| {
            let tile = Self::of_tree(level, (size >> (HEIGHT * u32::from(level))) / WIDTH, size)?;
            (!tile.is_full()).then_some(tile)
        })
    }

    /// The tiles that a tree of `size` has and one of its first `old` leaves has not, from the
    /// lowest level to the highest: what is written when the log grows.
    pub fn changed(old: u64, size: u64) -> impl Iterator<Item = Self> {
        (0..=LEVEL_MAX).flat_map(move |level| {
            let (from, to) = {
                let shift = HEIGHT * u32::from(level);
                (old >> shift, size >> shift)
            };
            let indices = if to > from { from / WIDTH..to.div_ceil(WIDTH) } else { 0..0 };
            indices.filter_map(move |index| Self::of_tree(level, index, size))
        })
    }

    /// 0 for leaf hashes.
    pub fn level(&self) -> u8 {
        self.level
    }
    /// Which tile of the level.
    pub fn index(&self) -> u64 {
        self.index
    }
    /// How many hashes: 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }
    /// Whether it has all its hashes, and so will never change.
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == WIDTH
    }
    /// The full tile of the same level and index, where it exists: its first hashes are those of
    /// this one, which a log may delete once the full one is there.
    pub fn filled(&self) -> Option<Self> {
        Self::new(self.level, self.index, WIDTH as u16)
    }
    /// The length of its file in bytes.
    pub fn bytes(&self) -> usize {
        usize::from(self.width) * 32
    }

    /// The leaves that its hashes stand for.
    pub fn leaves(&self) -> Range<u64> {
        let shift = HEIGHT * u32::from(self.level);
        let first = self.index * WIDTH;
        first << shift..(first + u64::from(self.width)) << shift
    }

    /// Where this full tile's root stands: the tile above, as it is in a tree of this size, and the
    /// place in it.
    fn above(&self, size: u64) -> Option<(Self, usize)> {
        let tile = Self::of_tree(self.level + 1, self.index / WIDTH, size)?;
        let place = (self.index % WIDTH) as usize;
        (place < usize::from(tile.width)).then_some((tile, place))
    }

    /// The file of these hashes; `None` where they are not as many as the tile has.
    pub fn encode(&self, hashes: &[Hash]) -> Option<Vec<u8>> {
        let fits = hashes.len() == usize::from(self.width);
        fits.then(|| hashes.iter().flat_map(|hash| hash.0).collect())
    }

    /// The hashes of a file, which must be as long as the tile is wide. Nothing says that they are
    /// the tree's: see [`Tiles`].
    pub fn decode(&self, bytes: &[u8]) -> Option<Vec<Hash>> {
        let fits = bytes.len() == self.bytes();
        fits.then(|| bytes.as_chunks::<32>().0.iter().copied().map(Hash).collect())
    }
}

/// The root over the hashes of a full tile, which stands in the tile above.
fn root_of_full(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    hashes.iter().for_each(|hash| frontier.push(*hash));
    frontier.root()
}

impl fmt::Display for Tile {
    /// The path below the log's prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_place(f, self.index, self.width)
    }
}

impl FromStr for Tile {
    type Err = BadPath;
    fn from_str(path: &str) -> Result<Self, BadPath> {
        let rest = path.strip_prefix("tile/").ok_or(BadPath)?;
        let (level, rest) = rest.split_once('/').ok_or(BadPath)?;
        let (index, width) = parse_place(rest)?;
        let tile = Self::new(level.parse().map_err(|_| BadPath)?, index, width).ok_or(BadPath)?;
        if tile.to_string() == path { Ok(tile) } else { Err(BadPath) }
    }
}

/// `x001/x234/067`, and `.p/W` where it is not full.
fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let groups = (1..7).take_while(|n| index >= 1000_u64.pow(*n)).count() as u32;
    for group in (1..=groups).rev() {
        write!(f, "x{:03}/", index / 1000_u64.pow(group) % 1000)?;
    }
    write!(f, "{:03}", index % 1000)?;
    if u64::from(width) < WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
}

/// The caller compares with what [`write_place`] makes of it: other spellings end there.
fn parse_place(place: &str) -> Result<(u64, u16), BadPath> {
    let (index, width) = match place.split_once(".p/") {
        Some((index, width)) => (index, width.parse().map_err(|_| BadPath)?),
        None => (place, WIDTH as u16),
    };
    let mut number: u64 = 0;
    for group in index.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let group: u64 = digits.parse().map_err(|_| BadPath)?;
        number = number.checked_mul(1000).and_then(|n| n.checked_add(group)).ok_or(BadPath)?;
    }
    Ok((number, width))
}
