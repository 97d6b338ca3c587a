//! The bounds of the HTTPS server, which strangers reach before anybody knows who they are.

/// Connections at once, in all: VMs ask for a list once a minute and are gone.
pub const HTTPS_CONNECTIONS_MAX: usize = 256;

/// Connections at once from one source: an office behind one address fits.
pub const HTTPS_CONNECTIONS_PER_SOURCE_MAX: usize = 32;

/// Seconds for the TLS handshake.
pub const HTTPS_HANDSHAKE_SECONDS: u64 = 10;

/// Seconds in which the head of a request must have come.
pub const HTTPS_HEAD_SECONDS: u64 = 10;

/// Seconds that one connection may last, whatever it does: a slow reader is cut by it.
pub const HTTPS_CONNECTION_SECONDS: u64 = 60;

/// The head of a request in bytes: a token of 52 characters in the path and what curl sends.
pub const HTTPS_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Headers of one request.
pub const HTTPS_HEADERS_MAX: usize = 64;

/// The body of a request in bytes: a signature, a host key, a checkpoint with its proof.
pub const HTTPS_BODY_BYTES_MAX: usize = 64 * 1024;

/// Certificates of one chain file.
pub const HTTPS_CHAIN_MAX: usize = 16;
