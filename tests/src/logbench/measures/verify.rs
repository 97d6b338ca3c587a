//! How fast lines that are in memory are verified, on one core.

use crate::logbench::{
    options::Options,
    report::{Limit, Row},
    store::filled,
};
use audit_schema::{
    chain::Chain,
    merkle::{Frontier, leaf_hash},
};
use std::{fs, time::Duration};

pub async fn rows(options: &Options) -> Vec<Row> {
    let (place, _) = filled(options).await;
    let ledger = place.open().await;
    // The chain hangs on its first entry, so these begin with it.
    let count = options.count(200_000, 1_000) as u64;
    let mut read = ledger.lines(0, count).await.unwrap();
    let mut lines = Vec::new();
    while let Some(found) = read.next().await.unwrap() {
        lines.push(found.line);
    }
    ledger.close().await;
    let bytes: usize = lines.iter().map(Vec::len).sum();
    let note = format!(
        "{} lines of {} B on average, in memory; by the time that the processor was ours, the \
         best of five",
        lines.len(),
        bytes / lines.len()
    );
    let timed = tokio::task::spawn_blocking(move || (hashes(&lines), whole(&lines)));
    let (hashes, whole) = timed.await.unwrap();
    vec![
        Row::new("verify_hashes", "verify an export, hashes only, per core", "entries/s", hashes)
            .limited(Limit::at_least(1_500_000.0))
            .noted(note),
        Row::new(
            "verify_whole",
            "verify an export, parsing, canonical check, links, tree, per core",
            "entries/s",
            whole,
        )
        .limited(Limit::at_least(150_000.0)),
    ]
}

fn hashes(lines: &[Vec<u8>]) -> f64 {
    rate(lines, || {
        let mut frontier = Frontier::new();
        lines.iter().for_each(|line| frontier.push(leaf_hash(line)));
        frontier.root()
    })
}

fn whole(lines: &[Vec<u8>]) -> f64 {
    rate(lines, || {
        let mut chain = Chain::new();
        lines.iter().for_each(|line| drop(chain.push(line).unwrap()));
        chain.root()
    })
}

fn rate<T>(lines: &[Vec<u8>], mut run: impl FnMut() -> T) -> f64 {
    /// The kernel's account is no finer than a tick.
    const LEAST: Duration = Duration::from_millis(50);
    let mut once = || {
        let (began, mut runs) = (on_processor(), 0_u32);
        loop {
            std::hint::black_box(run());
            runs += 1;
            let took = on_processor() - began;
            if took >= LEAST {
                return took / runs;
            }
        }
    };
    let best = (0..5).map(|_| once()).min().unwrap();
    lines.len() as f64 / best.as_secs_f64()
}

/// How long this thread ran so far: the first number of Linux's schedstat, in nanoseconds.
fn on_processor() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
