//! How fast an export is verified, one core: hashes only, and with parsing and canonical check.
//!
//! `cargo run --release -p audit-schema --example verify_speed -- [ENTRIES]` prints entries a
//! second, the best of nine runs, by the time that the processor was ours, so that a busy machine
//! measures like an idle one. The lines are in memory: neither the disk nor the reading of lines is
//! measured.
#![allow(clippy::unwrap_used)] // a panic is how a measurement ends

#[path = "../tests/world/mod.rs"]
mod world;

use audit_schema::{
    canonical,
    chain::Chain,
    entry::Entry,
    merkle::{Frontier, leaf_hash},
};
use std::{fs, time::Duration};

fn main() {
    let entries = std::env::args().nth(1).map_or(100_000, |n| n.parse().unwrap());
    let lines = world::long(entries).lines;
    let bytes: usize = lines.iter().map(Vec::len).sum();
    println!("{entries} entries, {} bytes each on average", bytes / lines.len());
    measure("leaf and node hashes only", &lines, || {
        let mut frontier = Frontier::new();
        lines.iter().for_each(|line| frontier.push(leaf_hash(line)));
        assert_eq!(frontier.size(), entries);
        frontier.root()
    });
    measure("canonical check alone", &lines, || {
        assert!(lines.iter().all(|line| canonical::check(line).is_ok()));
    });
    measure("parsing alone, which has the canonical check", &lines, || {
        assert!(lines.iter().all(|line| Entry::parse(line).is_ok()));
    });
    measure("the whole chain: parsing, canonical check, links, customers, tree", &lines, || {
        let mut chain = Chain::new();
        lines.iter().for_each(|line| drop(chain.push(line).unwrap()));
        chain.root()
    });
}

fn measure<T>(what: &str, lines: &[Vec<u8>], mut run: impl FnMut() -> T) {
    let best = (0..9)
        .map(|_| {
            let start = on_processor();
            std::hint::black_box(run());
            on_processor() - start
        })
        .min()
        .unwrap();
    let rate = lines.len() as f64 / best.as_secs_f64();
    println!("{what}: {rate:.0} entries a second");
}

/// How long this thread ran so far: the first number of Linux's schedstat, in nanoseconds.
fn on_processor() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
