//! What a session costs and what it waits for, counted and not timed: a busy machine changes times,
//! never the number of entries, flushes or connections.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use bastion_tests::world::{Person::Olga, World, until};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");

/// At most so many entries for a short session.
const ENTRIES_MAX: u64 = 12;
/// At most so many flushes of the log before the first byte.
const FLUSHES_MAX: u64 = 2;

/// A gateway that shows its numbers on this port.
fn counting() -> (World, u16) {
    let mut world = World::start(BASTION, None);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.stop();
    let file = world.dir().join("bastion.toml");
    let listen = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    let text = fs::read_to_string(&file).unwrap().replacen("[metrics]\n", &listen, 1);
    fs::write(&file, text).unwrap();
    world.begin();
    (world, port)
}

fn number(port: u16, name: &str) -> u64 {
    let mut page = TcpStream::connect(("127.0.0.1", port)).unwrap();
    page.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    page.read_to_string(&mut text).unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
}

/// Commits of the log, and entries in them, as the gateway's own counters have them.
fn commits(port: u16) -> u64 {
    number(port, "bastion_ledger_batch_entries_count")
}
fn entries(port: u16) -> u64 {
    number(port, "bastion_ledger_entries_total")
}

/// Waits until nothing more is counted: the last entries of a session come after its end.
fn settled(mut count: impl FnMut() -> u64) -> u64 {
    let mut last = count();
    loop {
        std::thread::sleep(Duration::from_millis(1500));
        match count() {
            same if same == last => return same,
            more => last = more,
        }
    }
}

#[test]
fn a_short_session_costs_few_entries_and_waits_for_few_flushes() {
    let (world, port) = counting();
    for form in [&["ops+pg-1.acme@bastion"][..], &["ops@pg-1.acme"]] {
        // Once for what is only made once.
        world.ssh(Olga, &[form, &["true"]].concat()).exits(0);
        let entered = settled(|| entries(port));
        let flushed = commits(port);
        let mut ssh = world.ssh_command(Olga, &[form, &["echo first; sleep 3"]].concat());
        let mut ssh = ssh.spawn().unwrap();
        let mut first = String::new();
        BufReader::new(ssh.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
        let flushes = commits(port) - flushed;
        assert_eq!(first, "first\n");
        assert!(flushes <= FLUSHES_MAX, "{form:?}: {flushes} flushes before the first byte");
        assert!(ssh.wait().unwrap().success());
        let cost = settled(|| entries(port)) - entered;
        assert!(cost <= ENTRIES_MAX, "{form:?}: {cost} entries for a short session");
        println!("{form:?}: {flushes} flushes before the first byte, {cost} entries");
    }
}

/// What a VM's sshd says about connections and logins so far.
fn seen_by_vm(world: &World, what: &str) -> u64 {
    let log = fs::read_to_string(world.dir().join("vms/pg-1.acme/sshd.log")).unwrap();
    log.lines().filter(|line| line.contains(what)).count() as u64
}

const DIALLED: &str = "Connection from";
const LOGGED_IN: &str = "Accepted publickey";

#[test]
fn a_vm_is_dialled_ahead_for_known_operators_only_and_nobody_is_logged_in() {
    let world = World::start(BASTION, None);
    let to = "ops+pg-1.acme@bastion";

    // A stranger's key: the VM hears nothing.
    world.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "stranger"]).exits(0);
    let plain = ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"];
    let port = fs::read_to_string(world.dir().join("ssh_config")).unwrap();
    let port = port.lines().find_map(|line| line.trim().strip_prefix("Port ")).unwrap().to_owned();
    let known = ["-o", "UserKnownHostsFile=known_hosts", "-o", "HostKeyAlias=bastion"];
    let at = "ops+pg-1.acme@127.0.0.1";
    let offering = |key: &str| {
        let words = [&plain[..], &known, &["-p", &port, "-i", key, at, "true"]].concat();
        world.run("ssh", &words).exits(255)
    };
    // The demo itself has looked whether the VM speaks.
    let before = settled(|| seen_by_vm(&world, DIALLED));
    offering("stranger").complains("Permission denied");
    let after = settled(|| seen_by_vm(&world, DIALLED));
    assert_eq!(after, before, "a stranger had a VM dialled");
    let logins = seen_by_vm(&world, LOGGED_IN);

    // Olga's public key is shown, and nobody finds the passphrase for a while: the VM is dialled,
    // once, and that is all.
    for name in ["shown", "shown.pub"] {
        let key = world.dir().join("keys").join(name.replace("shown", "olga"));
        fs::copy(key, world.dir().join(name)).unwrap();
    }
    world.run("ssh-keygen", &["-q", "-p", "-N", "a secret", "-f", "shown"]).exits(0);
    world.run("sh", &["-c", "printf '#!/bin/sh\nsleep 3\n' > ask && chmod +x ask"]).exits(0);
    let asks = "SSH_ASKPASS=./ask SSH_ASKPASS_REQUIRE=force exec ssh \"$@\"";
    let patient = ["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "NumberOfPasswordPrompts=1"];
    let shown = [&["-c", asks, "ssh"][..], &patient, &known, &["-p", &port, "-i", "shown", at]];
    world.run("sh", &shown.concat()).exits(255).complains("Permission denied");
    until("the dial", 20, || seen_by_vm(&world, DIALLED) > before);
    assert_eq!(settled(|| seen_by_vm(&world, DIALLED)), before + 1);
    assert_eq!(seen_by_vm(&world, LOGGED_IN), logins, "logged in for nobody");

    // Olga herself: one connection for one login, and no second.
    world.ssh(Olga, &[to, "true"]).exits(0);
    assert_eq!(settled(|| seen_by_vm(&world, LOGGED_IN)), logins + 1);
    assert_eq!(seen_by_vm(&world, DIALLED), before + 2);
}
