//! The signer as a process: held back, and nothing is signed without it.

use super::BASTION;
use bastion_tests::world::{Person, World};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::fs;

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

#[test]
fn without_its_signer_a_gateway_lets_nobody_in() {
    let world = World::start(BASTION, None);
    world.ssh(Person::Olga, &["ops@pg-1.acme", "echo in"]).exits(0).says("in");
    let pid = signer(&world);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    kill(pid, Signal::SIGKILL).unwrap();
    world
        .ssh(Person::Olga, &["ops@pg-1.acme", "echo in"])
        .exits(254)
        .complains("no certificate could be made");
    // Whoever may read the log still may; nothing more is signed.
    let refused = world.bastion(&["audit", "checkpoint"]);
    assert_ne!(refused.exit, 0, "{}", refused.text());
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
