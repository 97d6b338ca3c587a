//! Withdrawing consent ends every channel that rests on it within a second, and so does every
//! other ground that goes away.

use bastion_tests::world::{Person::*, World};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::{Duration, Instant},
};

crate::on_both_stores!(every_channel_on_a_withdrawn_consent_ends, every_ground_that_goes_away);

/// The promise.
const CUT_SECONDS_MAX: Duration = Duration::from_millis(1000);

/// A channel at work, with the clock of its end.
struct Work {
    child: Child,
    out: BufReader<ChildStdout>,
    _stdin: Option<ChildStdin>,
}

impl Work {
    /// Starts a channel and waits until the far end has spoken.
    fn start(world: &World, words: &[&str]) -> Self {
        let mut child = world.ssh_command(Olga, words).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"echo at work\n").unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut seen = String::new();
        while !seen.contains("at work") {
            let read = out.read_line(&mut seen).unwrap();
            assert!(read > 0, "{words:?} ended before it began: {seen}");
        }
        Self { child, out, _stdin: Some(stdin) }
    }

    /// Waits for its end, which must come in time and say why.
    #[track_caller]
    fn must_be_cut(mut self, since: Instant, why: &str) {
        loop {
            if self.child.try_wait().unwrap().is_some() {
                break;
            }
            assert!(since.elapsed() < CUT_SECONDS_MAX * 10, "not cut at all ({why})");
            std::thread::sleep(Duration::from_millis(2));
        }
        let took = since.elapsed();
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let said = format!("{out}{err}");
        assert!(took < CUT_SECONDS_MAX, "cut after {took:?} only: {said}");
        assert!(said.contains(why), "no {why:?} in: {said}");
        assert_ne!(self.child.wait().unwrap().code(), Some(0));
    }
}

fn every_channel_on_a_withdrawn_consent_ends(world: &mut World) {
    let ticket = world.consent("pg-1.acme");
    let exec = Work::start(world, &["dba@pg-1.acme", "sh"]);
    let shell = Work::start(world, &["-tt", "dba@pg-1.acme"]);
    let form = Work::start(world, &["dba+pg-1.acme@bastion", "sh"]);
    let beside = Work::start(world, &["ops@pg-1.acme", "sh"]);

    let since = Instant::now();
    world.order(Acme, &format!("consent withdraw {ticket} --reason enough"));
    for work in [exec, shell, form] {
        work.must_be_cut(since, "withdr");
    }
    // What does not rest on it goes on.
    let mut beside = beside;
    assert!(beside.child.try_wait().unwrap().is_none(), "a troubleshooting channel was cut");
    drop(beside._stdin.take());
    beside.child.wait().unwrap();

    let log = world.log();
    let withdrawn = log.only("consent.withdrawn");
    assert_eq!(withdrawn["leases"].as_array().unwrap().len(), 3);
    for lease in withdrawn["leases"].as_array().unwrap() {
        let closed = log.events("channel.closed").into_iter().find(|e| e["lease"] == *lease);
        let closed = closed.expect("a closing entry");
        assert_eq!(closed["outcome"], "cut");
        assert_eq!(closed["reason"], "consent_withdrawn");
    }
}

fn every_ground_that_goes_away(world: &mut World) {
    let work = Work::start(world, &["ops@pg-1.globex", "sh"]);
    let since = Instant::now();
    world.order(Odile, "service sources globex-pg 192.0.2.0/24");
    work.must_be_cut(since, "address");
    world.ssh(Olga, &["ops@pg-1.globex", "id"]).exits(254).complains("address");
    world.order(Odile, "service sources globex-pg --anywhere");

    let work = Work::start(world, &["ops@pg-2.acme", "sh"]);
    let since = Instant::now();
    world.order(Odile, "vm retire pg-2.acme");
    work.must_be_cut(since, "retired");
    world.ssh(Olga, &["ops+pg-2.acme@bastion", "id"]).exits(254);

    let work = Work::start(world, &["ops@pg-1.acme", "sh"]);
    let since = Instant::now();
    world.order(Odile, "operator disable olga --reason a test");
    work.must_be_cut(since, "disabled");
    assert_ne!(world.ssh(Olga, &["ops@pg-1.acme", "id"]).exit, 0);
    world.order(Odile, "operator enable olga");
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
}
