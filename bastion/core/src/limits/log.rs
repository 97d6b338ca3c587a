//! The bounds of what makes the log provable: marks, tiles, proofs, heartbeats.

/// One slot of a gateway's high-water mark, in bytes: a page, so that writing one never touches
/// the other.
pub const MARK_SLOT_BYTES: usize = 4096;

/// How often a checkpoint is asked for again when another was signed meanwhile.
pub const CHECKPOINT_TRIES: usize = 8;

/// Leaf hashes that are kept in memory for proofs about what is not in tiles yet: 4 MiB.
pub const TAIL_LEAVES_MAX: usize = 131_072;

/// Lines of this gateway's last entries that are kept in memory: a login's own are among them.
pub const RECENT_LINES_MAX: usize = 2048;
