//! Many callers, each of which waits for its entry before it asks for the next: how many entries a
//! second are durable, how long each waited, and what it took of the processor.

use crate::{
    bench::row::percentile,
    logbench::{
        base::Base,
        options::Options,
        report::{Limit, Row},
        store::{Place, cpu_seconds, know_everybody},
        story,
    },
};
use bastion::ledger::{Ledger, LedgerError, NewEntry};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What callers saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How long each entry took, in milliseconds.
    pub millis: Vec<f64>,
    /// Seconds in all.
    pub seconds: f64,
    /// Of the processor, in this process.
    pub cpu: f64,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.millis.extend(other.millis);
        self.seconds += other.seconds;
        self.cpu += other.cpu;
    }
    /// Entries a second.
    pub fn rate(&self) -> f64 {
        self.millis.len() as f64 / self.seconds
    }
    /// Microseconds of CPU for each.
    pub fn cpu_each(&self) -> f64 {
        self.cpu * 1e6 / self.millis.len() as f64
    }
}

pub async fn rows(options: &Options) -> Vec<Row> {
    /// Between two slices the disk is asked what it can do.
    const SLICES: u32 = 5;
    let place = Place(options.scratch().join("busy"));
    let ledger = place.create().await;
    know_everybody(&ledger).await;
    let mut base = Base::new(&place.0);
    let signed = Arc::new(AtomicU64::new(0));
    let signer = tokio::spawn(sign(ledger.clone(), Arc::clone(&signed)));
    let mut seen = Seen::default();
    let before = ledger.metrics().batches.load(Ordering::Relaxed);
    let slice = Duration::from_secs(options.seconds) / SLICES;
    let mut first = 0;
    for _ in 0..SLICES {
        base.appends(options.count(100, 5));
        seen.add(call(&ledger, options.callers, (first, slice)).await);
        first += options.callers as u64;
    }
    base.appends(options.count(100, 5));
    let batches = ledger.metrics().batches.load(Ordering::Relaxed) - before;
    signer.abort();
    let signed = signed.load(Ordering::Relaxed) as f64 / seen.seconds;
    ledger.verify().await.unwrap();
    ledger.close().await;
    told(options, &seen, base.median())
        .into_iter()
        .map(|row| match row.measure {
            "busy_rate" => row.noted(format!(
                "{} entries in {batches} batches, base p50 {:.3} ms; what was written was then \
                 verified from its first entry",
                seen.millis.len(),
                base.median(),
            )),
            _ => row,
        })
        .chain([Row::new("busy_signed", "checkpoints signed meanwhile", "/s", signed)])
        .collect()
}

fn told(options: &Options, seen: &Seen, base: f64) -> Vec<Row> {
    let fast = base <= 0.3;
    let (rate, p99) = if fast { (50_000.0, 20.0) } else { (20_000.0, 30.0) };
    let title = format!("durable appends, SQLite, {} callers", options.callers);
    let rates = Row::new("busy_rate", title.clone(), "entries/s", seen.rate());
    let wait = percentile(&seen.millis, 99.0);
    let waits = Row::new("busy_p99", format!("{title}, p99"), "ms", wait).beside(base);
    let cpu = Row::new("busy_cpu", format!("{title}, CPU an entry"), "µs", seen.cpu_each());
    let part = match fast {
        true => "the base is at most 0.3 ms, so the limits are those of a fast disk",
        false => "the base is above 0.3 ms, so the limits are those of a disk of 4 ms",
    };
    vec![
        rates.limited(Limit::at_least(rate)).noted(part),
        waits.limited(Limit::at_most(p99)),
        cpu.limited(Limit::at_most(15.0)).noted(
            "of the whole process: composing the entries, waiting, the writer, SQLite, signing",
        ),
    ]
}

/// Has a checkpoint signed after each batch, or as fast as that goes, and counts them.
async fn sign(ledger: Ledger, signed: Arc<AtomicU64>) {
    let mut size = ledger.size();
    while size.changed().await.is_ok() {
        ledger.signed().await.unwrap();
        signed.fetch_add(1, Ordering::Relaxed);
    }
}

/// So many callers for a while, with stories from a number on.
pub async fn call(ledger: &Ledger, callers: usize, (first, time): (u64, Duration)) -> Seen {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let call = |caller: u64| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let mut millis = Vec::new();
            for entry in story::entries(first + caller, callers) {
                if began.elapsed() >= time {
                    break;
                }
                millis.push(wait_for(&ledger, entry).await.unwrap());
            }
            millis
        })
    };
    let tasks: Vec<_> = (0..callers as u64).map(call).collect();
    let mut millis = Vec::new();
    for task in tasks {
        millis.extend(task.await.unwrap());
    }
    Seen { millis, seconds: began.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu }
}

async fn wait_for(ledger: &Ledger, entry: NewEntry) -> Result<f64, LedgerError> {
    let asked = Instant::now();
    ledger.append("busy", vec![entry]).await?;
    Ok(asked.elapsed().as_secs_f64() * 1000.0)
}
