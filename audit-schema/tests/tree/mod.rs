//! A log as it is published: its tiles, bundles and checkpoint, by path.
#![allow(dead_code)] // each test file uses its own part

use audit_schema::{
    hash::Hash,
    merkle::leaf_hash,
    tile::{Bundle, CHECKPOINT_PATH, Edge},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The files of a published log.
pub type Files = BTreeMap<String, Vec<u8>>;

/// All files of the log with these entries and this checkpoint.
pub fn published(lines: &[Vec<u8>], note: &str) -> Files {
    let leaves: Vec<Hash> = lines.iter().map(|line| leaf_hash(line)).collect();
    let mut edge = Edge::new();
    let tiles = edge.append(&leaves).unwrap().into_iter().chain(edge.partial());
    let mut files: Files = tiles.map(|tile| (tile.tile.to_string(), tile.bytes)).collect();
    for bundle in Bundle::changed(0, lines.len() as u64) {
        let range = bundle.entries();
        let mine = &lines[range.start as usize..range.end as usize];
        files.insert(bundle.to_string(), bundle.encode(mine).unwrap());
    }
    files.insert(CHECKPOINT_PATH.into(), note.as_bytes().to_vec());
    files
}

/// Write them below a folder.
pub fn write(folder: &Path, files: &Files) {
    for (path, bytes) in files {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

/// A folder for one test, removed when it ends.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Names are shared by no two tests.
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let gone = fs::remove_dir_all(&self.0);
        assert!(gone.is_ok() || std::thread::panicking(), "{:?}: {gone:?}", self.0);
    }
}
