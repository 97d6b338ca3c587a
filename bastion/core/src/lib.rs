//! The decisions, pure: no clock, no disk, no socket, no randomness.
//!
//! In the order in which one channel meets them: who asks ([`operator`]), for what ([`request`]),
//! where ([`vm`]), with which training ([`training`]) and whose consent ([`consent`]), under which
//! policy ([`policy`]); [`authorize`] makes a grant or a denial of it.

pub mod cast;
pub mod escape;
pub mod id;
pub mod limits;
pub mod operator;
pub mod request;
pub mod training;
pub mod vm;
