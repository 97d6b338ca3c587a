//! VMs that a test makes itself, beside those of the demo: entered into the inventory, with a host
//! key that is certified, and where it is a real sshd, one of the test's own.

use crate::world::{Person, World, until};
use russh::keys::{Certificate, PrivateKey, ssh_key};
use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
};

/// Enters a VM.
pub fn add(world: &World, name: &str, port: u16, account: &str) {
    let words = format!("--service acme-pg --address 127.0.0.1:{port} --account {account}");
    world.order(Person::Odile, &format!("vm add {name} {words}"));
}

/// A host key with a certificate of the VM-host CA for the living instance of a VM.
pub fn host_key(world: &World, file: &str, certified: &str) -> (PrivateKey, Certificate) {
    let path = format!("keys/host-{file}");
    world.run("ssh-keygen", &["-q", "-N", "", "-t", "ed25519", "-f", &path]).exits(0);
    let public = fs::read(world.dir().join(format!("{path}.pub"))).unwrap();
    let certify = ["bastion", &format!("vm certify {certified}")];
    let signed = world.ssh_with(Person::Odile, &certify, &public).exits(0).text();
    fs::write(world.dir().join(format!("{path}-cert.pub")), &signed).unwrap();
    let key = russh::keys::load_secret_key(world.dir().join(path), None).unwrap();
    (key, ssh_key::Certificate::from_openssh(signed.trim()).unwrap())
}

/// A real sshd whose operators are the user who runs the test.
pub struct Sshd {
    child: Child,
    /// Where it listens.
    pub port: u16,
    principal: String,
    unix_user: String,
}

impl Sshd {
    /// Enters it under a name, with more lines for its configuration; `unix_user` is the account.
    pub fn start(world: &World, name: &str, unix_user: &str, more: &str) -> Self {
        let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = reserved.local_addr().unwrap().port();
        drop(reserved);
        add(world, name, port, &format!("ops:troubleshoot:{unix_user}"));
        host_key(world, name, name);
        let at = |file: &str| world.dir().join(file).display().to_string();
        let listed = world.order(Person::Odile, "vm list --json").text();
        let instance = instance_of(&listed, name);
        let principals = format!("principals-{name}");
        let principal = format!("troubleshoot:ops@{instance}");
        fs::write(at(&principals), format!("{principal}\n")).unwrap();
        let (host, ca) = (at(&format!("keys/host-{name}")), at("keys/user-ca.pub"));
        let ca = if more.contains("TrustedUserCAKeys") {
            String::new()
        } else {
            format!("TrustedUserCAKeys {ca}\n")
        };
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {host}\nHostCertificate {host}-cert.pub\n{ca}\
             AuthorizedPrincipalsFile {}\nAuthorizedKeysFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n\
             PermitRootLogin prohibit-password\n{more}\n",
            at(&principals)
        );
        let config = at(&format!("sshd-{name}"));
        fs::write(&config, text).unwrap();
        let log = fs::File::create(at(&format!("sshd-{name}.log"))).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f", &config]).stdin(Stdio::null()).stderr(log);
        let child = sshd.spawn().unwrap();
        until("sshd to listen", 20, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, port, principal, unix_user: unix_user.to_owned() }
    }

    /// `ssh` to it without the gateway, with a certificate such as the gateway makes.
    pub fn straight(&self, world: &World, command: &str) -> Command {
        let key = ["-q", "-N", "", "-t", "ed25519", "-f", "keys/straight"];
        world.run("ssh-keygen", &key).exits(0);
        let sign = ["-q", "-s", "keys/user-ca", "-I", "straight", "-n", &self.principal];
        world.run("ssh-keygen", &[&sign[..], &["keys/straight.pub"]].concat()).exits(0);
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-i", "keys/straight"])
            .args(["-p", &self.port.to_string(), "-l", &self.unix_user, "127.0.0.1", command])
            .current_dir(world.dir());
        ssh
    }

    /// The processes of its sessions.
    pub fn sessions(&self) -> Vec<i32> {
        let out = output("pgrep", &["-P", &self.child.id().to_string()]);
        let of = |parent: &str| output("pgrep", &["-P", parent]);
        let mut all: Vec<String> = out.lines().map(str::to_owned).collect();
        let below: Vec<String> = all
            .iter()
            .flat_map(|pid| of(pid).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        all.extend(below);
        all.iter().filter_map(|pid| pid.parse().ok()).collect()
    }
}

/// A program of the machine, to its end; its output.
pub fn output(program: &str, words: &[&str]) -> String {
    let done = Command::new(program).args(words).output().unwrap();
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn instance_of(listed: &str, name: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(listed).unwrap();
    let all = json["vms"].as_array().expect("a list of VMs");
    let vm = all.iter().map(|vm| &vm["vm"]).find(|vm| vm["vm"] == name).expect("it is listed");
    vm["id"].as_str().expect("an instance").to_owned()
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for pid in self.sessions() {
            // It may have ended already.
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            )
            .ok();
        }
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}
