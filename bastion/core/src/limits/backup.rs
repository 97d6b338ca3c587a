//! The bounds of backups and of putting them back.

/// The longest first line of a backup, in bytes: a checkpoint with its cosignatures, and the key
/// wrapped for some recipients.
pub const BACKUP_HEADER_BYTES_MAX: usize = 64 << 10;

/// The longest line that holds the wrapped key of a recording, in bytes.
pub const BACKUP_KEY_LINE_BYTES_MAX: usize = 16 << 10;

/// The longest row, in bytes: an entry of 65,535 bytes, each of which takes four to write.
pub const BACKUP_ROW_BYTES_MAX: usize = 4 << 20;

/// Text that is handed over at once, in bytes.
pub const BACKUP_PIECE_BYTES: usize = 256 << 10;

/// Pieces that wait for the disk.
pub const BACKUP_PIECES_WAITING_MAX: usize = 8;

/// Entries that are read with one statement: at most 64 MiB, of usual ones a half.
pub const BACKUP_ENTRIES_AT_ONCE: u64 = 1_024;

/// Bytes of rows that are put back in one transaction of an SQLite file.
pub const RESTORE_BATCH_BYTES: usize = 16 << 20;

/// Pieces of rows on their way into the database.
pub const RESTORE_PIECES_WAITING_MAX: usize = 4;
