//! What sftp did stands in the log, whatever the client and however it asks.

use crate::{
    folder,
    raw::{Raw, open, packet, string},
    recorded, sha256, world,
};
use bastion_tests::world::{Person::*, World, finish};
use serde_json::{Value, json};
use std::fs;

/// The operations of the last channel: word, path (without its folder), status and more.
fn operations(world: &World) -> Vec<Value> {
    let lines = recorded::lines(world);
    lines.into_iter().filter(|line| line["operation"].is_string()).collect()
}

fn words(operations: &[Value]) -> Vec<(String, String, u64)> {
    let name = |value: &Value| value.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let row = |o: &Value| (name(&o["operation"]), name(&o["path"]), o["status"].as_u64().unwrap());
    operations.iter().map(row).collect()
}

fn has(operations: &[Value], operation: &str, path: &str, status: u64) -> bool {
    words(operations).contains(&(operation.to_owned(), path.to_owned(), status))
}

#[test]
fn openssh_and_its_extensions_leave_nothing_out() {
    let world = world();
    let folder = folder(&world);
    let put = |name: &str, bytes: &[u8]| fs::write(world.dir().join(name), bytes).unwrap();
    put("a", b"0123456789");
    put("empty", b"");
    put("long", &[7; 300_000]);
    fs::write(world.dir().join("part"), [7; 100_000]).unwrap();
    fs::write(folder.join("half"), [7; 120_000]).unwrap();
    world.run("chmod", &["0666", folder.join("half").to_str().unwrap()]).exits(0);
    let batch = "cd /srv/open\nput a\nput empty\nput long\nget a got\nget empty got0\n\
                 rename a b\nln -s b link\nln b hard\nmkdir d\nchmod 600 b\n-chmod -h 777 link\n\
                 -cp b copied\nrm hard\nrmdir d\n-get nowhere\n-put a nowhere/a\n-rm nowhere\n\
                 df /srv\nls -ln\nls -l\npwd\nreget long part\nreput long half\n";
    let sftp = world.program("sftp", &["-F", "ssh_config", "-q", "-b", "-", "ops@pg-1.acme"]);
    finish(sftp, batch.as_bytes()).exits(0);
    let done = operations(&world);
    for (operation, path, status) in [
        ("upload", "a", 0),
        ("upload", "empty", 0),
        ("upload", "long", 0),
        ("download", "a", 0),
        ("download", "empty", 0),
        ("rename", "a", 0),
        ("symlink", "link", 0),
        ("hardlink", "b", 0),
        ("mkdir", "d", 0),
        ("setstat", "b", 0),
        ("setstat", "link", 4),
        ("remove", "hard", 0),
        ("rmdir", "d", 0),
        ("open", "a", 2),
        ("remove", "nowhere", 2),
    ] {
        assert!(
            has(&done, operation, path, status) || has(&done, operation, path, 0),
            "{operation} {path} {status} in {:#?}",
            words(&done)
        );
    }
    let of = |operation: &str, path: &str| {
        let is =
            |o: &&Value| o["operation"] == operation && o["path"].as_str().unwrap().ends_with(path);
        done.iter().find(is).unwrap_or_else(|| panic!("{operation} {path}"))
    };
    assert_eq!(of("upload", "/a")["sha256"], sha256(b"0123456789"));
    assert_eq!(of("upload", "/empty")["sha256"], sha256(b""));
    assert_eq!(of("download", "/empty")["complete"], true);
    // Resumed: the bytes that went, where they belong, and no claim to be the whole file.
    let (down, up) = (of("download", "/long"), of("upload", "/half"));
    assert_eq!(
        (&down["offset"], &down["bytes"], &down["complete"]),
        (&json!(100_000), &json!(200_000), &json!(false))
    );
    assert_eq!(
        (&up["offset"], &up["bytes"], &up["complete"]),
        (&json!(120_000), &json!(180_000), &json!(false))
    );
    assert_eq!(up["sha256"], sha256(&[7; 180_000]));
    if done.iter().any(|o| o["operation"] == "copy") {
        assert!(of("copy", "/b")["target"].as_str().unwrap().ends_with("/copied"));
    }
    assert!(!done.iter().any(|o| o["operation"] == "untracked"), "{:#?}", words(&done));
    let entries = world.log();
    let kinds = ["file.transferred", "file.changed"];
    let entered: usize = kinds.iter().map(|kind| entries.events(kind).len()).sum();
    assert_eq!(entered, done.len(), "each operation is an entry");
}

