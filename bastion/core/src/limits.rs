//! Every bound of the product, with its reason. Units last.

/// A command line: what Linux hands to one `execve` argument (MAX_ARG_STRLEN, 128 KiB).
pub const COMMAND_BYTES_MAX: usize = 128 * 1024;

/// Free text of people (justification, note, reason): a paragraph, not a document.
pub const FREE_TEXT_CHARS_MAX: usize = 500;

/// Seconds of validity of a certificate before now: clocks of VMs may be behind.
pub const CERT_BACKDATE_SECONDS: i64 = 120;

/// Seconds of validity of a certificate after now: it only has to fit one login.
pub const CERT_VALIDITY_SECONDS: i64 = 300;

/// Receipt and consent extensions of a certificate together, in bytes.
pub const CERT_EXTENSIONS_BYTES_MAX: usize = 16 * 1024;

/// The longest consent window, in seconds: 24 hours.
pub const CONSENT_WINDOW_SECONDS_MAX: i64 = 24 * 3600;

/// How long a ticket waits for a decision, in seconds: four days.
pub const CONSENT_PENDING_SECONDS_MAX: i64 = 4 * 24 * 3600;

/// The longest life of a channel whatever its level, in seconds: a working day.
pub const CHANNEL_SECONDS_MAX: i64 = 12 * 3600;

/// A deployment's name: it stands in every statement and checkpoint.
pub const ORIGIN_BYTES_MAX: usize = 100;

/// The path of a Unix socket: `sockaddr_un` holds 108 bytes, its end and a little room included.
pub const SOCKET_PATH_BYTES_MAX: usize = 100;

/// The most that any configured count of connections or channels may be.
pub const CONNECTIONS_MAX: usize = 100_000;

/// Connections to the metrics page at once: a scraper or two.
pub const METRICS_CONNECTIONS_MAX: usize = 8;

/// The head of a request to the metrics page, in bytes.
pub const METRICS_REQUEST_BYTES_MAX: usize = 4096;
/// A command of `ssh bastion …`: the longest free texts, ids and flags of any command, with room.
pub const COMMAND_LINE_BYTES_MAX: usize = 32 * 1024;

/// Words of such a command: a list of source ranges is the longest there is.
pub const COMMAND_WORDS_MAX: usize = 256;

/// What a command reads from its standard input: an armored signature, a PEM key.
pub const COMMAND_INPUT_BYTES_MAX: usize = 32 * 1024;

/// Commands of one person at once before they have to wait.
pub const COMMAND_BURST_MAX: u32 = 60;

/// Seconds until one more command of that person may run: what one person adds to the log is
/// bounded, and nobody is refused unrecorded for being fast.
pub const COMMAND_REFILL_SECONDS: u32 = 1;
