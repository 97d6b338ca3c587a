//! What is published is the log: whatever was there, and wherever a write failed.

use crate::{
    folder::{Temporary, check, files},
    world::{World, entry_of, on_both_stores},
};
use audit_schema::{checkpoint::Vkey, merkle, proof::Proof};
use bastion::ledger::{
    Ledger, Shown,
    hooks::Fault,
    publish::{Folder, PublishError, Publisher, Write},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

on_both_stores!(
    what_is_published_is_the_log,
    each_write_that_fails_is_made_up_for,
    proofs_of_old_entries_come_from_the_tiles,
);

async fn append(ledger: &Ledger, count: usize) {
    let entries = (0..count).map(|n| entry_of(["acme", "globex"][n % 2], "x")).collect();
    ledger.append("test", entries).await.expect("appends");
}

async fn publisher(ledger: &Ledger, root: &Path) -> Publisher {
    Publisher::open(ledger, Folder::open(root).expect("a folder")).await.expect("opens")
}

/// The published lines are those of the log, byte for byte.
async fn same(ledger: &Ledger, root: &Path) -> u64 {
    let (head, published) = check(root, &ledger.vkey()).expect("holds");
    let mut lines = ledger.lines(0, head.size).await.expect("reads");
    for line in &published {
        assert_eq!(*line, lines.next().await.expect("holds").expect("a line").line);
    }
    head.size
}

async fn what_is_published_is_the_log(world: World) {
    let (ledger, folder) = (world.create().await, Temporary::new());
    let mut publisher = publisher(&ledger, folder.path()).await;
    let mut size = 1;
    for more in [0, 1, 254, 1, 255, 256, 300, 1, 0, 700] {
        if more > 0 {
            append(&ledger, more).await;
        }
        size += more as u64;
        publisher.round().await.expect("publishes");
        assert_eq!(same(&ledger, folder.path()).await, size, "after {more} more");
    }
    // The edges of the last two checkpoints are there, and no older one's.
    let found = files(folder.path());
    let partial = |path: &std::path::PathBuf| path.to_string_lossy().contains(".p/");
    let edges = found.keys().filter(|path| partial(path)).count();
    assert!(edges <= 6, "{edges} partial files");
    // From nothing, the same; and where it ended, it goes on.
    let copy = Temporary::new();
    self::publisher(&ledger, copy.path()).await.round().await.expect("publishes");
    let whole = |path: &std::path::PathBuf| !partial(path);
    let full = |of: &std::collections::BTreeMap<_, _>| -> Vec<_> {
        of.iter()
            .filter(|(path, _)| whole(path))
            .map(|(p, b): (_, &Vec<u8>)| (p, b))
            .map(|(path, bytes): (&std::path::PathBuf, _)| (path.clone(), bytes.clone()))
            .collect()
    };
    assert_eq!(full(&files(copy.path())), full(&found));
    append(&ledger, 3).await;
    self::publisher(&ledger, copy.path()).await.round().await.expect("publishes");
    assert_eq!(same(&ledger, copy.path()).await, size + 3);
    // A tile that was changed is not written over: it is said.
    let tile = copy.path().join("tile/0/001");
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&tile, bytes).unwrap();
    std::fs::remove_file(copy.path().join("checkpoint")).unwrap();
    let refused = self::publisher(&ledger, copy.path()).await.round().await;
    assert!(matches!(&refused, Err(PublishError::Differs(path)) if path == "tile/0/001"));
}

/// Each write of a round, failed with nothing done and done but answered with an error, the first
/// and a later one of its kind: what is published before and after is the log.
async fn each_write_that_fails_is_made_up_for(world: World) {
    let (ledger, folder) = (world.create().await, Temporary::new());
    append(&ledger, 100).await;
    publisher(&ledger, folder.path()).await.round().await.expect("publishes");
    let ways = [Fault::Before, Fault::After, Fault::Full];
    let cases = Write::ALL.into_iter().flat_map(|write| ways.map(|way| (write, way)));
    for (number, (write, way)) in cases.enumerate() {
        for nth in [0, 1] {
            append(&ledger, [3, 150, 600][number % 3]).await;
            let due = Arc::new(AtomicU32::new(nth));
            let fault = move |at: Write| match at == write {
                true if due.fetch_sub(1, Ordering::SeqCst) == 0 => way,
                _ => Fault::None,
            };
            let faulty = Folder::with_faults(folder.path(), Arc::new(fault)).expect("a folder");
            let mut publisher = Publisher::open(&ledger, faulty).await.expect("opens");
            let failed = publisher.round().await;
            assert!(failed.is_err() || nth == 1, "{write:?} {way:?}");
            // What stood there before stands there still, or the new one does.
            same(&ledger, folder.path()).await;
            publisher.round().await.unwrap_or_else(|error| panic!("{write:?} {way:?}: {error}"));
            assert_eq!(same(&ledger, folder.path()).await, *ledger.size().borrow());
        }
    }
}

/// After a restart nothing of the tree is in memory but its edge.
async fn proofs_of_old_entries_come_from_the_tiles(world: World) {
    let (ledger, folder) = (world.create().await, Temporary::new());
    append(&ledger, 1200).await;
    publisher(&ledger, folder.path()).await.round().await.expect("publishes");
    append(&ledger, 40).await;
    ledger.close().await;
    let ledger = world.open().await.expect("opens");
    let _publisher = publisher(&ledger, folder.path()).await;
    let vkey: Vkey = ledger.vkey().parse().expect("a key");
    for seq in [0, 1, 255, 256, 700, 1199, 1200, 1201, 1240] {
        let (Shown { signed, .. }, hashes) = ledger.proven(seq).await.expect("proves");
        let line = ledger.entry(seq).await.expect("reads").expect("is there").line;
        let proof = Proof { extra: None, index: seq, hashes, checkpoint: signed.note };
        let text = proof.to_text().expect("a file");
        assert!(text.len() <= 1600, "{} bytes", text.len());
        let proof = Proof::parse(&text).expect("parses");
        proof.verify(&merkle::leaf_hash(&line), &vkey).expect("holds");
    }
    for (old, new) in [(0, 5), (1, 1241), (256, 1201), (1201, 1241), (1241, 1241)] {
        let (was, is, proof) = ledger.consistency(old, new).await.expect("proves");
        merkle::verify_consistency(&was, &is, &proof).expect("holds");
    }
    // A tile that was changed is not believed: the lines are.
    let tile = folder.path().join("tile/0/001");
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&tile, bytes).unwrap();
    ledger.proven(300).await.expect("proves from the lines");
    assert!(ledger.proven(1241).await.is_err(), "there is no such entry");
}
