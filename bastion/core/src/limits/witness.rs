//! The bounds of witnesses: of the one that a customer runs, and of asking them.

/// Logs of one witness, and lines of its state.
pub const WITNESS_LOGS_MAX: usize = 256;

/// A witness's state file in bytes: each log's line is a name of at most 100 and a hash.
pub const WITNESS_STATE_BYTES_MAX: u64 = 256 * 1024;

/// A witness's own configuration in bytes.
pub const WITNESS_CONFIG_BYTES_MAX: u64 = 256 * 1024;

/// Witnesses that a log asks: a note has at most 16 signatures, and one is the log's own.
pub const WITNESSES_MAX: usize = 15;

/// A log's witness policy in bytes: 15 witnesses with their keys, some groups, and comments.
pub const WITNESS_POLICY_BYTES_MAX: u64 = 16 * 1024;

/// Seconds in which witnesses answer, or are given up for this time, at most.
pub const WITNESS_SECONDS_MAX: u64 = 30;

/// Seconds to look up, reach and greet a witness; within the time above.
pub const WITNESS_CONNECT_SECONDS_MAX: u64 = 3;

/// The answer of a witness in bytes: a few lines, or a size.
pub const WITNESS_ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// The head of its answer in bytes.
pub const WITNESS_ANSWER_HEAD_BYTES_MAX: usize = 16 * 1024;

/// How often one witness is asked in a round: with what is remembered of it, then with what it
/// says that it has, and again where another gateway came in between.
pub const WITNESS_TRIES: usize = 4;

/// How often witnesses are asked where nothing is published, in seconds.
pub const WITNESS_EVERY_SECONDS: u64 = 10;
