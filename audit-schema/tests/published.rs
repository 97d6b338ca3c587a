//! A small published log, and everything that can be done to it: nothing goes unseen.
//!
//! By default one bit of each byte is turned; with `MUTATE_ALL=1` every one.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod tree;
mod world;

use audit_schema::{
    checkpoint::{self, Checkpoint},
    entry::Entry,
    merkle::{Frontier, leaf_hash},
    proof::Proof,
    published::{BadPublished, Failure, Published, verify},
    receipt::{Proven, Receipt},
    tile::{Bundle, Tile},
};
use tree::{Files, published};
use world::{Log, key, long, vkey};

/// More than a tile, so that there are three levels: 256 and 44 entries.
const ENTRIES: u64 = 300;

fn log() -> (Log, Files) {
    let log = long(ENTRIES);
    let files = published(&log.lines, &log.note());
    (log, files)
}

fn check(files: &Files, any_entries: bool) -> Result<Published, String> {
    let note = std::str::from_utf8(&files["checkpoint"]).map_err(|e| e.to_string())?;
    let checkpoint = checkpoint::verify(note, &vkey()).map_err(|e| e.to_string())?;
    verify(&checkpoint, any_entries, |path, _| Ok::<_, ()>(files.get(path).cloned())).map_err(
        |failure| match failure {
            Failure::Broken(broken) => broken.to_string(),
            Failure::Unread(()) => unreachable!("a map is always read"),
        },
    )
}

fn steps(length: usize) -> impl Iterator<Item = usize> {
    let step = if std::env::var_os("MUTATE_ALL").is_some() { 1 } else { 9 };
    (0..length * 8).step_by(step)
}

#[test]
fn a_published_log_holds() {
    let (_, files) = log();
    let paths: Vec<_> = files.keys().map(String::as_str).collect();
    let expected = [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    ];
    assert_eq!(paths, expected);
    let held = check(&files, false).unwrap();
    assert_eq!((held.tiles, held.chain.unwrap().size()), (3, ENTRIES));
    assert!(check(&files, true).unwrap().chain.is_none());
}

#[test]
fn every_changed_bit_of_every_file_is_found() {
    let (_, files) = log();
    for (path, bytes) in &files {
        // The whole is read until the injury, so bundles take most of the time.
        let every = if path.contains("entries") { 97 } else { 1 };
        let every = if std::env::var_os("MUTATE_ALL").is_some() { 1 } else { every };
        for bit in steps(bytes.len()).step_by(every) {
            let mut bad = files.clone();
            bad.get_mut(path).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let found = check(&bad, true);
            assert!(found.is_err(), "{path}, bit {bit}");
        }
    }
}

#[test]
fn what_is_removed_swapped_cut_off_or_put_in_is_found_and_named() {
    let (log, files) = log();
    for path in files.keys().filter(|path| *path != "checkpoint") {
        let mut bad = files.clone();
        bad.remove(path);
        assert_eq!(check(&bad, false).unwrap_err(), format!("{path}: it is missing"));
        for length in [0, 1, 31, files[path].len() - 1, files[path].len() + 1] {
            let mut bad = files.clone();
            bad.get_mut(path).unwrap().resize(length, 0);
            assert!(check(&bad, true).unwrap_err().contains(path.as_str()), "{path}, {length}");
        }
    }
    let (first, second) = (Bundle::of_tree(0, 256).unwrap(), Bundle::of_tree(1, 300).unwrap());
    let changed = |lines: &[Vec<u8>]| {
        let mut bad = files.clone();
        for bundle in [first, second] {
            let range = bundle.entries();
            let mine = lines[range.start as usize..range.end as usize].iter();
            bad.insert(bundle.to_string(), bundle.encode(mine).unwrap());
        }
        bad
    };
    let mut swapped = log.lines.clone();
    swapped.swap(10, 11);
    let tile = Tile::of_tree(0, 0, 300).unwrap();
    let expected = BadPublished::Leaf { entry: 10, tile }.to_string();
    assert_eq!(check(&changed(&swapped), true).unwrap_err(), expected);
    let chain = check(&changed(&swapped), false).unwrap_err();
    assert!(chain.contains("entry 10") && chain.contains("missing"), "{chain}");
    let mut gone = log.lines.clone();
    gone.remove(200);
    gone.push(log.lines[299].clone());
    let expected = BadPublished::Leaf { entry: 200, tile }.to_string();
    assert_eq!(check(&changed(&gone), true).unwrap_err(), expected);
}

/// An entry rewritten, and with it every tile up to some level, under the old checkpoint.
#[test]
fn a_rewritten_entry_is_found_however_much_is_rewritten_with_it() {
    let (log, files) = log();
    for at in [3, 255, 256, 299] {
        let mut lines = log.lines.clone();
        let mut entry = Entry::parse(&lines[at]).unwrap();
        entry.gateway = "gw-9".into();
        lines[at] = entry.to_line().unwrap().into_bytes();
        let rewritten = published(&lines, &log.note());
        let bundle = Bundle::of_tree(at as u64 / 256, ENTRIES).unwrap();
        let with = |paths: &[String]| {
            let mut bad = files.clone();
            for path in paths {
                bad.insert(path.clone(), rewritten[path].clone());
            }
            check(&bad, true).unwrap_err()
        };
        let leaf = bundle.tile();
        let alone = with(&[bundle.to_string()]);
        assert_eq!(alone, BadPublished::Leaf { entry: at as u64, tile: leaf }.to_string());
        let with_tile = with(&[bundle.to_string(), leaf.to_string()]);
        let above = Tile::of_tree(1, 0, ENTRIES).unwrap();
        let expected = if leaf.is_full() {
            BadPublished::Node { tile: above, at: 0, below: leaf }
        } else {
            BadPublished::Root
        };
        assert_eq!(with_tile, expected.to_string(), "entry {at} with its level-0 tile");
        let all: Vec<String> = rewritten.keys().cloned().collect();
        assert_eq!(with(&all), BadPublished::Root.to_string());
    }
}

