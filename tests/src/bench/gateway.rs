//! The gateway of the bench: the real binary as a process of its own, set up by its own commands.

use super::{
    child::Running,
    net::NEAR,
    sshd::{ACCOUNT, Sshd, answers},
};
use serde::Serialize;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the gateway listens.
pub const PORT: u16 = 2200;
const METRICS: &str = "127.0.0.1:9317";

/// Settings of `bastion.toml` that the bench raises: everybody comes from one address here, and
/// ten thousand sessions are one of the measures.
const RAISED: [(&str, &str); 3] = [
    ("connections_max", "60000"),
    ("connections_before_login_max", "10000"),
    ("connections_before_login_per_source_max", "10000"),
];

/// A setting that `bastion.toml` shows at its default, at another value.
fn raised(text: &str, setting: &str, value: &str) -> String {
    let shown = format!("#x {setting} = ");
    assert!(text.contains(&shown), "bastion.toml does not show `{setting}` any more");
    let line = |line: &str| match line.starts_with(&shown) {
        true => format!("{setting} = {value}\n"),
        false => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// What the gateway keeps of a troubleshoot channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Recording {
    /// Every byte.
    Full,
    /// Digests only.
    Digests,
}

/// The permits of troubleshoot channels, by their ids in `channels.cedar`.
const TROUBLESHOOT: [&str; 2] = ["channels.troubleshoot", "channels.troubleshoot-sftp"];
const DIGESTS: &str = "@recording(\"digests\")\n";

/// A gateway that runs.
pub struct Gateway {
    binary: PathBuf,
    folder: PathBuf,
    running: Option<Running>,
}

/// A VM for the inventory.
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where the gateway finds it.
    pub address: &'a str,
    /// Its host key's public line.
    pub host_key: &'a str,
}

/// What a VM has to know of the gateway.
pub struct Trust {
    /// The principal of certificates for its account.
    pub principal: String,
    /// The authority that signs them.
    pub user_ca: String,
    /// Its own host certificate.
    pub host_certificate: String,
}

impl Gateway {
    /// Makes a deployment in `stage/gateway` and serves it.
    pub fn start(binary: &Path, stage: &Path, recording: Recording) -> Self {
        let folder = stage.join("gateway");
        let mut init = Command::new(binary);
        init.args(["init", "--origin", "bench.example", "--officer", "odile", "--dir"])
            .arg(&folder)
            .args(["--listen", &format!("127.0.0.1:{PORT}"), "--metrics", METRICS])
            .arg("--officer-key")
            .arg(stage.join("keys/odile.pub"));
        said(&mut init, "");
        let file = folder.join("bastion.toml");
        let one = format!("listen = \"127.0.0.1:{PORT}\"");
        let both = format!("listen = [\"127.0.0.1:{PORT}\", \"{NEAR}:{PORT}\"]");
        let mut text = fs::read_to_string(&file).unwrap().replace(&one, &both);
        for (setting, value) in RAISED {
            text = raised(&text, setting, value);
        }
        fs::write(&file, text).unwrap();
        let mut gateway = Self { binary: binary.to_owned(), folder, running: None };
        gateway.restart(recording);
        gateway
    }

    /// Ends it if it runs, and serves the same deployment from a fresh process.
    pub fn restart(&mut self, recording: Recording) {
        self.running = None;
        self.put_in_force(recording);
        let mut serve = Command::new("/bin/sh");
        // Ten thousand sessions are more than twenty thousand sockets.
        serve.args(["-c", "ulimit -n \"$(ulimit -H -n)\"; exec \"$@\"", "sh"]).arg(&self.binary);
        serve.args(["serve", "--accept-policy", "--config"]).arg(self.folder.join("bastion.toml"));
        let log = self.folder.with_extension("log");
        self.running = Some(Running::start("the gateway", &mut serve, &log));
        answers(&format!("127.0.0.1:{PORT}"), &log);
    }

    /// Writes the policy of how troubleshoot channels are recorded.
    fn put_in_force(&self, recording: Recording) {
        let file = self.folder.join("policies/channels.cedar");
        let text = fs::read_to_string(&file).unwrap().replace(DIGESTS, "");
        let text = match recording {
            Recording::Full => text,
            Recording::Digests => TROUBLESHOOT.into_iter().fold(text, |text, id| {
                let line = format!("@id(\"{id}\")\n");
                assert!(text.contains(&line), "channels.cedar has no {line}");
                text.replace(&line, &format!("{line}{DIGESTS}"))
            }),
        };
        fs::write(&file, text).unwrap();
    }

