//! Which way files may go over sftp: what `@sftp("upload")` on a permit means.
//!
//! The rule is kept by the gateway's own reading of the sftp requests, so it is worth something
//! only where nothing but sftp can be spoken: the policy's loader sees to that, and the certificate
//! forces `internal-sftp`. A refused request gets sftp's own answer, and an entry.

use crate::code::codes;

codes!(/** Which way files may go. */ Ways {
    /// To the VM: files are written, renamed, removed; none is read.
    Upload = "upload": "files may be sent to the VM, none may be fetched",
    /// From the VM: files are read; nothing on the VM changes.
    Download = "download": "files may be fetched from the VM, nothing there may be changed",
    /// Neither: names, sizes and times may be looked at.
    List = "list": "files may be looked at, neither sent nor fetched",
});

impl Ways {
    /// What both permit.
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::List }
    }
    /// Whether the content of files may come from the VM.
    pub fn may_read(self) -> bool {
        self == Self::Download
    }
    /// Whether files on the VM may be made, filled, renamed, removed or changed in any way.
    pub fn may_write(self) -> bool {
        self == Self::Upload
    }
}

/// A rule on an sftp channel, with the statements that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRule {
    /// What it permits.
    pub ways: Ways,
    /// The ids of the statements, sorted: every refusal names them.
    pub policies: Vec<String>,
}

impl FileRule {
    /// What a refused request is answered with.
    pub fn sentence(&self, operation: &str) -> String {
        let (words, by) = (self.ways.words(), self.policies.join(", "));
        format!("bastion: {operation} is refused by policy {by}: {words}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rules_permit_what_both_permit() {
        for ways in Ways::ALL {
            assert_eq!(ways.and(*ways), *ways);
            assert_eq!(ways.and(Ways::List), Ways::List);
            assert!(!(ways.may_read() && ways.may_write()), "that would be no rule");
        }
        assert_eq!(Ways::Upload.and(Ways::Download), Ways::List);
    }
}