#[test]
fn a_tree_that_grew_since_its_checkpoint_still_holds() {
    let (log, old) = log();
    let mut grown = log;
    for _ in 0..300 {
        grown.append(audit_schema::event::ActorKind::Gateway, None, &world::stopped(), &[]);
    }
    let mut files = published(&grown.lines, "");
    files.insert("checkpoint".into(), old["checkpoint"].clone());
    files.retain(|path, _| !path.contains(".p/") || path.starts_with("tile/1/"));
    // The partial tile of level 1 of the old size is still there; those of level 0 are full now.
    files.insert("tile/1/000.p/1".into(), old["tile/1/000.p/1"].clone());
    assert_eq!(check(&files, false).unwrap().tiles, 3);
    // Nothing of what came after is looked at, and what is looked at counts.
    files.get_mut("tile/0/001").unwrap()[43 * 32] ^= 1;
    assert!(check(&files, false).is_err());
}

#[test]
fn a_shorter_tree_and_another_logs_are_not_this_checkpoints() {
    let (_, files) = log();
    let shorter = long(299);
    let mut bad = published(&shorter.lines, "");
    bad.insert("checkpoint".into(), files["checkpoint"].clone());
    assert_eq!(check(&bad, false).unwrap_err(), "tile/entries/001.p/44: it is missing");
    let mut other = files.clone();
    let checkpoint = Checkpoint { origin: "other.example".into(), ..long(ENTRIES).checkpoint() };
    let note = checkpoint::sign(&checkpoint, &key()).unwrap();
    let vkey = audit_schema::checkpoint::Vkey::new("other.example", key().verifying_key()).unwrap();
    other.insert("checkpoint".into(), note.clone().into_bytes());
    let signed = checkpoint::verify(&note, &vkey).unwrap();
    let read = |path: &str, _| Ok::<_, ()>(other.get(path).cloned());
    let found = verify(&signed, false, read).unwrap_err();
    assert!(matches!(found, Failure::Broken(BadPublished::Origin)), "{found:?}");
    assert!(verify(&signed, true, read).is_ok());
}

/// The proof of an entry near the end, in the frontier's way.
fn proof_of(log: &Log, index: u64) -> Vec<audit_schema::hash::Hash> {
    Frontier::new().inclusion_of_appended(&log.leaves(), index).unwrap()
}

#[test]
fn every_changed_bit_of_a_proof_file_is_found() {
    let log = long(40);
    let line = log.lines[17].clone();
    let proof =
        Proof { extra: None, index: 17, hashes: proof_of(&log, 17), checkpoint: log.note() };
    let text = proof.to_text().unwrap();
    assert_eq!(Proof::parse(&text).unwrap(), proof);
    let leaf = leaf_hash(&line);
    assert_eq!(proof.verify(&leaf, &vkey()).unwrap().size, 40);
    let held = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).ok()?;
        Proof::parse(&text).ok()?.verify(&leaf, &vkey()).ok()
    };
    for bit in 0..text.len() * 8 {
        let mut bad = text.clone().into_bytes();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(held(bad), None, "bit {bit}");
    }
    for cut in 0..text.len() {
        assert_eq!(held(text.as_bytes()[..cut].to_vec()), None, "cut at {cut}");
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for at in 0..lines.len() {
        let without: String =
            lines.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, l)| *l).collect();
        assert_eq!(held(without.into_bytes()), None, "without line {at}");
        let mut twice = lines.clone();
        twice.insert(at, lines[at]);
        assert_eq!(held(twice.concat().into_bytes()), None, "line {at} twice");
        for other in (0..at).filter(|other| lines[*other] != lines[at]) {
            let mut swapped = lines.clone();
            swapped.swap(at, other);
            assert_eq!(held(swapped.concat().into_bytes()), None, "lines {at} and {other}");
        }
    }
    let other = leaf_hash(&log.lines[16]);
    assert!(proof.verify(&other, &vkey()).is_err());
    // The extra data is not authenticated, and says nothing about the entry.
    let extra = Proof { extra: Some(b"anything".to_vec()), ..proof };
    let read = Proof::parse(&extra.to_text().unwrap()).unwrap();
    assert!(read.verify(&leaf, &vkey()).is_ok());
    assert!(Proof { extra: Some(vec![]), ..extra }.to_text().is_err());
}

#[test]
fn every_changed_bit_of_a_receipt_is_found() {
    let log = long(40);
    let proven =
        |at: u64| Proven { line: log.lines[at as usize].clone(), proof: proof_of(&log, at) };
    let receipt = Receipt { entries: vec![proven(30), proven(31)], checkpoint: log.note() };
    let text = receipt.to_text().unwrap();
    assert!(receipt.verify(&[vkey()]).is_ok());
    let held = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).ok()?;
        Receipt::parse(&text).ok()?.verify(&[vkey()]).ok()
    };
    for bit in steps(text.len()) {
        let mut bad = text.clone().into_bytes();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(held(bad).is_none(), "bit {bit}");
    }
    for cut in 0..text.len() {
        assert!(held(text.as_bytes()[..cut].to_vec()).is_none(), "cut at {cut}");
    }
}
