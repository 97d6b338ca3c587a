//! The guard of a demo VM: the same code as `bastion-guard`, in its sshd's path.
//!
//! On a VM the program and its configuration are root's, and so are they here where the demo runs
//! as root: the VM's namespace has this program at /run/bastion/guard. An ordinary user has no root
//! to own anything: there sshd starts it through /usr/bin/env, which is root's, and the
//! configuration is the user's own. The checks are the same ones; that nobody but root could change
//! them is what such a demo does not show.
//!
//! What the guard says would be in the VM's system log. Here each VM has a datagram socket beside
//! its sshd_config, and a thread of the demo writes what comes into `guard.log` beside its disk.

use super::{
    error::{DemoError, Doing as _},
    files::write,
    vm::Vm,
};
use bastion_guard::config::Pinned;
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
};

/// The guard's configuration, in the folder of sshd's.
pub const PINNED: &str = "guard.json";
/// Its socket, beside it.
const SOCKET: &str = "guard.sock";
/// The longest line that is taken.
const LINE_BYTES_MAX: usize = 2048;

/// The program that is the guard: this one.
pub fn program() -> Result<PathBuf, DemoError> {
    std::env::current_exe().doing("find this program")
}

impl Vm {
    /// Pins what the VM knows by itself.
    pub(super) fn pin(&self, pinned: &Pinned) -> Result<(), DemoError> {
        let ssh = self.ssh_folder();
        let lists = match self.uids {
            Some(_) => PathBuf::from("/run/bastion/revocations"),
            None => self.folder.join("revocations"),
        };
        super::files::folder(&self.disk.join("revocations"), 0o755)?;
        let here = Pinned {
            revocations: Some(lists.join(pinned.customer.as_str())),
            syslog: Some(Path::new(&ssh).join(SOCKET)),
            ..pinned.clone()
        };
        let text = serde_json::to_string_pretty(&here).map_err(io::Error::from);
        let text = text.doing("write down what a VM knows")?;
        write(&self.disk.join("etc-ssh").join(PINNED), &format!("{text}\n"), 0o644)
    }

    /// The lines of sshd_config.
    pub(super) fn guard_in_sshds_path(&self) -> Result<String, DemoError> {
        let config = format!("--config {}/{PINNED} %u %t %k", self.ssh_folder());
        let (command, user) = match self.uids {
            Some(_) => (format!("/run/bastion/guard guard -- {config}"), "nobody"),
            None => {
                let program = program()?;
                let program = program.display();
                let command = format!("/usr/bin/env {program} guard --of-this-user -- {config}");
                (command, self.user.as_str())
            }
        };
        Ok(format!(
            "AuthorizedPrincipalsFile none\n\
             AuthorizedPrincipalsCommand {command}\n\
             AuthorizedPrincipalsCommandUser {user}"
        ))
    }

    /// Where what its guard says is kept.
    pub fn guard_log(&self) -> PathBuf {
        self.disk.join("guard.log")
    }

    /// Keeps what its guard says, for as long as this process lives.
    pub fn listen(&self) -> Result<(), DemoError> {
        let at = self.disk.join("etc-ssh").join(SOCKET);
        match fs::remove_file(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).doing(format!("remove {at:?}"));
            }
            _ => {}
        }
        let socket = UnixDatagram::bind(&at).doing(format!("listen on {at:?}"))?;
        // Whoever sshd runs the guard as may say something.
        fs::set_permissions(&at, fs::Permissions::from_mode(0o666))
            .doing("open the guard's log")?;
        let file = self.guard_log();
        let log = OpenOptions::new().create(true).append(true).open(&file);
        let mut log = log.doing(format!("open {file:?}"))?;
        let keeping = move || {
            let mut line = [0; LINE_BYTES_MAX];
            while let Ok(length) = socket.recv(&mut line) {
                let said = String::from_utf8_lossy(&line[..length]);
                if let Err(error) = writeln!(log, "{said}") {
                    tracing::warn!(%error, "what a guard said is lost");
                }
            }
        };
        let thread = std::thread::Builder::new().name("guards".into()).spawn(keeping);
        thread.doing("listen to a guard").map(drop)
    }
}
