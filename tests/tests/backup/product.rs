//! The product's own commands, on the gateway's machine, from the backup to the log that goes on.

use crate::scene::verified;
use bastion_tests::world::{Person, World};
use std::fs;

const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");
const IDENTITY: &str = "take-away/provider-recording.pem";

#[test]
fn the_commands_lead_from_a_backup_over_a_loss_to_a_gateway_that_runs() {
    let mut world = World::start(BASTION, None);
    world.ssh(Person::Olga, &["ops@pg-1.acme", "echo kept"]).exits(0);
    let file = world.dir().join("one.backup").display().to_string();
    let made = world.bastion(&["backup", "--to", &file, "--json"]).exits(0).json();
    let entries = made["entries"].as_u64().unwrap();
    world.order(Person::Odile, "customer list");
    world.ssh(Person::Odile, &["bastion", &format!("backup --to {file}2")]).exits(3);
    world.bastion(&["restore", "--from", &file, "--identity", IDENTITY]).exits(1);
    world.ssh(Person::Olga, &["ops@pg-1.acme", "echo lost"]).exits(0);
    world.stop();
    let dir = world.dir().to_owned();
    let at = |name: &str| dir.join(name);
    fs::create_dir(at("lost")).unwrap();
    for part in ["bastion.db", "bastion.db-wal", "bastion.db-shm"] {
        if at(part).exists() {
            fs::rename(at(part), at("lost").join(part)).unwrap();
        }
    }
    let restore = ["restore", "--from", &file, "--identity", IDENTITY, "--json"];
    let said = world.bastion(&restore).exits(0).json();
    assert_eq!(said["entries"].as_u64(), Some(entries));
    let refused = said["start_refused"].as_str().expect("a start is refused");
    let (_, range) = refused.split_once("--lost ").expect("names the range");
    let range = range.split(' ').next().unwrap().to_owned();
    let serve = world.bastion(&["audit", "verify"]).exits(1);
    assert!(serve.err.contains("new-epoch --lost"), "{}", serve.err);
    // A mark that is there is not made anew, and a range that is wrong begins nothing.
    world.bastion(&["audit", "new-mark", "--reason", "x"]).exits(1).complains("nothing to make");
    let wrong = ["audit", "new-epoch", "--lost", "1-2", "--reason", "x"];
    world.bastion(&wrong).exits(1).complains(&range);
    let epoch = ["audit", "new-epoch", "--lost", &range, "--reason", "the disk died"];
    world.bastion(&epoch).exits(0).says("epoch-2");

    // The configuration is as it was: the log says itself how it is called.
    world.begin();
    world.bastion(&["audit", "verify"]).exits(0);
    let key = world.bastion(&["audit", "checkpoint", "--key"]).exits(0).text();
    assert!(key.starts_with("bastion.demo/epoch-2+"), "{key}");
    let log = world.log();
    assert_eq!(log.entries[usize::try_from(entries).unwrap()]["event"]["type"], "log.epoch");
    assert!(!log.events("backup.restored").is_empty());
    // And whoever checks it offline, checks it whole: as lines, and as published tiles.
    let vkey = at("log.vkey").display().to_string();
    fs::write(&vkey, &key).unwrap();
    let lines = at("log.jsonl").display().to_string();
    fs::write(&lines, world.bastion(&["audit", "export"]).exits(0).out).unwrap();
    let note = at("checkpoint").display().to_string();
    fs::write(&note, world.bastion(&["audit", "checkpoint"]).exits(0).out).unwrap();
    verified(&["export", &lines]);
    let tiles = at("auditor-tiles").display().to_string();
    world.bastion(&["audit", "publish", "--to", &tiles]).exits(0);
    let said = verified(&["tiles", &tiles, "--vkey", &vkey]);
    assert!(said.contains("have the signed root"), "{said}");
    let said = verified(&["tiles", &tiles, "--vkey", &vkey, "--any-entries"]);
    assert!(said.contains("have the signed root"), "{said}");
}

#[test]
fn a_mark_that_is_gone_is_made_anew_by_command() {
    let mut world = World::start(BASTION, None);
    world.stop();
    fs::remove_file(world.dir().join("keys/high-water")).unwrap();
    world.bastion(&["audit", "verify"]).exits(1).complains("new-mark");
    let made = world.bastion(&["audit", "new-mark", "--reason", "the disk was replaced"]);
    made.exits(0).says("the high-water mark is at entry");
    world.begin();
    let log = world.log();
    assert_eq!(log.events("log.mark").len(), 2, "one in each customer's chain");
    world.bastion(&["audit", "verify"]).exits(0);
}
