//! Files: what may go which way, what is on record of it, and what no peer can break.
//!
//! Real sshd, sftp, scp and rsync; and sftp packets made by hand where real clients are too polite.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod digests;
mod directions;
mod killed;
mod moved;
mod raw;
mod recorded;
mod sizes;

use bastion_tests::world::World;
use sha2::{Digest as _, Sha256};
use std::{fs, path::PathBuf};

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");

/// A world on SQLite.
fn world() -> World {
    World::start(BASTION, None)
}

/// A folder of a VM that everybody there may use, as it is here; for the VM it is `/srv/open`.
fn folder(world: &World) -> PathBuf {
    let path = world.dir().join("vms/pg-1.acme/srv/open");
    fs::create_dir_all(&path).unwrap();
    world.run("chmod", &["0777", path.to_str().unwrap()]).exits(0);
    path
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
