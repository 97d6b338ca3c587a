//! A PostgreSQL of our own on loopback, for one test: made, started and removed by it.
//!
//! It listens on 127.0.0.1 only, trusts whoever reaches it, and its data lie in a temporary folder.
//! PostgreSQL refuses to run as root, so under root it runs as `postgres` (the package's user) or
//! `nobody`. A shell holds a pipe from us and ends the server when we end, however we end.

use crate::{folder::new_folder, own_vm::output};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Gid, Pid, Uid, User, chown},
};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Starts `"$@"`, waits for the pipe to close, ends it at once and without writing anything back.
const WATCH: &str = r#""$@" & pid=$!; read -r _ || :; kill -QUIT "$pid" 2>/dev/null; wait "$pid""#;

/// How long the server may take to answer.
const START_SECONDS_MAX: u64 = 60;

/// A database server; ends, and its data with it, when dropped.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    port: u16,
    owner: Option<(Uid, Gid)>,
    settings: Vec<String>,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a cluster and starts its server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with settings of the server's: `fsync=off`, to see that it is refused.
    pub fn start_with(settings: &[&str]) -> Self {
        let dir = new_folder("postgres");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        let owner = Uid::effective().is_root().then(server_owner);
        if let Some((uid, gid)) = owner {
            chown(&dir, Some(uid), Some(gid)).unwrap();
        }
        let port = free_port();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Self { dir, port, owner, settings, server: None };
        let data = cluster.data();
        let data = data.to_str().unwrap();
        let made = cluster
            .command("initdb", &["-D", data, "-U", "bastion", "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C", "--no-sync", "--no-instructions"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        cluster.start_again();
        cluster
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of another of its databases.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://bastion@127.0.0.1:{}/{database}", self.port)
    }

    /// Stops the processes that serve connections and write, as a machine that hangs would.
    pub fn freeze(&self) {
        self.signal_workers(Signal::SIGSTOP);
    }

    /// Has them go on.
    pub fn thaw(&self) {
        self.signal_workers(Signal::SIGCONT);
    }

    fn signal_workers(&self, signal: Signal) {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let Some(server) = file.lines().next() else { return };
        for pid in output("pgrep", &["-P", server]).lines() {
            // One may have ended by itself meanwhile.
            kill(Pid::from_raw(pid.parse().expect("a number")), signal).ok();
        }
    }

    /// Ends the server at once, as a crash would.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            self.thaw();
            drop(server.stdin.take());
            server.wait().unwrap();
        }
    }

    /// Starts the server where it was, and waits until it answers.
    pub fn start_again(&mut self) {
        let data = self.data();
        let port = self.port.to_string();
        let mut server = self.command("/bin/sh", &["-c", WATCH, "sh"]);
        server
            .arg(program("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port, "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories=", "-c", "max_connections=60"])
            .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.dir.with_extension("log")).unwrap())
            .process_group(0);
        self.server = Some(server.spawn().unwrap());
        let give_up = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        while !self.answers() {
            assert!(
                Instant::now() < give_up,
                "the database server does not answer: {:?}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The folder of its files.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default()
    }

    /// Connections are taken while the server still recovers; its log says when it is ready.
    fn answers(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && self.log().contains("database system is ready to accept connections")
    }

    fn command(&self, name: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program(name));
        command.args(words).current_dir("/").env_clear().env("LC_ALL", "C");
        if let Some((uid, gid)) = self.owner {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        fs::remove_dir_all(&self.dir).unwrap();
        fs::remove_file(self.dir.with_extension("log")).unwrap();
    }
}

/// Who runs the server when we are root.
fn server_owner() -> (Uid, Gid) {
    let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).unwrap());
    let user = user.expect("a user that is not root");
    (user.uid, user.gid)
}

/// A port that nobody listens on, a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program of PostgreSQL, which Debian keeps off the path.
fn program(name: &str) -> PathBuf {
    if name.starts_with('/') {
        return PathBuf::from(name);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> = versions
        .filter_map(Result::ok)
        .map(|version| version.path().join("bin").join(name))
        .filter(|program| Path::exists(program))
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::Cluster;

    #[test]
    fn a_cluster_starts_stops_and_starts_again() {
        let mut cluster = Cluster::start();
        cluster.stop();
        assert!(!cluster.answers());
        cluster.start_again();
    }
}
