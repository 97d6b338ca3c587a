//! The log, on both stores: what it promises, one test each.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod appends;
mod faults;
mod opens;
mod projects;
mod recovers;
mod shared;
mod world;
