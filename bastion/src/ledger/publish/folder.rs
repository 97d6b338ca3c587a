//! The folder that tiles are published into: files appear whole, and never change.
//!
//! A file is written under another name, flushed, and renamed; its folder is flushed after. So at
//! any crash each name has all of its bytes or is not there. The checkpoint comes last: whoever
//! reads it finds every tile that it needs. A name that is taken is compared, never written again:
//! other bytes under it would be another log.

use super::PublishError;
use crate::ledger::hooks::Fault;
use audit_schema::{
    merkle::TreeHead,
    tile::{Bundle, CHECKPOINT_PATH, Tile, Tiles, WIDTH, needed},
};
use bastion_core::limits::{PUBLISHED_FILES_FLUSHED_ONE_BY_ONE_MAX, TILE_FILE_BYTES_MAX};
use nix::unistd::syncfs;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The writes of a round of publishing, in their order; tests let them fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// The bytes under the other name.
    Bytes,
    /// Their flush.
    Flush,
    /// The rename into place.
    Rename,
    /// The flush of the folders.
    Folders,
    /// The checkpoint's own bytes, flush and rename.
    Checkpoint,
}

impl Write {
    /// All of them, in their order.
    pub const ALL: [Self; 5] =
        [Self::Bytes, Self::Flush, Self::Rename, Self::Folders, Self::Checkpoint];
}

/// Asked before each write; always [`Fault::None`] outside tests.
pub type WriteFault = Arc<dyn Fn(Write) -> Fault + Send + Sync>;

/// A folder of tiles.
#[derive(Clone)]
pub struct Folder {
    root: PathBuf,
    fault: WriteFault,
}

/// A file to be published.
pub(super) struct Piece {
    pub path: String,
    pub bytes: Vec<u8>,
}

/// The files of a tree's edge.
fn partial_files(size: u64) -> impl Iterator<Item = String> {
    let bundle = Bundle::of_tree(size / WIDTH, size).map(|bundle| bundle.to_string());
    Tile::partial(size).map(|tile| tile.to_string()).chain(bundle)
}

/// Where files are until they are whole; cleared at each start.
const UNFINISHED: &str = ".unfinished";

impl Folder {
    /// The folder at a path, which is made if there is none.
    pub fn open(root: &Path) -> Result<Self, PublishError> {
        Self::with_faults(root, Arc::new(|_| Fault::None))
    }

