//! `ssh -R`: a listed port of the VM's loopback, whose connections go to the operator.

use crate::scene::{Echo, FORMS, Forward, free_port, list, talk};
use bastion_tests::world::{Person::*, World, until};
use std::net::TcpStream;

crate::on_both_stores!(&["forward_remote"] => a_listed_port_of_the_vm_goes_to_the_operator);

fn a_listed_port_of_the_vm_goes_to_the_operator(world: &World) {
    let echo = Echo::start(b"home ");
    let port = free_port();
    list(world, "back", &format!("listen:{port}"), "troubleshoot");
    for form in FORMS {
        let before = world.log().events("forward.closed").len();
        let words = format!("{port}:127.0.0.1:{}", echo.port);
        let forward = Forward::start(world, &["-R", &words], &form("ops"), port);
        assert_eq!(talk(port, b"sweet"), b"home sweet");
        until("the connections to be closed", 20, || {
            world.log().events("forward.closed").len() == before + 2
        });
        let log = world.log();
        let granted = log.last("access.granted");
        // The other one only tried whether the VM listens.
        let talked = |closed: &&serde_json::Value| closed["bytes_out"] == 5;
        let closed = log.events("forward.closed").into_iter().rfind(talked).unwrap();
        assert_eq!(granted["channel"], "forward_remote");
        assert_eq!(granted["destination"], "back");
        assert_eq!(closed["bytes_in"], 10);
        assert_eq!(closed["destination"], "back");
        assert_eq!(closed["lease"], granted["lease"]);
        assert_eq!(closed["outcome"], "completed");
        assert!(closed["recording_digest"].is_string());

        // It ends with the operator's connection.
        drop(forward);
        until("the port to be free", 10, || TcpStream::connect(("127.0.0.1", port)).is_err());
        let lease = granted["lease"].as_str().unwrap();
        until("the lease to be closed", 10, || {
            world.log().events("channel.closed").iter().any(|closed| closed["lease"] == lease)
        });
        assert_eq!(world.log().last("channel.closed")["reason"], "operator_left");
    }
    // And with the lease.
    let words = format!("{port}:127.0.0.1:{}", echo.port);
    let _forward = Forward::start(world, &["-R", &words], &FORMS[0]("ops"), port);
    world.order(Odile, "vm destination remove pg-1.acme back");
    until("the port to be free", 2, || TcpStream::connect(("127.0.0.1", port)).is_err());
    until("the lease to be closed", 10, || {
        world.log().last("channel.closed")["reason"] == "destination_changed"
    });
}
