//! The shell recipe, run for real: it says of an export what the crate says.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod tree;
mod world;

use audit_schema::{merkle, proof::Proof};
use std::{fs, path::Path, process::Command};
use tree::{Folder, published, write};
use world::{Log, example, file, long, vkey};

/// Exit status and everything said.
fn recipe(arguments: &[&Path]) -> (i32, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify.sh");
    let output = Command::new("sh").arg(script).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// The recipe on a log's files, its export replaced.
fn under_checkpoint(name: &str, log: &Log, export: &[u8]) -> (i32, String) {
    let folder = Folder::new(&format!("shell-{name}"));
    let export = folder.file("export.jsonl", export);
    let note = folder.file("checkpoint.txt", log.note());
    let key = folder.file("log-key.vkey", format!("{}\n", vkey()));
    recipe(&[&export, &note, &key])
}

#[test]
fn a_good_export_holds_with_its_checkpoint_and_openings() {
    let (folder, log) = (Folder::new("shell-good"), example());
    let export = folder.file("export.jsonl", log.file());
    let note = folder.file("checkpoint.txt", log.note());
    let key = folder.file("log-key.vkey", format!("{}\n", vkey()));
    let openings = folder.file("openings.jsonl", log.openings_file());
    let (status, said) = recipe(&[&export, &note, &key, &openings]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("chain: 5 entries hold, and the chains of 1 customers"), "{said}");
    assert!(said.contains("tree: the first 5 entries have the root"), "{said}");
    assert!(said.contains("openings: 3 hold"), "{said}");
    let (status, said) = recipe(&[&export]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("without a checkpoint"), "{said}");
}

#[test]
fn a_long_export_holds_and_its_extra_lines_are_counted() {
    let (folder, mut log) = (Folder::new("shell-long"), long(1100));
    let (note, openings) = (log.note(), log.openings_file());
    log.append(audit_schema::event::ActorKind::Gateway, None, &world::stopped(), &[]);
    let export = folder.file("export.jsonl", log.file());
    let note = folder.file("checkpoint.txt", note);
    let key = folder.file("log-key.vkey", vkey().to_string());
    let openings = folder.file("openings.jsonl", &openings[..openings.len() / 20 + 1]);
    let (status, said) = recipe(&[&export, &note, &key]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("and the chains of 2 customers"), "{said}");
    assert!(said.contains("1 more come after it"), "{said}");
    // A torn file of openings is no file of openings.
    let (status, said) = recipe(&[&export, &note, &key, &openings]);
    assert_eq!(status, 1, "{said}");
}

/// jq 1.6 reads in pieces of 4,096 bytes, and cuts characters in two there.
#[test]
fn lines_longer_than_jqs_pieces_hold() {
    let mut log = example();
    for length in [1_360, 1_361, 1_362, 9_000, 20_000] {
        let reason = "€".repeat(length);
        let event = audit_schema::event::Event::GatewayStopped { reason };
        log.append(audit_schema::event::ActorKind::Gateway, None, &event, &[]);
    }
    let (status, said) = under_checkpoint("pieces", &log, &log.file());
    assert_eq!(status, 0, "{said}");
}

#[test]
fn a_customers_export_holds_and_its_gaps_show() {
    let (folder, log) = (Folder::new("shell-customer"), long(60));
    let good = log.customer_file("acme");
    let run = |bytes: &[u8]| {
        let export = folder.file("acme.jsonl", bytes);
        recipe(&[Path::new("--customer"), &export])
    };
    let (status, said) = run(&good);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("15 entries of one customer hold"), "{said}");
    let mut lines: Vec<_> = good.split_inclusive(|byte| *byte == b'\n').collect();
    lines.remove(3);
    let (status, said) = run(&lines.concat());
    assert_eq!((status, said.contains("BROKEN: line 4: the chain of its customer")), (1, true));
    let (status, said) = run(&log.file());
    assert_eq!((status, said.contains("line 1: it is not of the customer")), (1, true), "{said}");
    let mixed = [&good[..], &log.customer_file("globex")].concat();
    let (status, said) = run(&mixed);
    assert_eq!((status, said.contains("line 16: it is not of the customer")), (1, true), "{said}");
}

