//! Readers that leave early: `ssh VM yes | head`. What SSH lets the far end know, and what ends.
//!
//! A client whose reader is gone tells sshd so by `eow@openssh.com`, and sshd closes the program's
//! output. OpenSSH sends that to servers that call themselves OpenSSH and to nobody else, and
//! throws away what still comes; the gateway does not lie about what it is, and russh would not
//! hand the request on. So through the gateway, as through any server that is not OpenSSH, the
//! program goes on until its client ends: this shows both, and that everything which does reach us
//! (Ctrl-C at the client, a terminal's Ctrl-C, a client that is killed or closes) ends the VM's
//! program within seconds.

use crate::{port, signal, world};
use bastion_tests::{
    own_vm::Sshd,
    world::{Person::Olga, World, until},
};
use nix::sys::signal::Signal;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How long the VM's program may outlive its reader: five seconds to pass on what was sent last,
/// and what a loaded machine adds.
const ENDS_SECONDS: u64 = 5 + 15;

/// A program on the VM that says `yes` for ever, and that this test alone started.
fn program(mark: &str) -> String {
    format!("exec sh -c 'while :; do echo {mark}; done'")
}

fn runs(mark: &str) -> bool {
    // The whole command line of sh; not of the ssh that carries the same words.
    let found = crate::output("pgrep", &["-xf", &format!("sh -c while :; do echo {mark}; done")]);
    !found.trim().is_empty()
}

/// Starts a client, reads a line of the program as `head -1` does, and leaves.
fn one_line_of(command: &mut Command, mark: &str) -> Child {
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let reader = BufReader::new(client.stdout.take().unwrap());
    // Before it comes what the gateway says to a terminal.
    let found = reader.lines().find(|line| line.as_ref().unwrap().trim() == mark);
    assert!(found.is_some(), "{mark}: the program said nothing");
    client
}

fn ends_by_itself(client: &mut Child) -> bool {
    for _ in 0..60 {
        if client.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

fn ssh(world: &World, words: &[&str], mark: &str) -> Command {
    let mut command = Command::new("ssh");
    let config = ["-F", Olga.config()];
    command.args(config).args(words).arg(program(mark)).current_dir(world.dir());
    command.stderr(Stdio::null());
    command
}

#[test]
fn a_reader_that_leaves_ends_what_it_started_when_ssh_lets_us_know() {
    let world = world(&[]);
    // Straight to an sshd: the client says so, and the program ends.
    let user = crate::output("id", &["-un"]).trim().to_owned();
    let sshd = Sshd::start(&world, "straight.acme", &user, "");
    let mut straight = sshd.straight(&world, &program("straight"));
    let mut client = one_line_of(straight.stderr(Stdio::null()), "straight");
    assert!(ends_by_itself(&mut client), "sshd and ssh agree");
    until("the VM's program to end", ENDS_SECONDS, || !runs("straight"));

    let outer = ["-l", "ops+pg-1.acme", "bastion"];
    let jump = ["ops@pg-1.acme"];
    for (mark, words) in [("outer", &outer[..]), ("jump", &jump[..])] {
        let mut client = one_line_of(&mut ssh(&world, words, mark), mark);
        assert!(!ends_by_itself(&mut client), "{mark}: if ssh tells us now, say so in the docs");
        assert!(runs(mark), "{mark}: the program still speaks");
        // Ctrl-C where no terminal was asked for.
        signal(i32::try_from(client.id()).unwrap(), Signal::SIGINT);
        client.wait().unwrap();
        until("the VM's program to end", ENDS_SECONDS, || !runs(mark));
    }

    // With a terminal, Ctrl-C goes to the program.
    let terminal = [&["-tt"], &outer[..]].concat();
    let mut client = one_line_of(&mut ssh(&world, &terminal, "terminal"), "terminal");
    client.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    until("the VM's program to end", ENDS_SECONDS, || !runs("terminal"));
    assert!(ends_by_itself(&mut client), "and ssh with it");

    others(&world);
}

/// Others: plink ends by itself when its reader is gone, dbclient does not; with either the VM's
/// program ends when the client has.
fn others(world: &World) {
    let port = port(world).to_string();
    let to = "ops+pg-1.acme@127.0.0.1";
    let convert = ["openssh", "dropbear", "keys/olga", "olga.dropbear"];
    world.run("dropbearconvert", &convert).exits(0);
    world.run("puttygen", &["keys/olga", "-o", "olga.ppk"]).exits(0);
    let scan = format!("ssh-keyscan -p {port} 127.0.0.1 > scanned 2>&1; ssh-keygen -lf scanned");
    let seen = world.run("sh", &["-c", &scan]).exits(0).text();
    let print = seen.split_whitespace().nth(1).expect("a fingerprint").to_owned();
    let dropbear = ["dbclient", "-y", "-y", "-i", "olga.dropbear", "-p", &port, to];
    let putty = ["plink", "-batch", "-hostkey", &print, "-i", "olga.ppk", "-P", &port, to];
    for (mark, words) in [("dropbear", &dropbear[..]), ("putty", &putty[..])] {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(program(mark)).current_dir(world.dir());
        let mut client = one_line_of(command.stderr(Stdio::null()), mark);
        let itself = ends_by_itself(&mut client);
        assert_eq!(itself, mark == "putty", "{mark}: if this changed, say so in the docs");
        if !itself {
            signal(i32::try_from(client.id()).unwrap(), Signal::SIGINT);
        }
        client.wait().unwrap();
        until("the VM's program to end", ENDS_SECONDS, || !runs(mark));
    }
}
