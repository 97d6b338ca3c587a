//! A log that is less than somebody remembers, or another, is not started; and how it goes on.

use crate::{
    folder::{Temporary, check},
    world::{World, entry, entry_of, on_both_stores},
};
use audit_schema::{checkpoint, event::Event, export::verify_export};
use bastion::ledger::{
    Ledger, OpenError, Opening,
    epochs::{self, EpochError, NewEpoch},
    mark::{Mark, Remembered},
    publish::{Folder, Publisher},
};
use std::{path::PathBuf, sync::Arc};

on_both_stores!(
    an_older_backup_is_refused_every_time,
    a_loss_is_gone_past_in_a_ceremony_alone,
    another_log_of_the_same_length_is_refused,
);

/// Whatever store is opened, the keys of data subjects are those of the first.
struct Gateway<'a> {
    world: &'a World,
    mark: PathBuf,
}

impl Gateway<'_> {
    async fn opening(&self) -> Opening {
        let mark = Arc::new(Mark::open(&self.mark).expect("a mark"));
        self.world.opening("gw-1").await.marked(mark)
    }
    async fn open(&self, store: &World) -> Result<Ledger, OpenError> {
        Ledger::open(store.db().await, self.opening().await).await
    }
}

/// The store as it is now, kept aside. (No gateway has it open.)
async fn backup(world: &World) -> World {
    let kept = world.another().await;
    copy(world, &kept).await;
    kept
}

async fn copy(from: &World, to: &World) {
    match &from.postgres {
        None => {
            // Closed, so that the write-ahead log is empty.
            std::fs::copy(from.file(), to.file()).expect("copies");
        }
        Some(cluster) => {
            let beside = cluster.url_of("template1");
            let (name, whole) = (database(to), database(from));
            let drop = format!("DROP DATABASE {name}");
            from.script_as(&beside, &drop).await.expect("drops");
            let copy = format!("CREATE DATABASE {name} TEMPLATE {whole}");
            let mut copied = from.script_as(&beside, &copy).await;
            for _ in 0..50 {
                if copied.is_ok() {
                    break;
                }
                // The server needs a moment to see that everybody has left.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                copied = from.script_as(&beside, &copy).await;
            }
            copied.expect("copies");
        }
    }
}

