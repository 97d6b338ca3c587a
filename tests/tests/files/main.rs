//! Files: what may go which way, what is on record of it, and what no peer can break.
//!
//! Real sshd, sftp, scp and rsync; and sftp packets made by hand where real clients are too polite.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod digests;
mod directions;
mod raw;

use bastion_tests::world::World;

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");

/// A world on SQLite.
fn world() -> World {
    World::start(BASTION, None)
}