/// Each of them: what is done to the lines of the example, and what the recipe says of it.
#[test]
fn whatever_is_done_to_the_lines_is_found_and_named() {
    type Change = fn(&mut Vec<Vec<u8>>);
    let replace = |lines: &mut Vec<Vec<u8>>, at: usize, from: &str, to: &str| {
        let line = String::from_utf8(lines[at].clone()).unwrap();
        assert!(line.contains(from));
        lines[at] = line.replacen(from, to, 1).into_bytes();
    };
    let table: [(&str, Change, &str); 9] = [
        ("gone", |lines| drop(lines.remove(2)), "line 3: it is missing"),
        ("first gone", |lines| drop(lines.remove(0)), "line 1: it is missing"),
        ("cut off", |lines| drop(lines.pop()), "line 5: it is missing, and all after it"),
        ("swapped", |lines| lines.swap(1, 2), "line 2: it is missing"),
        ("doubled", |lines| lines.insert(2, lines[1].clone()), "line 3: an earlier entry"),
        ("last doubled", |lines| lines.push(lines[4].clone()), "line 6: an earlier entry"),
        ("empty line", |lines| lines.insert(1, vec![]), "line 2: it is not canonical JSON"),
        ("all gone", |lines| lines.clear(), "there are no entries"),
        ("nul", |lines| lines[2].insert(40, 0), "line 3: it is not canonical JSON"),
    ];
    for (name, change, expected) in table {
        let log = example();
        let mut lines = log.lines.clone();
        change(&mut lines);
        let (status, said) = under_checkpoint("lines", &log, &file(&lines));
        assert_eq!((status, said.contains(expected)), (1, true), "{name}: {said}");
    }
    let log = example();
    let words = [
        (0, "gw-1", "gw-2", "line 1: it was changed"),
        (2, "op-1f2e3d4c", "op-1f2e3d4d", "line 3: it was changed"),
        (3, "op-1f2e3d4c", "op-1f2e3d4d", "line 5: its prev is not the hash"),
        (3, "\"prev\":\"9", "\"prev\":\"8", "line 4: the prev of its customer is not"),
        (3, "\"prev\":\"4", "\"prev\":\"5", "line 4: its prev is not the hash"),
        (3, "\"seq\":1}", "\"seq\":2}", "line 4: the chain of its customer has a gap"),
        (4, "2026-11-24", "2026-11-23", "line 5: its time is before"),
        (4, "operator_left", "operator_lost", "their root is another"),
        (1, "\"v\":1", "\"v\": 1", "line 2: it is not canonical JSON"),
        (1, "\"v\":1", "\"v\":1.0", "line 2: it is not canonical JSON"),
        (1, "\"v\":1", "\"v\":1,\"v\":1", "line 2: it is not canonical JSON"),
        (1, "\"v\":1", "\"v\":null", "line 2: it is not canonical JSON"),
        (1, "\"v\":1", "\"v\":-1", "line 2: it has not the fields"),
        (1, "\"seq\":1,", "\"seq\":9007199254740993,", "line 2: it is not canonical JSON"),
        (1, "\"gateway\"", "\"gatewaz\"", "line 2: it has not the fields"),
        (0, "\"genesis\"", "\"genesys\"", "line 1: the genesis must be"),
        (0, "\"format\":1", "\"format\":2", "line 1: the genesis is of another format"),
        (0, "origin\":\"b", "origin\":\"c", "line 1: the checkpoint is of another log"),
    ];
    for (at, from, to, expected) in words {
        let mut lines = log.lines.clone();
        replace(&mut lines, at, from, to);
        let (status, said) = under_checkpoint("words", &log, &file(&lines));
        assert_eq!((status, said.contains(expected)), (1, true), "{at} {from} {to}: {said}");
    }
}

#[test]
fn a_sample_of_single_byte_changes_is_found() {
    let (log, good) = (example(), example().file());
    for at in (0..good.len()).step_by(173).chain([good.len() - 1]) {
        for (kind, byte) in [("changed", good[at] ^ 1), ("nul", 0), ("high", good[at] ^ 0x80)] {
            let mut bad = good.clone();
            bad[at] = byte;
            let (status, said) = under_checkpoint("byte", &log, &bad);
            assert_eq!(status, 1, "byte {at} {kind}: {said}");
            assert!(said.contains("BROKEN: "), "byte {at} {kind}: {said}");
        }
        let (status, said) =
            under_checkpoint("byte", &log, &[&good[..at], &good[at + 1..]].concat());
        assert_eq!(status, 1, "byte {at} deleted: {said}");
    }
}