    /// Its process; there is always one but while it is restarted.
    pub fn process(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.running.as_mut().is_some_and(Running::lives)
    }

    /// The line of the authority that its host certificates are signed with.
    pub fn host_ca(&self) -> String {
        fs::read_to_string(self.folder.join("keys/gateway-host-ca.pub")).unwrap()
    }

    /// The folder of its recordings.
    pub fn recordings(&self) -> PathBuf {
        self.folder.join("recordings")
    }

    /// A number of its metrics page; zero if it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(METRICS).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0.0)
    }
}

/// The security officer at the keyboard.
pub struct Officer<'a> {
    /// An ssh_config that knows the gateway.
    pub config: &'a Path,
    /// The officer's key.
    pub key: &'a Path,
}

impl Officer<'_> {
    fn says(&self, words: &str, input: &str) -> String {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.config).arg("-i").arg(self.key);
        ssh.args(["-l", "odile", "bastion", words]);
        said(&mut ssh, input)
    }

    /// Enters a customer, a service, and one trained operator with this key.
    pub fn enters_people(&self, olga: &str) {
        let (_, recording) = bastion::keyfile::make_recording_pair().unwrap();
        self.says("customer add acme --name Acme", "");
        self.says("service add acme-pg --customer acme", &recording);
        let add = "operator add olga --key - --team databases --entity Hosting --country DE";
        self.says(add, olga);
        let day = |days| (chrono::Utc::now() + chrono::Duration::days(days)).date_naive();
        let training = format!(
            "operator training olga --course access-101 --completed {} --valid-until {}",
            day(-30),
            day(300)
        );
        self.says(&training, "");
    }

    /// Enters a VM.
    pub fn enters_vm(&self, entry: &Entry<'_>) -> Trust {
        let Entry { name, address, host_key } = entry;
        let add = format!(
            "vm add {name} --service acme-pg --region eu --zone eu-1 --address {address} \
             --account {ACCOUNT}:troubleshoot:{ACCOUNT} --json"
        );
        let instance = field(&self.says(&add, ""), "instance");
        Trust {
            principal: format!("troubleshoot:{ACCOUNT}@{instance}"),
            user_ca: field(&self.says("ca show --json", ""), "user_ca"),
            host_certificate: self.says(&format!("vm certify {name}"), host_key),
        }
    }
}

impl Trust {
    /// Has an sshd trust the gateway and prove itself to it; its lines for sshd_config.
    pub fn lines(&self, folder: &Path) -> String {
        fs::create_dir_all(folder.join("principals")).unwrap();
        let write = |file: &str, text: &str| {
            fs::write(folder.join(file), format!("{}\n", text.trim())).unwrap();
        };
        write("user_ca.pub", &self.user_ca);
        write("host-cert.pub", &self.host_certificate);
        write(&format!("principals/{ACCOUNT}"), &self.principal);
        let folder = folder.display();
        format!(
            "HostCertificate {folder}/host-cert.pub\nTrustedUserCAKeys {folder}/user_ca.pub\n\
             AuthorizedPrincipalsFile {folder}/principals/%u\n"
        )
    }
}

/// Lays out the host key of a VM that stands in for many, and enters it; the key's file.
pub fn lay_stand_in(stage: &Path, officer: &Officer<'_>, name: &str, address: &str) -> PathBuf {
    let folder = stage.join(name);
    fs::create_dir_all(&folder).unwrap();
    super::sshd::key(&folder.join("host"));
    let host_key = fs::read_to_string(folder.join("host.pub")).unwrap();
    officer.enters_vm(&Entry { name, address, host_key: &host_key }).lines(&folder);
    folder.join("host")
}

/// Lays out an sshd that is a VM of the gateway, and enters it.
pub fn lay_vm(stage: &Path, officer: &Officer<'_>, name: &'static str, listen: &[String]) -> Sshd {
    let blank = Sshd::lay(stage, name, listen, "");
    let host_key = blank.host_key();
    let entry = Entry { name, address: &listen[0], host_key: &host_key };
    let trust = officer.enters_vm(&entry);
    Sshd::lay(stage, name, listen, &trust.lines(&stage.join(name)))
}

fn field(json: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
}

/// Runs a command that must succeed; what it says.
fn said(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone before it is given anything.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let done = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {err}");
    String::from_utf8(done.stdout).unwrap()
}
