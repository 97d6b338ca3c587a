//! One VM of the demo: a real sshd that takes nothing but the bastion's certificates.
//!
//! Its folder under DIR/vms holds what would be the VM's disk. With namespaces, [`BOOT`] binds it
//! over /etc/ssh, /home and /srv of a private mount namespace and hides the rest of DIR, so what
//! an operator sees after login is a small machine with two accounts and a customer's file that
//! only one of them can read. Nothing of the host changes.

use super::{
    child::Child,
    error::{DemoError, Doing as _},
    files::{line, write},
    guard,
    separation::{Separation, UNSHARE},
};
use bastion_guard::config::Pinned;
use nix::unistd::Uid;
use std::{
    fs,
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The accounts of each VM and their levels.
pub const ACCOUNTS: [(&str, &str); 2] = [("ops", "troubleshoot"), ("dba", "data")];

/// Becomes the VM: `sh boot DISK NAME FOLDER PROGRAM`, the last one empty without a guard. Sources
/// are relative, with `-c` (no canonicalising), since a bind mount made earlier may already hide
/// the path that leads here. What else an operator could find of the host is covered.
const BOOT: &str = r#"set -eu
cd "$1"
mount -c --bind etc-ssh /etc/ssh
for file in passwd group shadow; do mount -c --bind "$file" "/etc/$file"; done
mount -c --bind srv /srv
mount -c --bind home /home
if [ -n "$4" ]; then
    mount -c --bind "$3/revocations" revocations
    case $(stat -L -c %u:%a "$4") in
    # sshd runs only what is root's and nobody else may write; elsewhere a copy that is.
    0:*[0145][0145]) : > guard; mount -c --bind "$4" guard ;;
    *) cp "$4" guard; chmod 755 guard ;;
    esac
fi
for place in "$3" /tmp /run /root /var/log /var/tmp; do
    if [ -d "$place" ]; then mount -t tmpfs -o mode=755 vm "$place"; fi
done
chmod 1777 /tmp /var/tmp
mkdir -m 755 -p /run/sshd /run/bastion/revocations
if [ -n "$4" ]; then
    mount -c --bind revocations /run/bastion/revocations
    : > /run/bastion/guard
    mount -c --bind guard /run/bastion/guard
fi
hostname "$2"
cd /
exec /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config
"#;

/// How long a VM may take to answer.
const BOOT_SECONDS_MAX: u64 = 20;

/// What a VM is told of the bastion before it boots.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Which life of the VM this is.
    pub instance: String,
    /// The public key of the CA whose operator certificates count.
    pub user_ca: String,
    /// The certificate of the VM-host CA for this VM's host key.
    pub host_certificate: String,
    /// What its guard knows by itself; without it sshd goes by the certificate's principal alone.
    pub guard: Option<Pinned>,
}

/// Where a VM is to be laid out.
#[derive(Clone, Debug)]
pub struct Site {
    /// The demo's folder.
    pub folder: PathBuf,
    /// Which VM of the demo: its accounts' Unix user ids follow from it.
    pub index: u32,
    /// Its name in the inventory.
    pub name: String,
    /// Where its sshd is to listen on 127.0.0.1.
    pub port: u16,
}

/// A VM that is laid out in its folder.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Its name in the inventory.
    pub name: String,
    /// Where its sshd listens on 127.0.0.1.
    pub port: u16,
    pub(super) disk: PathBuf,
    pub(super) folder: PathBuf,
    /// The ids of `ops` and `dba`; absent where both are the user who runs the demo.
    pub(super) uids: Option<[u32; 2]>,
    pub(super) user: String,
}

impl Vm {
    /// Lays out a VM, or finds it laid out already.
    pub fn lay(site: Site, separation: &Separation) -> Result<Self, DemoError> {
        let uids = match separation {
            Separation::Namespaces { uid_first } => {
                let first = uid_first + 2 * site.index;
                Some([first, first + 1])
            }
            Separation::SameUser { .. } => None,
        };
        let vm = Self {
            disk: site.folder.join("vms").join(&site.name),
            user: separation.unix_user("ops"),
            name: site.name,
            port: site.port,
            folder: site.folder,
            uids,
        };
        vm.lay_disk()?;
        Ok(vm)
    }