#[test]
fn a_checkpoint_that_is_not_the_keys_is_refused() {
    let (folder, log) = (Folder::new("shell-note"), example());
    let export = folder.file("export.jsonl", log.file());
    let (note, key) = (log.note(), vkey().to_string());
    let run = |note: &str, key: &str| {
        let (note, key) = (folder.file("note", note), folder.file("key", key));
        recipe(&[&export, &note, &key])
    };
    let witness = "\u{2014} witness.example 2WlDw+O1PYA=\n";
    assert_eq!(run(&format!("{note}{witness}"), &key).0, 0);
    for (at, _) in note.char_indices().step_by(11) {
        let next = note[at..].chars().next().unwrap();
        let other = if next == 'B' { "C" } else { "B" };
        let bad = [&note[..at], other, &note[at + next.len_utf8()..]].concat();
        let (status, said) = run(&bad, &key);
        assert_eq!(status, 1, "{bad}: {said}");
    }
    for at in (0..key.len()).step_by(9) {
        let other = if key.as_bytes()[at] == b'B' { "C" } else { "B" };
        let bad = [&key[..at], other, &key[at + 1..]].concat();
        let (status, said) = run(&note, &bad);
        assert_eq!(status, 1, "{bad}: {said}");
    }
    let signature = note.split_inclusive('\n').next_back().unwrap();
    let table = [
        ("twice", format!("{note}{signature}")),
        ("no newline", note.trim_end().to_owned()),
        ("nul", note.replace('\n', "\0\n")),
        ("carriage return", note.replace('\n', "\r\n")),
        ("no signature", format!("{}{witness}", note.replace(signature, ""))),
        ("extension", note.replacen("\n\n", "\nmore\n\n", 1)),
        ("garbage", format!("{note}garbage\n")),
        ("leading zero", note.replacen("\n5\n", "\n05\n", 1)),
        ("empty", String::new()),
    ];
    for (name, bad) in table {
        let (status, said) = run(&bad, &key);
        assert_eq!(status, 1, "{name}: {said}");
    }
}

#[test]
fn a_wrong_opening_is_refused_and_a_hostile_one_runs_nothing() {
    let (folder, log) = (Folder::new("shell-openings"), example());
    let export = folder.file("export.jsonl", log.file());
    let note = folder.file("checkpoint.txt", log.note());
    let key = folder.file("log-key.vkey", vkey().to_string());
    let good = String::from_utf8(log.openings_file()).unwrap();
    let run = |text: &str| {
        let openings = folder.file("openings.jsonl", text);
        recipe(&[&export, &note, &key, &openings])
    };
    let table = [
        ("value", good.replace("192.0.2.7", "192.0.2.8"), "openings, line 1: the entry commits"),
        ("salt", good.replace("\"salt\":\"6", "\"salt\":\"7"), "line 1: the entry commits"),
        ("field", good.replace("source", "target"), "openings, line 1: no entry here"),
        ("seq", good.replace("\"seq\":2", "\"seq\":4"), "openings, line 1: no entry here"),
        ("seq as text", good.replace("\"seq\":2", "\"seq\":\"2\""), "line 1: it is not an opening"),
        ("shape", good.replace("value", "values"), "openings, line 1: it is not an opening"),
        ("percent", good.replace("192.0.2.7", "%s%n\\\\$(id)`id`"), "line 1: the entry commits"),
        ("option", good.replace("\"salt\":\"6", "\"salt\":\"-out x"), "line 1: it is not an op"),
    ];
    for (name, text, expected) in table {
        let (status, said) = run(&text);
        assert_eq!((status, said.contains(expected)), (1, true), "{name}: {said}");
    }
}

#[test]
fn a_hostile_export_runs_nothing_and_prints_nothing_of_itself() {
    let folder = Folder::new("shell-hostile");
    for line in ["$(touch owned)", "`touch owned`", "-n\u{1b}[31m", "%s%s%n", "'; touch owned; '"] {
        let export = folder.file("-e $(touch owned).jsonl", format!("{line}\n"));
        let (status, said) = recipe(&[&export]);
        assert_eq!((status, said.as_str()), (1, "BROKEN: line 1: it is not canonical JSON\n"));
    }
    assert!(!folder.0.join("owned").exists() && !Path::new("owned").exists());
    assert_eq!(recipe(&[]).0, 2);
    assert_eq!(recipe(&[&folder.0.join("absent")]).0, 2);
}

