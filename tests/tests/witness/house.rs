//! A witness in a process of its own, and a gateway that is told of it.

use super::BASTION;
use bastion_tests::{postgres::free_port, world::World};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A witness; its folder and its process are gone with the value.
pub struct Witness {
    pub name: &'static str,
    pub key: String,
    pub port: u16,
    pub dir: PathBuf,
    child: Option<Child>,
}

impl Witness {
    /// Makes one that sees a log, with a certificate for localhost, and starts it.
    pub fn start(label: &str, name: &'static str, log: &str) -> Self {
        let dir = format!("bastion-witness-{label}-{}-{name}", std::process::id());
        let (dir, port) = (std::env::temp_dir().join(dir), free_port());
        let listen = format!("127.0.0.1:{port}");
        let made = Command::new(BASTION)
            .args(["witness", "init", "--name", &format!("{name}.example/w"), "--listen", &listen])
            .args(["--log", log, "--dir"])
            .arg(&dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let certified = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-keyout", "tls.pem", "-out", "chain.pem", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-days", "2"])
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(certified.status.success(), "{certified:?}");
        let file = dir.join("witness.toml");
        let text = fs::read_to_string(&file).unwrap();
        let tls = "certificate = \"chain.pem\"\ncertificate_key = \"tls.pem\"\n\nlogs";
        fs::write(&file, text.replacen("\nlogs", &format!("\n{tls}"), 1)).unwrap();
        let mut witness = Self { name, key, port, dir, child: None };
        witness.begin();
        witness
    }

    /// Starts its process, and waits until it listens.
    pub fn begin(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log"));
        let child = Command::new(BASTION)
            .args(["witness", "serve", "--config"])
            .arg(self.dir.join("witness.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn();
        let child = self.child.insert(child.unwrap());
        let give_up = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let said = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", said());
            assert!(std::time::Instant::now() < give_up, "it does not listen: {}", said());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.dir).ok();
        }
    }
}

/// The policy of these witnesses, so many of them.
pub fn policy(witnesses: &[Witness], needed: usize) -> String {
    let line = |w: &Witness| format!("witness {} {} {}\n", w.name, w.key, w.url());
    let names: Vec<_> = witnesses.iter().map(|w| w.name).collect();
    let lines: String = witnesses.iter().map(line).collect();
    format!("{lines}group enough {needed} {}\nquorum enough\n", names.join(" "))
}

/// Tells a gateway that does not run of its witnesses; with no policy, that it has none.
pub fn tell(dir: &Path, witnesses: &[Witness], (policy, demand): (Option<&str>, &str)) {
    let (file, before) = (dir.join("bastion.toml"), dir.join("bastion.toml.before"));
    if !before.exists() {
        fs::copy(&file, &before).unwrap();
    }
    let mut text = fs::read_to_string(&before).unwrap();
    if let Some(policy) = policy {
        fs::write(dir.join("witnesses"), policy).unwrap();
        let roots: String = witnesses
            .iter()
            .map(|w| fs::read_to_string(w.dir.join("chain.pem")).unwrap())
            .collect();
        fs::write(dir.join("witnesses.pem"), roots).unwrap();
        let section = format!(
            "[witness]\npolicy = \"witnesses\"\ndemand = [{demand}]\nseconds = 3\n\
             extra_roots = \"witnesses.pem\"\n"
        );
        text = text.replacen("[witness]\n", &section, 1);
    }
    fs::write(&file, text).unwrap();
}

/// The key of a world's log.
pub fn log_key(world: &World) -> String {
    let key = world.bastion(&["audit", "checkpoint", "--key"]).exits(0).text();
    key.trim().to_owned()
}
