//! Every parser of the crate behind one signature, each with good inputs to begin with: what the
//! fuzzers feed. A parser must not panic, and what it accepts must be the bytes that it was given.
#![allow(dead_code)] // each test file uses its own part

use audit_schema::{
    canonical,
    checkpoint::{self, Vkey},
    commit::Opening,
    cosignature::{self, WitnessKey},
    customer_export::CustomerExport,
    entry::Entry,
    hash::Hash,
    merkle::{self, Frontier},
    note,
    policy::Policy,
    proof::Proof,
    receipt::{Proven, Receipt},
    tile::{Bundle, Tile},
    time::Timestamp,
    witness::{AddCheckpoint, parse_size, size_body},
};

use crate::world::{self, long, vkey};

/// A parser, fed with bytes; it panics where what it accepted does not say the same again.
pub type Parser = fn(&[u8]);

/// All parsers by name, each with good inputs.
pub fn all() -> Vec<(&'static str, Parser, Vec<Vec<u8>>)> {
    let mut log = long(12);
    let map = log.map();
    log.heartbeat();
    let note = log.note();
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let line = cosignature::cosign(&log.checkpoint(), "w.example", &key, 9).unwrap();
    let witness = WitnessKey::new("w.example", key.verifying_key()).unwrap().to_string();
    let policy = format!("log {}\nwitness w {witness}\ngroup g all w\nquorum g\n", vkey());
    let hashes = merkle::inclusion_proof(&log.leaves(), 3).unwrap();
    let proven = Proven { line: log.lines[3].clone(), proof: hashes.clone() };
    let receipt = Receipt { entries: vec![proven], checkpoint: note.clone() };
    let proof = Proof {
        extra: Some(b"x".to_vec()),
        index: 3,
        hashes: hashes.clone(),
        checkpoint: note.clone(),
    };
    let request = AddCheckpoint { old: 4, proof: hashes, checkpoint: note.clone() };
    let opening = log.openings[0].to_line().unwrap();
    let mut frontier = Frontier::new();
    log.leaves().into_iter().for_each(|leaf| frontier.push(leaf));
    let bundle = Bundle::of_tree(0, 3).unwrap().encode([&b"a"[..], b"", b"bc"]).unwrap();
    let cosigned = note::add(&note, &line).unwrap();
    let export = log.customer_export("acme", 12, &map).to_text();
    let text = |text: String| text.into_bytes();
    let paths = ["tile/0/x001/234.p/5", "tile/1/000", "tile/entries/x001/x002/003.p/200"];
    let words = [vkey().to_string(), witness, Hash::of(b"x").to_string(), "17\n".into()];
    let times = ["2026-11-24T08:02:00.000001Z".to_owned()];
    vec![
        ("canonical", canonical_json as Parser, log.lines.clone()),
        ("entry", entry, log.lines.clone()),
        ("opening", opening_line, vec![opening]),
        ("note", signed_note, vec![text(note), text(cosigned)]),
        ("word", one_word, words.into_iter().chain(times).map(String::into_bytes).collect()),
        ("frontier", right_edge, vec![frontier.encode()]),
        ("path", tile_path, paths.map(|path| path.as_bytes().to_vec()).to_vec()),
        ("bundle", entry_bundle, vec![bundle]),
        ("proof", tlog_proof, vec![text(proof.to_text().unwrap())]),
        ("receipt", receipt_text, vec![text(receipt.to_text().unwrap())]),
        ("request", witness_request, vec![text(request.to_text().unwrap())]),
        ("policy", tlog_policy, vec![text(policy)]),
        ("customer", customer_export, vec![text(export)]),
    ]
}

fn canonical_json(bytes: &[u8]) {
    if let Ok(value) = canonical::decode(bytes) {
        assert_eq!(canonical::encode(&value).unwrap(), bytes);
    }
}

fn entry(bytes: &[u8]) {
    if let Ok(entry) = Entry::parse(bytes) {
        assert_eq!(entry.to_line().unwrap().bytes(), bytes);
        drop(entry.event());
    }
}

