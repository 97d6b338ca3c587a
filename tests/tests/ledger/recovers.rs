//! What a crash left open is closed at the next start; starting and stopping stand in the log.

use crate::world::{World, entry, number, on_both_stores};
use audit_schema::event::Event;
use bastion::{
    args,
    ledger::{Ledger, RecordingFound, recover::Recovery},
};

on_both_stores!(what_a_crash_left_open_is_closed, a_stop_is_clean_and_a_crash_is_not);

/// What is open of a gateway: a session with a lease and a recording.
async fn open_lease(ledger: &Ledger, gateway: &'static str) {
    let change = ledger.record("open", move |batch| {
        Box::pin(async move {
            batch.append(entry("open")).await?;
            let now = batch.now();
            let session = format!("s-{gateway}");
            batch
                .tx()
                .run(
                    "INSERT INTO sessions (id, gateway, role, subject, source, opened_at)
                     VALUES ($1, $2, 'operator', 'op-1', '192.0.2.1', $3)",
                    &args![&session, gateway, now],
                )
                .await?;
            batch
                .tx()
                .run(
                    "INSERT INTO leases (id, serial, gateway, session, operator, customer, service,
                       vm, instance, account, level, kind, ticket, revision, source, recording,
                       granted_at, deadline)
                     VALUES ($1, 1, $2, $3, 'op-1', 'acme', 'acme-pg', 'pg-1.acme', 'i-1', 'ops',
                       'troubleshoot', 'shell', $4, $5, '192.0.2.1', 'r-1', $6, $6)",
                    &args![
                        format!("l-{gateway}"),
                        gateway,
                        session,
                        Option::<&str>::None,
                        Option::<i64>::None,
                        now
                    ],
                )
                .await?;
            Ok(())
        })
    });
    change.await.expect("records");
}

async fn what_a_crash_left_open_is_closed(world: World) {
    let ledger = world.create().await;
    open_lease(&ledger, "gw-1").await;
    open_lease(&ledger, "gw-2").await;
    ledger.close().await;
    let ledger = world.open().await.expect("opens");
    let mut asked = Vec::new();
    let recovery = ledger.recover(|recording| {
        asked.push(recording.id.to_string());
        Some(RecordingFound { bytes: 9, digest: "ab".repeat(32), missing: 3, unsealed: 0 })
    });
    assert_eq!(recovery.await, Ok(Recovery { leases: 1, sessions: 1 }));
    assert_eq!(asked, ["r-1"]);
    let open = "SELECT COUNT(*) FROM leases WHERE closed_at IS NULL";
    assert_eq!(number(ledger.db(), open).await, Ok(1), "the other gateway's lease is not ours");
    let lease = ledger.entry(3).await.expect("reads").expect("is there").entry;
    assert_eq!(lease.customer.as_ref().map(|link| link.id.as_str()), Some("acme"));
    match lease.event() {
        Some(Event::Recovered {
            lease,
            recording_bytes,
            recording_missing,
            recording_unsealed,
            session,
            ..
        }) => {
            assert_eq!((recording_missing, recording_unsealed), (Some(3), None));
            assert_eq!(lease.as_deref(), Some("l-gw-1"));
            assert_eq!((recording_bytes, session.as_deref()), (Some(9), Some("s-gw-1")));
        }
        other => panic!("{other:?}"),
    }
    let again = ledger.recover(|_| None).await;
    assert_eq!(again, Ok(Recovery::default()));
    assert_eq!(ledger.verify().await, Ok(5));
}

async fn a_stop_is_clean_and_a_crash_is_not(world: World) {
    let mut clean = Vec::new();
    for stops in [true, false, true] {
        let ledger = match clean.is_empty() {
            true => world.create().await,
            false => world.open().await.expect("opens"),
        };
        let started = ledger.started("digest", 0).await.expect("records");
        let entry = ledger.entry(started.seq()).await.expect("reads").expect("is there").entry;
        match entry.event() {
            Some(Event::GatewayStarted { clean: was, .. }) => clean.push(was),
            other => panic!("{other:?}"),
        }
        if stops {
            ledger.stopped("test").await.expect("records");
        }
        ledger.close().await;
    }
    assert_eq!(clean, [true, true, false]);
}
