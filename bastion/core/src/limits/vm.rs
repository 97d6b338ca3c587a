//! The bounds of the VM's side and of its approvers: enrolment, sets, revocation, reconciliation.

/// Bytes of randomness in a one-time token: 160 bits, which nobody guesses.
pub const TOKEN_BYTES: usize = 20;

/// How long an approver's invitation can be used, in seconds: a week, for another company.
pub const INVITATION_SECONDS: i64 = 7 * 24 * 3600;

/// Invitations of one customer that wait.
pub const INVITATIONS_OPEN_MAX: u64 = 16;

/// Approvers of one customer: as many as may have to sign.
pub const APPROVERS_MAX: usize = 16;

/// How long a new set waits for its signatures, in seconds: two weeks.
pub const SET_CHANGE_SECONDS: i64 = 14 * 24 * 3600;

/// New sets of one customer that wait at once.
pub const SET_CHANGES_OPEN_MAX: u64 = 8;

/// How long a reset of a customer's approvers waits, in seconds: 72 hours, so that whoever is told
/// of it over a weekend can still stop it.
pub const RESET_WAIT_SECONDS: i64 = 72 * 3600;

/// How often the approvers are told again of a reset that waits, in seconds: daily.
pub const RESET_REMINDER_SECONDS: i64 = 24 * 3600;

/// How long a VM's one-time token can be used, in seconds: an hour, a machine boots in minutes.
pub const VM_TOKEN_SECONDS: i64 = 3600;

/// Seconds back for which certificates of leases that lost their ground stand in the KRL: twice as
/// long as one is valid.
pub const KRL_LEASE_SECONDS: i64 = 900;

/// Serials in one KRL.
pub const KRL_SERIALS_MAX: u64 = 100_000;

/// The guard's binary as it is served, in bytes.
pub const GUARD_BINARY_BYTES_MAX: u64 = 64 << 20;

/// One line of a VM's sshd log that is kept, in bytes.
pub const SSHD_LINE_BYTES_MAX: usize = 1024;

/// A VM's sshd log as it is given, in bytes: years of a busy VM's accepted logins.
pub const SSHD_LOG_BYTES_MAX: u64 = 256 << 20;

/// Logins of one comparison.
pub const SSHD_LOGINS_MAX: usize = 500_000;

/// Findings of one comparison that get entries of their own; the rest are counted.
pub const RECONCILE_ENTRIES_MAX: usize = 100;

/// Seconds after its end in which a channel's login may still be missing from the VM's log.
pub const RECONCILE_GRACE_SECONDS: i64 = 30;
