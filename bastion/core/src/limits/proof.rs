//! Bounds of what proves a login: receipts, the consent beside them, revocation lists.

/// The longest certificate that is read, in bytes: both extensions at their longest, and room.
pub const CERT_BLOB_BYTES_MAX: usize = 32 * 1024;

/// How old the checkpoint of a receipt may be for a data account, in seconds, unless a VM's
/// configuration says less.
pub const DATA_CHECKPOINT_SECONDS_MAX: i64 = 60;

/// How far a VM's clock may be behind the log's, in seconds: what certificates allow too.
pub const GUARD_SKEW_SECONDS_MAX: i64 = 120;

/// The age at which a revocation list is too old, in seconds, unless a VM's configuration says
/// another: some refreshes may fail before anybody is locked out.
pub const REVOCATIONS_SECONDS_MAX: i64 = 300;

/// How often a gateway makes the revocation lists anew, in seconds, besides when one changes.
pub const REVOCATIONS_EVERY_SECONDS: u64 = 30;

/// What a revocation list may name at most, and its bytes: a year of withdrawals of one customer.
pub const REVOCATIONS_MAX: usize = 10_000;
/// See [`REVOCATIONS_MAX`].
pub const REVOCATIONS_BYTES_MAX: usize = 1024 * 1024;

/// A guard's configuration in bytes.
pub const GUARD_CONFIG_BYTES_MAX: u64 = 256 * 1024;

/// One message between a gateway and its signer, in bytes: a request with its proofs, a statement
/// and its signatures fits several times.
pub const SIGNER_MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// Seconds in which the signer answers, or counts as dead.
pub const SIGNER_SECONDS_MAX: u64 = 10;

/// How often in a row a signer that ends is replaced by another.
pub const SIGNER_RESTARTS_MAX: u32 = 10;
/// A signer that ran for so long counts as one that runs, in seconds.
pub const SIGNER_STEADY_SECONDS: u64 = 60;
/// The longest pause before another one is started, in seconds; the first is of one.
pub const SIGNER_PAUSE_SECONDS_MAX: u64 = 60;
