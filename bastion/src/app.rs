//! What a running bastion is made of.

/// A deployment that runs.
pub struct App {}
