//! The relay: one operator channel joined to one VM channel, recorded, at both sides' pace.

pub mod downstream;
mod fifo;
mod keystream;
pub mod recording;
pub(crate) mod socket;
mod spool;

pub use spool::{Overrun, Spools};
