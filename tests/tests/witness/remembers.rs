//! A backup that was put back whole, with all that the gateway remembers by itself: only a witness
//! can tell.

use super::{
    BASTION,
    house::{Witness, log_key, policy, tell},
};
use bastion_tests::world::{Answer, Person, World};
use std::{path::Path, process::Command};

fn copy(from: &Path, to: &Path) {
    let done = Command::new("sh")
        .args(["-c", "rm -rf \"$1\" && cp -a \"$0\" \"$1\""])
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(done.success());
}

/// Everything of the deployment, put back as it was.
fn put_back(world: &World, backup: &Path) {
    let files = "bastion.db* index.db* keys tiles signer";
    let script = format!("cd \"$0\" && rm -rf {files} && cd \"$1\" && cp -a {files} \"$0\"");
    let done = Command::new("sh").args(["-c", &script]).arg(world.dir()).arg(backup).status();
    assert!(done.unwrap().success());
}

fn start(world: &World) -> Answer {
    world.run("timeout", &["60", "bastion", "serve"])
}

#[test]
fn what_only_a_witness_remembers_is_not_gone_on_without() {
    let mut world = World::start(BASTION, None);
    let log = log_key(&world);
    let witnesses = [Witness::start("remembers", "acme", &log)];
    let one = policy(&witnesses, 1);
    world.stop();
    tell(world.dir(), &witnesses, (Some(&one), ""));
    world.begin();
    world.bastion(&["audit", "checkpoint"]).exits(0).complains("witnessed by 1 of 1 (");
    world.stop();
    let backup = world.dir().with_extension("backup");
    copy(world.dir(), &backup);

    world.begin();
    world.ssh(Person::Olga, &["ops@pg-1.acme", "true"]).exits(0);
    world.bastion(&["audit", "checkpoint"]).exits(0).complains("witnessed by 1 of 1 (");
    world.stop();
    put_back(&world, &backup);
    let refused = start(&world).exits(1);
    refused.complains("the witness acme remembers").complains("older backup");

    // Somebody goes on with it where nobody asks the witness, until it is longer again.
    tell(world.dir(), &witnesses, (None, ""));
    world.begin();
    for _ in 0..6 {
        world.ssh(Person::Olga, &["ops@pg-1.acme", "true"]).exits(0);
    }
    world.stop();
    tell(world.dir(), &witnesses, (Some(&one), ""));
    let refused = start(&world).exits(1);
    refused.complains("are not those that the witness acme remembers");
    std::fs::remove_dir_all(&backup).unwrap();
}
