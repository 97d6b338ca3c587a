//! Appending: durable, linked, signed; a refusal alone; many at once.

use crate::world::{World, entry, entry_of, number, on_both_stores};
use audit_schema::checkpoint::{self, Vkey};
use bastion::{
    args,
    ledger::{ChangeError, LedgerError},
};

on_both_stores!(
    an_appended_entry_is_linked_and_signed,
    customers_have_chains_of_their_own,
    a_commitment_opens_and_an_erased_one_does_not,
    a_refused_change_leaves_nothing_and_spares_its_batch,
    a_statement_that_fails_spares_its_batch,
    a_change_that_panics_spares_its_batch,
    rows_without_an_entry_are_refused,
    an_entry_that_no_line_holds_is_refused,
    many_callers_share_batches,
    a_change_whose_caller_left_is_not_made,
    nothing_can_be_taken_back,
);

async fn an_appended_entry_is_linked_and_signed(world: World) {
    let ledger = world.create().await;
    let recorded = ledger.append("test", vec![entry("one"), entry("two")]).await.expect("appends");
    assert_eq!(recorded.seq(), 2);
    let found = ledger.entry(2).await.expect("reads").expect("is there");
    assert_eq!(found.entry.time, recorded.time());
    assert_eq!(ledger.verify().await, Ok(3));
    let note = ledger.checkpoint().await.expect("signs");
    let vkey: Vkey = ledger.vkey().parse().expect("a key");
    let head = checkpoint::verify(&note, &vkey).expect("verifies");
    assert_eq!((head.size, head.origin.as_str()), (3, crate::world::ORIGIN));
}

async fn customers_have_chains_of_their_own(world: World) {
    let ledger = world.create().await;
    for text in ["a", "b", "c"] {
        let both = vec![entry_of("acme", text), entry(text), entry_of("globex", text)];
        ledger.append("test", both).await.expect("appends");
    }
    let mut lines = ledger.lines(0, u64::MAX).await.expect("reads");
    let mut places = Vec::new();
    while let Some(found) = lines.next().await.expect("holds") {
        places.extend(found.entry.customer.map(|link| (link.id, link.seq)));
    }
    let of = |customer: &str| -> Vec<u64> {
        places.iter().filter(|(id, _)| id == customer).map(|(_, seq)| *seq).collect()
    };
    assert_eq!((of("acme"), of("globex")), (vec![0, 1, 2], vec![0, 1, 2]));
}

async fn a_commitment_opens_and_an_erased_one_does_not(world: World) {
    let ledger = world.create().await;
    let secret = entry("one").with("justification", "disk full, \"quoted\" ü\0").with("case", "");
    let recorded = ledger.append("test", vec![secret]).await.expect("appends");
    let found = ledger.entry(recorded.seq()).await.expect("reads").expect("is there");
    let openings = ledger.openings(recorded.seq()).await.expect("reads");
    assert_eq!(openings.len(), 2);
    assert!(openings.iter().all(|opening| opening.check(&found.entry).is_ok()));
    assert_eq!(openings[1].value, "disk full, \"quoted\" ü\u{2400}");
    // An erasure is a change like any other: with an entry.
    let seq = recorded.seq();
    let erasure = ledger.record("erase", move |batch| {
        Box::pin(async move {
            batch.tx().run("DELETE FROM openings WHERE seq = $1", &args![seq]).await?;
            batch.append(entry("erased")).await.map(drop)
        })
    });
    erasure.await.expect("erases");
    assert!(ledger.openings(seq).await.expect("reads").is_empty());
    assert_eq!(ledger.verify().await, Ok(3));
}

