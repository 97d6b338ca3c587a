//! `bastion serve --stdio`: as ssh's ProxyCommand beside a gateway that runs and without one, and
//! with a socket as inetd hands it over.

use bastion_tests::{
    own_vm::{Sshd, output},
    world::{Person::Olga, World},
};
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

/// Without a gateway the connection has one of its own, which reaches VMs as any does: the VM here
/// is no part of the demo, which ends with its gateway.
#[test]
fn a_vm_is_reached_without_a_gateway_that_runs() {
    let mut world = World::start(crate::BASTION, None);
    let user = output("id", &["-un"]).trim().to_owned();
    let _sshd = Sshd::start(&world, "own.acme", &user, "");
    world.stop();
    let jump = "bastion serve --stdio";
    let outer = ["-l", "ops+own.acme", "bastion", "cat; echo err >&2; exit 7"];
    let answer = world.ssh_with(Olga, &[&PROXY[..], &outer].concat(), b"both ways");
    let answer = answer.exits(7);
    assert_eq!((answer.text().as_str(), answer.err.as_str()), ("both ways", "err\n"));
    // The second form: the outer ssh gets its connection the same way.
    let proxy = format!("ProxyCommand=ssh -F ssh_config -o 'ProxyCommand={jump}' -W %h:%p bastion");
    let words = ["-o", &proxy, "ops@own.acme", "echo here; exit 5"];
    world.ssh(Olga, &words).exits(5).says("here");
    let log = world.log();
    let began = log.kinds().iter().filter(|kind| **kind == "gateway.started").count();
    // The demo's stands once, as there was no customer yet; the others' once for each of the two.
    assert_eq!(began, 1 + 2 * 2, "{:?}", log.kinds());
    assert_eq!(log.events("channel.closed").len(), 2);
    let mut last = log.kinds().into_iter().rev();
    assert_eq!(last.find(|event| *event != "log.read"), Some("gateway.stopped"), "in order");
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
