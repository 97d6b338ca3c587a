//! `kill -9` of the gateway in the middle of a stream: what the operator got is on record, but for
//! the stated bytes in flight; every sealed segment opens; and the next start says what is there.
//!
//! A sample runs always; `BASTION_KILLS=60` makes it the long run.

use crate::{recorded, world};
use bastion_core::limits::{
    RECORDING_LOST_BYTES_MAX, RECORDING_SEGMENT_BYTES_MAX, RECORDING_SEGMENT_SECONDS_MAX,
};
use bastion_tests::world::{Person::*, World, until};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::{
    fs,
    io::Read as _,
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

const KILLS_SAMPLE: u64 = 3;

#[test]
fn killed_at_any_moment_what_was_delivered_is_on_record() {
    let mut world = world();
    let kills = std::env::var("BASTION_KILLS").ok().and_then(|n| n.parse().ok());
    let kills: u64 = kills.unwrap_or(KILLS_SAMPLE);
    let (mut opened, mut delivered_most, mut lost_most) = (0, 0, 0);
    for round in 0..kills {
        let delivered =
            stream_and_kill(&mut world, Duration::from_millis(900 + round * 977 % 3000));
        world.begin();
        let lease = recorded::last_lease(&world);
        let log = world.log();
        let is_ours = |entry: &&Value| entry["lease"] == lease.as_str();
        let recovered = log.events("recovered").into_iter().find(is_ours).expect("recovered");
        assert!(recovered.get("recording_missing").is_none(), "{recovered}");
        let file = fs::read(recorded::file(&world, &lease)).unwrap();
        let framed = recorded::framed(&file);
        let lost = delivered.saturating_sub(framed);
        assert!(
            lost <= RECORDING_LOST_BYTES_MAX as u64,
            "{delivered} delivered, {framed} recorded"
        );
        lost_most = lost_most.max(lost);
        delivered_most = delivered_most.max(delivered);
        let sealed = recovered["recording_bytes"].as_u64().unwrap_or_default();
        let behind = recovered["recording_unsealed"].as_u64().unwrap_or_default();
        if sealed > 0 {
            assert_eq!(sealed + 160 + behind, file.len() as u64, "all of the file is told of");
            let (output, found) = recorded::output(&world, &lease);
            assert_eq!(found.last().unwrap().bytes, sealed);
            assert!(is_numbers(&output), "what is sealed is what the VM sent");
            opened += 1;
        } else {
            assert_eq!(behind, file.len() as u64);
        }
    }
    world.bastion(&["audit", "verify"]).exits(0);
    println!(
        "{kills} kills: {opened} with sealed segments, all open; at most {delivered_most} bytes \
         delivered, at most {lost_most} of them not in the file"
    );
}

/// `seq 1 …` runs; the gateway is killed; how many bytes of it the operator had by then.
fn stream_and_kill(world: &mut World, after: Duration) -> u64 {
    let mut ssh = world.ssh_command(Olga, &["ops@pg-1.acme", "seq 1 1000000000"]);
    let mut ssh = ssh.stderr(Stdio::null()).spawn().unwrap();
    let mut out = ssh.stdout.take().unwrap();
    let delivered = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut piece = vec![0; 256 << 10];
            while let Ok(length @ 1..) = out.read(&mut piece) {
                delivered.fetch_add(length as u64, Ordering::Relaxed);
            }
        });
        until("the first bytes", 20, || delivered.load(Ordering::Relaxed) > 0);
        thread::sleep(after);
        world.kill();
        ssh.wait().unwrap();
    });
    delivered.into_inner()
}

/// The beginning of what `seq 1 …` prints.
fn is_numbers(output: &[u8]) -> bool {
    let mut lines = output.split(|byte| *byte == b'\n');
    let last = lines.next_back().unwrap_or_default();
    let mut next = 0_u64;
    let whole = lines.all(|line| {
        next += 1;
        line == next.to_string().as_bytes()
    });
    whole && (next + 1).to_string().as_bytes().starts_with(last)
}

fn at(entry: &Value) -> DateTime<Utc> {
    entry["time"].as_str().unwrap().parse().unwrap()
}

