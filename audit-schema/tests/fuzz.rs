//! Random bytes and random damage into every parser: none panics, and what one accepts re-encodes
//! to the bytes that it was given. The numbers are the same in every run.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod parsers;
mod world;

use audit_schema::{
    canonical,
    chain::{Chain, CustomerChain},
    checkpoint::{self, Vkey},
    commit::Opening,
    entry::Entry,
    export::verify_export,
    hash::Hash,
    merkle::{Frontier, TreeHead, verify_consistency, verify_inclusion},
    time::Timestamp,
};
use serde_json::{Map, Value};
use world::{key, long, vkey};

/// Marsaglia's xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
    /// One to four small injuries, of bytes that matter to the formats.
    fn damage(&mut self, good: &[u8]) -> Vec<u8> {
        const BYTES: &[u8] = b"\"\\{}[]:, \n\r\t\0-+.eE019afAF/=nutf\xff\xc3\xe2\x7f\x1f";
        let mut bad = good.to_vec();
        for _ in 0..=self.below(4) {
            let (at, to) = (self.below(bad.len() + 1), self.below(bad.len() + 1));
            let byte = BYTES[self.below(BYTES.len())];
            match self.below(7) {
                0 => bad.insert(at, byte),
                1 if at < bad.len() => drop(bad.remove(at)),
                2 if at < bad.len() => bad[at] = byte,
                3 if at < bad.len() => bad[at] ^= 1 << self.below(8),
                4 if at < bad.len() && to < bad.len() => bad.swap(at, to),
                5 => bad.truncate(at.max(bad.len().saturating_sub(40))),
                _ if at < to => {
                    let copy = bad[at..to.min(at + 30)].to_vec();
                    bad.splice(to..to, copy);
                }
                _ => {}
            }
        }
        bad
    }
}

/// Feed a parser with random bytes and with damaged good inputs, `rounds` times each.
fn feed(seed: u64, rounds: usize, good: &[Vec<u8>], mut parse: impl FnMut(&[u8])) {
    let mut random = Random(seed);
    for round in 0..rounds {
        let length = random.below(120);
        parse(&random.bytes(length));
        parse(&good[round % good.len()]);
        let bad = random.damage(&good[round % good.len()]);
        parse(&bad);
    }
}

#[test]
fn canonical_json_and_entries() {
    let mut accepted = 0;
    feed(1, 30_000, &long(40).lines, |bytes| {
        if let Ok(value) = canonical::decode(bytes) {
            assert_eq!(canonical::encode(&value).unwrap(), bytes);
            assert_eq!(canonical::check(bytes), Ok(()));
        }
        if let Ok(entry) = Entry::parse(bytes) {
            accepted += 1;
            assert_eq!(entry.to_line().unwrap().bytes(), bytes);
        }
    });
    // Damage to an id or a number leaves an entry, so more are accepted than were good.
    assert!(accepted > 30_000, "{accepted}");
}

#[test]
fn the_checker_and_the_encoder_agree_about_every_value() {
    let mut random = Random(2);
    for _ in 0..30_000 {
        let value = random_value(&mut random, 5);
        if let Ok(bytes) = canonical::encode(&value) {
            assert_eq!(canonical::decode(&bytes).unwrap(), value);
        }
    }
}

fn random_value(random: &mut Random, depth: usize) -> Value {
    let kinds = if depth == 0 { 4 } else { 6 };
    match random.below(kinds) {
        0 => Value::from(random.below(2) == 0),
        1 => Value::from((random.next() as i64) >> random.below(64)),
        2 => Value::from(random_text(random)),
        3 if random.below(20) == 0 => Value::Null,
        3 => Value::from(random.below(100)),
        4 => (0..random.below(4)).map(|_| random_value(random, depth - 1)).collect(),
        _ => {
            let members = random.below(4);
            let member = |_| {
                let key = if random.below(10) > 0 { "k" } else { "" };
                let key = format!("{key}{}", random.below(50));
                (key, random_value(random, depth - 1))
            };
            Value::Object((0..members).map(member).collect::<Map<_, _>>())
        }
    }
}

