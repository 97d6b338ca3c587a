//! `recording erase`: the keys are gone from every file of the store, and the proof is not.

use super::{BASTION, PROVIDER_KEY, lease, world};
use bastion_tests::{
    postgres::Cluster,
    world::{Person::*, World, until},
};
use std::fs;

/// The wrapped key of a recording, as `session fetch` hands it out.
fn wrapped(world: &World, lease: &str) -> String {
    let archive = world.order(Odile, &format!("session fetch {lease}")).out;
    let text = String::from_utf8_lossy(&archive);
    let (_, rest) = text.split_once("\"wrapped\":\"").expect("a wrapped key");
    rest.split_once('"').unwrap().0.to_owned()
}

/// Every file of the world that holds a piece of this text.
fn holding(world: &World, text: &str) -> Vec<String> {
    let pieces: Vec<&str> =
        text.as_bytes().chunks(64).map(|piece| str::from_utf8(piece).unwrap()).collect();
    let patterns: Vec<&str> = pieces.iter().flat_map(|piece| ["-e", *piece]).collect();
    let found = world.run("grep", &[&["-rlaF", "-D", "skip"], &patterns[..], &["."]].concat());
    found.text().lines().map(str::to_owned).collect()
}

#[test]
fn an_erased_key_is_in_no_file_of_the_store() {
    let world = world();
    for number in 0..6 {
        world.ssh(Olga, &["ops@pg-1.acme", &format!("echo number {number}")]).exits(0);
    }
    let list = world.bastion(&["session", "list", "--json"]).exits(0).json();
    let leases: Vec<String> =
        list.as_array().unwrap().iter().map(|l| l["lease"].as_str().unwrap().into()).collect();
    // Every one of them, in an order that empties pages from both ends.
    for lease in leases.iter().step_by(2).chain(leases.iter().skip(1).step_by(2)) {
        let key = wrapped(&world, lease);
        assert!(!holding(&world, &key).is_empty(), "the test must find what is there");
        let erase = format!("recording erase {lease} --reason the customer asked for it");
        world.order(Odile, &erase).says("no copy of its file opens");
        assert_eq!(holding(&world, &key), Vec::<String>::new());
    }
}

fn an_erased_recording_says_by_whom_and_keeps_its_proof(world: &World) {
    world.ssh(Olga, &["ops@pg-1.acme", "echo gone soon"]).exits(0);
    let ops = lease(world, "ops");
    let erase = format!("recording erase {ops} --reason ZD-1042 asks for it");
    world.ssh(Acme, &["bastion", &erase]).exits(3);
    world.ssh(Olga, &["bastion", &erase]).exits(3);
    world.ssh(Odile, &["bastion", "recording erase l-0000000000 --reason x"]).exits(3);
    world.ssh(Odile, &["bastion", &format!("recording erase {ops}")]).exits(2);
    world.order(Odile, &erase);
    world.ssh(Odile, &["bastion", &erase]).exits(1).complains("was erased by of-");
    let fetch = format!("session fetch {ops}");
    world.ssh(Odile, &["bastion", &fetch]).exits(3).complains("was erased by of-");
    let replay = ["session", "replay", &ops, "--identity", PROVIDER_KEY];
    world.bastion(&replay).exits(3).complains("was erased by of-");
    let log = world.log();
    let erased = log.last("recording.erased");
    assert_eq!(erased["lease"], ops.as_str());
    let closed = log.last("channel.closed");
    assert_eq!(closed["recording"], erased["recording"]);
    assert!(closed["recording_digest"].as_str().is_some_and(|digest| digest.len() == 64));
    world.bastion(&["audit", "verify"]).exits(0);
    // The file itself is left alone: it may lie where nobody can change it.
    let recording = erased["recording"].as_str().unwrap();
    assert!(world.dir().join(format!("recordings/{recording}.rec")).exists());
}

#[test]
fn an_erased_recording_says_by_whom_on_sqlite() {
    an_erased_recording_says_by_whom_and_keeps_its_proof(&world());
}

#[test]
fn an_erased_recording_says_by_whom_on_postgres() {
    let world = World::start(BASTION, Some(Cluster::start()));
    an_erased_recording_says_by_whom_and_keeps_its_proof(&world);
}

#[test]
fn an_erasure_takes_two_officers_where_there_are_two_and_no_live_channel() {
    let world = world();
    world.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "keys/second"]).exits(0);
    let key = fs::read(world.dir().join("keys/second.pub")).unwrap();
    let sleeping = world.ssh_command(Olga, &["ops@pg-1.acme", "sleep 60"]).spawn();
    let mut sleeping = sleeping.unwrap();
    until("a recording", 20, || fs::read_dir(world.dir().join("recordings")).unwrap().count() > 0);
    let ops = lease(&world, "ops");
    let erase = format!("recording erase {ops} --reason by mistake");
    world.ssh(Odile, &["bastion", &erase]).exits(1).complains("is live");
    world.order(Odile, &format!("session end {ops} --reason wrong VM"));
    sleeping.wait().unwrap();
    world.ssh_with(Odile, &["bastion", "officer add second --key -"], &key).exits(0);
    let proposed = world.order(Odile, &format!("{erase} --json")).json();
    assert_eq!(proposed["state"], "proposed");
    world.order(Odile, &format!("session fetch {ops}"));
    let config = fs::read_to_string(world.dir().join("ssh_config.officer")).unwrap();
    fs::write(world.dir().join("ssh_config.second"), config.replace("keys/odile", "keys/second"))
        .unwrap();
    let approve = format!("change approve {}", proposed["proposal"].as_str().unwrap());
    world.run("ssh", &["-F", "ssh_config.second", "bastion", &approve]).exits(0);
    world.ssh(Odile, &["bastion", &format!("session fetch {ops}")]).exits(3).complains("erased");
}
