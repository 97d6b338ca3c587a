//! The query index beside a log that is written to at a steady pace: how far it is behind. And how
//! fast it catches up.

use crate::{
    bench::row::percentile,
    logbench::{
        options::Options,
        report::{Limit, Row},
        store::{filled, paced},
        story,
    },
};
use bastion::ledger::{Ledger, NewEntry, projection::Projection};
use std::time::{Duration, Instant};

/// What the index must follow.
const PACE: usize = 10_000;

/// A change of these every hundredth of a second is that pace.
const AT_ONCE: usize = PACE / 100;

pub async fn rows(options: &Options) -> Vec<Row> {
    let (place, _) = filled(options).await;
    let ledger = place.open().await;
    let size = *ledger.size().borrow();
    let mut entries = story::entries(size, 1);
    let behind = options.count(5 * PACE, 200);
    for _ in 0..behind / AT_ONCE {
        append(&ledger, &mut entries).await;
    }
    let index = place.index(&ledger).await;
    let lag = index.lag();
    let (catching_up, ()) = paced(async {
        while index.lag() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (lag, ())
    })
    .await;
    let steps = options.count(100 * usize::try_from(options.seconds).unwrap(), 20);
    let (written, seen) = beside(&ledger, &index, (&mut entries, steps)).await;
    let lags = lags(&written, &seen);
    drop(index);
    ledger.close().await;
    let pace = AT_ONCE as f64 * steps as f64 / written.last().map_or(f64::NAN, |last| last.0);
    let title = |what: &str| format!("query index at {size} entries, {what}");
    vec![
        Row::new("projection_rate", title("catching up"), "entries/s", catching_up.rate)
            .limited(Limit::at_least(PACE as f64))
            .noted(format!("{lag} entries, {:.1} µs of CPU for each", catching_up.cpu)),
        Row::new("projection_lag", title("p99 lag"), "ms", percentile(&lags, 99.0))
            .limited(Limit::at_most(1000.0))
            .noted(format!("beside {pace:.0} entries a second")),
    ]
}

async fn append(ledger: &Ledger, entries: &mut (impl Iterator<Item = NewEntry> + Send)) -> u64 {
    let new = entries.take(AT_ONCE).collect();
    ledger.append("pace", new).await.unwrap().seq()
}

/// Seconds since the beginning, and an entry.
type Moment = (f64, u64);

/// Writes at the pace; answers when each last entry of a change was answered, and when the index
/// was seen to have how many.
async fn beside(
    ledger: &Ledger,
    index: &Projection,
    (entries, steps): (&mut (impl Iterator<Item = NewEntry> + Send), usize),
) -> (Vec<Moment>, Vec<Moment>) {
    let began = Instant::now();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let watch = tokio::spawn(watch((ledger.clone(), index.clone()), began, stopped));
    let mut written = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    // A flush that took long is made up for.
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for _ in 0..steps {
        tick.tick().await;
        let last = append(ledger, entries).await;
        written.push((began.elapsed().as_secs_f64(), last));
    }
    while index.lag() > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The watcher sees that, too.
    tokio::time::sleep(Duration::from_millis(20)).await;
    stop.send_replace(true);
    (written, watch.await.unwrap())
}

/// How many entries the index has had, at each moment.
async fn watch(
    (ledger, index): (Ledger, Projection),
    began: Instant,
    stopped: tokio::sync::watch::Receiver<bool>,
) -> Vec<Moment> {
    let mut seen: Vec<Moment> = Vec::new();
    let size = ledger.size();
    while !*stopped.borrow() {
        let now = size.borrow().saturating_sub(index.lag());
        if seen.last().is_none_or(|(_, before)| *before < now) {
            seen.push((began.elapsed().as_secs_f64(), now));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    seen
}

/// Milliseconds from an answer until the index had it.
fn lags(written: &[Moment], seen: &[Moment]) -> Vec<f64> {
    let lag = |(at, last): &Moment| {
        let place = seen.partition_point(|(_, entries)| entries <= last);
        let (had, _) = seen.get(place)?;
        Some(((had - at) * 1000.0).max(0.0))
    };
    written.iter().filter_map(lag).collect()
}
