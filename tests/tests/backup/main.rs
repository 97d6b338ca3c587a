//! Backups: made while the log is in use, put back whole or not at all, opened without us.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod after_erasure;
mod product;
mod put_back;
mod recipe;
mod refused;
mod scene;
