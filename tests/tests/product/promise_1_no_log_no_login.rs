//! No certificate exists, no byte passes and no refusal is spoken before its entry is durable.

use bastion_tests::{
    log::Log,
    world::{Person::*, World, until},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    time::{Duration, Instant},
};

crate::on_both_stores!(every_login_and_every_refusal_is_an_entry_first);

#[test]
fn on_sqlite_a_full_disk_ends_it() {
    a_log_that_is_gone_ends_it(&mut World::on_a_small_disk(crate::BASTION));
}

#[test]
fn on_postgres_a_server_that_is_gone_ends_it() {
    a_log_that_is_gone_ends_it(&mut crate::postgres());
}

fn every_login_and_every_refusal_is_an_entry_first(world: &mut World) {
    world.ssh(Olga, &["ops@pg-1.acme", "exit 3"]).exits(3);
    world.ssh(Olga, &["ops+pg-2.acme@bastion", "true"]).exits(0);
    world.ssh(Olga, &["dba@pg-1.acme", "id"]).exits(254);
    world.ssh(Otto, &["ops@pg-1.acme", "id"]).exits(254);
    world.consent("pg-1.acme");
    world.ssh(Olga, &["dba@pg-1.acme", "true"]).exits(0);
    let log = world.log();

    let grants = log.events("access.granted");
    assert_eq!(grants.len(), 3);
    for grant in grants {
        let lease = grant["lease"].as_str().unwrap();
        let story = log.story_of(lease);
        assert_eq!(&story[..2], ["access.granted", "certificate.issued"], "{story:?}");
        assert_eq!(story.last(), Some(&"channel.closed"), "{story:?}");
    }
    let reasons: Vec<_> = log.events("access.denied").iter().map(|e| e["reason"].clone()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    every_certificate_has_an_entry(world, &log);
}

/// What the VMs accepted is what the log says was issued: same serial, same key id, none beside.
pub fn every_certificate_has_an_entry(world: &World, log: &Log) {
    let mut issued = BTreeMap::new();
    for entry in &log.entries {
        let event = &entry["event"];
        if event["type"] == "certificate.issued" {
            let serial = event["serial"].as_u64().unwrap();
            let grant = &log.entries[usize::try_from(serial).unwrap()];
            assert_eq!(grant["event"]["type"], "access.granted", "serial {serial} is no grant");
            assert_eq!(grant["event"]["lease"], event["lease"]);
            issued.insert(serial, event["key_id"].as_str().unwrap().to_owned());
        }
    }
    for vm in ["pg-1.acme", "pg-2.acme", "pg-1.globex"] {
        let text = fs::read_to_string(world.dir().join("vms").join(vm).join("sshd.log")).unwrap();
        for line in text.lines().filter(|line| line.starts_with("Accepted publickey")) {
            let (_, after) = line.split_once(" ID ").expect(line);
            let (key_id, after) = after.split_once(" (serial ").expect(line);
            let (serial, _) = after.split_once(')').expect(line);
            let issued = issued.get(&serial.parse::<u64>().expect(line));
            assert_eq!(issued.map(String::as_str), Some(key_id), "{line}");
        }
    }
}

fn a_log_that_is_gone_ends_it(world: &mut World) {
    world.consent("pg-1.acme");
    let mut data = world
        .ssh_command(
            Olga,
            &["dba@pg-1.acme", "echo at work; while :; do seq 2000; sleep 0.1; done"],
        )
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(data.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "at work");
    let reader = std::thread::spawn(move || lines.count());

    world.break_log();
    let since = Instant::now();
    until("the data channel to be cut", 15, || data.try_wait().unwrap().is_some());
    println!("cut {:?} after the log was gone", since.elapsed());
    assert!(!data.wait().unwrap().success());
    reader.join().unwrap();
    let refused = world.ssh(Olga, &["ops@pg-2.acme", "echo in"]);
    assert_ne!(refused.exit, 0);
    assert_eq!(refused.text(), "", "a byte passed without a log");

    world.mend_log();
    // A gateway that could not know whether a commit held has ended, and recovers at its start.
    std::thread::sleep(Duration::from_millis(500));
    world.begin_again_if_ended();
    until("logins to work again", 30, || world.ssh(Olga, &["ops@pg-2.acme", "true"]).exit == 0);
    world.bastion(&["audit", "verify"]).exits(0);
    let log = world.log();
    every_certificate_has_an_entry(world, &log);
}
