//! A folder for one test, under a name that no other has.

use std::{
    env, fs, io,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Makes a new one. Process ids come round again: where a run that was killed has left a folder of
/// this name behind, the next number is taken, since it may even be mounted.
pub fn new_folder(label: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("bastion-{label}-{}-{number}", process::id()));
        match fs::create_dir(&dir) {
            Ok(()) => return dir,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{}: {error}", dir.display()),
        }
    }
}
