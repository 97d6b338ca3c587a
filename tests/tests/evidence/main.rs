//! Recordings as evidence: what can be seen of them, by whom, and how they end, with real clients.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod erasing;
mod replaying;
mod searching;
mod watching;

use bastion_tests::world::World;

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");

/// The key that recordings of troubleshoot channels are sealed to.
const PROVIDER_KEY: &str = "take-away/provider-recording.pem";

/// A world on SQLite.
fn world() -> World {
    World::start(BASTION, None)
}

/// The newest lease of an account.
#[track_caller]
fn lease(world: &World, account: &str) -> String {
    let list = world.bastion(&["session", "list", "--json"]).exits(0).json();
    let leases = list.as_array().unwrap();
    let found = leases.iter().find(|lease| lease["account"] == account);
    let found = found.unwrap_or_else(|| panic!("no lease of {account} in {list}"));
    found["lease"].as_str().unwrap().to_owned()
}
