//! Coverage-guided fuzzing of every parser of the format, on stable Rust, without other tools.
//!
//! ```sh
//! RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
//!     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters" \
//!     cargo run --release --target x86_64-unknown-linux-gnu \
//!     --manifest-path audit-schema/fuzz/Cargo.toml -- SECONDS_PER_PARSER
//! ```
//!
//! An input that reaches an edge that none before did, or one more often, is mutated further; the
//! shortest that together reach all edges are kept in `tests/corpus/PARSER`, which `cargo test`
//! replays, and which the next run begins with. A parser that panics, or accepts what it does
//! not write again, ends the run; the input stands in `tests/corpus/PARSER.failed`.
#![allow(clippy::unwrap_used)] // a panic is how a fuzzer fails

#[path = "../../tests/parsers/mod.rs"]
mod parsers;
#[path = "../../tests/world/mod.rs"]
mod world;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Longer inputs say little more, and take longer.
const BYTES_MAX: usize = 4_096;

/// Where the compiler put the counters of each part of the program.
static COUNTERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called once for each part, before `main`.
///
/// # Safety
///
/// The compiler passes the bounds of an array of bytes that lives as long as the program.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let mut counters = COUNTERS.lock().unwrap();
    if !counters.contains(&(start as usize, stop as usize)) {
        counters.push((start as usize, stop as usize));
    }
}

/// All counters, as one slice after the other.
fn counters() -> Vec<&'static mut [u8]> {
    let parts = COUNTERS.lock().unwrap();
    let part = |(start, stop): &(usize, usize)| {
        // SAFETY: see `__sanitizer_cov_8bit_counters_init`; one thread runs, and each caller drops
        // what it got before the next asks.
        unsafe { std::slice::from_raw_parts_mut(*start as *mut u8, stop - start) }
    };
    parts.iter().map(part).collect()
}

/// What was reached: the place of each counter, and how often, in steps of powers of two.
fn reached() -> Vec<u32> {
    let mut out = Vec::new();
    let mut place: u32 = 0;
    for part in counters() {
        for count in part {
            if *count > 0 {
                out.push(place * 8 + count.ilog2());
            }
            *count = 0;
            place += 1;
        }
    }
    out
}

/// Marsaglia's xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// A few small injuries, or a piece of another input.
    fn mutate(&mut self, good: &[u8], other: &[u8]) -> Vec<u8> {
        const BYTES: &[u8] = b"\"\\{}[]:, \n\r\t\0-+.eE019afAF/=nutf\xff\xc3\xe2\x7f\x1fx";
        let mut bad = good.to_vec();
        for _ in 0..=self.below(4) {
            let (at, to) = (self.below(bad.len() + 1), self.below(bad.len() + 1));
            match self.below(8) {
                0 => bad.insert(at, BYTES[self.below(BYTES.len())]),
                1 if at < bad.len() => bad[at] = BYTES[self.below(BYTES.len())],
                2 if at < bad.len() => bad[at] ^= 1 << self.below(8),
                3 if at < to => drop(bad.drain(at..to.min(at + 64))),
                4 => bad.truncate(at),
                5 if at < to => {
                    let copy = bad[at..to.min(at + 64)].to_vec();
                    bad.splice(to..to, copy);
                }
                6 if !other.is_empty() => {
                    let from = self.below(other.len());
                    let until = (from + 1 + self.below(64)).min(other.len());
                    bad.splice(at..at, other[from..until].iter().copied());
                }
                _ if at < bad.len() => bad[at] = self.below(256) as u8,
                _ => {}
            }
        }
        bad.truncate(BYTES_MAX);
        bad
    }
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10);
    assert!(!COUNTERS.lock().unwrap().is_empty(), "built without coverage: see the module's doc");
    for (seed, (name, parse, good)) in parsers::all().into_iter().enumerate() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus").join(name);
        fuzz(name, parse, good, &file, Random(seed as u64 + 1), Duration::from_secs(seconds));
    }
}

fn fuzz(
    name: &str,
    parse: parsers::Parser,
    good: Vec<Vec<u8>>,
    file: &Path,
    mut random: Random,
    time: Duration,
) {
    let mut corpus = good;
    corpus.extend(fs::read(file).map(|bytes| parsers::split(&bytes)).unwrap_or_default());
    let mut seen = BTreeSet::new();
    for input in &corpus {
        reached();
        parse(input);
        seen.extend(reached());
    }
    let (start, mut runs) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        let (at, other) = (random.below(corpus.len()), random.below(corpus.len()));
        let input = random.mutate(&corpus[at], &corpus[other]);
        reached();
        if let Err(panic) = std::panic::catch_unwind(|| parse(&input)) {
            fs::write(file.with_extension("failed"), &input).unwrap();
            std::panic::resume_unwind(panic);
        }
        runs += 1;
        let new: Vec<u32> = reached().into_iter().filter(|edge| !seen.contains(edge)).collect();
        if !new.is_empty() {
            seen.extend(new);
            corpus.push(input);
        }
    }
    let kept = keep(parse, corpus, file);
    println!("{name}: {runs} inputs, {} edges and counts, {kept} kept", seen.len());
}

/// Write the shortest inputs that together reach every edge that all of them do.
fn keep(parse: parsers::Parser, mut corpus: Vec<Vec<u8>>, file: &Path) -> usize {
    corpus.sort_by_key(Vec::len);
    let (mut seen, mut kept) = (BTreeSet::new(), Vec::new());
    for input in corpus {
        reached();
        parse(&input);
        let before = seen.len();
        seen.extend(reached().into_iter().map(|edge| edge / 8));
        if seen.len() > before {
            kept.push(input);
        }
    }
    fs::write(file, parsers::join(&kept)).unwrap();
    kept.len()
}
