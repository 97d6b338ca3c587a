//! A published folder, read as a stranger would: every file of it, against the checkpoint.

use audit_schema::{
    checkpoint::{self, Vkey},
    merkle::{self, TreeHead},
    tile::{Bundle, CHECKPOINT_PATH, Tile, Tiles},
};
use bastion_tests::folder::new_folder;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A folder that is removed at the end of its test.
pub struct Temporary(PathBuf);

impl Temporary {
    pub fn new() -> Self {
        Self(new_folder("tree"))
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("removing the temporary folder");
    }
}

/// Reads every file that the checkpoint stands for; answers its head and the lines.
pub fn check(folder: &Path, vkey: &str) -> Result<(TreeHead, Vec<Vec<u8>>), String> {
    let vkey: Vkey = vkey.parse().map_err(|bad| format!("{bad}"))?;
    let read = |path: String| {
        std::fs::read(folder.join(&path)).map_err(|error| format!("{path}: {error}"))
    };
    let note = String::from_utf8(read(CHECKPOINT_PATH.into())?).map_err(|bad| bad.to_string())?;
    let head = checkpoint::verify(&note, &vkey).map_err(|bad| bad.to_string())?.head();
    let mut files = BTreeMap::new();
    for tile in Tile::changed(0, head.size) {
        files.insert(tile, read(tile.to_string())?);
    }
    let tiles = Tiles::authenticate(head, files).map_err(|bad| bad.to_string())?;
    let mut lines = Vec::new();
    for bundle in Bundle::changed(0, head.size) {
        let bytes = read(bundle.to_string())?;
        let entries = bundle.decode(&bytes).map_err(|bad| format!("{bundle}: {bad}"))?;
        let hashes = tiles.hashes(bundle.tile()).ok_or("no tile")?;
        for (entry, hash) in entries.iter().zip(hashes) {
            if merkle::leaf_hash(entry) != *hash {
                return Err(format!("{bundle}: an entry is not the tile's"));
            }
            lines.push(entry.to_vec());
        }
    }
    if lines.len() as u64 != head.size {
        return Err("lines are missing".into());
    }
    Ok((head, lines))
}

/// The files of a folder, by path.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(dir) = folders.pop() {
        for item in std::fs::read_dir(dir).expect("a folder") {
            let path = item.expect("an item").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("inside").to_path_buf();
                found.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    found
}
