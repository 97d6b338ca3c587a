//! Witnesses: real `bastion witness serve` processes with certificates of their own, and a real
//! gateway that asks them.
//!
//! [`house`] is whoever runs a witness. [`cosigned`] goes through what a gateway shows and demands
//! while they answer and while they do not, to the door of a VM whose guard knows them;
//! [`remembers`] puts back what only a witness can tell from the log; [`kills`] ends one at any
//! moment while a log that lies shows it two histories.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod cosigned;
mod house;
mod kills;
mod remembers;

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");
