//! The signer as a process: held back, and nothing is signed without it.

use super::BASTION;
use bastion_tests::world::{Person, World, until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio, thread, time::Duration};

/// The signer of a world, found below its demo's process.
fn signer(world: &World) -> Pid {
    let parent = world.pid().as_raw();
    let children = format!("/proc/{parent}/task");
    let tasks = fs::read_dir(children).unwrap().map(|task| task.unwrap().path().join("children"));
    let children: String = tasks.map(|file| fs::read_to_string(file).unwrap_or_default()).collect();
    let is_signer = |pid: &&str| {
        fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name.starts_with("bastion"))
    };
    let pid = children.split_whitespace().find(is_signer).expect("a signer runs");
    Pid::from_raw(pid.parse().unwrap())
}

/// Whether a signer is held back.
fn is_confined(pid: Pid) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}

#[test]
fn without_its_signer_a_gateway_lets_nobody_in_until_another_has_taken_its_place() {
    let world = World::start(BASTION, None);
    world.ssh(Person::Olga, &["ops@pg-1.acme", "echo in"]).exits(0).says("in");
    let pid = signer(&world);
    is_confined(pid);
    // One that cannot read its key does not start.
    let key = world.dir().join("keys/user-ca");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    for _ in 0..2 {
        world
            .ssh(Person::Olga, &["ops@pg-1.acme", "echo in"])
            .exits(254)
            .complains("no certificate could be made");
        // Whoever may read the log still may; nothing more is signed.
        let refused = world.bastion(&["audit", "checkpoint"]);
        assert_ne!(refused.exit, 0, "{}", refused.text());
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let back = || world.ssh(Person::Olga, &["ops@pg-1.acme", "echo in"]).exit == 0;
    until("another signer", 80, back);
    let another = signer(&world);
    assert_ne!(another, pid);
    is_confined(another);
    world.bastion(&["audit", "checkpoint"]).exits(0);
    world.bastion(&["audit", "verify"]).exits(0);
    assert!(world.gateway_log().contains("signer"), "{}", world.gateway_log());
}

/// A client that goes away while its certificate is being made takes the signer from nobody.
#[test]
fn a_login_that_is_cut_off_leaves_the_signer_to_the_next() {
    let world = World::start(BASTION, None);
    world.ssh(Person::Olga, &["ops@pg-1.acme", "echo in"]).exits(0);
    let pid = signer(&world);
    kill(pid, Signal::SIGSTOP).unwrap();
    let granted = |world: &World| world.log().events("access.granted").len();
    let before = granted(&world);
    let mut command = world.ssh_command(Person::Olga, &["ops@pg-1.acme", "echo in"]);
    let mut client = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    until("the login is granted", 10, || granted(&world) > before);
    client.kill().unwrap();
    client.wait().unwrap();
    thread::sleep(Duration::from_secs(1));
    kill(pid, Signal::SIGCONT).unwrap();
    world.ssh(Person::Olga, &["ops@pg-1.acme", "echo in"]).exits(0).says("in");
    assert_eq!(signer(&world), pid);
}

#[test]
fn a_signer_signs_no_log_but_the_one_that_it_knows() {
    let mut world = World::start(BASTION, None);
    world.ssh(Person::Olga, &["ops@pg-1.acme", "echo in"]).exits(0);
    world.stop();
    let folder = world.dir().join("signer");
    let state = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let kept = fs::read_to_string(&state).unwrap();
    let root = kept.lines().find_map(|line| line.strip_prefix("root ")).unwrap();
    let other = root.chars().rev().collect::<String>();
    // It remembers another log of the same size: ours is none that it may sign.
    fs::write(&state, kept.replace(root, &other)).unwrap();
    let refused = world.bastion(&["audit", "checkpoint"]);
    assert_ne!(refused.exit, 0, "{}", refused.text());
    fs::write(&state, &kept).unwrap();
    world.bastion(&["audit", "checkpoint"]).exits(0);
}