    /// The host's public key, for the VM-host CA to certify.
    pub fn host_public_key(&self) -> Result<String, DemoError> {
        let path = self.disk.join("etc-ssh/ssh_host_ed25519_key.pub");
        fs::read_to_string(&path).doing(format!("read {path:?}"))
    }

    /// The customer's file as the data account reads it.
    pub fn data_file(&self) -> String {
        match self.uids {
            Some(_) => "/srv/data/customers.csv".to_owned(),
            None => self.disk.join("srv/data/customers.csv").display().to_string(),
        }
    }

    /// Writes what makes this VM trust the bastion and prove itself to it.
    pub fn trust(&self, trust: &Trust) -> Result<(), DemoError> {
        let ssh = self.disk.join("etc-ssh");
        write(&ssh.join("user_ca.pub"), &line(&trust.user_ca), 0o644)?;
        let certificate = ssh.join("ssh_host_ed25519_key-cert.pub");
        write(&certificate, &line(&trust.host_certificate), 0o644)?;
        if let Some(pinned) = &trust.guard {
            self.pin(pinned)?;
        }
        let principal = |(account, level)| format!("{level}:{account}@{}\n", trust.instance);
        if self.uids.is_some() {
            for (account, level) in ACCOUNTS {
                let file = ssh.join("principals").join(account);
                write(&file, &principal((account, level)), 0o644)?;
            }
        } else {
            let both: String = ACCOUNTS.into_iter().map(principal).collect();
            write(&ssh.join("principals").join(&self.user), &both, 0o644)?;
        }
        let principals = match &trust.guard {
            Some(_) => self.guard_in_sshds_path()?,
            None => format!("AuthorizedPrincipalsFile {}/principals/%u", self.ssh_folder()),
        };
        write(&ssh.join("sshd_config"), &self.sshd_config(&principals), 0o644)
    }

    /// Starts it and waits until it speaks SSH. It ends when the value is dropped, or when we die.
    pub fn boot(&self) -> Result<Child, DemoError> {
        let log = self.disk.join("sshd.log");
        let disk = self.disk.display().to_string();
        let folder = self.folder.display().to_string();
        let config = self.disk.join("etc-ssh/sshd_config").display().to_string();
        let child = if self.uids.is_some() {
            let boot = self.disk.join("boot");
            write(&boot, BOOT, 0o644)?;
            let boot = boot.display().to_string();
            let mut command = UNSHARE.to_vec();
            let guard = match self.disk.join("etc-ssh").join(guard::PINNED).exists() {
                true => guard::program()?.display().to_string(),
                false => String::new(),
            };
            command.extend(["/bin/sh", &boot, &disk, &self.name, &folder, &guard]);
            Child::start(&command, &log)
        } else {
            if Uid::effective().is_root() {
                fs::create_dir_all("/run/sshd").doing("make /run/sshd")?;
            }
            Child::start(&["/usr/sbin/sshd", "-D", "-e", "-f", &config], &log)
        };
        let child = child.doing(format!("start the VM {}", self.name))?;
        self.wait_for_banner(&log).map(|()| child)
    }

