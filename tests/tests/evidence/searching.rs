//! `session search`: what was on the screens, and the commands that were asked for or typed.

use super::{PROVIDER_KEY, lease, world};
use bastion_tests::world::{Person::*, World};
use std::{fs, io::Write as _, process::Stdio, thread, time::Duration};

/// A shell on a terminal in which these keys are pressed, with a pause after each.
fn type_in(world: &World, account: &str, keys: &[&str]) {
    let mut shell = world.ssh_command(Olga, &["-tt", &format!("{account}@pg-1.acme")]);
    let mut child = shell.stdin(Stdio::piped()).spawn().unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    thread::sleep(Duration::from_millis(1000));
    for press in keys {
        keyboard.write_all(press.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(400));
    }
    keyboard.write_all(b"exit\r").unwrap();
    thread::sleep(Duration::from_millis(400));
    drop(keyboard);
    child.wait().unwrap();
}

#[test]
fn what_was_on_the_screen_is_found_however_it_came_there() {
    let world = world();
    type_in(
        &world,
        "ops",
        &[
            "echo wrog\x7fng-$((1+1))\r",
            "printf 'col\\033[31mou\\033[0mred\\n'\r",
            "printf '\\033[?1049h\\033[2J\\033[3;5Hin the exxtor\\033[3;13Hdi\\033[?1049l\\n'\r",
            "read -s -p 'Password: ' p\r",
            "hunter2\r",
            "\x1b[A\x1b[A\x1b[A\x1b[A\r",
        ],
    );
    world.ssh(Olga, &["ops@pg-1.acme", "printf 'from an ex\\033[1mec\\033[0m\\n'"]).exits(0);
    let find = |text: &str| {
        world.bastion(&["session", "search", text, "--key", PROVIDER_KEY]).exits(0).text()
    };
    let found = find("wrong-2");
    assert!(found.contains("> wrong-2") && found.contains("--from "), "{found}");
    for text in ["coloured", "in the editor", "from an exec"] {
        let found = find(text);
        assert!(found.contains("  > ") && found.contains(text), "no {text:?} in {found}");
    }
    assert_eq!(find("hunter2"), "", "what was not echoed is not found");
    assert_eq!(find("COLOURED"), "");
    let any = ["session", "search", "-i", "COLOURED", "--key", PROVIDER_KEY, "--json"];
    let any = world.bastion(&any).exits(0).text();
    let hit: serde_json::Value =
        any.lines().map(|line| serde_json::from_str(line).unwrap()).next_back().unwrap();
    assert_eq!(hit["how"], "on the screen");
    // The command that it names leads there.
    let words: Vec<&str> = hit["replay"].as_str().unwrap().split(' ').skip(1).collect();
    world.bastion(&words).exits(0).says("coloured");
    let log = world.log();
    let searched = log.last("recording.searched");
    assert_eq!(
        (searched["channels"].as_u64(), searched["screens"].as_bool()),
        (Some(2), Some(true))
    );

    // The commands, as the gateway knows them: no key is needed.
    let commands = |text: &str| world.order(Odile, &format!("session search {text}")).text();
    let typed = commands("wrong");
    assert!(typed.contains("echo wrong-$((1+1))") && typed.contains("seen to be typed"), "{typed}");
    assert!(commands("an ex").contains("asked for"));
    assert!(commands("hunter2").contains("no command holds it"));
    world.order(Acme, "session search wrong").says("echo wrong");
    world.order(Globex, "session search wrong").says("no command holds it");
    world.ssh(Olga, &["bastion", "session search wrong"]).exits(3);
    let detected = log.last("channel.commands");
    assert_eq!(detected["count"], 6, "{typed}");
    let shell = detected["lease"].as_str().unwrap();
    let shown = world.order(Odile, &format!("session show {shell}"));
    shown.says("detected commands (an aid").says("echo wrong-$((1+1))");
    world.bastion(&["audit", "verify"]).exits(0);
}

#[test]
fn data_channels_are_searched_by_consent_alone() {
    let world = world();
    world.consent("pg-1.acme");
    world.ssh(Olga, &["dba@pg-1.acme", "echo customer-data"]).exits(0);
    let data = lease(&world, "dba");
    world.order(Odile, "session search customer-data").says("1 data channel(s) were not searched");
    world.order(Acme, "session search customer-data").says("echo customer-data");
    let key = ["session", "search", "customer-data", "--key", PROVIDER_KEY];
    world.bastion(&key).exits(0).complains("withheld");
    // The customer searches what it has fetched, with its own key.
    let archive = world.order(Acme, &format!("session fetch {data}")).out;
    fs::write(world.dir().join("r.tar"), archive).unwrap();
    let keys = world.run("find", &["keys", "-name", "*-recording.pem"]).exits(0).text();
    let found = keys.lines().any(|key| {
        let words = ["session", "search", "customer-data", "--key", key, "--file", "r.tar"];
        world.bastion(&words).text().contains("> customer-data")
    });
    assert!(found, "{keys}");
}
