//! A list of destinations is read closed, and what is data stays data under any spelling.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use audit_schema::event::Level;
use bastion_core::destination::{Destination, Spot, Unreachable, Wanted, contradiction, reach};

fn item(name: &str, spot: &str, level: Level) -> Destination {
    Destination {
        name: name.parse().unwrap(),
        instance: "i-1".parse().unwrap(),
        spot: spot.parse().unwrap(),
        level,
        description: String::new(),
    }
}

fn list() -> Vec<Destination> {
    use Level::{Data, Troubleshoot};
    vec![
        item("database", "tcp:127.0.0.1:5432", Data),
        item("socket", "unix:/run/postgresql/.s.PGSQL.5432", Data),
        item("replica", "tcp:db-2.internal:5433", Data),
        item("editor", "tcp:127.0.0.1:1024-65535", Troubleshoot),
        item("editor-6", "tcp:[::1]:1024-65535", Troubleshoot),
        item("name", "tcp:localhost:8080", Troubleshoot),
        item("exporter", "unix:/run/exporter.sock", Troubleshoot),
        item("back", "listen:4000-6000", Troubleshoot),
    ]
}

fn asked(host: &str, port: u32, level: Level) -> Result<String, Unreachable> {
    let wanted = Wanted::tcp(host, port).unwrap();
    reach(&wanted, &list(), level).map(|item| item.name.to_string())
}

#[test]
fn a_troubleshooting_account_reaches_no_data_in_any_spelling() {
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "127.0.0.2",
        "0127.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "localhost",
        "LOCALHOST",
        "LocalHost",
        "localhost.",
        "localhost.localdomain",
        "ip6-localhost",
        "x.localhost",
        "::1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
        "::0001",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "0.0.0.0",
        "0",
        "::",
        "127.0.0.1 ",
        " 127.0.0.1",
        "127.0.0.1.",
        "127.0.0.1%lo",
        "::1%lo",
        "127.0.0.1\0",
        "127.0.0.1\n",
        "pg-1.acme",
        "PG-1.ACME",
        "192.0.2.10",
        "127。0。0。1",
        "①27.0.0.1",
        "",
        "*",
        "db-2.internal",
        "DB-2.internal",
        "db-2.internal.",
    ];
    let list = list();
    for host in hosts {
        for port in [5432, 5433] {
            let wanted = Wanted::tcp(host, port).unwrap();
            let reached = reach(&wanted, &list, Level::Troubleshoot);
            assert!(reached.is_err(), "{host:?}:{port} is {reached:?}");
        }
    }
    for path in [
        "/run/postgresql/.s.PGSQL.5432",
        "/var/run/postgresql/.s.PGSQL.5432",
        "/run//postgresql/.s.PGSQL.5432",
        "/run/./postgresql/.s.PGSQL.5432",
        "/run/x/../postgresql/.s.PGSQL.5432",
        "/proc/self/root/run/postgresql/.s.PGSQL.5432",
        "run/postgresql/.s.PGSQL.5432",
        "/run/postgresql/.s.PGSQL.5432\0",
        "/run/postgresql/",
        "",
    ] {
        let wanted = Wanted::Unix { path: path.to_owned() };
        assert!(reach(&wanted, &list, Level::Troubleshoot).is_err(), "{path:?}");
    }
    for host in ["localhost", "127.0.0.1", "::1", "", "*", "0.0.0.0"] {
        // Whoever listens in the database's place speaks in its name.
        let wanted = Wanted::Listen { host: host.to_owned(), port: 5432 };
        assert!(reach(&wanted, &list, Level::Troubleshoot).is_err(), "{host:?}");
    }
}

#[test]
fn what_is_listed_is_reached_to_the_letter() {
    assert_eq!(asked("127.0.0.1", 30_000, Level::Troubleshoot).unwrap(), "editor");
    assert_eq!(asked("::1", 30_000, Level::Troubleshoot).unwrap(), "editor-6");
    assert_eq!(asked("localhost", 8080, Level::Troubleshoot).unwrap(), "name");
    assert_eq!(asked("localhost", 8081, Level::Troubleshoot), Err(Unreachable::Unlisted));
    assert_eq!(asked("127.0.0.1", 1023, Level::Data), Err(Unreachable::Unlisted));
    assert_eq!(asked("127.0.0.1", 5432, Level::Data).unwrap(), "database");
    assert_eq!(asked("127.0.0.1", 5432, Level::Troubleshoot), Err(Unreachable::Data));
    assert_eq!(asked("db-2.internal", 5433, Level::Data).unwrap(), "replica");
    let listen = |host: &str, port| {
        let wanted = Wanted::Listen { host: host.to_owned(), port };
        reach(&wanted, &list(), Level::Troubleshoot).is_ok()
    };
    assert!(listen("localhost", 4000) && !listen("localhost", 3999));
    assert!(!listen("0.0.0.0", 4000) && !listen("", 4000) && !listen("localhost", 0));
}

#[test]
fn places_have_one_spelling_each() {
    for text in [
        "tcp:127.0.0.1:1",
        "tcp:[::1]:65535",
        "tcp:db.internal:5432",
        "tcp:127.0.0.1:1-65535",
        "tcp:[2001:db8::7]:80",
        "unix:/run/a.sock",
        "listen:0",
        "listen:9000",
        "listen:1-2",
    ] {
        assert_eq!(text.parse::<Spot>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "tcp",
        "tcp:",
        "tcp:80",
        "tcp:127.0.0.1",
        "tcp:127.0.0.1:",
        "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:080",
        "tcp:127.0.0.1:65536",
        "tcp:127.0.0.1:+1",
        "tcp:127.1:80",
        "tcp:2130706433:80",
        "tcp:0x7f.1:80",
        "tcp:LOCALHOST:80",
        "tcp:localhost.:80",
        "tcp:a..b:80",
        "tcp:-x:80",
        "tcp:a b:80",
        "tcp:::1:80",
        "tcp:[::1:80",
        "tcp:[0:0::1]:80",
        "tcp:[::ffff:127.0.0.1]:80",
        "tcp:10.0.0.1:1-2",
        "tcp:localhost:1-2",
        "tcp:127.0.0.1:2-1",
        "tcp:127.0.0.1:5-5",
        "unix:",
        "unix:run/a",
        "unix:/",
        "unix:/a//b",
        "unix:/a/./b",
        "unix:/a/../b",
        "unix:/a b",
        "unix:/a/",
        "listen:",
        "listen:0-5",
        "listen:localhost:5",
        "udp:127.0.0.1:53",
        " tcp:127.0.0.1:1",
    ] {
        assert!(text.parse::<Spot>().is_err(), "{text}");
    }
}

#[test]
fn a_list_does_not_say_two_things_of_one_place() {
    use Level::{Data, Troubleshoot};
    let refused = |spot: &str, level| contradiction(&item("new", spot, level), &list()).is_some();
    assert!(refused("tcp:localhost:5432", Troubleshoot));
    assert!(refused("tcp:[::1]:5432", Troubleshoot));
    assert!(refused("tcp:10.0.0.9:5432", Troubleshoot), "it may be the VM's own address");
    assert!(refused("tcp:10.0.0.9:5433", Troubleshoot), "a name may be any address");
    assert!(refused("unix:/var/run/postgresql/.s.PGSQL.5432", Troubleshoot));
    assert!(refused("tcp:127.0.0.1:8080", Data));
    assert!(!refused("tcp:127.0.0.1:9187", Troubleshoot));
    assert!(!refused("tcp:127.0.0.1:9187", Data), "it makes a hole in the range");
}