    fn wait_for_banner(&self, log: &Path) -> Result<(), DemoError> {
        let give_up = Instant::now() + Duration::from_secs(BOOT_SECONDS_MAX);
        while Instant::now() < give_up {
            if speaks_ssh(self.port) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = fs::read_to_string(log).unwrap_or_default();
        let mut last: Vec<&str> = text.lines().rev().take(3).collect();
        last.reverse();
        Err(DemoError::Vm {
            vm: self.name.clone(),
            port: self.port,
            log: log.to_owned(),
            last: last.join(" / "),
        })
    }

    /// Where sshd finds its files: in a namespace the disk's folder is /etc/ssh.
    pub(super) fn ssh_folder(&self) -> String {
        match self.uids {
            Some(_) => "/etc/ssh".to_owned(),
            None => self.disk.join("etc-ssh").display().to_string(),
        }
    }

    fn sshd_config(&self, principals: &str) -> String {
        // Without a namespace it may lie below a folder that others may write to (/tmp), which
        // StrictModes refuses.
        let ssh = self.ssh_folder();
        let (users, strict) = match self.uids {
            Some(_) => ("ops dba".to_owned(), "yes"),
            None => (self.user.clone(), "no"),
        };
        let root =
            if self.user == "root" && self.uids.is_none() { "prohibit-password" } else { "no" };
        format!(
            "# Written by `bastion demo`: what `bastion` expects of any VM's sshd.\n\
             Port {port}\n\
             ListenAddress 127.0.0.1\n\
             HostKey {ssh}/ssh_host_ed25519_key\n\
             HostCertificate {ssh}/ssh_host_ed25519_key-cert.pub\n\
             # The only way in: a certificate of the bastion's CA that names this VM instance.\n\
             TrustedUserCAKeys {ssh}/user_ca.pub\n\
             {principals}\n\
             AuthenticationMethods publickey\n\
             AuthorizedKeysFile none\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             AllowUsers {users}\n\
             PermitRootLogin {root}\n\
             PermitUserRC no\n\
             UsePAM no\n\
             StrictModes {strict}\n\
             ExposeAuthInfo yes\n\
             # Only as far as a certificate permits: those of plain sessions permit none of it.\n\
             AllowTcpForwarding yes\n\
             AllowStreamLocalForwarding yes\n\
             AllowAgentForwarding yes\n\
             X11Forwarding yes\n\
             GatewayPorts no\n\
             PermitTunnel no\n\
             AcceptEnv LANG LC_*\n\
             Subsystem sftp internal-sftp\n\
             PidFile none\n\
             PrintMotd no\n\
             PrintLastLog no\n\
             LoginGraceTime 30\n\
             MaxStartups 100:30:200\n\
             LogLevel VERBOSE\n",
            port = self.port,
        )
    }
}

fn speaks_ssh(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let patience = Duration::from_secs(1);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, patience) else {
        return false;
    };
    let mut banner = [0_u8; 8];
    stream.set_read_timeout(Some(patience)).is_ok()
        && stream.read_exact(&mut banner).is_ok()
        && &banner == b"SSH-2.0-"
}

#[cfg(test)]
mod tests {
    //! The judge is OpenSSH itself: certificates minted with `ssh-keygen`, logins with `ssh`.

    use super::super::{files::fresh_key, port::Reserved};
    use super::*;
    use russh::keys::ssh_key::LineEnding;
    use std::process::{Command, Output};