async fn a_refused_change_leaves_nothing_and_spares_its_batch(world: World) {
    let ledger = world.create().await;
    let mut calls = Vec::new();
    for number in 0..100_u64 {
        let ledger = ledger.clone();
        calls.push(tokio::spawn(async move {
            let refuses = number % 3 == 0;
            let change = ledger.record("settings", move |batch| {
                Box::pin(async move {
                    batch.append(entry_of("acme", "setting")).await?;
                    let key = format!("key-{number}");
                    let insert = "INSERT INTO settings (key, value) VALUES ($1, 'x')";
                    batch.tx().run(insert, &args![key]).await?;
                    match refuses {
                        true => Err(ChangeError::refused("test", "not this one")),
                        false => Ok(number),
                    }
                })
            });
            (refuses, change.await)
        }));
    }
    let mut recorded = 0;
    for call in calls {
        match call.await.expect("ends") {
            (true, Err(LedgerError::Refused(refusal))) => assert_eq!(refusal.code, "test"),
            (false, Ok(_)) => recorded += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ledger.verify().await, Ok(recorded + 1));
    let rows = number(ledger.db(), "SELECT COUNT(*) FROM settings WHERE key LIKE 'key-%'").await;
    assert_eq!(rows, Ok(recorded as i64));
}

async fn a_statement_that_fails_spares_its_batch(world: World) {
    let ledger = world.create().await;
    let mut calls = Vec::new();
    for _ in 0..50 {
        let ledger = ledger.clone();
        calls.push(tokio::spawn(async move {
            let change = ledger.record("settings", |batch| {
                Box::pin(async move {
                    batch.append(entry("setting")).await?;
                    let insert = "INSERT INTO settings (key, value) VALUES ('same', 'x')";
                    batch.tx().run(insert, &[]).await?;
                    Ok(())
                })
            });
            change.await.is_ok()
        }));
    }
    let mut recorded = 0;
    for call in calls {
        recorded += u64::from(call.await.expect("ends"));
    }
    assert_eq!(recorded, 1);
    assert_eq!(ledger.verify().await, Ok(2));
}

async fn a_change_that_panics_spares_its_batch(world: World) {
    let ledger = world.create().await;
    let panics = ledger.record::<(), _>("panics", |batch| {
        Box::pin(async move {
            batch.append(entry("never")).await?;
            panic!("as the test wants")
        })
    });
    let good = ledger.append("test", vec![entry("one")]);
    let (panicked, appended) = tokio::join!(panics, good);
    assert!(matches!(panicked, Err(LedgerError::Failed(_))), "{panicked:?}");
    assert_eq!(appended.expect("appends").seq(), 1);
    assert_eq!(ledger.verify().await, Ok(2));
}

async fn rows_without_an_entry_are_refused(world: World) {
    let ledger = world.create().await;
    let silent = ledger.record("silent", |batch| {
        Box::pin(async move {
            let insert = "INSERT INTO settings (key, value) VALUES ('silent', 'x')";
            batch.tx().run(insert, &[]).await?;
            Ok(())
        })
    });
    assert!(matches!(silent.await, Err(LedgerError::Failed(_))));
    let rows = number(ledger.db(), "SELECT COUNT(*) FROM settings WHERE key = 'silent'").await;
    assert_eq!(rows, Ok(0));
}

async fn an_entry_that_no_line_holds_is_refused(world: World) {
    let ledger = world.create().await;
    let long = ledger.append("long", vec![entry(&"x".repeat(70_000))]).await;
    assert!(matches!(&long, Err(LedgerError::Refused(r)) if r.code == "entry_invalid"), "{long:?}");
    assert_eq!(ledger.append("test", vec![entry("one")]).await.expect("appends").seq(), 1);
}

async fn many_callers_share_batches(world: World) {
    let ledger = world.create().await;
    let calls: Vec<_> = (0..1000)
        .map(|n| {
            let ledger = ledger.clone();
            let customer = ["acme", "globex", "initech"][n % 3];
            tokio::spawn(async move {
                let entry = entry_of(customer, "x").with("note", format!("note {n}"));
                ledger.append("test", vec![entry]).await.expect("appends").seq()
            })
        })
        .collect();
    let mut seqs = Vec::new();
    for call in calls {
        seqs.push(call.await.expect("ends"));
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=1000).collect::<Vec<_>>());
    assert_eq!(ledger.verify().await, Ok(1001));
    let batches = ledger.metrics().batches.load(std::sync::atomic::Ordering::Relaxed);
    assert!(batches < 500, "{batches} batches for 1000 entries");
}

async fn a_change_whose_caller_left_is_not_made(world: World) {
    let ledger = world.create().await;
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let slow = ledger.clone();
    let slow = tokio::spawn(async move {
        let change = slow.record("slow", |batch| {
            Box::pin(async move {
                begun.send(()).expect("the test listens");
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                batch.append(entry("slow")).await.map(drop)
            })
        });
        change.await.expect("appends").seq()
    });
    has_begun.await.expect("begins");
    let left = ledger.append("left", vec![entry("left")]);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), left).await.is_err());
    assert_eq!(slow.await.expect("ends"), 1);
    assert_eq!(ledger.append("next", vec![entry("next")]).await.expect("appends").seq(), 2);
    assert_eq!(ledger.verify().await, Ok(3));
}

async fn nothing_can_be_taken_back(world: World) {
    let ledger = world.create().await;
    let one = vec![entry_of("acme", "one").with("note", "secret")];
    ledger.append("test", one).await.expect("appends");
    ledger.close().await;
    let mut attempts = vec![
        ("UPDATE entries SET line = line", "append-only"),
        ("DELETE FROM entries WHERE seq = 1", "append-only"),
        ("INSERT INTO entries (seq, line) SELECT 7, line FROM entries WHERE seq = 1", "gap-free"),
        ("UPDATE head SET size = 1", "only grows"),
        ("DELETE FROM head", "only grows"),
        ("UPDATE customer_heads SET seq = 0", "only grows"),
        ("DELETE FROM customer_heads", "only grows"),
        ("UPDATE openings SET key = 1", "written once"),
    ];
    if world.postgres.is_some() {
        attempts.extend([
            ("TRUNCATE entries", "append-only"),
            ("TRUNCATE head", "only grows"),
            ("TRUNCATE customer_heads", "only grows"),
            ("TRUNCATE openings", "written once"),
        ]);
    }
    for (sql, complaint) in attempts {
        let said = world.refused(sql).await;
        assert!(said.contains(complaint), "{sql}: {said}");
    }
    assert_eq!(world.open().await.expect("opens").verify().await, Ok(2));
}
