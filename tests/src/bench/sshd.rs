//! The real sshd processes of the bench: the VMs and the jump host.
//!
//! Each runs in a mount namespace whose /etc/passwd names one account, with a plain home and
//! shell: what a login costs must not depend on whose machine this is. Limits that would be
//! measured instead of the relay (MaxStartups, MaxSessions) are raised on all of them alike.

use super::child::Running;
use std::{
    fs,
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// The account on every VM and on the jump host.
pub const ACCOUNT: &str = "ops";
const UID: u32 = 64_210;

const BOOT: &str = r#"set -eu
for file in passwd group shadow; do mount --bind "$1/$file" "/etc/$file"; done
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e -f "$1/sshd_config"
"#;

/// An sshd that is laid out in its folder.
pub struct Sshd {
    folder: PathBuf,
    name: &'static str,
    listen: Vec<String>,
}

impl Sshd {
    /// Lays it out; `listen` are its addresses, `trust` more lines of its configuration.
    pub fn lay(stage: &Path, name: &'static str, listen: &[String], trust: &str) -> Self {
        let folder = stage.join(name);
        let home = folder.join("home");
        fs::create_dir_all(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(UID), Some(UID)).unwrap();
        let at = |file: &str| folder.join(file);
        if !at("host").exists() {
            key(&at("host"));
        }
        let account = format!("{ACCOUNT}:x:{UID}:{UID}::{}:/bin/bash\n", home.display());
        accounts(&folder, "passwd", &account);
        accounts(&folder, "group", &format!("{ACCOUNT}:x:{UID}:\n"));
        accounts(&folder, "shadow", &format!("{ACCOUNT}:*:19000:0:99999:7:::\n"));
        fs::set_permissions(at("shadow"), fs::Permissions::from_mode(0o600)).unwrap();
        let addresses: String = listen.iter().map(|a| format!("ListenAddress {a}\n")).collect();
        let config = format!(
            "{addresses}HostKey {folder}/host\nAuthorizedKeysFile {stage}/keys/olga.pub\n{trust}\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitUserRC no\nPrintMotd no\nPrintLastLog no\n\
             MaxStartups 10000\nMaxSessions 1000\nLoginGraceTime 120\nAcceptEnv LANG LC_*\n\
             Subsystem sftp internal-sftp\nPidFile none\nLogLevel ERROR\n",
            folder = folder.display(),
            stage = stage.display(),
        );
        fs::write(at("sshd_config"), config).unwrap();
        fs::write(at("boot"), BOOT).unwrap();
        Self { folder, name, listen: listen.to_vec() }
    }

    /// Its host key's public line.
    pub fn host_key(&self) -> String {
        fs::read_to_string(self.folder.join("host.pub")).unwrap()
    }

    /// Starts it in the namespace of this thread and waits until it answers.
    pub fn start(&self) -> Running {
        let mut command = Command::new("unshare");
        command.args(["-m", "/bin/sh"]).arg(self.folder.join("boot")).arg(&self.folder);
        let log = self.folder.join("sshd.log");
        let running = Running::start(self.name, &mut command, &log);
        for address in &self.listen {
            answers(address, &log);
        }
        running
    }
}

/// A file of accounts: the machine's own system accounts, and ours.
fn accounts(folder: &Path, file: &str, ours: &str) {
    let system = fs::read_to_string(Path::new("/etc").join(file)).unwrap();
    let name = format!("{ACCOUNT}:");
    let system: String =
        system.lines().filter(|line| !line.starts_with(&name)).map(|l| format!("{l}\n")).collect();
    fs::write(folder.join(file), system + ours).unwrap();
}

/// Makes an ed25519 key pair.
pub fn key(file: &Path) {
    let done =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file).status();
    assert!(done.is_ok_and(|status| status.success()), "ssh-keygen for {file:?}");
}

/// Waits until something listens there.
pub fn answers(address: &str, log: &Path) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        let said = fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < give_up, "nothing answers at {address}:\n{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
