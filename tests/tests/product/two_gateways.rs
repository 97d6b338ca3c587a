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
