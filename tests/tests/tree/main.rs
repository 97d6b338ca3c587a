//! The log as a tree that others can check: publishing, proofs, what is refused after a loss.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod folder;
mod heartbeats;
mod kills;
mod loses;
mod publishes;
// The store of either kind of the ledger's own tests; not all of it is needed here.
#[allow(dead_code, unused_imports)]
#[path = "../ledger/world.rs"]
mod world;
