//! Bounds of what makes a keystroke's way short.

/// Pieces of a VM's output that are taken at once before they are passed on: the runtime lets a
/// task do 128 things a turn, and what passes them on needs its share of these.
pub const DRAINED_AT_ONCE_MAX: usize = 32;
