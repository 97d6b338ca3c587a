//! How real the separation between the accounts of a demo VM is on this machine.
//!
//! As root each VM is a set of namespaces (mounts, processes, host name) with its own passwd, and
//! `ops` and `dba` are two Unix users that exist nowhere else. As an ordinary user, and in
//! containers that may not make namespaces, both accounts are the one user that runs the demo:
//! then the demo shows the gate, not separation on the VM, and says so.

use nix::unistd::{Uid, User};
use std::process::{Command, Stdio};

/// The first Unix user id that the demo tries for its accounts.
const UID_FIRST: u32 = 59_100;
/// Accounts of all VMs of the demo together.
const UIDS: u32 = 6;

/// Arguments of `unshare` for one VM.
pub const UNSHARE: [&str; 7] = [
    "/usr/bin/unshare",
    "--mount",
    "--pid",
    "--uts",
    "--fork",
    "--kill-child=KILL",
    "--mount-proc",
];

/// What the accounts of the VMs are on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Separation {
    /// Two Unix users for each VM, ids counted from here, that exist within the VM only.
    Namespaces {
        /// The id of the first VM's `ops`.
        uid_first: u32,
    },
    /// Both accounts are this user.
    SameUser {
        /// Their name.
        name: String,
    },
}

impl Separation {
    /// Finds out what this machine allows.
    pub fn probe() -> Self {
        if Uid::effective().is_root() && namespaces_work() {
            return Self::Namespaces { uid_first: free_uids() };
        }
        let name = match User::from_uid(Uid::effective()) {
            Ok(Some(user)) => user.name,
            // sshd will refuse the login and its log will say that there is no such user.
            Ok(None) | Err(_) => Uid::effective().to_string(),
        };
        Self::SameUser { name }
    }

    /// The Unix user of an account on the VMs.
    pub fn unix_user(&self, account: &str) -> String {
        match self {
            Self::Namespaces { .. } => account.to_owned(),
            Self::SameUser { name } => name.clone(),
        }
    }

    /// What to tell the person who watches.
    pub fn sentence(&self) -> String {
        match self {
            Self::Namespaces { .. } => {
                "each VM is a set of namespaces; ops and dba are two Unix users that exist in it \
                 alone"
                    .to_owned()
            }
            Self::SameUser { name } => format!(
                "without root (or namespaces) both accounts of a VM are the Unix user {name}: this \
                 shows the gate, not separation on the VM"
            ),
        }
    }
}

fn namespaces_work() -> bool {
    let (program, arguments) = UNSHARE.split_at(1);
    Command::new(program[0])
        .args(arguments)
        .args(["/bin/sh", "-c", "mount -t tmpfs demo /run && hostname demo"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The first run of ids that no Unix user of this machine has.
fn free_uids() -> u32 {
    let taken = |uid: u32| matches!(User::from_uid(Uid::from_raw(uid)), Ok(Some(_)));
    (UID_FIRST..60_000 - UIDS)
        .step_by(10)
        .find(|first| !(*first..first + UIDS).any(taken))
        .unwrap_or(UID_FIRST)
}
