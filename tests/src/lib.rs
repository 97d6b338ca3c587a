//! The world of the tests: a whole bastion on loopback, reached with the real clients.
//!
//! A test starts a [`world::World`] (the product's own `bastion demo` in a folder of its own, on
//! SQLite or on a private PostgreSQL), runs `ssh` and its relatives as the people of the demo, and
//! reads the log. Nothing here stands in for anything.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

pub mod bench;
pub mod deployment;
pub mod folder;
pub mod heard;
pub mod log;
pub mod logbench;
pub mod own_vm;
pub mod postgres;
pub mod world;
