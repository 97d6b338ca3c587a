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

// ---- the operators' side ----------------------------------------------------------------------

/// The longest login name, in bytes: an account, a '+' and a VM name fit three times.
pub const LOGIN_NAME_BYTES_MAX: usize = 255;

/// Authentication attempts of one connection: an agent full of keys fits.
pub const AUTHENTICATION_ATTEMPTS_MAX: usize = 20;

/// What a refused key takes, in milliseconds, so that its time tells nothing.
pub const AUTHENTICATION_REJECTION_MILLIS: u64 = 50;

/// Source prefixes whose failed attempts are counted apart within a minute; the rest are one.
pub const FAILURE_PREFIXES_MAX: usize = 1024;

/// How often failed attempts become entries, in seconds.
pub const FAILURE_COUNT_SECONDS: u64 = 60;

/// Keepalives without an answer before the connection counts as dead.
pub const KEEPALIVE_UNANSWERED_MAX: usize = 3;

/// How long a peer may refuse to take a byte from its socket, in seconds.
pub const WRITE_STALL_SECONDS: u64 = 600;

/// Refusals that one connection may collect (channels, forwards, requests): a client that goes on
/// is broken or probing, and every refusal costs an entry.
pub const REFUSALS_PER_CONNECTION_MAX: usize = 64;

/// Environment variables of one channel.
pub const ENV_VARIABLES_MAX: usize = 64;
/// The bytes of one environment variable's value.
pub const ENV_VALUE_BYTES_MAX: usize = 1024;

/// The bytes of a terminal's name (`xterm-256color`).
pub const TERM_BYTES_MAX: usize = 64;

/// How long a channel that ends is given to take the reason, in milliseconds.
pub const LAST_WORDS_MILLIS: u64 = 250;

/// How long a gateway that stops waits for its connections to end, in milliseconds.
pub const DRAIN_MILLIS: u64 = 2000;

/// Validity of a host certificate that a gateway shows for a VM (`ssh -J`), in seconds.
pub const JUMP_CERT_SECONDS: i64 = 3600;