fn random_text(random: &mut Random) -> String {
    let length = random.below(12);
    (0..length)
        .filter_map(|_| match random.below(3) {
            0 => char::from_u32(random.below(0x80) as u32),
            1 => char::from_u32(random.below(0x3000) as u32),
            _ => char::from_u32(random.below(0x11_0000) as u32),
        })
        .collect()
}

#[test]
fn openings() {
    let good: Vec<_> = long(40).openings.iter().map(|o| o.to_line().unwrap()).collect();
    feed(3, 20_000, &good, |bytes| {
        if let Ok(opening) = Opening::parse(bytes) {
            assert_eq!(opening.to_line().unwrap(), bytes);
        }
    });
}

#[test]
fn notes() {
    let (good, vkey) = (long(7).note(), vkey());
    feed(4, 2_000, &[good.clone().into_bytes()], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(found) = checkpoint::verify(text, &vkey) {
            let same = checkpoint::sign(&found, &key()).unwrap();
            // Other signatures may have been added; what the key signed is as it was.
            assert!(text.starts_with(&same), "{text}");
        }
    });
}

#[test]
fn verifier_keys_hashes_and_times() {
    let good = [
        vkey().to_string().into_bytes(),
        Hash::of(b"x").to_string().into_bytes(),
        b"2026-11-24T08:02:00.000001Z".to_vec(),
    ];
    feed(5, 10_000, &good, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(found) = text.parse::<Vkey>() {
            assert_eq!(found.to_string(), text);
        }
        if let Ok(found) = text.parse::<Hash>() {
            assert_eq!(found.to_string(), text);
        }
        if let Ok(found) = text.parse::<Timestamp>() {
            assert_eq!(found.to_string(), text);
        }
    });
}

#[test]
fn frontiers_and_proofs() {
    let mut frontier = Frontier::new();
    (0..11_u8).for_each(|n| frontier.push(Hash::of(&[n])));
    let mut random = Random(6);
    feed(7, 10_000, &[frontier.encode()], |bytes| {
        if let Ok(found) = Frontier::decode(bytes) {
            assert_eq!(found.encode(), bytes);
            assert_eq!(found.head().size, found.size());
        }
        let (hashes, _) = bytes.as_chunks::<32>();
        let proof: Vec<Hash> = hashes.iter().copied().map(Hash).collect();
        let (size, index) = (random.next() >> random.below(64), random.next() >> random.below(64));
        let head = TreeHead { size, root: Hash::of(bytes) };
        let old = TreeHead { size: index, root: Hash::of(b"old") };
        assert!(verify_inclusion(&Hash::ZERO, index, &proof, &head).is_err());
        assert!(verify_consistency(&old, &head, &proof).is_err());
    });
}

#[test]
fn exports() {
    let (log, vkey) = (long(12), vkey());
    let (note, good) = (log.note(), log.file());
    feed(8, 1_500, std::slice::from_ref(&good), |bytes| {
        let lines = || bytes.split_inclusive(|byte| *byte == b'\n');
        let verified = verify_export(lines(), Some((&note, &vkey)));
        // Whatever holds is the log, and whatever is not the log does not hold; lines beyond the
        // checkpoint would need the hash of the last.
        assert_eq!(verified.is_ok(), bytes == good);
        let (mut chain, mut customer) = (Chain::new(), CustomerChain::new(None));
        for line in lines() {
            let (one, other) = (chain.push(line), customer.push(line));
            assert!(one.is_err() && other.is_err(), "a line with its newline is no entry");
            if let Some(line) = line.strip_suffix(b"\n") {
                drop((chain.push(line), customer.push(line)));
            }
        }
    });
}

#[test]
fn every_parser() {
    for (seed, (name, parse, good)) in parsers::all().into_iter().enumerate() {
        // The long ones take a hundred times as long as the short ones.
        let rounds = if good[0].len() > 300 { 1_500 } else { 10_000 };
        feed(100 + seed as u64, rounds, &good, parse);
        assert!(good.iter().all(|good| !good.is_empty()), "{name}");
    }
}

/// What the coverage-guided fuzzer (`fuzz/`) found to reach every edge of every parser.
#[test]
fn the_corpus() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (name, parse, _) in parsers::all() {
        let inputs = parsers::split(&std::fs::read(folder.join(name)).unwrap());
        assert!(inputs.len() > 4, "{name}");
        inputs.iter().for_each(|input| parse(input));
    }
}