    /// The same, to read alone.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf(), fault: Arc::new(|_| Fault::None) }
    }

    /// A published file, by its path.
    pub fn file(&self, path: &str) -> Result<Option<Vec<u8>>, PublishError> {
        self.read(path)
    }

    /// The same, for tests that let writes fail.
    pub fn with_faults(root: &Path, fault: WriteFault) -> Result<Self, PublishError> {
        let folder = Self { root: root.to_path_buf(), fault };
        let unfinished = root.join(UNFINISHED);
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(|error| folder.fault_of("", error))?;
        }
        fs::create_dir_all(&unfinished).map_err(|error| folder.fault_of("", error))?;
        Ok(folder)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The checkpoint that stands there.
    pub fn checkpoint(&self) -> Result<Option<String>, PublishError> {
        match self.read(CHECKPOINT_PATH)? {
            None => Ok(None),
            Some(bytes) => match String::from_utf8(bytes) {
                Ok(note) => Ok(Some(note)),
                Err(_) => Err(PublishError::Checkpoint("it is not text".into())),
            },
        }
    }

    /// The partial tiles of a tree: its edge.
    pub(super) fn edge(&self, size: u64) -> Result<BTreeMap<Tile, Vec<u8>>, PublishError> {
        self.tiles(Tile::partial(size))
    }

    /// Roots of ranges of a tree, from its tiles; each was checked against its root.
    pub fn roots(
        &self,
        ranges: &[Range<u64>],
        head: TreeHead,
    ) -> Result<Vec<audit_schema::hash::Hash>, PublishError> {
        let files = self.tiles(needed(ranges, head.size).into_iter())?;
        let tiles = Tiles::authenticate(head, files)?;
        let roots: Result<_, _> = ranges.iter().map(|range| tiles.root_of(range)).collect();
        Ok(roots?)
    }

    fn tiles(
        &self,
        tiles: impl Iterator<Item = Tile>,
    ) -> Result<BTreeMap<Tile, Vec<u8>>, PublishError> {
        let read = |tile: Tile| {
            let bytes = self.read(&tile.to_string())?;
            Ok((tile, bytes.ok_or_else(|| PublishError::Missing(tile.to_string()))?))
        };
        tiles.map(read).collect()
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, PublishError> {
        let mut bytes = Vec::new();
        match File::open(self.root.join(path)) {
            Ok(file) => {
                let read = file.take(TILE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
                let read = read.map_err(|error| self.fault_of(path, error))?;
                if read as u64 > TILE_FILE_BYTES_MAX {
                    return Err(PublishError::Differs(path.to_owned()));
                }
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.fault_of(path, error)),
        }
    }

    /// Publishes files: all of them are there and flushed when this returns.
    pub(super) fn publish(&self, pieces: &[Piece]) -> Result<(), PublishError> {
        let mut fresh = Vec::new();
        for piece in pieces {
            match self.read(&piece.path)? {
                Some(found) if found == piece.bytes => {}
                Some(_) => return Err(PublishError::Differs(piece.path.clone())),
                None => fresh.push(piece),
            }
        }
        let one_by_one = fresh.len() <= PUBLISHED_FILES_FLUSHED_ONE_BY_ONE_MAX;
        for (number, piece) in fresh.iter().enumerate() {
            self.write(&self.unfinished(number), &piece.bytes, one_by_one)
                .map_err(|error| self.fault_of(&piece.path, error))?;
        }
        if !one_by_one {
            self.step(Write::Flush, || self.flush_disk())
                .map_err(|error| self.fault_of("", error))?;
        }
        let mut folders = BTreeSet::new();
        for (number, piece) in fresh.iter().enumerate() {
            let place = self.root.join(&piece.path);
            self.step(Write::Rename, || {
                self.make_folders(&place, &mut folders)?;
                fs::rename(self.unfinished(number), &place)
            })
            .map_err(|error| self.fault_of(&piece.path, error))?;
        }
        self.step(Write::Folders, || match one_by_one {
            true => folders.iter().try_for_each(|folder| File::open(folder)?.sync_all()),
            false => self.flush_disk(),
        })
        .map_err(|error| self.fault_of("", error))
    }

    /// Publishes a checkpoint: everything that it needs must be there.
    pub(super) fn replace_checkpoint(&self, note: &str) -> Result<(), PublishError> {
        self.step(Write::Checkpoint, || {
            let unfinished = self.root.join(UNFINISHED).join(CHECKPOINT_PATH);
            let mut file = File::create(&unfinished)?;
            file.write_all(note.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, self.root.join(CHECKPOINT_PATH))?;
            File::open(&self.root)?.sync_all()
        })
        .map_err(|error| self.fault_of(CHECKPOINT_PATH, error))
    }

    /// Deletes the partial files of a tree that those of later ones have replaced.
    pub(super) fn forget_edge(&self, size: u64, kept: [u64; 2]) -> Result<(), PublishError> {
        let kept: BTreeSet<_> = kept.into_iter().flat_map(partial_files).collect();
        for path in partial_files(size).filter(|path| !kept.contains(path)) {
            let place = self.root.join(&path);
            match fs::remove_file(&place) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.fault_of(&path, error)),
            }
            // Holds others still, as a rule; the last one takes it along.
            if let Some(Err(error)) = place.parent().map(fs::remove_dir)
                && error.kind() == io::ErrorKind::PermissionDenied
            {
                return Err(self.fault_of(&path, error));
            }
        }
        Ok(())
    }

    fn write(&self, place: &Path, bytes: &[u8], flush: bool) -> io::Result<()> {
        let file = self.step(Write::Bytes, || {
            let mut file = File::create(place)?;
            file.write_all(bytes)?;
            Ok(file)
        })?;
        match flush {
            true => self.step(Write::Flush, || file.sync_all()),
            false => Ok(()),
        }
    }

    /// Makes the folders above a file; notes those whose flush makes its name durable.
    fn make_folders(&self, place: &Path, noted: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let Some(parent) = place.parent() else { return Ok(()) };
        let made = !parent.exists();
        fs::create_dir_all(parent)?;
        let mut above = Some(parent).filter(|parent| noted.insert(parent.to_path_buf()));
        while let Some(folder) = above.filter(|folder| made && *folder != self.root) {
            above = folder.parent();
            noted.extend(above.map(Path::to_path_buf));
        }
        Ok(())
    }

    /// One flush for many files: the disk as a whole.
    fn flush_disk(&self) -> io::Result<()> {
        Ok(syncfs(File::open(&self.root)?)?)
    }

    fn unfinished(&self, number: usize) -> PathBuf {
        self.root.join(UNFINISHED).join(number.to_string())
    }

    /// A write, or the fault that a test put in its place.
    fn step<T>(&self, write: Write, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let injected = || io::Error::other(format!("injected at {write:?}"));
        match (self.fault)(write) {
            Fault::None => work(),
            Fault::Before => Err(injected()),
            Fault::After => work().and_then(|_| Err(injected())),
            Fault::Full => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn fault_of(&self, path: &str, error: io::Error) -> PublishError {
        PublishError::Io(self.root.join(path), error)
    }
}
