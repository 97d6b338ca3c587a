//! Bounds of forwards.

/// Destinations of forwards that a VM's list may have: more is no list that anybody reads.
pub const DESTINATIONS_PER_VM_MAX: usize = 100;

/// Channels that a VM opened and that wait for the operator's side: a page full of windows.
pub const KNOCKS_WAITING_MAX: usize = 16;

/// Connections that a VM may have with the operator at once under one lease.
pub const LENT_CONNECTIONS_MAX: usize = 64;

/// Such connections under one lease in all: a VM that opens them without end would fill the log.
pub const LENT_PER_LEASE_MAX: u64 = 10_000;

/// Seconds for the operator's client to take such a connection.
pub const LENT_OPEN_SECONDS: u64 = 15;

/// The name of an X11 authentication protocol, or its cookie, in bytes: far more than there are.
pub const X11_WORD_BYTES_MAX: usize = 256;

/// Seconds for a VM to be reached and to listen for `ssh -R`: the operator's connection waits.
pub const LISTEN_SECONDS_MAX: u64 = 20;

/// Ports that one connection of an operator may have listened on at once.
pub const LISTENERS_PER_CONNECTION_MAX: usize = 16;
