//! The operators' side: from a TCP connection to a channel that the relay takes over.

pub mod admission;
pub mod algorithms;
pub mod login;
pub mod severable;
