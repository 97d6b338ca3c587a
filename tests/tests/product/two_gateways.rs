//! Two gateways on one PostgreSQL: one log, one set of consents, and what one takes away the other
//! cuts.

use bastion_tests::world::{Person::*, World, until};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// A second gateway of the same deployment, in a folder of its own.
struct Second {
    child: Child,
}

impl Second {
    fn start(world: &World) -> Self {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let first = fs::read_to_string(world.dir().join("bastion.toml")).unwrap();
        let listen = first.lines().find(|line| line.starts_with("listen = ")).unwrap();
        let config = first
            .replace("gateway = \"gw-1\"", "gateway = \"gw-2\"")
            .replace("[erasure]", "[erasure]\nkeys = \"../keys/subjects.db\"")
            .replace(listen, &format!("listen = \"127.0.0.1:{port}\""));
        assert_ne!(first, config);
        let copy = "mkdir -m 700 gw-2 gw-2/run gw-2/recordings && cp -a keys policies gw-2/";
        world.run("sh", &["-c", copy]).exits(0);
        fs::write(world.dir().join("gw-2/bastion.toml"), config).unwrap();
        let ssh_config = fs::read_to_string(world.dir().join("ssh_config")).unwrap();
        let there = ssh_config.lines().find(|line| line.trim().starts_with("Port ")).unwrap();
        let here = ssh_config.replace(there, &format!("    Port {port}"));
        fs::write(world.dir().join("ssh_config.second"), here).unwrap();
        let log = fs::File::create(world.dir().join("gw-2/gateway.log")).unwrap();
        let mut serve = world.program("bastion", &["serve", "--config", "gw-2/bastion.toml"]);
        let child = serve.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        until("the second gateway", 30, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // `timeout` stands between us and it, and hands the signal on.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

/// What an officer does on one gateway about a session of another: ends it, also where it has no
/// channel, and is told where it can be watched.
#[test]
fn a_session_is_ended_from_another_gateway() {
    let world = crate::postgres();
    let _second = Second::start(&world);
    let there =
        |words: &[&str]| world.program("ssh", &[&["-F", "ssh_config.second"], words].concat());
    // A connection without a channel, and one with a terminal.
    let mut idle = there(&["-N", "bastion"]).spawn().unwrap();
    let sessions = || -> Vec<String> {
        let log = world.log();
        let on_second = |entry: &&serde_json::Value| {
            entry["gateway"] == "gw-2" && entry["event"]["type"] == "session.opened"
        };
        let opened = log.entries.iter().filter(on_second);
        opened.map(|entry| entry["event"]["session"].as_str().unwrap().to_owned()).collect()
    };
    until("the idle session", 20, || sessions().len() == 1);
    let mut shell = there(&["-tt", "ops@pg-1.acme"]).stdin(Stdio::piped()).spawn().unwrap();
    let live = || world.bastion(&["session", "list", "--live", "--json"]).exits(0).json();
    until("the terminal", 20, || live().as_array().is_some_and(|live| live.len() == 1));
    let lease = live()[0]["lease"].as_str().unwrap().to_owned();
    assert_eq!(live()[0]["gateway"], "gw-2");

    let watch = world.ssh(Odile, &["bastion", &format!("session watch {lease}")]).exits(1);
    watch.complains(&format!("{lease} runs on gateway gw-2, this is gw-1: connect to that one"));
    assert!(world.log().events("watch.started").is_empty());

    for session in sessions() {
        world.order(Odile, &format!("session end {session} --reason a drill"));
    }
    until("the idle connection to end", 10, || idle.try_wait().unwrap().is_some());
    until("the terminal to end", 10, || shell.try_wait().unwrap().is_some());
    let said = std::io::read_to_string(shell.stderr.take().unwrap()).unwrap();
    let shown = std::io::read_to_string(shell.stdout.take().unwrap()).unwrap();
    let told = "a security officer ended this session: a drill";
    assert!(said.contains(told) || shown.contains(told), "{said}{shown}");
    // The terminal's client may have left before its session was told to end.
    until("the ends to be entered", 10, || {
        let log = world.log();
        let ends = log.events("session.closed");
        ends.iter().any(|end| end["reason"] == "officer")
    });
}

#[test]
fn a_withdrawal_on_one_gateway_cuts_on_the_other() {
    let world = crate::postgres();
    let second = Second::start(&world);
    let there =
        |words: &[&str]| world.program("ssh", &[&["-F", "ssh_config.second"], words].concat());
    let ticket = world.consent("pg-1.acme");
    let mut data = there(&["dba@pg-1.acme", "echo in; sleep 60"]).spawn().unwrap();
    let mut lines = BufReader::new(data.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "in");

    let since = Instant::now();
    world.order(Acme, &format!("consent withdraw {ticket} --reason enough"));
    until("the other gateway to cut", 5, || data.try_wait().unwrap().is_some());
    let took = since.elapsed();
    assert!(took < Duration::from_millis(1000), "cut after {took:?} only");
    assert_eq!(there(&["dba@pg-1.acme", "id"]).status().unwrap().code(), Some(254));
    assert_eq!(there(&["ops@pg-1.acme", "true"]).status().unwrap().code(), Some(0));
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);

    // One unbroken chain, written by both.
    world.bastion(&["audit", "verify"]).exits(0);
    let log = world.log();
    for gateway in ["gw-1", "gw-2"] {
        assert!(log.entries.iter().any(|entry| entry["gateway"] == gateway), "{gateway}");
    }
    assert!(log.entries.iter().enumerate().all(|(index, entry)| entry["seq"] == index));
    drop(second);
}
