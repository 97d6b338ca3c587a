//! A published tree (c2sp.org/tlog-tiles), verified entry by entry.
//!
//! The tree is built again from the bundles, and every tile on the way is compared with its file,
//! hash by hash; at the end stands the root, which the checkpoint signs. So no tile and no entry is
//! taken for granted, and the first that is not as it should be is named. (An entry that is
//! rewritten together with its level-0 tile shows in the tile above; together with all of them, in
//! the root.)
//!
//! Files come from a function, so a folder, a bucket and a test are read alike.

use crate::{
    chain::{Broken, Chain},
    checkpoint::Checkpoint,
    hash::Hash,
    merkle::leaf_hash,
    tile::{BadBundle, Bundle, Edge, Tile, WIDTH, Written},
};

/// The first thing of a published tree that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPublished {
    /// A file that the checkpoint needs is not there, nor the full one in its place.
    #[error("{0}: it is missing")]
    Absent(String),
    /// A tile with more or fewer bytes than its name says.
    #[error("{0}: it is not as long as its name says")]
    Length(Tile),
    /// A bundle that is none.
    #[error("{0}: {1}")]
    Bundle(Bundle, BadBundle),
    /// An entry that is none, or not the one that is due.
    #[error("{0}: {1}")]
    Entry(Bundle, Broken),
    /// An entry's hash is another than its level-0 tile has.
    #[error("entry {entry}: its bundle and {tile} do not agree: one of the two was changed")]
    Leaf {
        /// The entry.
        entry: u64,
        /// The tile.
        tile: Tile,
    },
    /// A tile of a level above has another hash than the root of the tile below.
    #[error(
        "{tile}: hash {at} is not the root of {below}: entries were rewritten together with their \
         tiles, or this tile was changed"
    )]
    Node {
        /// The tile.
        tile: Tile,
        /// Which of its hashes.
        at: u64,
        /// The tile whose root should stand there.
        below: Tile,
    },
    /// All fits together, and is not what was signed.
    #[error(
        "the tiles fit each other, and are not those that the checkpoint signs: the log was \
         written anew"
    )]
    Root,
    /// The entries name another log.
    #[error("the checkpoint is another log's: the entries name another origin")]
    Origin,
    /// A size that no tree has.
    #[error("the checkpoint's size is larger than any tree")]
    Size,
}

/// Why it ended: a file could not be read, or what was read does not hold.
#[derive(Debug)]
pub enum Failure<E> {
    /// The reader's own error.
    Unread(E),
    /// What does not hold.
    Broken(BadPublished),
}

impl<E> From<BadPublished> for Failure<E> {
    fn from(broken: BadPublished) -> Self {
        Self::Broken(broken)
    }
}

/// What was verified of a published tree.
#[derive(Clone, Debug)]
pub struct Published {
    /// How many tiles were compared.
    pub tiles: u64,
    /// The chain of the entries; `None` where they were not looked into.
    pub chain: Option<Chain>,
}

/// Verify the tree of a checkpoint, whose signature the caller has checked. `read` gives a file by
/// its path below the log's prefix, or `None` where there is none, and is told how long it can be;
/// with `any_entries` the entries are leaves and nothing more.
pub fn verify<E>(
    checkpoint: &Checkpoint,
    any_entries: bool,
    read: impl FnMut(&str, usize) -> Result<Option<Vec<u8>>, E>,
) -> Result<Published, Failure<E>> {
    let mut reader = Reader { read };
    let mut edge = Edge::new();
    let mut chain = (!any_entries).then(Chain::new);
    let mut tiles: u64 = 0;
    for bundle in Bundle::changed(0, checkpoint.size) {
        let leaves = reader.leaves(bundle, chain.as_mut())?;
        let full = edge.append(&leaves).ok_or(BadPublished::Size)?;
        let last = bundle.entries().end == checkpoint.size;
        let partial = if last { edge.partial() } else { Vec::new() };
        for written in full.iter().chain(&partial) {
            reader.compare(written)?;
            tiles += 1;
        }
    }
    if edge.head() != checkpoint.head() {
        return Err(BadPublished::Root.into());
    }
    let origin = chain.as_ref().and_then(Chain::origin);
    if origin.is_some_and(|origin| origin != checkpoint.origin) {
        return Err(BadPublished::Origin.into());
    }
    Ok(Published { tiles, chain })
}

struct Reader<R> {
    read: R,
}

impl<E, R: FnMut(&str, usize) -> Result<Option<Vec<u8>>, E>> Reader<R> {
    fn file(&mut self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Failure<E>> {
        (self.read)(path, bytes_max).map_err(Failure::Unread)
    }

    /// The leaf hashes of a bundle, whose entries also continue the chain.
    fn leaves(
        &mut self,
        wanted: Bundle,
        chain: Option<&mut Chain>,
    ) -> Result<Vec<Hash>, Failure<E>> {
        let absent = || BadPublished::Absent(wanted.to_string());
        let (mut bundle, mut bytes) = (wanted, self.file(&wanted.to_string(), wanted.bytes_max())?);
        if bytes.is_none() && !wanted.is_full() {
            // A log may delete a partial bundle once the full one is there.
            bundle =
                Bundle::of_tree(wanted.index(), (wanted.index() + 1) * WIDTH).ok_or_else(absent)?;
            bytes = self.file(&bundle.to_string(), bundle.bytes_max())?;
        }
        let bytes = bytes.ok_or_else(absent)?;
        let mut lines = bundle.decode(&bytes).map_err(|bad| BadPublished::Bundle(bundle, bad))?;
        lines.truncate(wanted.width().into());
        if let Some(chain) = chain {
            for line in &lines {
                chain.push(line).map_err(|broken| BadPublished::Entry(bundle, broken))?;
            }
        }
        Ok(lines.into_iter().map(leaf_hash).collect())
    }

    /// Compare a tile that was built from the entries with its file.
    fn compare(&mut self, built: &Written) -> Result<(), Failure<E>> {
        let tile = built.tile;
        let mut file = self.file(&tile.to_string(), tile.bytes())?;
        if let (None, Some(full)) = (&file, tile.filled().filter(|_| !tile.is_full())) {
            file = self.file(&full.to_string(), full.bytes())?;
            if let Some(file) = file.as_mut().filter(|file| file.len() == full.bytes()) {
                file.truncate(tile.bytes());
            }
        }
        let file = file.ok_or_else(|| BadPublished::Absent(tile.to_string()))?;
        if file.len() != tile.bytes() {
            return Err(BadPublished::Length(tile).into());
        }
        let pairs = built.bytes.chunks(32).zip(file.chunks(32));
        match pairs.enumerate().find(|(_, (ours, theirs))| ours != theirs) {
            None => Ok(()),
            Some((at, _)) => Err(differing(tile, at as u64).into()),
        }
    }
}

fn differing(tile: Tile, at: u64) -> BadPublished {
    let under = tile.index() * WIDTH + at;
    let level = tile.level().checked_sub(1);
    match level.and_then(|level| Tile::new(level, under, WIDTH as u16)) {
        None => BadPublished::Leaf { entry: under, tile },
        Some(below) => BadPublished::Node { tile, at, below },
    }
}
