//! An operator who does not read for a while, with more on the way than fits anywhere: nothing
//! hangs and nothing is lost, a second command on the same connection answers, and the gateway
//! stays small.
//!
//! A sample has 256 MiB behind five seconds; `RELAY_LONG=1` has 2 GiB behind twenty.

use crate::world;
use bastion_tests::world::{Person::Olga, World};
use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// What a second command may take more beside the slow reader than on an idle connection: the
/// promise, and what an unoptimised build on a busy machine adds.
const SLACK: Duration = Duration::from_millis(if cfg!(debug_assertions) { 400 } else { 100 });

/// The most memory that the gateway may ever have had, in KiB: the promise, and room for what an
/// unoptimised build adds.
const RESIDENT_KIB_MAX: u64 = if cfg!(debug_assertions) { 160 << 10 } else { 100 << 10 };

/// The most memory that the gateway has had, in KiB.
fn resident(world: &World) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The median time of a command on the shared connection.
fn second(world: &World, shared: &[&str]) -> Duration {
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let began = Instant::now();
            world.ssh(Olga, &[shared, &["echo here"]].concat()).exits(0).says("here");
            began.elapsed()
        })
        .collect();
    times.sort();
    times[2]
}

#[test]
fn who_reads_slowly_neither_hangs_nor_holds_others_up_nor_fills_the_memory() {
    let long = std::env::var_os("RELAY_LONG").is_some();
    let (size, sleep) = if long { (2_u64 << 30, 20) } else { (256 << 20, 5) };
    let world = world(&[]);
    for form in [&["-l", "ops+pg-1.acme", "bastion"][..], &["ops@pg-1.acme"]] {
        let master = ["-S", "shared", "-M", "-N", "-f"];
        let mut begin = world.ssh_command(Olga, &[&master, form].concat());
        assert!(begin.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        let shared = [&["-S", "shared"], form].concat();
        let idle = second(&world, &shared);
        let script = format!(
            "head -c {size} /dev/zero | ssh -F {} {} cat | (sleep {sleep}; wc -c)",
            Olga.config(),
            shared.join(" ")
        );
        let mut slow = Command::new("timeout");
        slow.args(["-k", "1", "600", "sh", "-c", &script]).current_dir(world.dir());
        let slow = slow.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        // By then whatever can be filled is full.
        std::thread::sleep(Duration::from_secs(sleep / 2));
        let beside = second(&world, &shared);
        let done = slow.wait_with_output().unwrap();
        let counted = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        let most = resident(&world);
        println!(
            "{form:?}: {counted} bytes; a second command {idle:.1?} on an idle connection, \
             {beside:.1?} beside it; at most {most} KiB resident"
        );
        assert_eq!(counted, size.to_string());
        assert!(beside < idle + SLACK, "{beside:?} beside it, {idle:?} idle");
        assert!(most < RESIDENT_KIB_MAX, "{most} KiB");
        world.ssh(Olga, &[&["-O", "exit"], &shared[..]].concat()).exits(0);
    }
}
