//! Slow, stuck and hostile peers, on both sides of a whole bastion: what they meet, and that a
//! session beside them goes on.
//!
//! Samples run always. `BASTION_LONG=N` makes them N times as long (the long runs of the release
//! take 20 or more; see `.config/nextest.toml` for the profile).

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod audited;
mod deaf;
mod early;
mod encrypted;
mod exits;
mod faults;
mod floods;
mod gone;
mod guessing;
mod held;
mod malformed;
mod slow;
mod steady;
mod unasked;
mod vm;
mod wire;

use bastion_tests::{own_vm::output, world::World};
use std::fs;

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");

/// A world with these lines in its configuration.
fn world(settings: &[(&str, &str)]) -> World {
    let mut world = World::start(BASTION, None);
    if settings.is_empty() {
        return world;
    }
    world.stop();
    let file = world.dir().join("bastion.toml");
    let mut text = fs::read_to_string(&file).unwrap();
    for (table, lines) in settings {
        assert!(text.contains(table), "{table} is not in the configuration");
        text = text.replacen(table, &format!("{table}\n{lines}"), 1);
    }
    fs::write(&file, text).unwrap();
    world.begin();
    world
}

/// The port that operators connect to.
fn port(world: &World) -> u16 {
    let config = fs::read_to_string(world.dir().join("ssh_config")).unwrap();
    let port = config.lines().find_map(|line| line.trim().strip_prefix("Port ")).unwrap();
    port.parse().unwrap()
}

/// How many times as long as a sample a run is to be.
fn times() -> usize {
    let asked = std::env::var("BASTION_LONG").ok();
    asked.map_or(1, |n| n.parse().expect("BASTION_LONG is a number"))
}

/// Ends a process that the test did not start itself but caused, by its id.
fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}
