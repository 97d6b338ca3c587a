//! The format of the bastion's audit log. An auditor needs only this crate.
//!
//! The story of one entry: an [`event`] says what happened, an [`entry`] puts it in its place as
//! one [`canonical`] line, with [commitments](commit) where it would say something personal. Its
//! [leaf hash](merkle::leaf_hash) is the `prev` of the next entry, which is what [`chain`] checks,
//! and a leaf of the [tree](merkle), whose root a [`checkpoint`] signs as a C2SP [`note`].
//! [`export`] verifies a file of such lines under such a checkpoint.
//!
//! Pure: no clock, no disk, no socket, no randomness. FORMAT.md is its specification.

pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod commit;
pub mod cosignature;
pub mod customer_export;
pub mod customers;
pub mod entry;
pub mod event;
pub mod export;
pub mod hash;
pub mod merkle;
pub mod multiproof;
pub mod note;
pub mod policy;
pub mod proof;
pub mod published;
pub mod receipt;
pub mod tile;
pub mod time;
mod vkey;
pub mod witness;
