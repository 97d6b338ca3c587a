//! An operator whose mandatory training has lapsed gets no certificate.

use bastion_tests::world::{Person::*, World};
use chrono::{Days, TimeDelta, Utc};

crate::on_both_stores!(training_is_looked_at_for_every_channel);

fn training_is_looked_at_for_every_channel(world: &mut World) {
    let day = |back: u64| Utc::now().date_naive().checked_sub_days(Days::new(back)).unwrap();
    world.ssh(Otto, &["ops@pg-1.acme", "id"]).exits(254).complains("training");
    let asked = "request pg-1.acme --account dba --reason CUSTOMER_REQUEST --for 1h --note a test";
    let asked = world.ssh(Otto, &["bastion", asked]).exits(3);
    assert!(asked.err.contains("training"), "{}", asked.err);

    // It must outlive the certificate: training that lapses in a minute opens nothing any more.
    let lapses = (Utc::now() + TimeDelta::seconds(60)).format("%Y-%m-%dT%H:%M:%SZ");
    let record = "operator training otto --course access-101";
    world.order(Odile, &format!("{record} --completed {} --valid-until {lapses}", day(1)));
    world.ssh(Otto, &["ops@pg-1.acme", "id"]).exits(254).complains("training");

    world.order(Odile, &format!("{record} --completed {} --valid-until 2099-01-01", day(0)));
    world.ssh(Otto, &["ops@pg-1.acme", "true"]).exits(0);
    let log = world.log();
    let reasons: Vec<_> = log.events("access.denied").iter().map(|e| &e["reason"]).collect();
    assert_eq!(reasons, ["training_lapsed", "training_lapsed"]);
    assert_eq!(log.only("certificate.issued")["lease"], log.only("access.granted")["lease"]);
    let state = &log.only("access.granted")["training"][0];
    assert_eq!(state["valid_until"], "2099-01-01T00:00:00.000000Z");
}
