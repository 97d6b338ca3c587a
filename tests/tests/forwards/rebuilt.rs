//! A rebuilt VM is another instance with the same list of destinations: what was data stays data.

use crate::scene::{Echo, FORMS, Forward, free_port, list};
use bastion_tests::world::{Person::*, World, until};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

crate::on_both_stores!(&["forward_local"] => the_list_goes_over_and_what_ran_ends);

fn listed(world: &World) -> Vec<(Value, Value, Value)> {
    let json = world.order(Odile, "vm destination list pg-1.acme --json").json();
    let items = json["destinations"].as_array().unwrap_or_else(|| panic!("{json}"));
    items.iter().map(|d| (d["name"].clone(), d["spot"].clone(), d["level"].clone())).collect()
}

fn the_list_goes_over_and_what_ran_ends(world: &World) {
    let echo = Echo::start(b"");
    list(world, "echo", &format!("tcp:127.0.0.1:{}", echo.port), "troubleshoot");
    list(world, "database", "tcp:127.0.0.1:5432", "data");
    list(world, "socket", "unix:/run/postgresql/.s.PGSQL.5432", "data");
    let before = listed(world);
    assert_eq!(before.len(), 3, "{before:?}");
    let port = free_port();
    let words = format!("127.0.0.1:{port}:127.0.0.1:{}", echo.port);
    let _forward = Forward::start(world, &["-L", &words], &FORMS[1]("ops"), port);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"up?").unwrap();
    stream.read_exact(&mut [0; 3]).unwrap();

    world.order(Odile, "vm rebuild pg-1.acme");
    // Cut, with an end or a reset.
    assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
    assert_eq!(listed(world), before);
    let log = world.log();
    let new = &log.last("vm.added")["instance"];
    let carried = log.events("vm.destination_added");
    let carried = carried.iter().filter(|added| added["instance"] == *new).count();
    assert_eq!(carried, 3, "each is entered for the new instance");
    until("its end to be entered", 10, || {
        let log = world.log();
        log.events("channel.closed").iter().any(|closed| closed["outcome"] == "cut")
    });
    // And the rules are those of before: to the database no troubleshooting account gets.
    let refused = crate::scene::one(world, "127.0.0.1:5432", &FORMS[1]("ops"), b"");
    assert_ne!(refused.exit, 0);
    assert_eq!(world.log().last("access.denied")["reason"], "destination_of_data");
}
