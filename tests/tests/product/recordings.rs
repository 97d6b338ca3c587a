//! A recording of a data channel is customer data: the provider has it only by the customer's
//! leave. Everything that is handed out was compared with the log before.

use bastion_tests::world::{Person::*, World, until};
use std::{fs, thread};

crate::on_both_stores!(
    a_data_recording_takes_the_customers_leave,
    a_changed_recording_is_not_handed_out,
    an_officer_ends_a_live_session,
);

fn lease(world: &World, account: &str) -> String {
    let list = world.bastion(&["session", "list", "--json"]).exits(0).json();
    let leases = list.as_array().unwrap();
    let found = leases.iter().find(|lease| lease["account"] == account);
    found.unwrap_or_else(|| panic!("no lease of {account} in {list}"))["lease"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn a_data_recording_takes_the_customers_leave(world: &mut World) {
    world.consent("pg-1.acme");
    world.ssh(Olga, &["dba@pg-1.acme", "echo customer-data"]).exits(0);
    let data = lease(world, "dba");
    let fetch = format!("session fetch {data}");
    world.ssh(Odile, &["bastion", &fetch]).exits(3).complains("recording access");
    world.bastion(&["session", "fetch", &data]).exits(3);
    world.ssh(Globex, &["bastion", &fetch]).exits(3);
    // The customer's own approver has it.
    let archive = world.order(Acme, &fetch).out;
    fs::write(world.dir().join("r.tar"), archive).unwrap();
    assert!(world.run("tar", &["tf", "r.tar"]).exits(0).text().contains(".keys.json"));
    // The provider's key does not open it.
    let provider = "take-away/provider-recording.pem";
    let words = ["session", "replay", "--file", "r.tar", "--plain", "--identity", provider];
    world.bastion(&words).exits(4);
    let log = world.log();
    assert_eq!(log.events("recording.read").len(), 1, "refusals hand nothing out");
    assert!(!log.events("command.refused").is_empty());
}

fn a_changed_recording_is_not_handed_out(world: &mut World) {
    world.ssh(Olga, &["ops@pg-1.acme", "echo seen-again"]).exits(0);
    let ops = lease(world, "ops");
    let provider = "take-away/provider-recording.pem";
    let replay = ["session", "replay", &ops, "--plain", "--identity", provider];
    world.bastion(&replay).exits(0).says("seen-again");
    let shown = world.bastion(&["session", "show", &ops, "--json"]).exits(0).json();
    let recording = shown[0]["recording"].as_str().unwrap();
    let found = world.run("find", &["recordings", "-name", &format!("*{recording}*")]).exits(0);
    let file = world.dir().join(found.text().lines().next().unwrap());
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    world.bastion(&replay).exits(4).complains("not what the log says");
}

fn an_officer_ends_a_live_session(world: &mut World) {
    let sleeping = world.ssh_command(Olga, &["ops@pg-1.acme", "sleep 60"]);
    let ended = thread::spawn(move || bastion_tests::world::finish(sleeping, &[]));
    until("a live channel", 20, || {
        let list = world.bastion(&["session", "list", "--live", "--json"]).json();
        list.as_array().is_some_and(|live| !live.is_empty())
    });
    let live = lease(world, "ops");
    world.ssh(Acme, &["bastion", &format!("session end {live}")]).exits(3);
    world.order(Odile, &format!("session end {live} --reason wrong VM"));
    let answer = ended.join().unwrap();
    assert_ne!(answer.exit, 0);
    assert!(answer.err.contains("officer"), "{}", answer.err);
    let log = world.log();
    assert_eq!(log.events("session.end_requested").len(), 1);
    assert_eq!(log.last("channel.closed")["outcome"], "cut");
    world.ssh(Odile, &["bastion", "session end l-0000000000"]).exits(3).complains("no live");
}