#[test]
fn whatever_order_and_whichever_handles_the_log_says_what_is_known() {
    let world = world();
    let folder = folder(&world);
    fs::write(folder.join("there"), b"0123456789").unwrap();
    let mut raw = Raw::start(&world, Olga, "ops@pg-1.acme");
    let path = |name: &str| format!("/srv/open/{name}");
    let mut id = 100;
    let mut next = || {
        id += 1;
        id
    };
    let write = |id: u32, handle: &[u8], offset: u64, data: &[u8]| {
        packet(6, id, &[&string(handle), &offset.to_be_bytes(), &string(data)])
    };
    let read = |id: u32, handle: &[u8], offset: u64, length: u32| {
        packet(5, id, &[&string(handle), &offset.to_be_bytes(), &length.to_be_bytes()])
    };
    // Two handles on one file and one on another, interleaved.
    let one = raw.ask(&open(next(), &path("one"), 0x1a)).handle();
    let two = raw.ask(&open(next(), &path("two"), 0x1a)).handle();
    let again = raw.ask(&open(next(), &path("one"), 0x02)).handle();
    for at in 0..3_u64 {
        raw.ask(&write(next(), &one, at * 3, b"abc")).is_status(0);
        raw.ask(&write(next(), &two, at * 3, b"xyz")).is_status(0);
    }
    raw.ask(&write(next(), &again, 4, b"Z")).is_status(0);
    // Out of order, with a hole, appended, cut.
    let hole = raw.ask(&open(next(), &path("hole"), 0x1a)).handle();
    raw.ask(&write(next(), &hole, 1 << 33, b"far")).is_status(0);
    raw.ask(&write(next(), &hole, 0, b"near")).is_status(0);
    let more = raw.ask(&open(next(), &path("two"), 0x02 | 0x04)).handle();
    raw.ask(&write(next(), &more, 0, b"appended")).is_status(0);
    let cut = packet(10, next(), &[&string(&one), &[0, 0, 0, 1], &5_u64.to_be_bytes()]);
    raw.ask(&cut).is_status(0);
    // A part of a file is read; a packet carries more than its data.
    let part = raw.ask(&open(next(), &path("there"), 1)).handle();
    assert_eq!(raw.ask(&read(next(), &part, 2, 3)).kind, 103);
    let mut padded = write(next(), &two, 9, b"end");
    padded.extend_from_slice(b"nobody reads this");
    let length = (padded.len() - 4) as u32;
    padded[..4].copy_from_slice(&length.to_be_bytes());
    raw.ask(&padded).is_status(0);
    // What only looks.
    let extended = |id: u32, name: &[u8], rest: &[&[u8]]| {
        packet(200, id, &[&[&string(name)[..]], rest].concat())
    };
    let home = string(b"/srv");
    for (name, rest) in [
        (&b"limits@openssh.com"[..], &[][..]),
        (b"statvfs@openssh.com", &[&home[..]][..]),
        (b"expand-path@openssh.com", &[&home[..]]),
        (b"users-groups-by-id@openssh.com", &[&string(&[0; 4])[..], &string(&[0; 4])]),
    ] {
        raw.say(&extended(next(), name, rest));
        raw.hear();
    }
    raw.ask(&extended(next(), b"fsync@openssh.com", &[&string(&two)])).is_status(0);
    for handle in [&one, &two, &again, &hole, &more, &part] {
        raw.ask(&packet(4, next(), &[&string(handle)])).is_status(0);
    }
    let left = raw.ask(&open(next(), &path("left"), 0x1a)).handle();
    raw.ask(&write(next(), &left, 0, b"never closed")).is_status(0);
    raw.end();
    let done = operations(&world);
    let said: Vec<_> = done
        .iter()
        .filter(|o| ["upload", "download"].contains(&o["operation"].as_str().unwrap()))
        .map(|o| {
            let name = o["path"].as_str().unwrap().rsplit('/').next().unwrap();
            let number = |what: &str| o[what].as_u64().unwrap();
            (name, number("offset"), number("bytes"), o["complete"] == true, &o["sha256"])
        })
        .collect();
    let digest = |bytes: &[u8]| Value::from(sha256(bytes));
    let expected = [
        ("one", 0, 9, false, &digest(b"abcabcabc")),
        ("two", 0, 12, true, &digest(b"xyzxyzxyzend")),
        ("one", 4, 1, false, &digest(b"Z")),
        ("hole", 0, 7, false, &digest(b"farnear")),
        ("two", 0, 8, false, &digest(b"appended")),
        ("there", 2, 3, false, &digest(b"234")),
        ("left", 0, 12, false, &digest(b"never closed")),
    ];
    assert_eq!(said, expected);
    assert!(!words(&done).iter().any(|(operation, ..)| operation == "untracked"));
}