#[test]
fn a_published_tree_holds_and_a_changed_one_does_not() {
    let (folder, log) = (Folder::new("shell-tiles"), long(300));
    let files = published(&log.lines, &log.note());
    write(&folder.0, &files);
    let key = folder.file("log-key.vkey", format!("{}\n", vkey()));
    let verify = || recipe(&[Path::new("--tiles"), &folder.0, &key]);
    let (status, said) = verify();
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("chain: 300 entries hold"), "{said}");
    assert!(said.contains("tree: the first 300 entries have the root"), "{said}");
    let broken = |what: &str| {
        let (status, said) = verify();
        assert_eq!(status, 1, "{what}: {said}");
        assert!(said.contains(what), "{what}: {said}");
    };

    // An entry rewritten together with its level-0 tile, under the old checkpoint; the entries
    // after it are linked anew, so that only the tree can tell.
    let mut other = long(20);
    other.append(audit_schema::event::ActorKind::Gateway, None, &world::stopped(), &[]);
    let mut lines = other.lines.clone();
    lines.extend(world::relinked(&log.lines[21..], &other.lines[20]));
    let rewritten = published(&lines, &log.note());
    for path in ["tile/entries/000", "tile/entries/001.p/44"] {
        fs::write(folder.0.join(path), &rewritten[path]).unwrap();
    }
    broken("tile/0/000: it has not the hashes of what is below it");
    for path in ["tile/0/000", "tile/0/001.p/44"] {
        fs::write(folder.0.join(path), &rewritten[path]).unwrap();
    }
    broken("tile/1/000: it has not the hashes of what is below it");
    write(&folder.0, &rewritten);
    broken("the entries are not those that the checkpoint signs");
    write(&folder.0, &files);

    fs::remove_file(folder.0.join("tile/1/000.p/1")).unwrap();
    broken("tile/1/000: it is missing");
}

#[test]
fn every_file_of_a_small_published_tree_counts() {
    let (folder, log) = (Folder::new("shell-small-tree"), long(6));
    let files = published(&log.lines, &log.note());
    write(&folder.0, &files);
    let key = folder.file("log-key.vkey", format!("{}\n", vkey()));
    let verify = || recipe(&[Path::new("--tiles"), &folder.0, &key]).0;
    assert_eq!(verify(), 0);
    // One byte of each file in the middle, or with MUTATE_ALL=1 every one of them.
    let step = if std::env::var_os("MUTATE_ALL").is_some() { 1 } else { usize::MAX };
    for (path, bytes) in &files {
        for at in std::iter::once(bytes.len() / 2).chain((0..bytes.len()).step_by(step).skip(1)) {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            fs::write(folder.0.join(path), bad).unwrap();
            assert_eq!(verify(), 1, "{path}, byte {at}");
        }
        fs::write(folder.0.join(path), &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(verify(), 1, "{path} cut off");
        fs::write(folder.0.join(path), [&bytes[..], b"\0\0"].concat()).unwrap();
        assert_eq!(verify(), 1, "{path} made longer");
        fs::remove_file(folder.0.join(path)).unwrap();
        assert_ne!(verify(), 0, "{path} removed");
        fs::write(folder.0.join(path), bytes).unwrap();
    }
}

#[test]
fn a_proof_holds_for_its_entry_and_its_index_alone() {
    for (size, index) in [(1, 0), (7, 6), (40, 17)] {
        let (folder, log) = (Folder::new(&format!("shell-proof-{size}-{index}")), long(size));
        let hashes = merkle::inclusion_proof(&log.leaves(), index).unwrap();
        let proof = Proof { extra: None, index, hashes, checkpoint: log.note() };
        let key = folder.file("log-key.vkey", vkey().to_string());
        let line = [&log.lines[index as usize][..], b"\n"].concat();
        let entry = folder.file("entry.json", &line);
        let check = |proof: &Proof, entry: &Path| {
            let proof = folder.file("entry.tlog-proof", proof.to_text().unwrap());
            recipe(&[Path::new("--proof"), &proof, &key, entry])
        };
        let (status, said) = check(&proof, &entry);
        assert_eq!(status, 0, "{index} of {size}: {said}");
        assert!(said.contains(&format!("proof: the entry is number {index} of the log")), "{said}");
        let extra = Proof { extra: Some(b"what".to_vec()), ..proof.clone() };
        assert_eq!(check(&extra, &entry).0, 0);
        let other = folder.file("other.json", b"{}\n");
        assert_eq!(check(&proof, &other).0, 1);
        if size == 1 {
            continue;
        }
        let moved = Proof { index: (index + 1) % size, ..proof.clone() };
        assert_eq!(check(&moved, &entry).0, 1);
        let mut fewer = proof.clone();
        fewer.hashes.pop();
        assert_eq!(check(&fewer, &entry).0, 1);
        let mut more = proof.clone();
        more.hashes.push(log.leaves()[0]);
        assert_eq!(check(&more, &entry).0, 1);
        let mut changed = proof.clone();
        changed.hashes[0].0[31] ^= 1;
        assert_eq!(check(&changed, &entry).0, 1);
        let another = Proof { checkpoint: long(size + 1).note(), ..proof };
        assert_eq!(check(&another, &entry).0, 1);
    }
}
