//! What the tests here share: a world whose policy permits some forwards, services that a VM can
//! reach, and `ssh` processes that forward until they are dropped.

use bastion_tests::{
    postgres::Cluster,
    world::{Answer, Person::*, World, finish, until},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");

/// Both ways to name `ops` (or another account) on pg-1.acme.
pub const FORMS: [fn(&str) -> String; 2] =
    [|account| format!("{account}+pg-1.acme@bastion"), |account| format!("{account}@pg-1.acme")];

/// A world with the policy and the list as shipped: nothing is permitted.
pub fn closed() -> World {
    World::start(BASTION, None)
}

/// A world whose policy permits these kinds at both levels.
pub fn permitting(kinds: &[&str]) -> World {
    let world = closed();
    permit(&world, kinds);
    world
}

/// The same on a PostgreSQL of its own.
pub fn permitting_on_postgres(kinds: &[&str]) -> World {
    let world = World::start(BASTION, Some(Cluster::start()));
    permit(&world, kinds);
    world
}

/// Permits these kinds at both levels from now on.
pub fn permit(world: &World, kinds: &[&str]) {
    let text: String = kinds
        .iter()
        .map(|kind| {
            let id = kind.replace('_', "-");
            format!(
                "@id(\"test.{id}\")\npermit (principal, action == Action::\"{kind}\", resource);\n"
            )
        })
        .collect();
    let path = world.dir().join("policies/channels.cedar");
    let shipped = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{shipped}\n{text}")).unwrap();
    // The provider's own cases say what it wants now.
    let path = world.dir().join("policies/cases.json");
    let mut cases: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let kept = |case: &Value| {
        let action = case["request"]["action"].as_str().unwrap();
        !kinds.iter().any(|kind| action.contains(kind))
    };
    cases.retain(kept);
    fs::write(&path, serde_json::to_vec(&cases).unwrap()).unwrap();
    world.order(Odile, "policy reload");
}

/// Lists a place of pg-1.acme.
pub fn list(world: &World, name: &str, place: &str, level: &str) {
    let line = format!("vm destination add pg-1.acme {name} {place} --level {level}");
    world.order(Odile, &line);
}

pub use bastion_tests::postgres::free_port;

/// Something that listens where a VM of the demo can reach it (its network is the machine's): says
/// `greeting`, then gives back what it gets, until the end.
pub struct Echo {
    pub port: u16,
}

impl Echo {
    pub fn start(greeting: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    stream.write_all(greeting).ok();
                    let mut copy = stream.try_clone().unwrap();
                    std::io::copy(&mut stream, &mut copy).ok();
                    copy.shutdown(std::net::Shutdown::Write).ok();
                });
            }
        });
        Self { port }
    }
}

/// An `ssh` that forwards until it is dropped.
pub struct Forward {
    pub child: Child,
}

impl Forward {
    /// Starts `ssh WORDS -N TO`, and waits until something listens on this port of ours.
    pub fn start(world: &World, words: &[&str], to: &str, port: u16) -> Self {
        let forward = Self::spawn(world, words, to);
        until("ssh to listen", 20, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        forward
    }

    /// Starts `ssh WORDS -N TO`.
    pub fn spawn(world: &World, words: &[&str], to: &str) -> Self {
        let words = [&["-o", "LogLevel=INFO", "-N"], words, &[to]].concat();
        let mut command = world.ssh_command(Olga, &words);
        // `timeout` would leave ssh behind when it is killed.
        command.process_group(0);
        Self { child: command.stdin(Stdio::null()).spawn().unwrap() }
    }

    /// Ends it; what it said on standard error.
    pub fn end(mut self) -> String {
        self.stop();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    fn stop(&mut self) {
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGTERM).ok();
        self.child.wait().unwrap();
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Connects to a port of ours, sends these bytes and the end, and reads to the end.
pub fn talk(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut half = stream.try_clone().unwrap();
    let sent = bytes.to_vec();
    let sender = std::thread::spawn(move || {
        half.write_all(&sent).ok();
        half.shutdown(std::net::Shutdown::Write).ok();
    });
    let mut got = Vec::new();
    // A connection that is cut may end in a reset.
    stream.read_to_end(&mut got).ok();
    sender.join().unwrap();
    got
}

/// `ssh -W DESTINATION TO`, with this on standard input: one forward, on standard input and output.
pub fn one(world: &World, destination: &str, to: &str, input: &[u8]) -> Answer {
    world.ssh_with(Olga, &["-o", "LogLevel=INFO", "-W", destination, to], input)
}

/// The first line of a child's standard output.
pub fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// An `ssh-agent` with olga's key, until it is dropped.
pub struct Agent(Child);

impl Agent {
    /// Starts it.
    pub fn start(world: &World) -> Self {
        let mut command = Command::new("ssh-agent");
        command.args(["-D", "-a", "agent.sock"]).current_dir(world.dir());
        let agent = command.stdout(Stdio::null()).spawn().unwrap();
        until("the agent", 10, || world.dir().join("agent.sock").exists());
        let mut add = world.program("ssh-add", &["keys/olga"]);
        add.env("SSH_AUTH_SOCK", world.dir().join("agent.sock"));
        finish(add, b"").exits(0);
        Self(agent)
    }

    /// An `ssh` of olga's that knows it.
    pub fn ssh(&self, world: &World, words: &[&str]) -> Command {
        let words = [&["-o", "IdentityAgent=SSH_AUTH_SOCK"], words].concat();
        let mut command = world.ssh_command(Olga, &words);
        command.env("SSH_AUTH_SOCK", world.dir().join("agent.sock"));
        command
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