fn opening_line(bytes: &[u8]) {
    if let Ok(opening) = Opening::parse(bytes) {
        assert_eq!(opening.to_line().unwrap(), bytes);
    }
}

fn signed_note(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(found) = checkpoint::verify(text, &vkey()) {
        let same = checkpoint::sign(&found, &world::key()).unwrap();
        let three = |note: &str| note.split_inclusive('\n').take(3).collect::<String>();
        assert_eq!(three(text), three(&same));
    }
    let line = "\u{2014} w.example AAAAAAA=\n";
    if let Ok(added) = note::add(text, line) {
        assert!(added.ends_with(line));
    }
}

fn one_word(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let same = |found: Option<String>| assert!(found.is_none_or(|found| found == text), "{text}");
    same(text.parse::<Vkey>().ok().map(|key| key.to_string()));
    same(text.parse::<WitnessKey>().ok().map(|key| key.to_string()));
    same(text.parse::<Hash>().ok().map(|hash| hash.to_string()));
    same(text.parse::<Timestamp>().ok().map(|time| time.to_string()));
    same(parse_size(text).ok().map(size_body));
}

fn right_edge(bytes: &[u8]) {
    if let Ok(found) = Frontier::decode(bytes) {
        assert_eq!(found.encode(), bytes);
        assert_eq!(found.head().size, found.size());
    }
}

fn tile_path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(tile) = text.parse::<Tile>() {
        assert_eq!(tile.to_string(), text);
        assert!(tile.leaves().end <= merkle::SIZE_MAX && text.parse::<Bundle>().is_err());
    }
    if let Ok(bundle) = text.parse::<Bundle>() {
        assert_eq!(bundle.to_string(), text);
        assert_eq!(bundle.entries(), bundle.tile().leaves());
    }
}

fn entry_bundle(bytes: &[u8]) {
    for width in [1, 3, 256] {
        let bundle = Bundle::of_tree(0, width).unwrap();
        if let Ok(entries) = bundle.decode(bytes) {
            assert_eq!(bundle.encode(entries).unwrap(), bytes);
        }
    }
}

fn tlog_proof(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(proof) = Proof::parse(text) {
        assert_eq!(proof.to_text().unwrap(), text);
        assert!(proof.verify(&Hash::ZERO, &vkey()).is_err());
    }
}

fn receipt_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(receipt) = Receipt::parse(text) {
        assert_eq!(receipt.to_text().unwrap(), text);
        drop(receipt.verify(&[vkey()]));
    }
}

fn witness_request(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(request) = AddCheckpoint::parse(text) {
        assert_eq!(request.to_text().unwrap(), text);
        drop((request.origin(), audit_schema::witness::judge(&request, &[vkey()], None)));
    }
}

fn tlog_policy(bytes: &[u8]) {
    if let Ok(policy) = Policy::parse(bytes) {
        // Nothing that signs nothing is a quorum, unless none is asked for.
        let unsigned = policy.check("a\n0\n\n\u{2014} x AAAAAAA=\n", None);
        assert!(unsigned.is_err());
    }
}

fn customer_export(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(export) = CustomerExport::parse(text) {
        assert_eq!(export.to_text(), text);
        drop((export.verify(&vkey(), None), export.verify_but_signature()));
    }
}

/// The inputs of a corpus file: each behind its length, as the entries of a bundle.
pub fn split(mut rest: &[u8]) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (input, after) = after.split_at(u16::from_be_bytes(*length).into());
        inputs.push(input.to_vec());
        rest = after;
    }
    inputs
}

/// A corpus file of these inputs.
pub fn join(inputs: &[Vec<u8>]) -> Vec<u8> {
    let length = |input: &Vec<u8>| u16::try_from(input.len()).unwrap().to_be_bytes();
    inputs.iter().flat_map(|input| [&length(input)[..], input].concat()).collect()
}
