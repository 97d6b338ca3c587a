//! Bounds of what recordings ask of the disk.

/// What a disk takes at a time: no current one has larger blocks.
pub const RECORDING_BLOCK_BYTES: usize = 4096;

/// So much at once goes to the disk past the kernel's cache; less is not worth the second way.
pub const RECORDING_DIRECT_BYTES_MIN: usize = 64 << 10;

/// Files of recordings keep at most one in so many of the descriptors that the process may have:
/// the sockets need the others, two for each session.
pub const RECORDING_DESCRIPTORS_SHARE: u64 = 128;
