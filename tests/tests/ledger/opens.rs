//! Opening: the store must be ours, keep its word, and hold.

use crate::world::{World, entry, entry_of, on_both_stores};
use bastion::{
    ledger::{Ledger, OpenError, Opening, SigningKey, open::Signing},
    store::{Db, Options, StoreError},
};
use bastion_tests::postgres::Cluster;
use std::os::unix::fs::PermissionsExt as _;

on_both_stores!(
    a_store_opens_again,
    an_empty_store_is_refused,
    another_key_is_refused,
    another_schema_is_refused,
    a_second_log_is_refused,
    what_was_tampered_with_is_named,
    a_gateway_of_the_same_name_is_refused,
);

async fn a_store_opens_again(world: World) {
    let ledger = world.create().await;
    ledger.append("test", vec![entry("one")]).await.expect("appends");
    ledger.close().await;
    let ledger = world.open().await.expect("opens");
    assert_eq!(ledger.origin(), crate::world::ORIGIN);
    assert_eq!(ledger.append("test", vec![entry("two")]).await.expect("appends").seq(), 2);
}

async fn an_empty_store_is_refused(world: World) {
    if world.postgres.is_none() {
        std::fs::write(world.file(), "").expect("an empty file");
    }
    let refused = Db::open(&world.url(), Options::OPEN).await;
    assert!(matches!(&refused, Err(StoreError::Unfit(why)) if why.contains("bastion init")));
}

async fn another_key_is_refused(world: World) {
    world.create().await.close().await;
    let ours = world.opening("gw-1").await;
    let opening =
        Opening { signing: Signing::Key(Box::new(SigningKey::from_bytes(&[8; 32]))), ..ours };
    let refused = Ledger::open(world.db().await, opening).await.map(drop);
    assert!(matches!(refused, Err(OpenError::Mismatch(_))), "{refused:?}");
}

async fn another_schema_is_refused(world: World) {
    world.create().await.close().await;
    world.tamper("UPDATE migrations SET digest = 'another'").await;
    let refused = Db::open(&world.url(), Options::OPEN).await;
    assert!(matches!(&refused, Err(StoreError::Unfit(why)) if why.contains("another build")));
}

async fn a_second_log_is_refused(world: World) {
    let ledger = world.create().await;
    let refused =
        Ledger::create(ledger.db().clone(), "other", world.opening("gw-1").await).await.map(drop);
    assert!(matches!(refused, Err(OpenError::Mismatch(_))), "{refused:?}");
}

async fn what_was_tampered_with_is_named(world: World) {
    // (what is done, which entry is named, how that is put right again)
    let cases = [
        (
            "UPDATE entries SET line = (SELECT line FROM entries WHERE seq = 4) WHERE seq = 3",
            Some(3),
        ),
        ("DELETE FROM entries WHERE seq = 5", Some(5)),
        ("DELETE FROM entries WHERE seq >= 6", Some(6)),
        ("INSERT INTO entries (seq, line) SELECT 8, line FROM entries WHERE seq = 7", Some(8)),
        ("UPDATE head SET size = 7", None),
        ("UPDATE head SET leaf = (SELECT leaf FROM customer_heads)", None),
        ("UPDATE head SET time = time - 1", Some(7)),
        ("UPDATE customer_heads SET seq = seq - 1", Some(7)),
        ("UPDATE openings SET sealed = entries.line FROM entries WHERE entries.seq = 2", Some(1)),
        ("UPDATE openings SET field = 'another'", Some(1)),
        ("INSERT INTO openings SELECT 2, field, key, sealed FROM openings", Some(2)),
    ];
    for (sql, named) in cases {
        let world = world.another().await;
        let ledger = world.create().await;
        let two = vec![entry_of("acme", "one").with("note", "x"), entry_of("acme", "two")];
        ledger.append("test", two).await.expect("appends");
        let five = ["3", "4", "5", "6", "7"].map(entry).to_vec();
        ledger.append("test", five).await.expect("appends");
        ledger.close().await;
        world.tamper(sql).await;
        match (world.open().await.map(drop), named) {
            (Err(OpenError::Broken { seq, .. }), Some(named)) => assert_eq!(seq, named, "{sql}"),
            (Err(OpenError::Broken { .. } | OpenError::Store(_)), None) => {}
            other => panic!("{sql}: {other:?}"),
        }
    }
}

async fn a_gateway_of_the_same_name_is_refused(world: World) {
    let ledger = world.create().await;
    match world.postgres {
        None => {
            let refused = Db::open(&world.url(), Options::OPEN).await;
            assert!(matches!(&refused, Err(StoreError::Unfit(why)) if why.contains("in use")));
        }
        Some(_) => {
            let refused = world.open().await.map(drop);
            assert!(matches!(refused, Err(OpenError::Store(StoreError::Unavailable(_)))));
            world.open_as("gw-2").await.expect("another name opens").close().await;
            let beside = world.opening("gw-1").await.beside_gateway();
            let beside = Ledger::open(world.db().await, beside).await.expect("a command opens");
            beside.append("test", vec![entry("beside")]).await.expect("appends");
        }
    }
    ledger.append("test", vec![entry("one")]).await.expect("appends");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_its_owners_alone() {
    let world = World::sqlite();
    world.create().await.append("test", vec![entry("one")]).await.expect("appends");
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let mut path = world.file().into_os_string();
        path.push(suffix);
        let mode = std::fs::metadata(&path).expect(suffix).permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{suffix:?} has mode {mode:o}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_can_be_read_without_writing_a_byte() {
    let world = World::sqlite();
    let ledger = world.create().await;
    ledger.append("test", vec![entry("one")]).await.expect("appends");
    // Beside the gateway that runs, and after it has ended.
    for ended in [false, true] {
        if ended {
            ledger.clone().close().await;
        }
        let before = std::fs::read(world.file()).expect("the file");
        let db = Db::open(&world.url(), Options::READ_ONLY).await.expect("opens");
        let keys = world.opening("gw-1").await.keys;
        let head = bastion::ledger::open::verify_tail(&db, &keys).await.expect("holds");
        assert_eq!(head.size(), 2);
        let writer = Ledger::open(db.clone(), world.opening("gw-1").await).await.expect("opens");
        assert!(writer.append("test", vec![entry("two")]).await.is_err());
        writer.close().await;
        assert_eq!(std::fs::read(world.file()).expect("the file"), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_or_replaced_ends_the_writer() {
    for replace in [false, true] {
        let world = World::sqlite();
        let (hooks, ends) = crate::world::survivor();
        let ledger = world.create_with(hooks).await;
        std::fs::rename(world.file(), world.file().with_extension("moved")).expect("moves");
        if replace {
            std::fs::copy(world.file().with_extension("moved"), world.file()).expect("copies");
        }
        assert!(ledger.append("test", vec![entry("one")]).await.is_err());
        assert_eq!(ends.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgetful_postgres_is_refused() {
    for setting in ["fsync=off", "full_page_writes=off", "synchronous_commit=off"] {
        let postgres = Cluster::start_with(&[setting]);
        let refused = Db::open(&postgres.url(), Options::CREATE).await.map(drop);
        let name = setting.split('=').next().expect("a name");
        assert!(
            matches!(&refused, Err(StoreError::Unfit(why)) if why.contains(name)),
            "{setting}: {refused:?}"
        );
    }
}