#[test]
fn what_cannot_be_followed_is_said_and_nothing_else_breaks() {
    let world = world();
    let folder = folder(&world);
    fs::write(folder.join("gone"), b"x").unwrap();
    // OpenSSH acts on a request whose fields go on behind its end, and then gives up.
    let mut short = packet(13, 1, &[&string(b"/srv/open/gone")]);
    short[..4].copy_from_slice(&5_u32.to_be_bytes());
    let unknown = packet(200, 1, &[&string(b"something@example.org"), &[9; 50]]);
    let nameless = packet(99, 1, &[&[1; 30]]);
    let huge = [&(200_u32 << 10).to_be_bytes()[..], &[3], &[0; 200 << 10]].concat();
    let endless = [&u32::MAX.to_be_bytes()[..], &[6; 100_000]].concat();
    let noise: Vec<u8> =
        (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, bytes) in [
        ("short", short),
        ("unknown", unknown),
        ("nameless", nameless),
        ("huge", huge),
        ("endless", endless),
        ("noise", noise),
    ] {
        let mut raw = Raw::start(&world, Olga, "ops@pg-1.acme");
        raw.say(&bytes);
        raw.end();
        let done = operations(&world);
        let untracked = done.iter().filter(|o| o["operation"] == "untracked").count();
        assert_eq!(untracked, 1, "{name}: {done:?}");
    }
    assert!(!folder.join("gone").exists(), "so the short one has to be told");
    // The same number for many requests, never answered in between.
    let mut raw = Raw::start(&world, Olga, "ops@pg-1.acme");
    let stat = packet(17, 5, &[&string(b"/srv/open")]);
    raw.say(&stat.repeat(3000));
    // OpenSSH drops what it has not said yet at the end of its input: so hear all of it first.
    assert!((0..3000).all(|_| raw.hear().id == 5), "every answer arrives, whatever is followed");
    assert!(raw.end().0.is_empty());
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
    world.bastion(&["audit", "verify"]).exits(0);
}

#[test]
fn a_folder_of_files_leaves_an_entry_for_each() {
    let world = world();
    let long = std::env::var_os("FILES_LONG").is_some();
    let count = if long { 5000 } else { 300 };
    folder(&world);
    let many = world.dir().join("many");
    fs::create_dir_all(&many).unwrap();
    for number in 0..count {
        fs::write(many.join(format!("f{number}")), format!("{number}")).unwrap();
    }
    let scp = ["-r", "-q", "-F", "ssh_config", "many", "ops@pg-1.acme:/srv/open/"];
    world.run("scp", &scp).exits(0);
    let log = world.log();
    let whole = log.events("file.transferred").into_iter().filter(|e| e["complete"] == true);
    assert_eq!(whole.count(), count);
    let digests: std::collections::BTreeSet<_> =
        log.events("file.transferred").iter().map(|e| e["sha256"].to_string()).collect();
    assert_eq!(digests.len(), count, "each has its own");
}
