//! Files of no bytes and of very many, by every way there is.
//!
//! `FILES_LONG=scp` (or `old`, `sftp`, `rsync`) moves 8 GiB that way; otherwise a sample goes by
//! scp.

use crate::{folder, sha256, world};
use bastion_tests::world::{World, finish};
use std::{
    fs::{self, File},
    process::{Command, Stdio},
    time::Instant,
};

const WAYS: [&str; 4] = ["scp", "old", "sftp", "rsync"];
const VM: &str = "ops@pg-1.acme:";

/// Copies a file, one of whose ends is on the VM.
fn carry(world: &World, way: &str, from: &str, to: &str) {
    let mut words = match way {
        "scp" => vec!["scp", "-q", "-F", "ssh_config"],
        "old" => vec!["scp", "-q", "-F", "ssh_config", "-O"],
        "sftp" => vec!["sftp", "-q", "-F", "ssh_config", "-b", "-", "ops@pg-1.acme"],
        _ => vec!["rsync", "--whole-file", "-e", "ssh -F ssh_config"],
    };
    let batch = match (way, from.strip_prefix(VM), to.strip_prefix(VM)) {
        ("sftp", Some(there), _) => format!("get {there} {to}\n"),
        ("sftp", _, Some(there)) => format!("put {from} {there}\n"),
        _ => {
            words.extend([from, to]);
            String::new()
        }
    };
    let mut program = Command::new("timeout");
    program.args(["-k", "9", "900"]).args(words).current_dir(world.dir());
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(program, batch.as_bytes()).exits(0);
}

#[test]
fn an_empty_file_goes_both_ways_by_every_way() {
    let world = world();
    let folder = folder(&world);
    File::create(world.dir().join("empty")).unwrap();
    for way in WAYS {
        let (there, back) = (format!("{VM}/srv/open/{way}"), format!("back-{way}"));
        carry(&world, way, "empty", &there);
        carry(&world, way, &there, &back);
        for file in [folder.join(way), world.dir().join(back)] {
            assert_eq!(fs::metadata(file).unwrap().len(), 0, "{way}");
        }
    }
    let log = world.log();
    let files: Vec<_> = log.events("file.transferred").into_iter().collect();
    // Up and down: twice by sftp (scp is one, too), once by the old scp. rsync is any program.
    assert_eq!(files.len(), 6, "{files:#?}");
    for file in files {
        assert_eq!((&file["bytes"], &file["complete"]), (&0.into(), &true.into()), "{file}");
        assert_eq!(file["sha256"], sha256(b""));
    }
}

#[test]
fn a_very_large_file_goes_both_ways() {
    let world = world();
    let folder = folder(&world);
    let long = std::env::var("FILES_LONG").ok();
    let size: u64 = if long.is_some() { 8 << 30 } else { 256 << 20 };
    let way = WAYS.into_iter().find(|way| long.as_deref() == Some(way)).unwrap_or("scp");
    // A hole with a word at its end takes no room here.
    let large = world.dir().join("large");
    File::create(&large).unwrap().set_len(size - 4).unwrap();
    world.run("sh", &["-c", "printf tail >> large"]).exits(0);
    let there = format!("{VM}/srv/open/large");
    let started = Instant::now();
    carry(&world, way, "large", &there);
    let up = started.elapsed();
    world.run("cmp", &["large", folder.join("large").to_str().unwrap()]).exits(0);
    // The copy that took room goes; one that takes none comes back.
    let place = folder.join("large").display().to_string();
    fs::remove_file(&place).unwrap();
    world.run("cp", &["--sparse=always", "large", &place]).exits(0);
    let started = Instant::now();
    carry(&world, way, &there, "back");
    println!("{size} bytes by {way}: up {up:?}, down {:?}", started.elapsed());
    world.run("cmp", &["large", "back"]).exits(0);
    let log = world.log();
    let moved = log.events("file.transferred");
    assert_eq!(moved.len(), if way == "rsync" { 0 } else { 2 });
    for file in moved {
        assert_eq!((&file["bytes"], &file["complete"]), (&size.into(), &true.into()), "{file}");
    }
}
