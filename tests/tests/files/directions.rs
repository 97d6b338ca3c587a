//! A policy says which way files may go: sftp's own answer, in its turn, and an entry for each.

use crate::{
    folder,
    raw::{Raw, open, packet, string},
    world,
};
use bastion_tests::world::{Person::*, World, finish};
use serde_json::Value;
use std::fs;

/// Upload only for data, download only for troubleshooting, and nothing but sftp anywhere.
const CHANNELS: &str = r#"
@id("channels.data-sftp")
@sftp("upload")
@force_command("internal-sftp")
permit (principal, action == Action::"sftp", resource in Level::"data");

@id("channels.troubleshoot-sftp")
@sftp("download")
@force_command("internal-sftp")
permit (principal, action == Action::"sftp", resource in Level::"troubleshoot");
"#;

/// Puts channel rules in force, as an officer does.
fn with_channels(world: &World, text: &str) {
    fs::write(world.dir().join("policies/channels.cedar"), text).unwrap();
    fs::write(world.dir().join("policies/cases.json"), "[]").unwrap();
    world.order(Odile, "policy check").says("valid");
    world.order(Odile, "policy reload");
}

/// Where [`folder`] is for the VM.
const OPEN: &str = "/srv/open";

/// `sftp -b -` as Olga: each line's outcome is on standard error.
fn sftp(world: &World, to: &str, batch: &str) -> bastion_tests::world::Answer {
    finish(world.program("sftp", &["-F", "ssh_config", "-q", "-b", "-", to]), batch.as_bytes())
}

fn refused(world: &World) -> Vec<Value> {
    world.log().events("file.refused").into_iter().cloned().collect()
}

