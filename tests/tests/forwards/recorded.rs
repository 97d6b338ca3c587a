//! The recordings of connections that were lent: fetched, replayed and searched as a channel's are;
//! in the report a row for each; and closed at the next start if a crash left them open.

use crate::scene::{Echo, FORMS, Forward, free_port, list, permitting, talk};
use bastion_tests::world::{Person::*, World, until};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
};

const PROVIDER_KEY: &str = "take-away/provider-recording.pem";

/// A port of pg-1.acme that goes to an echo of ours, until the second is dropped.
fn lent_port(world: &World) -> (u16, Forward) {
    let (echo, port) = (Echo::start(b"home "), free_port());
    list(world, "back", &format!("listen:{port}"), "troubleshoot");
    let words = format!("{port}:127.0.0.1:{}", echo.port);
    let forward = Forward::start(world, &["-R", &words], &FORMS[1]("ops"), port);
    (port, forward)
}

/// The connection that carried something; another one only tried whether the VM listens.
fn talked(world: &World) -> Value {
    let log = world.log();
    let ends = log.events("forward.closed");
    let end = ends.into_iter().rfind(|end| end["bytes_out"].as_u64().unwrap() > 0);
    end.expect("a connection that talked").clone()
}

#[test]
fn what_was_lent_is_fetched_replayed_searched_and_reported() {
    let world = permitting(&["forward_remote"]);
    let (port, forward) = lent_port(&world);
    assert_eq!(talk(port, b"a needle in it"), b"home a needle in it");
    until("its end", 20, || world.log().events("forward.closed").len() == 2);
    let end = talked(&world);
    let (lease, recording) = (end["lease"].as_str().unwrap(), end["recording"].as_str().unwrap());
    let fetch = format!("session fetch {recording}");
    world.ssh(Odile, &["bastion", &fetch]).exits(1).complains("is live");
    drop(forward);
    until("the lease to be closed", 10, || !world.log().events("channel.closed").is_empty());

    world.order(Odile, &format!("session show {lease}")).says(recording);
    let archive = world.order(Odile, &fetch).out;
    assert!(archive.starts_with(format!("{recording}.keys.json").as_bytes()));
    assert_eq!(world.log().last("recording.read")["recording"], recording);
    world.ssh(Globex, &["bastion", &fetch]).exits(3);
    world.ssh(Olga, &["bastion", &fetch]).exits(3);
    world.ssh(Odile, &["bastion", "session fetch No-Id"]).exits(2);
    world.ssh(Odile, &["bastion", "session fetch r-0000000000"]).exits(3);
    let replay = ["session", "replay", recording, "--identity", PROVIDER_KEY];
    world.bastion(&replay).exits(0).says("a needle in it");
    let search = ["session", "search", "needle", "--key", PROVIDER_KEY];
    let found = world.bastion(&search).exits(0).text();
    assert!(found.contains(&format!("session replay {recording}")), "{found}");

    let period = ["--from", "2026-01-01", "--to", "2999-01-01", "--format", "json"];
    let report = [&["report", "--customer", "acme", "--out", "report"], &period[..]].concat();
    world.bastion(&report).exits(0);
    let json = std::fs::read(world.dir().join("report/report.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    let accesses = json["accesses"].as_array().unwrap();
    let access = accesses.iter().find(|access| access["lease"] == lease).unwrap();
    let rows = access["forwards"].as_array().unwrap();
    let row = rows.iter().find(|row| row["recording"] == recording).expect("a row");
    assert_eq!((rows.len(), &row["destination"]), (2, &"back".into()));
    assert_eq!((&row["bytes_out"], &row["bytes_in"]), (&14.into(), &19.into()));
    assert!(row["duration_ms"].is_u64() && row["recording_digest"].is_string(), "{row}");
}

#[test]
fn a_crash_with_a_lent_connection_and_a_watcher_is_told_at_the_next_start() {
    let mut world = permitting(&["forward_remote"]);
    let (port, forward) = lent_port(&world);
    let mut open = TcpStream::connect(("127.0.0.1", port)).unwrap();
    open.write_all(b"before the crash").unwrap();
    let mut got = [0; 21];
    open.read_exact(&mut got).unwrap();
    // Somebody watches a terminal meanwhile.
    let shell = world.ssh_command(Olga, &["-tt", "ops@pg-2.acme"]).stdin(Stdio::piped()).spawn();
    let mut shell = shell.unwrap();
    let live = || world.bastion(&["session", "list", "--live", "--vm", "pg-2.acme", "--json"]);
    until("the shell", 20, || live().json().as_array().is_some_and(|live| !live.is_empty()));
    let watched = live().json()[0]["lease"].as_str().unwrap().to_owned();
    let watch = format!("session watch {watched}");
    let mut watcher = None;
    until("a watch", 20, || {
        let begun = world.ssh_command(Odile, &["bastion", &watch]).stdin(Stdio::piped()).spawn();
        watcher = Some(begun.unwrap());
        std::thread::sleep(std::time::Duration::from_millis(1500));
        !world.log().events("watch.started").is_empty()
    });
    world.kill();
    drop((forward, open));
    shell.wait().unwrap();
    watcher.unwrap().wait().unwrap();
    world.begin();

    let log = world.log();
    let recovered = log.events("recovered");
    let lent = recovered.iter().find(|told| told.get("recording").is_some());
    let lent = lent.unwrap_or_else(|| panic!("{recovered:#?}"));
    let opened = log.events("forward.opened");
    let opened = opened.iter().find(|opened| opened["recording"] == lent["recording"]).unwrap();
    assert_eq!(lent["lease"], opened["lease"]);
    assert!(lent["recording_unsealed"].as_u64().unwrap() > 0, "{lent}");
    let own = recovered
        .iter()
        .find(|told| told["lease"] == opened["lease"] && told.get("recording").is_none());
    assert!(own.is_some(), "{recovered:#?}");
    let ended = log.only("watch.ended");
    assert_eq!((&ended["lease"], &ended["reason"]), (&watched.into(), &"recovered".into()));
    // It stands in the name of whoever watched.
    let of = |kind: &str| log.entries.iter().find(|entry| entry["event"]["type"] == kind).unwrap();
    assert_eq!(of("watch.ended")["actor"], of("watch.started")["actor"]);
    world.bastion(&["audit", "verify"]).exits(0);
    let fetch = format!("session fetch {}", opened["recording"].as_str().unwrap());
    world.ssh(Odile, &["bastion", &fetch]).exits(1).complains("before anything was recorded");
}
