//! The VM's own check: real sshd with the guard in its path, and certificates that a thief makes.
//!
//! [`forge`] holds what could be stolen (the CA's key, the log's key) and what could not (the
//! customer's key), so each case is one thing wrong with an otherwise perfect certificate. The same
//! certificates go through sshd ([`doors`]) and, faster and by the thousand, through the guard's
//! own judgement ([`judged`]).

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod doors;
mod forge;
mod judged;
mod signer;

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");
