//! The format of the bastion's audit log. An auditor needs only this crate.
//!
//! Pure: no clock, no disk, no socket, no randomness. FORMAT.md is its specification.

pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod commit;
pub mod entry;
pub mod event;
pub mod export;
pub mod hash;
pub mod merkle;
pub mod note;
pub mod time;
