//! Operators that vanish: killed, stopped, or cut off from the network without a word. What they
//! ran ends in bounded time, with its entries.

use crate::{BASTION, port, signal, world};
use bastion_tests::world::{Person::Olga, World, until};
use nix::{sys::signal::Signal, unistd::Uid};
use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Seconds in which the VM may take what an operator sent before leaving, and slack.
const LEFT_SECONDS: u64 = 5 + 15;

fn runs(command: &str) -> bool {
    !crate::output("pgrep", &["-xf", command]).trim().is_empty()
}

/// Runs something that says `in` first.
fn begin(mut command: Command, world: &World, words: &[&str]) -> Child {
    command.args(["-F", Olga.config()]).args(words).current_dir(world.dir());
    let mut work =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"in\r\n") && !said.ends_with(b"in\n") {
        work.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    work
}

fn last_reasons(world: &World) -> (String, String) {
    let log = world.log();
    let word = |event: &serde_json::Value| event["reason"].as_str().unwrap().to_owned();
    (word(log.last("channel.closed")), word(log.last("session.closed")))
}

#[track_caller]
fn all_closed(world: &World, seconds: u64) {
    until("the entries of the end", seconds, || {
        let log = world.log();
        log.events("session.opened").len() == log.events("session.closed").len()
    });
}

#[test]
fn a_client_that_is_killed_leaves_nothing_running() {
    let world = world(&[]);
    let outer = ["-l", "ops+pg-1.acme", "bastion"];
    let jump = ["ops@pg-1.acme"];
    // A terminal hangs up; who writes gets an error; who reads gets the end of its input.
    let programs = [
        (&["-tt"][..], "sleep 70.0", "echo in; exec sleep 70.0"),
        (
            &[],
            "sh -c while echo x; do sleep 0.1; done",
            "echo in; exec sh -c 'while echo x; do sleep 0.1; done'",
        ),
        (&[], "cat -u", "echo in; exec cat -u"),
    ];
    for form in [&outer[..], &jump[..]] {
        for (terminal, process, command) in programs {
            let words = [terminal, form, &[command]].concat();
            let mut work = begin(Command::new("ssh"), &world, &words);
            until("the VM's program to begin", 10, || runs(process));
            work.kill().unwrap();
            work.wait().unwrap();
            until("the VM's program to end", LEFT_SECONDS, || !runs(process));
            all_closed(&world, LEFT_SECONDS);
            assert_eq!(last_reasons(&world), ("operator_left".into(), "left".into()), "{process}");
        }
    }
}

/// A client that is stopped, so that only its kernel answers: SSH's own keepalive finds out. It is
/// not sent during the login grace, so the interval is the longer of the two.
#[test]
fn a_client_that_is_stopped_is_noticed() {
    let world = world(&[("[ingress]", "login_grace_seconds = 3\nkeepalive_seconds = 2")]);
    let words = ["-tt", "-l", "ops+pg-1.acme", "bastion", "echo in; exec sleep 71.0"];
    let mut work = begin(Command::new("ssh"), &world, &words);
    let began = Instant::now();
    signal(i32::try_from(work.id()).unwrap(), Signal::SIGSTOP);
    // Asked twice, after three seconds each, and given up the third time.
    until("the VM's program to end", 3 * 3 + LEFT_SECONDS, || !runs("sleep 71.0"));
    all_closed(&world, LEFT_SECONDS);
    println!("noticed after {:.1?}: {:?}", began.elapsed(), last_reasons(&world));
    assert_eq!(last_reasons(&world).1, "lost");
    work.kill().unwrap();
    work.wait().unwrap();
}

/// Nothing arrives any more and nobody says so, on either leg: the gateway's kernel and its SSH
/// find out, and the log tells.
#[test]
fn a_network_that_goes_silent_ends_what_ran_over_it() {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: needs root, to make a network that can be switched off");
        return;
    }
    // The world in a network of its own: nothing but a loopback that can go down.
    let script = std::env::temp_dir().join(format!("bastion-alone-{}", std::process::id()));
    let inside = format!("ip link set lo up; exec {BASTION} \"$@\"");
    fs::write(&script, format!("#!/bin/sh\nexec unshare -n sh -c '{inside}' sh \"$@\"\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut world = World::start(&script.display().to_string(), None);
    world.stop();
    let file = world.dir().join("bastion.toml");
    let text = fs::read_to_string(&file).unwrap();
    let ingress = "[ingress]\nlogin_grace_seconds = 3\nkeepalive_seconds = 2";
    let egress = "[egress]\nkeepalive_seconds = 60";
    let text = text.replacen("[ingress]", ingress, 1).replacen("[egress]", egress, 1);
    fs::write(&file, text).unwrap();
    world.begin();
    let pid = world.pid().to_string();
    let within = || {
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-n", "ssh"]);
        command
    };
    let switch = |state: &str| {
        let words = ["-t", &pid, "-n", "ip", "link", "set", "lo", state];
        assert!(Command::new("nsenter").args(words).status().unwrap().success());
    };
    let words = ["-tt", "-l", "ops+pg-1.acme", "bastion", "echo in; exec sleep 72.0"];
    let mut work = begin(within(), &world, &words);
    let began = Instant::now();
    switch("down");
    all_closed(&world, 3 * 3 + LEFT_SECONDS);
    println!("noticed after {:.1?}: {:?}", began.elapsed(), last_reasons(&world));
    switch("up");
    until("the VM's program to end", 60, || !runs("sleep 72.0"));
    until("ssh to notice, too", 60, || work.try_wait().unwrap().is_some());
    let mut back = within();
    back.args(["-F", Olga.config(), "bastion", "whoami"]).current_dir(world.dir());
    assert!(back.output().unwrap().status.success());
    std::thread::sleep(Duration::from_millis(10));
    fs::remove_file(script).unwrap();
    assert_ne!(port(&world), 0);
}
