//! What ends a forward that runs: SSH inside it, and every ground that goes away.

use crate::scene::{Echo, FORMS, Forward, free_port, list, talk};
use bastion_tests::world::{Person::*, World, until};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

crate::on_both_stores!(&["forward_local"] =>
    ssh_in_a_forward_is_cut_and_on_record,
    every_ground_that_goes_away_ends_a_forward,
);

/// The promise.
const CUT_SECONDS_MAX: Duration = Duration::from_millis(1000);

/// The ends of channels that carried SSH.
fn cut(world: &World) -> Vec<serde_json::Value> {
    let log = world.log();
    let closed = log.events("channel.closed");
    closed
        .iter()
        .filter(|end| end["reason"] == "forward_carries_ssh")
        .map(|&end| end.clone())
        .collect()
}

fn ssh_in_a_forward_is_cut_and_on_record(world: &World) {
    let (server, echo) = (Echo::start(b"SSH-2.0-Elsewhere\r\n"), Echo::start(b""));
    list(world, "server", &format!("tcp:127.0.0.1:{}", server.port), "troubleshoot");
    list(world, "echo", &format!("tcp:127.0.0.1:{}", echo.port), "troubleshoot");
    let to = FORMS[0]("ops");
    for (port, sent) in [(server.port, &b"hello"[..]), (echo.port, b"SSH-2.0-OpenSSH_9.2\r\n")] {
        let ours = free_port();
        let words = format!("127.0.0.1:{ours}:127.0.0.1:{port}");
        let _forward = Forward::start(world, &["-L", &words], &to, ours);
        let before = cut(world).len();
        assert_eq!(talk(ours, sent), b"", "nothing of it gets through");
        // What else is closed meanwhile, such as our own probe, is not looked at.
        until("the cut to be entered", 10, || cut(world).len() > before);
        for closed in cut(world) {
            assert_eq!(closed["outcome"], "cut");
            assert!(closed["recording_digest"].is_string());
        }
    }
    // Not by its first bytes: that is what the list is for.
    let ours = free_port();
    let words = format!("127.0.0.1:{ours}:127.0.0.1:{}", echo.port);
    let _forward = Forward::start(world, &["-L", &words], &to, ours);
    assert_eq!(talk(ours, b" SSH-2.0-x"), b" SSH-2.0-x");
}

/// A connection that is up, through a forward of this account.
struct Work {
    stream: TcpStream,
    _forward: Forward,
}

impl Work {
    fn start(world: &World, account: &str, port: u16) -> Self {
        let ours = free_port();
        let words = format!("127.0.0.1:{ours}:127.0.0.1:{port}");
        let forward = Forward::start(world, &["-L", &words], &FORMS[1](account), ours);
        let mut stream = TcpStream::connect(("127.0.0.1", ours)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(b"up?").unwrap();
        let mut got = [0; 3];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"up?");
        Self { stream, _forward: forward }
    }

    #[track_caller]
    fn must_be_cut(mut self, world: &World, since: Instant, reason: &str) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).ok();
        let took = since.elapsed();
        assert!(took < CUT_SECONDS_MAX, "cut after {took:?} only ({reason})");
        until("the end to be entered", 10, || {
            world.log().events("channel.closed").iter().any(|closed| closed["reason"] == reason)
        });
    }
}

fn every_ground_that_goes_away_ends_a_forward(world: &World) {
    let echo = Echo::start(b"");
    list(world, "editor", "tcp:127.0.0.1:1024-65535", "troubleshoot");
    let ticket = world.consent("pg-1.acme");
    let officer = world.connection(Odile);

    let work = Work::start(world, "dba", echo.port);
    let since = Instant::now();
    world.order(Acme, &format!("consent withdraw {ticket} --reason enough"));
    work.must_be_cut(world, since, "consent_withdrawn");

    let work = Work::start(world, "ops", echo.port);
    let since = Instant::now();
    let line = "vm destination add pg-1.acme database tcp:127.0.0.1:5432 --level data";
    officer.command(line, b"").exits(0);
    work.must_be_cut(world, since, "destination_changed");

    let work = Work::start(world, "ops", echo.port);
    let since = Instant::now();
    officer.command("vm destination remove pg-1.acme editor", b"").exits(0);
    work.must_be_cut(world, since, "destination_changed");
    let log = world.log();
    // The connection that only tried whether ssh listens may still be there.
    assert!(!log.only("vm.destination_removed")["leases"].as_array().unwrap().is_empty());

    officer
        .command(
            "vm destination add pg-1.acme editor tcp:127.0.0.1:1024-65535 --level \
                     troubleshoot",
            b"",
        )
        .exits(0);
    let work = Work::start(world, "ops", echo.port);
    let since = Instant::now();
    officer.command("operator disable olga --reason a test", b"").exits(0);
    work.must_be_cut(world, since, "operator_disabled");
}
