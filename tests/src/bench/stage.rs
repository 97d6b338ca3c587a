//! Everything that is measured, set up once: a gateway, a jump host, a near and a far VM.

use super::{
    child::Running,
    form::{Distance, Form, Kex, Way},
    gateway::{self, Gateway, Officer, PORT, Recording},
    net::{FAR, NEAR, Net},
    sshd::{ACCOUNT, Sshd, key},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the jump host listens.
pub const JUMP_PORT: u16 = 2201;
const VM_PORT: u16 = 2202;
/// The near VM's name in the inventory.
pub const NEAR_VM: &str = "near.acme";
/// The far VM's name in the inventory.
pub const FAR_VM: &str = "far.acme";

/// The stage; all of it ends with this value.
pub struct Stage {
    /// The network that all of it lives in.
    pub net: Net,
    /// Ours.
    pub gateway: Gateway,
    dir: PathBuf,
    jump: Running,
    _vms: Vec<Running>,
}

impl Stage {
    /// Sets it up in a folder, which should be on a real disk.
    pub fn set_up(binary: &Path, dir: &Path, recording: Recording) -> Self {
        let net = Net::enter();
        fs::create_dir_all(dir.join("keys")).unwrap();
        for person in ["olga", "odile"] {
            key(&dir.join("keys").join(person));
        }
        let gateway = Gateway::start(binary, dir, recording);
        let near = |port: u16| vec![format!("127.0.0.1:{port}"), format!("{NEAR}:{port}")];
        let jump = Sshd::lay(dir, "jump", &near(JUMP_PORT), "");
        known_hosts(dir, &gateway.host_ca(), &[("jump", &jump.host_key())]);
        for distance in [Distance::Near, Distance::FarOperator, Distance::FarVm] {
            for kex in [Kex::X25519, Kex::Default] {
                let way = Way { distance, kex };
                fs::write(config(dir, way), ssh_config(dir, way)).unwrap();
            }
        }
        let officer_config = config(dir, Way::over(Distance::Near));
        let officer = Officer { config: &officer_config, key: &dir.join("keys/odile") };
        let olga = fs::read_to_string(dir.join("keys/olga.pub")).unwrap();
        officer.enters_people(&olga);
        let near_vm = gateway::lay_vm(dir, &officer, NEAR_VM, &near(VM_PORT));
        let far_vm = gateway::lay_vm(dir, &officer, FAR_VM, &[format!("{FAR}:{VM_PORT}")]);
        let keys = [("jump", &jump), ("near", &near_vm), ("far", &far_vm)];
        let keys = keys.map(|(name, sshd)| (name, sshd.host_key()));
        let keys: Vec<_> = keys.iter().map(|(name, key)| (*name, key.as_str())).collect();
        known_hosts(dir, &gateway.host_ca(), &keys);
        let vms = vec![near_vm.start(), net.within(true, || far_vm.start())];
        let jump = jump.start();
        Self { net, gateway, dir: dir.to_owned(), jump, _vms: vms }
    }

    /// Has the officer do something.
    pub fn officer<T>(&self, work: impl FnOnce(&Officer<'_>) -> T) -> T {
        let config = config(&self.dir, Way::over(Distance::Near));
        work(&Officer { config: &config, key: &self.dir.join("keys/odile") })
    }

    /// The folder of it all.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process in the middle of a form, if it has one.
    pub fn middle(&self, form: Form) -> Option<&Running> {
        match form {
            Form::Direct => None,
            Form::Jump => Some(&self.jump),
            Form::Ours | Form::OursJump => Some(self.gateway.process()),
        }
    }

    /// An OpenSSH program with the configuration of a way. To be started within [`Stage::at`].
    pub fn program(&self, program: &str, way: Way) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(config(&self.dir, way));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// `ssh HOST WORDS…` in a form.
    pub fn ssh(&self, form: Form, way: Way, words: &[&str]) -> Command {
        let mut command = self.program("ssh", way);
        command.arg(host(form, way.distance)).args(words);
        command
    }

    /// The file of ssh's configuration.
    pub fn config(&self, way: Way) -> PathBuf {
        config(&self.dir, way)
    }

    /// Does something where the operator is.
    pub fn at<T: Send>(&self, way: Way, work: impl FnOnce() -> T + Send) -> T {
        self.net.within(way.distance == Distance::FarOperator, work)
    }
}

/// What ssh calls the VM in a form.
pub fn host(form: Form, distance: Distance) -> &'static str {
    match (form, distance) {
        (Form::Direct, _) => "direct",
        (Form::Jump, _) => "via-jump",
        (Form::Ours, _) => "ours",
        (Form::OursJump, Distance::FarVm) => FAR_VM,
        (Form::OursJump, _) => NEAR_VM,
    }
}

fn config(dir: &Path, way: Way) -> PathBuf {
    let kex = if way.kex == Kex::X25519 { "x25519" } else { "default" };
    dir.join(format!("ssh_config.{}.{kex}", way.distance.name()))
}

/// The same host names in each file, wherever the peers are.
fn ssh_config(dir: &Path, Way { distance, kex }: Way) -> String {
    let (middle, vm, vm_from_middle, inventory) = match distance {
        Distance::Near => ("127.0.0.1", "127.0.0.1", "127.0.0.1", NEAR_VM),
        Distance::FarOperator => (NEAR, NEAR, "127.0.0.1", NEAR_VM),
        Distance::FarVm => ("127.0.0.1", FAR, FAR, FAR_VM),
    };
    let vm_key = if distance == Distance::FarVm { "far" } else { "near" };
    let host = |name: &str, address: &str, port: u16, user: &str, alias: &str| {
        format!(
            "Host {name}\n  HostName {address}\n  Port {port}\n  User {user}\n  \
             HostKeyAlias {alias}\n"
        )
    };
    let mut text = host("direct", vm, VM_PORT, ACCOUNT, vm_key);
    text += &host("jump", middle, JUMP_PORT, ACCOUNT, "jump");
    text += &host("via-jump", vm_from_middle, VM_PORT, ACCOUNT, vm_key);
    text += "  ProxyJump jump\n";
    text += &host("ours", middle, PORT, &format!("{ACCOUNT}+{inventory}"), "bastion");
    text += &host("bastion", middle, PORT, "olga", "bastion");
    text += &format!("Host *.acme\n  User {ACCOUNT}\n  ProxyJump bastion\n");
    let kex = match kex {
        Kex::X25519 => "  KexAlgorithms curve25519-sha256\n",
        Kex::Default => "",
    };
    let dir = dir.display();
    text += &format!(
        "Host *\n  IdentityFile {dir}/keys/olga\n  IdentitiesOnly yes\n  \
         IdentityAgent none\n  UserKnownHostsFile {dir}/known_hosts\n  \
         GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  UpdateHostKeys no\n  \
         PreferredAuthentications publickey\n  BatchMode yes\n{kex}"
    );
    text
}

fn known_hosts(dir: &Path, host_ca: &str, keys: &[(&str, &str)]) {
    let mut text = format!("@cert-authority bastion,*.acme {}\n", host_ca.trim());
    for (name, key) in keys {
        text += &format!("{name} {}\n", key.trim());
    }
    fs::write(dir.join("known_hosts"), text).unwrap();
}