/// The name of a store's database: the last part of its URL's path.
fn database(world: &World) -> String {
    let url = world.url();
    let path = url.split('?').next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Many backups, each put back after the log has gone on.
async fn an_older_backup_is_refused_every_time(world: World) {
    let dir = Temporary::new();
    let gateway = Gateway { world: &world, mark: dir.path().join("high-water") };
    world.create().await.close().await;
    let mut refused = 0;
    for round in 0..12_u64 {
        let ledger = gateway.open(&world).await.expect("opens");
        ledger.append("test", vec![entry_of("acme", "x")]).await.expect("appends");
        let kept_size = *ledger.size().borrow();
        ledger.close().await;
        let kept = backup(&world).await;
        let ledger = gateway.open(&world).await.expect("opens");
        for _ in 0..=round % 3 {
            ledger.append("test", vec![entry_of("globex", "x")]).await.expect("appends");
        }
        let size = *ledger.size().borrow();
        ledger.close().await;
        let error = gateway.open(&kept).await.err().expect("an older backup was opened");
        let said = error.to_string();
        assert!(said.contains(&format!("{kept_size} to {} are lost", size - 1)), "{said}");
        assert!(said.contains("new-epoch --lost"), "{said}");
        refused += 1;
    }
    assert_eq!(refused, 12);
    gateway.open(&world).await.expect("the newest store opens").close().await;
}

async fn another_log_of_the_same_length_is_refused(world: World) {
    let dir = Temporary::new();
    let gateway = Gateway { world: &world, mark: dir.path().join("high-water") };
    world.create().await.close().await;
    let kept = backup(&world).await;
    for (store, what) in [(&world, "one"), (&kept, "another")] {
        let own = Gateway { world: gateway.world, mark: dir.path().join(what) };
        let ledger = own.open(store).await.expect("opens");
        ledger.append("test", vec![entry(what), entry("x")]).await.expect("appends");
        ledger.close().await;
    }
    std::fs::copy(dir.path().join("one"), &gateway.mark).expect("copies");
    gateway.open(&world).await.expect("its own").close().await;
    let error = gateway.open(&kept).await.err().expect("another log was opened");
    assert!(error.to_string().contains("are not those"), "{error}");
    // And so says whoever else remembers.
    let head = Mark::open(&gateway.mark).unwrap().last().unwrap().head;
    let what = Remembered { origin: crate::world::ORIGIN.into(), head };
    let opening = world.opening("gw-1").await.remembered_by("the witness w", what);
    let error = Ledger::open(kept.db().await, opening).await.err().expect("opened");
    assert!(error.to_string().contains("the witness w remembers"), "{error}");
}

async fn a_loss_is_gone_past_in_a_ceremony_alone(world: World) {
    let dir = Temporary::new();
    let gateway = Gateway { world: &world, mark: dir.path().join("high-water") };
    world.create().await.close().await;
    let ledger = gateway.open(&world).await.expect("opens");
    ledger.append("test", vec![entry_of("acme", "kept")]).await.expect("appends");
    ledger.close().await;
    let kept = backup(&world).await;
    let ledger = gateway.open(&world).await.expect("opens");
    let lost: Vec<_> = (0..5).map(|_| entry_of("acme", "lost")).collect();
    ledger.append("test", lost).await.expect("appends");
    let old_note = ledger.checkpoint().await.expect("signs");
    let old_vkey = ledger.vkey().parse().expect("a key");
    ledger.close().await;
    let begin = |from: u64, to: u64| {
        let (db, opening) = (kept.db(), gateway.opening());
        async move {
            let new = NewEpoch {
                lost: from..=to,
                reason: "the disk died".into(),
                actor: entry("x").actor,
                tell: Box::new(|_, _| Box::pin(async { Ok(()) })),
            };
            epochs::begin(&db.await, &opening.await, new).await
        }
    };
    // What is lost is entries 2 to 6, and nothing else is let through.
    for (from, to) in [(2, 5), (1, 6), (3, 6), (2, 7)] {
        let wrong = begin(from, to).await.expect_err("it is not what is lost");
        assert!(wrong.to_string().contains("--lost 2-6"), "{wrong}");
    }
    let origin = begin(2, 6).await.expect("goes on");
    assert_eq!(origin, format!("{}/epoch-2", crate::world::ORIGIN));
    let again = begin(2, 6).await;
    assert!(matches!(again, Err(EpochError::Nothing(_))), "{again:?}");
    // The store before the loss is another history now, and the backup without the ceremony too.
    let stale = gateway.open(&world).await.err().expect("opened");
    assert!(stale.to_string().contains("never heard of"), "{stale}");
    let ledger = gateway.open(&kept).await.expect("opens");
    assert_eq!(ledger.origin(), origin);
    assert_eq!(ledger.deployment(), crate::world::ORIGIN);
    let first = ledger.entry(2).await.expect("reads").expect("is there").entry;
    let old = checkpoint::verify(&old_note, &old_vkey).expect("holds");
    match first.event() {
        Some(Event::LogEpoch { lost_from: 2, lost_to: 7, old_root, old_size: 7, .. }) => {
            assert_eq!(old_root, old.root.to_string());
        }
        other => panic!("{other:?}"),
    }
    ledger.append("test", vec![entry_of("acme", "after")]).await.expect("appends");
    // The whole log holds under the new name, and is published beside the old.
    let note = ledger.checkpoint().await.expect("signs");
    let vkey = ledger.vkey().parse().expect("a key");
    let mut lines = ledger.lines(0, u64::MAX).await.expect("reads");
    let mut export = Vec::new();
    while let Some(found) = lines.next().await.expect("holds") {
        export.push([found.line, b"\n".to_vec()].concat());
    }
    let verified = verify_export(&export, Some((&note, &vkey))).expect("holds");
    assert_eq!(verified.beyond, 0);
    let folder = Folder::open(&dir.path().join(ledger.epoch_folder())).expect("a folder");
    let mut publisher = Publisher::open(&ledger, folder).await.expect("opens");
    publisher.round().await.expect("publishes");
    check(&dir.path().join("epoch-2"), &ledger.vkey()).expect("holds");
    ledger.close().await;
}
