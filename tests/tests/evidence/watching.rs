//! `session watch` and `session end`: who looks on sees what is on the screen, changes nothing,
//! and stands in the log; the operator knows.

use super::{lease, world};
use bastion_tests::world::{Person, Person::*, World, finish, until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A program that runs, what it has said so far, and its keyboard.
struct Running {
    child: Child,
    keys: Option<ChildStdin>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    fn ssh(world: &World, person: Person, words: &[&str]) -> Self {
        let mut command = world.ssh_command(person, words);
        command.stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for mut stream in streams {
            let said = Arc::clone(&said);
            thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut piece) {
                    said.lock().unwrap().extend_from_slice(&piece[..read]);
                }
            });
        }
        Self { keys: child.stdin.take(), child, said }
    }

    fn press(&mut self, text: &str) {
        self.keys.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn said(&self) -> String {
        let said = self.said.lock().unwrap();
        String::from_utf8_lossy(&said[said.len().saturating_sub(1 << 16)..]).into_owned()
    }

    #[track_caller]
    fn says(&self, text: &str) {
        let give_up = std::time::Instant::now() + Duration::from_secs(20);
        while !self.said().contains(text) {
            assert!(std::time::Instant::now() < give_up, "no {text:?} in {:?}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn leave(&mut self) {
        self.keys.take();
        // `timeout` hands it on to the client.
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_watcher_sees_the_screen_as_it_is_and_the_operator_knows() {
    let world = world();
    let mut olga = Running::ssh(&world, Olga, &["-tt", "ops@pg-1.acme"]);
    olga.says("$ ");
    olga.press("printf 'be\\033[1mfo\\033[0mre\\033]52;c;AAAA\\007\\n'\r");
    olga.says("re\x1b]52");
    let ops = lease(&world, "ops");
    let watch = format!("session watch {ops}");
    let mut odile = Running::ssh(&world, Odile, &["-tt", "bastion", &watch]);
    odile.says("\x1b[0;1mfo\x1b[0mre");
    let acme = Running::ssh(&world, Acme, &["bastion", &format!("{watch} --plain")]);
    acme.says("watching l-");
    olga.says("a security officer watches this session");
    olga.says("the customer watches this session");
    olga.press("echo after-$((6*7))\r");
    odile.says("after-42");
    assert!(!odile.said().contains("\x1b]"), "{:?}", odile.said());
    // Whose it is not sees nothing of it, and who reads nothing changes nothing.
    world.ssh(Globex, &["bastion", &watch]).exits(3).complains("no live");
    world.ssh(Olga, &["bastion", &watch]).exits(3);
    odile.press("echo not-typed\r");
    thread::sleep(Duration::from_millis(300));
    assert!(!olga.said().contains("not-typed"));
    odile.press("\x03");
    until("the end of a watch", 10, || world.log().events("watch.ended").len() == 1);
    olga.press("exit\r");
    acme.says("after-42");
    acme.says("the channel is over");
    let log = world.log();
    assert_eq!(log.events("watch.started").len(), 2);
    until("the end of the other", 10, || world.log().events("watch.ended").len() == 2);
    assert_eq!(log.events("watch.started")[0]["told"], true);
    let ended = world.log();
    let reasons: Vec<_> = ended.events("watch.ended").iter().map(|e| e["reason"].clone()).collect();
    assert_eq!(reasons, ["watcher_left", "channel_ended"]);
    world.ssh(Odile, &["bastion", &watch]).exits(3).complains("no live");
}

#[test]
fn a_watcher_who_does_not_read_slows_nobody() {
    let world = world();
    let mut olga = Running::ssh(&world, Olga, &["-tt", "ops@pg-1.acme"]);
    olga.says("$ ");
    let watch = format!("session watch {} --plain", lease(&world, "ops"));
    let mut stuck = world.ssh_command(Odile, &["bastion", &watch]);
    let mut stuck = stuck.stdin(Stdio::piped()).spawn().unwrap();
    until("a watch", 10, || !world.log().events("watch.started").is_empty());
    // Nobody reads what the watcher's client would say.
    olga.press("head -c 12000000 /dev/zero | tr '\\0' x | fold -w 70; echo all-$((50+5))\r");
    olga.says("all-55");
    kill(Pid::from_raw(i32::try_from(stuck.id()).unwrap()), Signal::SIGTERM).unwrap();
    stuck.wait().unwrap();
    until("the end of the watch", 20, || !world.log().events("watch.ended").is_empty());
    assert!(world.log().last("watch.ended")["skipped"].as_u64().unwrap() > 1_000_000);
    olga.leave();
}

#[test]
fn a_data_channel_is_watched_by_consent_alone() {
    let world = world();
    world.consent("pg-1.acme");
    let mut olga = Running::ssh(&world, Olga, &["-tt", "dba@pg-1.acme"]);
    olga.says("$ ");
    let watch = format!("session watch {}", lease(&world, "dba"));
    world.ssh(Odile, &["bastion", &watch]).exits(3).complains("recording access");
    assert!(world.log().events("watch.started").is_empty());
    assert!(!olga.said().contains("watches"));
    let mut acme = Running::ssh(&world, Acme, &["bastion", &watch]);
    olga.says("the customer watches");
    olga.press("echo data-$((1+1))\r");
    acme.says("data-2");
    acme.leave();
    olga.leave();
    // What is typed where customer data is stands in its recording alone.
    until("its end", 20, || !world.log().events("channel.closed").is_empty());
    assert!(world.log().events("channel.commands").is_empty());
}

#[test]
fn an_officers_reason_is_read_by_the_operator() {
    let world = world();
    let mut olga = Running::ssh(&world, Olga, &["-tt", "ops@pg-1.acme"]);
    olga.says("$ ");
    let ops = lease(&world, "ops");
    world.order(Odile, &format!("session end {ops} --reason wrong VM, call 4711"));
    olga.says("a security officer ended this session: wrong VM, call 4711");
    olga.leave();
    // Without a terminal, on standard error; and a whole session by its own name.
    let sleeping = world.ssh_command(Olga, &["ops@pg-1.acme", "echo up > up; sleep 60"]);
    let ended = thread::spawn(move || finish(sleeping, &[]));
    let live = || world.bastion(&["session", "list", "--live", "--json"]).json();
    let has_begun = || fs::read_dir(world.dir().join("recordings")).unwrap().count() >= 2;
    until("a live channel", 20, || live().as_array().is_some_and(|l| !l.is_empty()) && has_begun());
    let session = live()[0]["session"].as_str().unwrap().to_owned();
    world.order(Odile, &format!("session end {session} --reason a drill"));
    let answer = ended.join().unwrap();
    assert!(answer.err.contains("a security officer ended this session: a drill"), "{answer:?}");
}
