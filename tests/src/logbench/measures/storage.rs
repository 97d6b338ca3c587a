//! What an entry takes of the disk.

use crate::logbench::{
    options::Options,
    report::{Limit, Row},
    store::{Pace, Place, filled},
};

pub async fn rows(options: &Options) -> Vec<Row> {
    let (place, filling) = filled(options).await;
    let ledger = place.open().await;
    let entries = *ledger.size().borrow() as f64;
    ledger.close().await;
    let each = |names: &[&str]| place.bytes(names) as f64 / entries;
    let bundles = each(&["tiles/tile/entries"]);
    let tiles = each(&["tiles"]) - bundles;
    let store = each(&["bastion.db", "keys.db", "high-water"]);
    let index = each(&["index.db"]);
    let lines = line_bytes(&place).await;
    let mut rows = vec![
        Row::new("storage_tiles", "storage for each entry, hash tiles", "B", tiles)
            .limited(Limit::at_most(32.2)),
        Row::new(
            "storage_all",
            "storage for each entry, store, index and tiles",
            "B",
            store + index + tiles,
        )
        .limited(Limit::at_most(900.0))
        .noted(format!(
            "{entries} entries with lines of {lines:.0} B on average; the store with its \
                 openings {store:.0} B, the query index {index:.0} B; the published bundles, a \
                 copy of the lines for others, {bundles:.0} B more"
        )),
    ];
    rows.extend(filling.indexed.map(|pace| paced("indexing from the first entry", pace)));
    rows.extend(filling.published.map(|pace| paced("publishing from the first entry", pace)));
    rows
}

fn paced(title: &'static str, pace: Pace) -> Row {
    let row = Row::new("filling", title, "entries/s", pace.rate);
    row.noted(format!("{:.1} µs of CPU for each of {} entries", pace.cpu, pace.entries))
}

/// What a line weighs, of the last thousands.
async fn line_bytes(place: &Place) -> f64 {
    let ledger = place.open().await;
    let size = *ledger.size().borrow();
    let mut lines = ledger.lines(size.saturating_sub(5_000), size).await.unwrap();
    let (mut bytes, mut count) = (0, 0);
    while let Some(found) = lines.next().await.unwrap() {
        bytes += found.line.len();
        count += 1;
    }
    ledger.close().await;
    bytes as f64 / f64::from(count.max(1))
}
