//! What sftp did, for the log: read off the stream.
//!
//! The SFTP version 3 packets of both directions are followed as they pass. For each file that is
//! closed there is a [`Transfer`] with the SHA-256 of what went through; for each rename, removal
//! and the like a [`Change`] with the VM's answer. Both are honest: `complete` is said only when
//! every byte from the first to the last was seen, in order, and every answer was "ok". Whatever a
//! peer sends, nothing here waits, fails, or remembers more than its bounds; what is not followed
//! is told once, as `untracked`.
//!
//! Where the policy says which way files may go, a [`Filter`] stands in front and does touch the
//! stream: see there.

mod filter;
mod framer;
mod observer;
mod packet;
mod tally;

pub use filter::Refused;
pub(super) use filter::{Filter, Lost};
pub(super) use observer::Observer;

use audit_schema::{event::Direction, hash::Hash};
use serde_json::json;

/// A file that went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its path on the VM, as asked for.
    pub path: String,
    /// Which way.
    pub direction: Direction,
    /// Bytes that went through.
    pub bytes: u64,
    /// Their SHA-256, in the order in which they went.
    pub sha256: Hash,
    /// Where the first of them belongs, if all followed in a row; otherwise 0.
    pub offset: u64,
    /// Whether they are the whole file, in order.
    pub complete: bool,
    /// The VM's last answer that was not "ok", or 0.
    pub status: u64,
}

/// Another operation on a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `rename`, `remove`, `mkdir`, `rmdir`, `setstat`, `symlink`, `hardlink`, `copy`; `open` for a
    /// file that could not be opened, `untracked` where a peer went beyond what is followed.
    pub operation: &'static str,
    /// What it was done to.
    pub path: String,
    /// The other path, where there is one.
    pub target: Option<String>,
    /// The VM's answer: 0 is "ok".
    pub status: u64,
}

impl Transfer {
    /// As it stands in the recording.
    pub(super) fn line(&self) -> String {
        json!({
            "operation": match self.direction {
                Direction::Upload => "upload",
                Direction::Download => "download",
            },
            "path": self.path,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "offset": self.offset,
            "complete": self.complete,
            "status": self.status,
        })
        .to_string()
    }
}

impl Change {
    /// As it stands in the recording.
    pub(super) fn line(&self) -> String {
        json!({
            "operation": self.operation,
            "path": self.path,
            "target": self.target,
            "status": self.status,
        })
        .to_string()
    }
}

impl Refused {
    /// As it stands in the recording.
    pub(super) fn line(&self) -> String {
        json!({
            "operation": "refused",
            "refused": self.operation,
            "path": self.path,
            "target": self.target,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests;
