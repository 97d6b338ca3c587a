//! Entry bundles: 256 entries in one file, each behind its length as two bytes, big-endian.
//!
//! The entries of a bundle are believed when their leaf hashes are those of the level-0 tile of the
//! same index, and that tile is [authenticated](super::Tiles).

use super::{BadPath, Tile, WIDTH, parse_place, write_place};
use crate::entry::LINE_BYTES_MAX;
use std::{fmt, ops::Range, str::FromStr};

/// The name of a bundle: its index, and how many entries it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    tile: Tile,
}

/// Bytes that are not a bundle, or entries that make none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBundle {
    /// An entry above 65,535 bytes.
    #[error("an entry is longer than 65,535 bytes")]
    Long,
    /// The file ends within an entry.
    #[error("the bundle ends within an entry: the file was cut off")]
    CutOff,
    /// More or fewer entries than its name says.
    #[error("the bundle has {found} entries where {expected} are due")]
    Width {
        /// What the name says.
        expected: u64,
        /// What there is; one more than expected where there are more.
        found: u64,
    },
}

impl Bundle {
    /// The bundle of this index in a tree of this size: full, partial, or none.
    pub fn of_tree(index: u64, size: u64) -> Option<Self> {
        Tile::of_tree(0, index, size).map(|tile| Self { tile })
    }

    /// The bundles that a log of `size` has and one of its first `old` entries has not.
    pub fn changed(old: u64, size: u64) -> impl Iterator<Item = Self> {
        let indices = if size > old { old / WIDTH..size.div_ceil(WIDTH) } else { 0..0 };
        indices.filter_map(move |index| Self::of_tree(index, size))
    }

    /// The level-0 tile that has its leaf hashes.
    pub fn tile(&self) -> Tile {
        self.tile
    }
    /// Which bundle.
    pub fn index(&self) -> u64 {
        self.tile.index
    }
    /// How many entries: 1 to 256.
    pub fn width(&self) -> u16 {
        self.tile.width
    }
    /// Whether it has all its entries, and so will never change.
    pub fn is_full(&self) -> bool {
        self.tile.is_full()
    }
    /// The entries that it has.
    pub fn entries(&self) -> Range<u64> {
        self.tile.leaves()
    }

    /// The file of these entries.
    pub fn encode<E: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = E>,
    ) -> Result<Vec<u8>, BadBundle> {
        let (mut out, mut found) = (Vec::new(), 0);
        for entry in entries {
            let entry = entry.as_ref();
            let length = u16::try_from(entry.len()).map_err(|_| BadBundle::Long)?;
            out.extend(length.to_be_bytes());
            out.extend(entry);
            found += 1;
        }
        self.wide(found)?;
        Ok(out)
    }

    /// The entries of a file, which must be as many as the bundle is wide.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, BadBundle> {
        let mut entries = Vec::with_capacity(self.width().into());
        let mut rest = bytes;
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, after) = after.split_at_checked(length).ok_or(BadBundle::CutOff)?;
            if entries.len() == usize::from(self.width()) {
                self.wide(entries.len() as u64 + 1)?;
            }
            entries.push(entry);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(BadBundle::CutOff);
        }
        self.wide(entries.len() as u64)?;
        Ok(entries)
    }

    fn wide(&self, found: u64) -> Result<(), BadBundle> {
        let expected = self.width().into();
        if found == expected { Ok(()) } else { Err(BadBundle::Width { expected, found }) }
    }

    /// The longest file that this bundle can be.
    pub fn bytes_max(&self) -> usize {
        usize::from(self.width()) * (LINE_BYTES_MAX + 2)
    }
}

impl fmt::Display for Bundle {
    /// The path below the log's prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_place(f, self.index(), self.width())
    }
}

impl FromStr for Bundle {
    type Err = BadPath;
    fn from_str(path: &str) -> Result<Self, BadPath> {
        let (index, width) = parse_place(path.strip_prefix("tile/entries/").ok_or(BadPath)?)?;
        let bundle = Self { tile: Tile::new(0, index, width).ok_or(BadPath)? };
        if bundle.to_string() == path { Ok(bundle) } else { Err(BadPath) }
    }
}
