//! Bounds of the full-text index, of counting, and of an auditor's own SQL.

/// Characters of a word that the index keeps: longer ones are no language, and are found by their
/// beginning.
pub const WORD_CHARS_MAX: usize = 64;

/// Words of one entry that the index keeps. PostgreSQL counts no further than 16,383 places.
pub const WORDS_KEPT_MAX: usize = 8_000;

/// Words that one question may have.
pub const WORDS_ASKED_MAX: usize = 32;

/// Rows that one count answers: whoever needs more asks for a part of the time.
pub const STATS_ROWS_MAX: u64 = 100_000;

/// How often the index looks for entries of other gateways, in milliseconds.
pub const INDEX_POLL_MILLIS: u64 = 500;

/// How long the index lets entries gather before it takes them in, in milliseconds, when no query
/// waits.
pub const INDEX_GATHER_MILLIS: u64 = 200;

/// How long a query waits for the index to catch up, in seconds.
pub const INDEX_WAIT_SECONDS_MAX: u64 = 10;

/// Characters of an auditor's statement.
pub const SQL_CHARS_MAX: usize = 8_192;

/// Parentheses inside each other in an auditor's statement.
pub const SQL_DEPTH_MAX: usize = 32;

/// Seconds that an auditor's statement may take.
pub const SQL_SECONDS_MAX: u64 = 10;

/// Rows that an auditor's statement answers; the rest is cut, and said so.
pub const SQL_ROWS_MAX: u64 = 10_000;

/// Bytes that an auditor's statement answers.
pub const SQL_BYTES_MAX: usize = 8 * 1024 * 1024;
