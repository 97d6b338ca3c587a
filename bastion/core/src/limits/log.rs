//! The bounds of what makes the log provable: marks, tiles, proofs, heartbeats.

/// One slot of a gateway's high-water mark, in bytes: a page, so that writing one never touches
/// the other.
pub const MARK_SLOT_BYTES: usize = 4096;

/// How often a checkpoint is asked for again when another was signed meanwhile.
pub const CHECKPOINT_TRIES: usize = 8;

/// Leaf hashes that are kept in memory for proofs about what is not in tiles yet: 4 MiB.
pub const TAIL_LEAVES_MAX: usize = 131_072;

/// Lines of this gateway's last entries that are kept in memory: a login's own are among them.
pub const RECENT_LINES_MAX: usize = 512;

/// The longest time between two heartbeats, in minutes: a day.
pub const HEARTBEAT_MINUTES_MAX: u64 = 1_440;

/// How long entries gather before they are published, in milliseconds: one round for many.
pub const PUBLISH_MILLIS: u64 = 1_000;

/// Publishing that has not worked for so long is an alarm, in seconds.
pub const PUBLISH_LATE_SECONDS: u64 = 60;

/// Published files that are flushed one by one in a round; more are flushed with the whole disk.
pub const PUBLISHED_FILES_FLUSHED_ONE_BY_ONE_MAX: usize = 16;

/// Published files that are held in memory: 64 bundles of 4 KiB entries are 64 MiB, of usual ones
/// a tenth.
pub const PUBLISHED_FILES_AT_ONCE: usize = 64;

/// The largest published file: 256 entries of 65,535 bytes and their lengths.
pub const TILE_FILE_BYTES_MAX: u64 = 256 * (65_535 + 2);

/// Epochs of one log: each is the ceremony after a loss.
pub const EPOCHS_MAX: usize = 64;

/// How long to wait when no heartbeat could be entered, in seconds.
pub const HEARTBEAT_RETRY_SECONDS: u64 = 30;

/// Entries that may wait to be published before `doctor` finds it odd: a second of the busiest log.
pub const DOCTOR_UNPUBLISHED_MAX: u64 = 50_000;

/// The longest answer of a gateway about its health that `doctor` reads, in bytes.
pub const DOCTOR_HEALTH_BYTES_MAX: u64 = 4_096;

/// How often the alarms are looked at, in seconds.
pub const ALARM_LOOK_SECONDS: u64 = 5;

/// Rows of an answer that SQLite's thread may be ahead of whoever takes them.
pub const SQLITE_ROWS_AT_ONCE: usize = 1_024;

/// Ends of customers' chains that a batch asks for one by one, before it reads all of them.
pub const CUSTOMERS_ASKED_SINGLY_MAX: usize = 8;
