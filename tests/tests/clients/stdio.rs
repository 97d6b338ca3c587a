//! `bastion serve --stdio`: as ssh's ProxyCommand beside a gateway that runs and without one, and
//! with a socket as inetd hands it over.

use bastion_tests::world::{Person::Olga, World};
use std::{
    net::TcpListener,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

const PROXY: [&str; 2] = ["-o", "ProxyCommand=bastion serve --stdio"];

#[test]
fn one_connection_on_standard_input_and_output() {
    let mut world = World::start(crate::BASTION, None);
    // The store is the running gateway's, so it gets the connection.
    let ssh = |words: &[&str]| world.ssh(Olga, &[&PROXY, words].concat());
    ssh(&["bastion", "whoami"]).exits(0).says("olga");
    let said = ssh(&["-l", "ops+pg-1.acme", "bastion", "cat; echo err >&2; exit 7"]).exits(7);
    assert_eq!(said.err, "err\n", "nothing but the program speaks on standard error");
    inetd(&world);
    let log = world.log();
    assert_eq!(log.events("gateway.started").len(), 1, "no second gateway was started");
    // Nobody serves: each opens the store, or finds whoever did.
    world.stop();
    let mut three: Vec<_> = (0..3)
        .map(|_| world.ssh_command(Olga, &[&PROXY[..], &["bastion", "whoami"]].concat()))
        .map(|mut command| command.spawn().unwrap())
        .collect();
    for child in three.drain(..) {
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        assert!(String::from_utf8_lossy(&done.stdout).contains("olga"), "{said}");
    }
    let log = world.log();
    assert_eq!(log.events("session.opened").len(), log.events("session.closed").len());
    // Reading it is entered after that.
    let mut last = log.entries.iter().rev().map(|entry| &entry["event"]["type"]);
    assert_eq!(last.find(|event| *event != "log.read").unwrap(), "gateway.stopped");
    world.bastion(&["audit", "verify"]).exits(0);
}

/// The peer's address is that of the socket, and the log has it.
fn inetd(world: &World) {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = door.local_addr().unwrap().port().to_string();
    let words = ["-p", &port, "-b", "127.0.3.7", "bastion", "whoami"];
    let client = world.ssh_command(Olga, &words).spawn().unwrap();
    let taken = OwnedFd::from(door.accept().unwrap().0);
    let mut serving = Command::new(crate::BASTION)
        .args(["serve", "--stdio"])
        .env("BASTION_CONFIG", world.dir().join("bastion.toml"))
        .stdin(Stdio::from(taken.try_clone().unwrap()))
        .stdout(Stdio::from(taken))
        .spawn()
        .unwrap();
    let done = client.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(serving.wait().unwrap().success());
    let events = world.bastion(&["audit", "query", "--json", "--oldest"]).exits(0);
    events.says("127.0.3.7");
}
