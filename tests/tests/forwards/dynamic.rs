//! `ssh -D`: each connection of the proxy is a local forward of its own, decided by itself; and no
//! spelling of a data destination is any other.

use crate::{
    scene::{Echo, FORMS, Forward, free_port, list, permitting},
    socks,
};
use bastion_tests::world::World;
use std::io::{Read as _, Write as _};

crate::on_both_stores!(&["forward_local"] => a_data_account_reaches_it_under_consent);

#[test]
fn a_troubleshooting_account_reaches_the_database_by_no_name() {
    let world = permitting(&["forward_local"]);
    let (database, web) = (Echo::start(b"data!"), Echo::start(b"web"));
    list(&world, "database", &format!("tcp:127.0.0.1:{}", database.port), "data");
    list(&world, "editor", "tcp:127.0.0.1:1024-65535", "troubleshoot");
    let proxy = free_port();
    let words = format!("127.0.0.1:{proxy}");
    let _forward = Forward::start(&world, &["-D", &words], &FORMS[1]("ops"), proxy);

    let mut stream = socks::connect(proxy, "127.0.0.1", web.port).unwrap();
    stream.write_all(b" works").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, "web works");
    assert_eq!(world.log().last("access.granted")["destination"], "editor");

    for host in [
        "127.0.0.1",
        "127.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "127.0.0.2",
        "pg-1.acme",
    ] {
        let refused = socks::connect(proxy, host, database.port);
        assert!(refused.is_err(), "{host} reached the database");
        let log = world.log();
        let reason =
            if host == "127.0.0.1" { "destination_of_data" } else { "destination_refused" };
        assert_eq!(log.last("access.denied")["reason"], reason, "{host}");
    }
}

fn a_data_account_reaches_it_under_consent(world: &World) {
    let database = Echo::start(b"data!");
    list(world, "database", &format!("tcp:127.0.0.1:{}", database.port), "data");
    let to = format!("127.0.0.1:{}", database.port);
    let refused = crate::scene::one(world, &to, &FORMS[0]("dba"), b"");
    refused.complains("no consent of the customer covers this");
    let ticket = world.consent("pg-1.acme");
    for form in FORMS {
        let answer = crate::scene::one(world, &to, &form("dba"), b"?");
        assert_eq!(answer.text(), "data!?", "{}", answer.err);
    }
    let log = world.log();
    assert_eq!(log.last("access.granted")["ticket"], ticket.as_str());
    assert_eq!(log.last("access.granted")["destination"], "database");
}
