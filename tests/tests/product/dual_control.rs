//! What loosens takes two officers, over real ssh, on either store, and across a crash.

use bastion_tests::world::{Answer, Person::*, World};
use std::{fs, thread, time::Duration};

crate::on_both_stores!(the_second_officer_makes_the_change);

/// A command of the second officer, whose key and ssh_config are made here.
fn omar(world: &World, command: &str) -> Answer {
    world.run("ssh", &["-F", "ssh_config.omar", "bastion", command])
}

fn the_second_officer_makes_the_change(world: &mut World) {
    // The one officer there is changes at once, and is one of two from then on.
    for name in ["omar", "nina"] {
        let file = format!("keys/{name}");
        world.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file]).exits(0);
    }
    let config = fs::read_to_string(world.dir().join(Odile.config())).unwrap();
    let config = config.replace(Odile.key(), "keys/omar");
    fs::write(world.dir().join("ssh_config.omar"), config).unwrap();
    let public = |name: &str| fs::read(world.dir().join(format!("keys/{name}.pub"))).unwrap();
    world.ssh_with(Odile, &["bastion", "officer add omar --key -"], &public("omar")).exits(0);
    omar(world, "whoami").exits(0).says("omar");

    let add = ["bastion", "operator key add olga --key - --json"];
    let proposed = world.ssh_with(Odile, &add, &public("nina")).exits(0).json();
    assert_eq!(proposed["state"], "proposed");
    let id = proposed["proposal"].as_str().unwrap().to_owned();
    let approve = format!("change approve {id}");
    world.ssh(Odile, &["bastion", &approve]).exits(3).complains("another officer");
    assert!(world.log().events("change.approved").is_empty());

    world.kill();
    world.begin();
    omar(world, &format!("change show {id}")).exits(0).says("operator key add olga");
    omar(world, &approve).exits(0).says("added the key");
    world.kill();
    world.begin();
    omar(world, &approve).exits(3).complains("approved already");
    let log = world.log();
    assert_eq!(log.events("change.proposed").len(), 1);
    assert_eq!(log.events("change.approved").len(), 1);
    world.bastion(&["audit", "verify"]).exits(0);

    thread::sleep(Duration::from_millis(1100));
    let to = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let period = ["report", "--from", "2026-01-01", "--to", &to, "--format", "json"];
    let report = world.bastion(&[&period[..], &["--out", "report"]].concat()).exits(0);
    let report = fs::read_to_string(world.dir().join("report/report.json"))
        .unwrap_or_else(|_| report.text());
    assert!(report.contains(&format!("change {id} of ")), "{report}");
}