#[test]
fn files_go_only_the_way_that_the_policy_says() {
    let world = world();
    with_channels(&world, CHANNELS);
    world.consent("pg-1.acme");
    let open = folder(&world);
    let at = OPEN;
    fs::write(open.join("there"), "on the VM").unwrap();
    fs::write(world.dir().join("mine"), "of the operator").unwrap();

    // Data: up, not down. Refusals are sftp's own, so the client goes on in the same session.
    let batch = format!(
        "-get {at}/there got\nput mine {at}/up\nrename {at}/up {at}/up2\n-get {at}/up2 got\n\
         chmod 640 {at}/up2\nls -l {at}\nmkdir {at}/d\nrmdir {at}/d\n\
         rm {at}/up2\nput mine {at}/up\n"
    );
    let done = sftp(&world, "dba@pg-1.acme", &batch).exits(0);
    assert!(done.err.contains("ermission denied"), "{}", done.err);
    assert!(!world.dir().join("got").exists() || fs::read(world.dir().join("got")).unwrap() == b"");
    assert_eq!(fs::read(open.join("up")).unwrap(), b"of the operator");

    // Troubleshooting: down, not up, and nothing changes.
    let batch = format!(
        "get {at}/there got\n-put mine {at}/no\n-rm {at}/there\n-rename {at}/there {at}/x\n\
         -mkdir {at}/d\n-chmod 600 {at}/there\n-symlink {at}/there {at}/l\n-ln {at}/there {at}/h\n\
         -rmdir {at}\nls {at}\nget {at}/there got2\n"
    );
    let done = sftp(&world, "ops@pg-1.acme", &batch).exits(0);
    assert!(done.err.contains("ermission denied"), "{}", done.err);
    assert_eq!(fs::read(world.dir().join("got2")).unwrap(), b"on the VM");
    let mut left: Vec<_> = fs::read_dir(&open).unwrap().map(|f| f.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["there", "up"]);

    // The commands that would get round it are not there.
    for to in ["dba@pg-1.acme", "ops@pg-1.acme"] {
        world.ssh(Olga, &[to, "cat /etc/passwd"]).exits(254).complains("policy");
        let scp = ["-O", "-F", "ssh_config", "-q", "mine", &format!("{to}:{at}/old")];
        assert_ne!(world.run("scp", &scp).exit, 0);
    }
    let entries = refused(&world);
    let of = |rule: &str| {
        let of: Vec<_> = entries.iter().filter(|entry| entry["rule"] == rule).collect();
        of.iter().map(|entry| entry["operation"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("upload"), ["download", "download"]);
    let expected =
        ["upload", "remove", "rename", "mkdir", "setstat", "symlink", "hardlink", "rmdir"];
    assert_eq!(of("download"), expected);
    assert!(entries.iter().all(|entry| entry["policies"][0].as_str().unwrap().ends_with("-sftp")));
    world.bastion(&["audit", "verify"]).exits(0);
}

#[test]
fn a_refusal_is_sftps_own_answer_in_its_turn_and_names_the_policy() {
    let world = world();
    with_channels(&world, CHANNELS);
    let folder = folder(&world);
    let (kept, there) = (folder.join("there"), format!("{OPEN}/there"));
    fs::write(&kept, vec![7; 300_000]).unwrap();
    let mut raw = Raw::start(&world, Olga, "ops@pg-1.acme");
    let handle = raw.ask(&open(1, &there, 1)).handle();
    // One write of the client, in one breath: reads, refusals, an unknown extension, a read.
    let read = |id: u32, offset: u64| {
        packet(5, id, &[&string(&handle), &offset.to_be_bytes(), &100_000_u32.to_be_bytes()])
    };
    let write = packet(6, 4, &[&string(&handle), &[0; 8], &string(&[1; 200_000])]);
    let unknown = packet(200, 6, &[&string(b"format-disk@example.org"), &string(b"/")]);
    let all = [read(2, 0), read(3, 100_000), write, open(5, &there, 3), unknown, read(7, 200_000)];
    raw.say(&all.concat());
    let said: Vec<_> = (0..6).map(|_| raw.hear()).collect();
    assert_eq!(said.iter().map(|s| s.id).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
    assert_eq!(said.iter().map(|s| s.kind).collect::<Vec<_>>(), [103, 103, 101, 101, 101, 103]);
    for refused in &said[2..5] {
        let sentence = refused.is_status(3).sentence();
        assert!(sentence.contains("channels.troubleshoot-sftp"), "{sentence}");
    }
    // Flags by which OpenSSH would make, empty or append to a file that is opened to be read.
    for flags in [1 | 4, 1 | 8, 1 | 0x10, 1 | 0x20, 4, 8, 0x10, 2, 3, 0xffff_ffff] {
        raw.ask(&open(9, &there, flags)).is_status(3);
    }
    let (rest, _) = raw.end();
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(fs::read(&kept).unwrap(), vec![7; 300_000]);
    assert_eq!(refused(&world).len(), 13);

    // For uploads, whatever OpenSSH opens for reading is a download.
    world.consent("pg-1.acme");
    let mut raw = Raw::start(&world, Olga, "dba@pg-1.acme");
    for flags in [0, 1, 3, 4, 8, 0x10, 0x1b, 0x8000_0002] {
        raw.ask(&open(9, &there, flags)).is_status(3);
    }
    let up = format!("{OPEN}/up");
    let handle = raw.ask(&open(10, &up, 0x1a)).handle();
    let read = packet(5, 11, &[&string(&handle), &[0; 8], &[0, 0, 1, 0]]);
    raw.ask(&read).is_status(3);
    let copy = [&string(b"copy-data")[..], &string(&handle), &[0; 16], &string(&handle), &[0; 8]];
    raw.ask(&packet(200, 12, &copy)).is_status(3);
    raw.ask(&packet(6, 13, &[&string(&handle), &[0; 8], &string(b"mine")])).is_status(0);
    raw.ask(&packet(4, 14, &[&string(&handle)])).is_status(0);
    raw.end();
    assert_eq!(fs::read(folder.join("up")).unwrap(), b"mine");
}

#[test]
fn what_cannot_be_followed_ends_the_channel_and_never_reaches_the_vm() {
    let world = world();
    with_channels(&world, CHANNELS);
    let folder = folder(&world);
    let (kept, there) = (folder.join("there"), format!("{OPEN}/there"));
    fs::write(&kept, "here to stay").unwrap();
    let remove = packet(13, 1, &[&string(there.as_bytes())]);
    // OpenSSH reads fields from the stream: it would remove the file, and then give up.
    let short = [&5_u32.to_be_bytes()[..], &remove[4..]].concat();
    let empty = [&[0; 4][..], &remove[4..]].concat();
    let huge = [&(1_u32 << 20).to_be_bytes()[..], &remove[4..]].concat();
    let mut cut = open(1, &there, 1);
    cut.truncate(cut.len() - 4);
    let length = (cut.len() - 4) as u32;
    cut[..4].copy_from_slice(&length.to_be_bytes());
    for (name, bytes) in [("short", short), ("empty", empty), ("huge", huge), ("cut", cut)] {
        let mut raw = Raw::start(&world, Olga, "ops@pg-1.acme");
        raw.say(&bytes);
        raw.say(&vec![0xff; 300_000]);
        let (said, errors) = raw.end();
        assert!(said.is_empty(), "{name}: {said:?}");
        assert!(errors.contains("channels.troubleshoot-sftp"), "{name}: {errors}");
        assert!(fs::exists(&kept).unwrap(), "{name}: it got round the rule");
        let closed = world.log().last("channel.closed").clone();
        assert_eq!(
            (&closed["outcome"], &closed["reason"]),
            (&"cut".into(), &"sftp_not_followed".into()),
            "{name}"
        );
    }
    // Who goes on after a thousand refusals is told to stop.
    let mut raw = Raw::start(&world, Olga, "ops@pg-1.acme");
    let mut heard = 0;
    for id in 0..1001 {
        raw.say(&packet(13, id, &[&string(there.as_bytes())]));
        heard += usize::from(raw.next().is_some());
    }
    assert_eq!(heard, 1000);
    assert!(raw.end().1.contains("refused 1000 requests"));
}

#[test]
fn a_rule_that_something_gets_round_is_never_in_force() {
    let world = world();
    let before = world.order(Odile, "policy show").text();
    let with_exec = format!(
        "{CHANNELS}\n@id(\"channels.data\")\n\
         permit (principal, action == Action::\"exec\", resource in Level::\"data\");\n"
    );
    let unforced = CHANNELS.replace("@force_command(\"internal-sftp\")\n", "");
    for (text, says) in [(with_exec, "`channels.data` permits exec"), (unforced, "internal-sftp")] {
        fs::write(world.dir().join("policies/channels.cedar"), text).unwrap();
        for command in ["policy check", "policy reload"] {
            let answer = world.ssh(Odile, &["bastion", command]);
            assert_ne!(answer.exit, 0);
            let said = format!("{}{}", answer.text(), answer.err);
            assert!(said.contains(says) && said.contains("@sftp"), "{command}: {said}");
        }
        let local = world.bastion(&["policy", "check"]);
        assert_eq!(local.exit, 4, "{}", local.err);
    }
    assert_eq!(world.order(Odile, "policy show").text(), before);
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
}
