//! A line for the system's log, as a datagram of RFC 3164 to `/dev/log`.
//!
//! sshd throws away what the program writes to its standard error. A log that does not listen is
//! no reason to let anybody in, and none to fail: the line is lost then.

use std::{os::unix::net::UnixDatagram, path::Path, process};

/// Where the system's log listens.
pub const SOCKET: &str = "/dev/log";

/// Facility authpriv (10), severity warning (4).
const PRIORITY: u8 = 10 << 3 | 4;

/// The longest message: more than any reason.
const BYTES_MAX: usize = 1000;

/// Says it, if anybody listens.
pub fn say(socket: &Path, what: &str) {
    let mut what = what.to_owned();
    what.truncate(what.floor_char_boundary(BYTES_MAX));
    let line = format!("<{PRIORITY}>bastion-guard[{}]: {what}", process::id());
    let sent = UnixDatagram::unbound().and_then(|sender| {
        sender.set_nonblocking(true)?;
        sender.send_to(line.as_bytes(), socket)
    });
    if sent.is_err() {
        // Whoever tries it by hand sees it.
        eprintln!("bastion-guard: {what}");
    }
}
