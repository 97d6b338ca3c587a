//! What it takes for a file to be there after a loss of power, beyond its bytes.

use std::{fs::File, io, path::Path};

/// The folder of a file is flushed: its name survives a loss of power.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
