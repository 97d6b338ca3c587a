//! Several gateways on one PostgreSQL.

use crate::world::{World, entry_of};
use bastion::{
    args,
    ledger::{Ledger, LedgerError},
    store::{Db, Options},
};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Two gateways, each with many callers, and one chain.
#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_interleave_ten_thousand_entries_into_one_chain() {
    let world = World::postgres();
    let one = world.create().await;
    let two = world.open_as("gw-2").await.expect("opens");
    // A hundred at a time: all at once they would fit into ten batches, and so into ten turns.
    let places = Arc::new(Semaphore::new(100));
    let calls: Vec<_> = (0..10_000_usize)
        .map(|n| {
            let ledger: Ledger = if n % 2 == 0 { one.clone() } else { two.clone() };
            let customer = ["acme", "globex", "initech"][n % 3];
            let places = Arc::clone(&places);
            tokio::spawn(async move {
                let _place = places.acquire_owned().await.expect("open");
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

/// A server that goes away is waited for, not guessed about: what could not be recorded is said to
/// be so, and the log goes on when the server is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_and_comes_back_loses_nothing() {
    let mut world = World::postgres();
    let ledger = world.create().await;
    ledger.append("before", vec![entry_of("acme", "x")]).await.expect("appends");
    world.cluster().stop();
    let refused = ledger.append("gone", vec![entry_of("acme", "x")]).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    world.cluster().start_again();
    let back = ledger.append("back", vec![entry_of("acme", "x")]).await.expect("appends again");
    assert_eq!(back.seq(), 2);
    assert_eq!(ledger.verify().await, Ok(3));
}

/// A gateway that freezes with the head of the log in its hand loses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_hangs_is_refused_and_frees_the_head() {
    let world = World::postgres();
    let one = world.create().await;
    let two = world.open_as("gw-2").await.expect("opens");
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let hangs = tokio::spawn(async move {
        let change = one.record::<(), _>("hangs", |batch| {
            Box::pin(async move {
                batch.append(entry_of("acme", "x")).await?;
                begun.send(()).expect("the test listens");
                std::future::pending().await
            })
        });
        change.await
    });
    has_begun.await.expect("begins");
    let other = two.append("other", vec![entry_of("acme", "x")]).await.expect("appends");
    assert_eq!(other.seq(), 1);
    let refused = hangs.await.expect("ends");
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
}

/// Fails with the names of tables that a migration brought and the role was not given.
const UNGRANTED: &str = "DO $$ DECLARE ungranted text; BEGIN
    SELECT string_agg(relname, ', ') INTO ungranted FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
      AND NOT (has_table_privilege('bastion_gateway', oid, 'SELECT')
               AND (relname IN ('migrations', 'head')
                    OR has_table_privilege('bastion_gateway', oid, 'INSERT')));
    IF ungranted IS NOT NULL THEN RAISE EXCEPTION 'not granted: %', ungranted; END IF;
END $$";

/// The gateway's role needs no more than to read and append.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_can_only_append_is_enough() {
    let world = World::postgres();
    world.create().await.close().await;
    world
        .script(include_str!("../../../bastion/migrations/postgres/role.sql"))
        .await
        .expect("role");
    world.script(UNGRANTED).await.expect("each table is granted");
    let url = world.url().replace("bastion@", "bastion_gateway@");
    let db = Db::open(&url, Options::OPEN).await.expect("opens");
    let ledger = Ledger::open(db, world.opening("gw-1").await).await.expect("opens");
    let secret = entry_of("acme", "x").with("note", "a note");
    ledger.append("test", vec![secret]).await.expect("appends");
    ledger.started("digest", 0).await.expect("records");
    for sql in [
        "ALTER TABLE entries DISABLE TRIGGER ALL",
        "DELETE FROM entries",
        "TRUNCATE entries",
        "UPDATE entries SET line = line",
        "DELETE FROM head",
        "SET session_replication_role = replica",
        "DROP TABLE entries",
    ] {
        let said = world.script_as(&url, sql).await.expect_err(sql).to_string();
        assert!(said.contains("permission denied") || said.contains("must be owner"), "{said}");
    }
    assert_eq!(ledger.verify().await, Ok(3));
}