#[test]
fn segments_are_entered_within_ten_seconds_and_64_mib_while_the_channel_runs() {
    let world = world();
    let slow = "i=0; while [ $i -lt 130 ]; do echo tick; sleep 0.2; i=$((i+1)); done";
    let slow = world.ssh_command(Olga, &["ops@pg-1.acme", slow]);
    let slow = thread::spawn(move || bastion_tests::world::finish(slow, &[]));
    let fast = world.ssh(
        Olga,
        &[
            "ops@pg-2.acme",
            "head -c 300000000 /dev/zero | wc -c; \
                                                   head -c 300000000 /dev/zero",
        ],
    );
    assert_eq!(fast.out.len(), 300_000_010);
    slow.join().unwrap().exits(0);
    let log = world.log();
    let of = |vm: &str| {
        let grants = log.events("access.granted");
        let lease =
            grants.iter().find(|grant| grant["place"]["vm"] == vm).unwrap()["lease"].clone();
        let issued = log.events("certificate.issued");
        let issued = issued.iter().find(|issued| issued["lease"] == lease).unwrap();
        let is_of = |entry: &&&Value| entry["event"]["recording"] == issued["recording"];
        log.entries.iter().collect::<Vec<_>>().iter().filter(is_of).copied().cloned().collect()
    };
    // By time: each within ten seconds, and the tick in which it is noticed, of the one before.
    let slow: Vec<Value> = of("pg-1.acme");
    let times: Vec<_> = slow.iter().map(at).collect();
    assert!(slow.len() >= 4, "{slow:?}");
    for two in times.windows(2) {
        let seconds = (two[1] - two[0]).num_milliseconds() as f64 / 1000.0;
        let most = RECORDING_SEGMENT_SECONDS_MAX as f64 + 3.0;
        assert!(seconds <= most, "{seconds} s without a segment: {times:?}");
    }
    // By bytes: each within 64 MiB, and what the writer takes at once, of the one before.
    let fast: Vec<Value> = of("pg-2.acme");
    let segments = fast.iter().filter(|entry| entry["event"]["type"] == "recording.segment");
    let mut before = 0;
    let mut count = 0;
    for (index, segment) in segments.enumerate() {
        assert_eq!(segment["event"]["index"], index, "none is skipped");
        let bytes = segment["event"]["bytes"].as_u64().unwrap();
        assert!(bytes - before <= RECORDING_SEGMENT_BYTES_MAX + (4 << 20), "{before} to {bytes}");
        (before, count) = (bytes, count + 1);
    }
    assert!(count >= 4, "{count} segments of 300 MB");
}

#[test]
fn what_the_log_fixed_and_is_gone_is_said() {
    let mut world = world();
    let mut ssh = world.ssh_command(Olga, &["ops@pg-1.acme", "seq 1 12000000; sleep 60"]);
    let mut ssh = ssh.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("a segment", 40, || !world.log().events("recording.segment").is_empty());
    let entered = world.log().last("recording.segment")["bytes"].as_u64().unwrap();
    let file = recorded::file(&world, &recorded::last_lease(&world));
    world.kill();
    ssh.wait().unwrap();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(entered / 2).unwrap();
    world.begin();
    let recovered = world.log().events("recovered")[0].clone();
    assert_eq!(recovered["recording_missing"], entered, "{recovered}");
    assert_eq!(recovered["recording_unsealed"], entered / 2, "{recovered}");
    assert!(recovered.get("recording_bytes").is_none());
    // Without its file everything is.
    let mut ssh = world.ssh_command(Olga, &["ops@pg-1.acme", "seq 1 12000000; sleep 60"]);
    let mut ssh = ssh.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("a segment", 40, || world.log().events("recording.segment").len() > 1);
    let entered = world.log().last("recording.segment")["bytes"].as_u64().unwrap();
    let file = recorded::file(&world, &recorded::last_lease(&world));
    world.kill();
    ssh.wait().unwrap();
    fs::remove_file(file).unwrap();
    world.begin();
    let told =
        world.log().events("recovered").into_iter().rev().find(|e| e["lease"].is_string()).cloned();
    assert!(told.unwrap()["recording_missing"].as_u64().unwrap() >= entered);
}
