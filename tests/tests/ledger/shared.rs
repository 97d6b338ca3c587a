//! Several gateways on one PostgreSQL.

use crate::world::{World, entry_of};
use bastion::{args, ledger::Ledger};

/// Two gateways, each with many callers, and one chain.
#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_interleave_ten_thousand_entries_into_one_chain() {
    let world = World::postgres();
    let one = world.create().await;
    let two = world.open_as("gw-2").await.expect("opens");
    let calls: Vec<_> = (0..10_000_usize)
        .map(|n| {
            let ledger: Ledger = if n % 2 == 0 { one.clone() } else { two.clone() };
            let customer = ["acme", "globex", "initech"][n % 3];
            tokio::spawn(async move {
                let entry = entry_of(customer, "x");
                ledger.append("test", vec![entry]).await.expect("appends").seq()
            })
        })
        .collect();
    let mut seqs = Vec::new();
    for call in calls {
        seqs.push(call.await.expect("ends"));
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=10_000).collect::<Vec<_>>());
    assert_eq!(one.verify().await, Ok(10_001));
    let mut lines = one.lines(0, u64::MAX).await.expect("reads");
    let mut turns = 0;
    let mut before = String::new();
    while let Some(found) = lines.next().await.expect("holds") {
        turns += u32::from(found.entry.gateway != before);
        before = found.entry.gateway;
    }
    assert!(turns > 10, "the gateways took {turns} turns only");
}

/// A fact that one gateway changes is seen by the next change of the other, never later.
#[tokio::test(flavor = "multi_thread")]
async fn a_fact_read_in_a_change_cannot_be_stale() {
    let world = World::postgres();
    let one = world.create().await;
    let two = world.open_as("gw-2").await.expect("opens");
    let calls: Vec<_> = (0..400_usize)
        .map(|n| {
            let ledger: Ledger = if n % 2 == 0 { one.clone() } else { two.clone() };
            tokio::spawn(async move {
                let change = ledger.record("count", |batch| {
                    Box::pin(async move {
                        let tx = batch.tx();
                        let read = "SELECT value FROM settings WHERE key = 'count'";
                        let row = tx.row_opt(read, &[]).await?;
                        let count: u64 = row.map_or(Ok(0), |row| row.parsed(0))?;
                        tx.run(
                            "INSERT INTO settings (key, value) VALUES ('count', $1)
                             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                            &args![(count + 1).to_string()],
                        )
                        .await?;
                        batch.append(entry_of("acme", "count")).await?;
                        Ok(count)
                    })
                });
                change.await.expect("records").into_inner()
            })
        })
        .collect();
    let mut counts = Vec::new();
    for call in calls {
        counts.push(call.await.expect("ends"));
    }
    counts.sort_unstable();
    assert_eq!(counts, (0..400).collect::<Vec<_>>());
}
