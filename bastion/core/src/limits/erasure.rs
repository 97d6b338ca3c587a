//! Bounds of the data subjects' keys, of erasures and of what auditors ask.

/// Keys of data subjects in memory: more people than a provider has, and little memory.
pub const SUBJECT_KEYS_CACHED_MAX: usize = 65_536;

/// Keys asked for in one statement.
pub const SUBJECT_KEYS_ASKED_AT_ONCE: usize = 500;

/// Entries whose openings an erasure looks at together.
pub const ERASURE_ENTRIES_AT_ONCE: u64 = 2_048;

/// Openings that one erasure deletes: they go in one transaction, and everybody waits for it.
pub const ERASURE_OPENINGS_MAX: usize = 50_000;

/// Entries that an erasure shows as naming the person beside what it erases.
pub const ERASURE_MENTIONS_MAX: usize = 1_000;

/// Openings that one statement deletes.
pub const ERASURE_OPENINGS_AT_ONCE: usize = 5_000;

/// Legal holds in force at once: more is a policy, not a list.
pub const HOLDS_MAX: u64 = 1_000;

/// Seconds for PostgreSQL to rewrite one table without the old versions of its rows.
pub const VACUUM_SECONDS_MAX: u64 = 600;
