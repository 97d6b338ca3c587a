//! Witnesses of a log (c2sp.org/tlog-witness): independent parties that each keep the last
//! checkpoint they saw, and cosign the next one only if it extends it.
//!
//! Two histories of one log can then not both be cosigned, and a log that was cut off or put back
//! from a backup is refused by whoever saw more of it. [`server`] is what a customer or an auditor
//! runs by itself: it has no database, keeps size and root of each log ([`memory`]), and trusts
//! nobody but the keys that its file names. [`panel`] is the other side: a gateway's witnesses,
//! each of them [`asked`], and the policy that says how many it takes.

pub mod asked;
pub mod memory;
pub mod panel;
pub mod server;
pub mod settings;
