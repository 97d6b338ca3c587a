//! An operator whose mandatory training has lapsed gets no certificate.

use bastion_tests::world::{Person::*, World, until};
use chrono::{Days, TimeDelta, Utc};
use std::io::{BufRead as _, BufReader};

crate::on_both_stores!(training_is_looked_at_for_every_channel);

fn training_is_looked_at_for_every_channel(world: &mut World) {
    let day = |back: u64| Utc::now().date_naive().checked_sub_days(Days::new(back)).unwrap();
    world.ssh(Otto, &["ops@pg-1.acme", "id"]).exits(254).complains("training");
    let asked = "request pg-1.acme --account dba --reason CUSTOMER_REQUEST --for 1h --note a test";
    let asked = world.ssh(Otto, &["bastion", asked]).exits(3);
    assert!(asked.err.contains("training"), "{}", asked.err);

    // Completed now, valid for a few seconds: logs in, and is out when it lapses.
    let lapses = (Utc::now() + TimeDelta::seconds(4)).format("%Y-%m-%dT%H:%M:%SZ");
    let record = "operator training otto --course access-101";
    world.order(Odile, &format!("{record} --completed {} --valid-until {lapses}", day(1)));
    let mut work =
        world.ssh_command(Otto, &["ops@pg-1.acme", "echo in; sleep 60"]).spawn().unwrap();
    let mut lines = BufReader::new(work.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "in");
    until("the channel to end with the training", 8, || work.try_wait().unwrap().is_some());
    world.ssh(Otto, &["ops@pg-1.acme", "id"]).exits(254).complains("training");

    world.order(Odile, &format!("{record} --completed {} --valid-until 2099-01-01", day(0)));
    world.ssh(Otto, &["ops@pg-1.acme", "true"]).exits(0);
    let log = world.log();
    let closed = log.events("channel.closed");
    assert!(closed.iter().any(|e| e["reason"] == "training_lapsed"), "{closed:#?}");
}
