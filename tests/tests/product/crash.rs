//! `kill -9` at any moment leaves a log that verifies, no answered event missing, and no
//! certificate without an entry.
//!
//! A sample runs always; `BASTION_KILLS=200` makes it the long run.

use crate::promise_1_no_log_no_login::every_certificate_has_an_entry;
use bastion_tests::world::{Person::*, World, until};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

crate::on_both_stores!(killed_under_load_the_log_holds);

const KILLS_SAMPLE: u64 = 4;

fn killed_under_load_the_log_holds(world: &mut World) {
    let kills = std::env::var("BASTION_KILLS").ok().and_then(|n| n.parse().ok());
    let kills: u64 = kills.unwrap_or(KILLS_SAMPLE);
    let mut answered = 0;
    for round in 0..kills {
        answered += load_and_kill(world, Duration::from_millis(150 + round * 137 % 1100));
        world.begin();
        world.bastion(&["audit", "verify"]).exits(0);
    }
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
    // A client is let go as soon as it knows how its program ended; the last entry may follow.
    until("the last channel is closed in the log", 10, || {
        let log = world.log();
        let last =
            log.events("access.granted").last().unwrap()["lease"].as_str().unwrap().to_owned();
        log.story_of(&last).last().is_some_and(|end| *end == "channel.closed")
    });
    let log = world.log();
    every_certificate_has_an_entry(world, &log);
    // Every answered login was a grant with a certificate; every open lease was closed.
    assert!(log.events("certificate.issued").len() > answered, "an answered login is missing");
    for grant in log.events("access.granted") {
        let story = log.story_of(grant["lease"].as_str().unwrap());
        let ends = ["channel.closed", "recovered"];
        assert!(ends.contains(story.last().unwrap()), "left open: {story:?}");
    }
    println!("{kills} kills, {answered} answered logins, {} entries", log.entries.len());
}

/// Three operators' terminals at work while the gateway is killed; how many logins were answered.
fn load_and_kill(world: &mut World, after: Duration) -> usize {
    let stop = AtomicBool::new(false);
    let answered = Mutex::new(0);
    let mut pid = Some(world.pid());
    std::thread::scope(|scope| {
        for vm in ["ops@pg-1.acme", "ops@pg-2.acme", "ops+pg-1.globex@bastion"] {
            let (world, stop, answered) = (&*world, &stop, &answered);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = world.ssh(Olga, &[vm, "echo in"]);
                    if answer.text() == "in\n" {
                        *answered.lock().unwrap() += 1;
                    }
                }
            });
        }
        std::thread::sleep(after);
        if let Some(pid) = pid.take() {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    world.kill();
    answered.into_inner().unwrap()
}
