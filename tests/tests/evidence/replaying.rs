//! `session replay`: what was on the screen, from where one wants to see it, in the form that one
//! wants, and never a byte of it obeyed by the terminal that shows it.

use super::{PROVIDER_KEY, lease, world};
use bastion_tests::world::{Answer, Person::*, World};
use std::{fs, thread, time::Duration};

/// What a VM sends to attack whoever looks at it later.
const ATTACK: &str = concat!(
    r#"printf '\033]52;c;AAAA\007\033]0;owned\007\033[6n\033[c\033P$q"p\033\\\033[201~\n'; "#,
    r#"printf '\2331m\2350;t\234\220q\234\033[9999;9999H\n'"#,
);

#[track_caller]
fn replay(world: &World, lease: &str, words: &[&str]) -> Answer {
    let all = [&["session", "replay", lease, "--identity", PROVIDER_KEY], words].concat();
    world.bastion(&all)
}

#[test]
fn a_terminal_is_seen_again_from_any_moment_and_in_each_form() {
    let world = world();
    let mut shell = world.ssh_command(Olga, &["-tt", "ops@pg-1.acme"]);
    shell.stdin(std::process::Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    let mut press = |text: &str| std::io::Write::write_all(&mut keys, text.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(700));
    press("echo fir\x7f\x7f\x7fone-$((40+1))\r");
    thread::sleep(Duration::from_millis(4000));
    press(&format!("{ATTACK}\r"));
    thread::sleep(Duration::from_millis(700));
    press("echo last\\\r-line\rexit\r");
    drop(keys);
    child.wait().unwrap();
    let ops = lease(&world, "ops");

    let text = replay(&world, &ops, &["--format", "text"]).exits(0).text();
    assert!(text.contains("one-41") && text.contains("last-line"), "{text}");
    let harmless = |c: char| c == '\n' || !c.is_control();
    assert!(text.chars().all(harmless), "{text:?}");
    let begun = replay(&world, &ops, &["--format", "text", "--to", "3s"]).exits(0).text();
    assert!(begun.contains("one-41") && !begun.contains("last"), "{begun}");
    replay(&world, &ops, &["--from", "3s", "--to", "1s"]).exits(2);
    replay(&world, &ops, &["--from", "soon"]).exits(2).complains("1m30s");

    // On a terminal: nothing but our own paint.
    let command = format!(
        "bastion session replay {ops} --identity {PROVIDER_KEY} --speed 50 --idle-max 500ms"
    );
    world.run("script", &["-qec", &command, "/dev/null"]).exits(2);
    let command = command.replace("500ms", "0.5s");
    let seen = world.run("script", &["-qec", &command, "/dev/null"]).exits(0).text();
    assert!(seen.contains("\x1b[2J") && seen.contains("one-41"), "{seen:?}");
    for bad in ["\x1b]", "\x1bP", "\x1b[6n", "\x1b[c", "\x1b[201~", "\u{9b}", "\x07"] {
        assert!(!seen.contains(bad), "{bad:?} in {seen:?}");
    }
    // As a file for players, without the long pause.
    let cast = ["--format", "asciicast", "--idle-max", "1s", "--out", "r.cast"];
    replay(&world, &ops, &cast).exits(0);
    replay(&world, &ops, &cast).exits(1).complains("exists");
    let cast = fs::read_to_string(world.dir().join("r.cast")).unwrap();
    let mut lines = cast.lines();
    let header: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(header["version"], 3);
    let events: Vec<serde_json::Value> =
        lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.len() > 3 && events.iter().all(|event| event[0].as_f64().unwrap() <= 1.0));
    assert!(cast.chars().all(harmless) && !cast.contains("u001b]"), "{cast:?}");
    // Raw is raw.
    let raw = replay(&world, &ops, &["--raw"]).exits(0).out;
    assert!(raw.windows(8).any(|bytes| bytes == b"\x1b]52;c;A"));
}

#[test]
fn commands_and_files_are_seen_again_too() {
    let world = world();
    world.ssh(Olga, &["ops@pg-1.acme", r"printf 'out\033[2J\n'; echo err >&2; exit 3"]).exits(3);
    let exec = lease(&world, "ops");
    let text = replay(&world, &exec, &[]).exits(0).text();
    for line in ["$ printf", "out\\u{1b}[2J", "err", "[exit 3]"] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    fs::write(world.dir().join("up"), b"some text").unwrap();
    fs::write(world.dir().join("batch"), b"put up seen-again\nrename seen-again moved\n").unwrap();
    let words = ["-F", Olga.config(), "-b", "batch", "ops@pg-1.acme"];
    world.run("sftp", &words).exits(0);
    let sftp = lease(&world, "ops");
    let text = replay(&world, &sftp, &[]).exits(0).text();
    assert!(text.contains("upload ") && text.contains("seen-again"), "{text}");
    assert!(text.contains("rename ") && text.contains("sha256="), "{text}");
    // The same from what was fetched, on a machine that knows no gateway.
    let archive = world.order(Odile, &format!("session fetch {sftp}")).out;
    fs::write(world.dir().join("r.tar"), &archive).unwrap();
    let file = ["session", "replay", "--file", "r.tar", "--key", PROVIDER_KEY];
    let again = world.bastion(&file).exits(0).text();
    assert_eq!(again, text);
    // What was changed on the way does not open.
    let mut changed = archive;
    let middle = changed.len() * 2 / 3;
    changed[middle] ^= 1;
    fs::write(world.dir().join("r.tar"), &changed).unwrap();
    world.bastion(&file).exits(4);
}
