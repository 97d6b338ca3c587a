//! How fast the log is: `ledger-bench STORE [CALLERS] [SECONDS] [KEYS]`.
//!
//! Two numbers: how long an append takes when nothing else happens, and how many entries a second
//! are durable with many callers, each of which waits for its entry before it asks for the next.
//! The store must be empty (`sqlite:/path/bench.db`, `postgres://…`); use the disk that the log
//! will have, a temporary file system says nothing.

use audit_schema::event::{Actor, ActorKind, Event};
use bastion::{
    ledger::{Ledger, NewEntry, Opening, SigningKey, SubjectKeys},
    store::{Db, Options},
};
use std::{
    error::Error,
    time::{Duration, Instant},
};

const IDLE_APPENDS: usize = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let store = words.next().ok_or("usage: ledger-bench STORE [CALLERS] [SECONDS] [KEYS]")?;
    let callers: usize = words.next().map_or(Ok(512), |word| word.parse())?;
    let seconds: u64 = words.next().map_or(Ok(10), |word| word.parse())?;
    let db = Db::open(&store, Options::CREATE).await?;
    let beside = std::env::temp_dir().join(format!("ledger-bench-{}.keys", std::process::id()));
    let keys = words.next().unwrap_or_else(|| format!("sqlite:{}", beside.display()));
    let keys = SubjectKeys::create(&keys).await?;
    let opening = Opening::new("bench", SigningKey::from_bytes(&[7; 32]), keys);
    let ledger = Ledger::create(db, "bench.example/log", opening).await?;
    idle(&ledger).await?;
    busy(&ledger, callers, Duration::from_secs(seconds)).await?;
    let began = Instant::now();
    let entries = ledger.verify().await?;
    let took = began.elapsed().as_secs_f64();
    println!("verified: {entries} entries in {took:.1} s");
    ledger.close().await;
    // Another place was named where it is not there.
    std::fs::remove_file(beside).ok();
    Ok(())
}

/// About what a channel's closing entry weighs, in a customer's chain, with a commitment.
fn entry(number: usize) -> Result<NewEntry, Box<dyn Error + Send + Sync>> {
    let actor = Actor { id: "bench".into(), kind: ActorKind::Gateway };
    let event = Event::GatewayStopped { reason: "x".repeat(150) };
    let customer = format!("customer-{}", number % 50).parse()?;
    Ok(NewEntry::new(actor, event).of_customer(&customer).with("note", "a justification"))
}

async fn idle(ledger: &Ledger) -> Result<(), Box<dyn Error>> {
    let mut waits = Vec::new();
    for number in 0..IDLE_APPENDS {
        let entry = entry(number).map_err(|error| error.to_string())?;
        let began = Instant::now();
        ledger.append("idle", vec![entry]).await?;
        waits.push(began.elapsed());
    }
    print_waits("idle", waits);
    Ok(())
}

async fn busy(ledger: &Ledger, callers: usize, time: Duration) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while began.elapsed() < time {
                    let asked = Instant::now();
                    let entry = entry(caller)?;
                    ledger.append("busy", vec![entry]).await?;
                    waits.push(asked.elapsed());
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(waits)
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await?.map_err(|error| error.to_string())?);
    }
    let rate = waits.len() as f64 / began.elapsed().as_secs_f64();
    let batches = ledger.metrics().batches.load(std::sync::atomic::Ordering::Relaxed);
    println!("busy: {callers} callers, {rate:.0} entries/s, {batches} batches in all");
    print_waits("busy", waits);
    Ok(())
}

fn print_waits(what: &str, mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let at = |part: f64| {
        let index = (waits.len() as f64 * part) as usize;
        waits.get(index.min(waits.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    let millis = |wait: Duration| wait.as_secs_f64() * 1000.0;
    let (p50, p99) = (millis(at(0.5)), millis(at(0.99)));
    println!("{what}: {} appends, p50 {p50:.2} ms, p99 {p99:.2} ms", waits.len());
}
