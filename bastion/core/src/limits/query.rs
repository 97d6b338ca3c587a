//! Bounds of the full-text index and of counting.

/// Characters of a word that the index keeps: longer ones are no language, and are found by their
/// beginning.
pub const WORD_CHARS_MAX: usize = 64;

/// Words of one entry that the index keeps. PostgreSQL counts no further than 16,383 places.
pub const WORDS_KEPT_MAX: usize = 8_000;

/// Words that one question may have.
pub const WORDS_ASKED_MAX: usize = 32;

/// Rows that one count answers: whoever needs more asks for a part of the time.
pub const STATS_ROWS_MAX: u64 = 100_000;
