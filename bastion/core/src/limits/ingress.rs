//! The bounds of the operators' side: before the login, and of what one connection may ask.

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

/// Seconds in which a peer that has connected must say which SSH it speaks: a line of text. Nobody
/// is asked anything before it, so no person is slow here.
pub const VERSION_SECONDS: u64 = 15;

/// Refused keys that count as one failed login: what sshd allows a connection by default, so an
/// agent full of keys is not a guesser, and a connection that tries them by the dozen is.
pub const KEYS_PER_FAILED_LOGIN: usize = 6;

/// Connections that end before anybody tried to log in that weigh as much as one failed login: a
/// health check every second stays free, a flood of handshakes does not.
pub const ABANDONED_PER_FAILED_LOGIN: u32 = 60;

/// Failed logins of a source that are answered without a delay: typing errors.
pub const FAILED_LOGINS_FREE: u32 = 3;

/// What each further one adds to the answer, in milliseconds: doubling from the first to the
/// second.
pub const FAILED_LOGIN_DELAY_MILLIS_MIN: u64 = 250;
/// See [`FAILED_LOGIN_DELAY_MILLIS_MIN`].
pub const FAILED_LOGIN_DELAY_MILLIS_MAX: u64 = 5_000;

/// How many times what one address may fail its whole network may: /24 of IPv4, /56 of IPv6.
pub const FAILED_LOGINS_NETWORK_FACTOR: u32 = 8;

/// The most failed logins that a configuration may allow a source.
pub const FAILED_LOGINS_MAX: u32 = 10_000;

/// Sources whose failed logins are remembered: so many buckets …
pub const GUESSER_BUCKETS: usize = 1024;

/// … of so many sources each. In a full one the source that would be forgotten first makes room.
pub const GUESSERS_PER_BUCKET: usize = 8;

/// Shut-outs that are entered apart before the next ten seconds; the rest are counted as one.
pub const SHUT_OUTS_APART_MAX: usize = 16;

/// How often shut-outs become entries at most, in seconds.
pub const SHUT_OUT_ENTRY_SECONDS: u64 = 10;

/// Sources that a configuration may never shut out, as ranges.
pub const NEVER_SHUT_OUT_MAX: usize = 256;

/// Peers without a place that are told why at once; the others are closed without a word.
pub const DOORSTEP_MAX: usize = 64;

/// Seconds that such a peer may take to hear it.
pub const DOORSTEP_SECONDS: u64 = 2;

/// Keepalives without an answer before the connection counts as dead.
pub const KEEPALIVE_UNANSWERED_MAX: usize = 3;

/// How long a client may refuse to take a byte from its socket, in seconds, unless configured.
pub const TAKES_NOTHING_SECONDS: u64 = 600;

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

/// The window of a channel of PuTTY's inside `ssh -J`: less than half of the smallest one around it
/// ([`super::WINDOW_NEAR_BYTES`]), and than what counts as stalled there.
pub const WINDOW_NARROW_BYTES: u32 = 1 << 20;

/// How often a gateway that shares its store looks for sessions that officers on others have ended.
pub const SESSION_ENDS_TICK_MILLIS: u64 = 500;