    struct Bench {
        folder: PathBuf,
        vm: Vm,
        _child: Child,
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.folder).expect("the test's own folder");
        }
    }

    fn keygen(arguments: &[&str]) {
        let done = Command::new("ssh-keygen").args(arguments).output();
        let done = done.expect("ssh-keygen runs");
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    }

    impl Bench {
        fn new(label: &str) -> Self {
            let name = format!("bastion-vm-{label}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).expect("a folder for the test");
            let bench = |name: &str| folder.join(name).display().to_string();
            for name in ["user_ca", "other_ca", "host_ca", "key"] {
                let key = fresh_key(name).expect("a key");
                let text = key.to_openssh(LineEnding::LF).expect("encodes");
                write(&folder.join(name), &text, 0o600).expect("written");
                let public = key.public_key().to_openssh().expect("encodes");
                write(&folder.join(format!("{name}.pub")), &line(&public), 0o644).expect("written");
            }
            let port = Reserved::any().expect("a port");
            let site = Site {
                folder: folder.clone(),
                index: 0,
                name: "pg-1.acme".to_owned(),
                port: port.number().expect("bound"),
            };
            let vm = Vm::lay(site, &Separation::probe()).expect("laid out");
            let host = bench("host.pub");
            let public = vm.host_public_key().expect("laid out");
            write(Path::new(&host), &public, 0o644).expect("written");
            let (ca, names) = (bench("host_ca"), "i-1,pg-1.acme");
            keygen(&["-q", "-s", &ca, "-h", "-I", "vm", "-n", names, &host]);
            let trust = Trust {
                instance: "i-1".to_owned(),
                user_ca: fs::read_to_string(folder.join("user_ca.pub")).expect("written"),
                host_certificate: fs::read_to_string(folder.join("host-cert.pub")).expect("signed"),
                guard: None,
            };
            vm.trust(&trust).expect("told");
            let _child = vm.boot().expect("boots");
            Self { folder, vm, _child }
        }

        /// Logs in with a certificate of `ca` for `principal`.
        fn login(&self, ca: &str, principal: &str, account: &str, command: &str) -> Output {
            let at = |name: &str| self.folder.join(name).display().to_string();
            let (ca, key) = (at(ca), at("key"));
            keygen(&["-q", "-s", &ca, "-I", "test", "-n", principal, &format!("{key}.pub")]);
            let known = fs::read_to_string(at("host_ca.pub")).expect("written");
            let known = format!("@cert-authority pg-1.acme {known}");
            write(Path::new(&at("known_hosts")), &known, 0o644).expect("written");
            let user = match &self.vm.uids {
                Some(_) => account,
                None => &self.vm.user,
            };
            Command::new("ssh")
                .args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
                .args(["-o", "StrictHostKeyChecking=yes", "-o", "HostKeyAlias=pg-1.acme"])
                .args(["-o", &format!("UserKnownHostsFile={}", at("known_hosts"))])
                .args(["-i", &key, "-p", &self.vm.port.to_string()])
                .args([&format!("{user}@127.0.0.1"), command])
                .output()
                .expect("ssh runs")
        }
    }

    #[test]
    fn a_vm_takes_the_right_certificate_and_nothing_else() {
        let bench = Bench::new("takes");
        let good = bench.login("user_ca", "troubleshoot:ops@i-1", "ops", "echo in");
        assert_eq!(String::from_utf8_lossy(&good.stdout), "in\n", "{good:?}");
        for (what, ca, principal, account) in [
            ("another CA", "other_ca", "troubleshoot:ops@i-1", "ops"),
            ("another instance", "user_ca", "troubleshoot:ops@i-2", "ops"),
            ("another level", "user_ca", "data:ops@i-1", "ops"),
            ("the bare account", "user_ca", "ops", "ops"),
            ("root", "user_ca", "troubleshoot:ops@i-1", "root"),
        ] {
            if account == "root" && bench.vm.uids.is_none() {
                continue;
            }
            let refused = bench.login(ca, principal, account, "echo in");
            assert_eq!(refused.status.code(), Some(255), "{what}: {refused:?}");
            let why = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(why.contains("Permission denied"), "{what}: {why}");
        }
    }

    #[test]
    fn only_the_data_account_reads_the_customers_file() {
        let bench = Bench::new("reads");
        let read = format!("cat {}", bench.vm.data_file());
        let data = bench.login("user_ca", "data:dba@i-1", "dba", &read);
        assert!(String::from_utf8_lossy(&data.stdout).contains("Lindqvist"), "{data:?}");
        if bench.vm.uids.is_some() {
            let ops = bench.login("user_ca", "troubleshoot:ops@i-1", "ops", &read);
            assert_eq!(ops.status.code(), Some(1), "{ops:?}");
            let crossed = bench.login("user_ca", "troubleshoot:ops@i-1", "dba", &read);
            assert_eq!(crossed.status.code(), Some(255), "{crossed:?}");
            let keys = format!("ls {}", bench.folder.display());
            let hidden = bench.login("user_ca", "data:dba@i-1", "dba", &keys);
            assert!(!String::from_utf8_lossy(&hidden.stdout).contains("user_ca"), "{hidden:?}");
        }
    }
}
