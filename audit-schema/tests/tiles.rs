//! Tiles against the specification's own figures, against proofs made from all leaves at once, and
//! against every single injury.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use audit_schema::{
    hash::Hash,
    merkle::{self, Frontier, TreeHead},
    tile::{BadBundle, BadTiles, Bundle, Edge, Tile, Tiles, Written, needed},
};
use std::collections::BTreeMap;

type Files = BTreeMap<Tile, Vec<u8>>;

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|n| merkle::leaf_hash(&n.to_be_bytes())).collect()
}

/// All tiles of the tree over these leaves, and its head.
fn published(leaves: &[Hash]) -> (TreeHead, Files) {
    let mut edge = Edge::new();
    let full = edge.append(leaves).unwrap();
    let files = full.into_iter().chain(edge.partial());
    (edge.head(), files.map(|Written { tile, bytes }| (tile, bytes)).collect())
}

fn pick(files: &Files, tiles: impl IntoIterator<Item = Tile>) -> Files {
    tiles.into_iter().map(|tile| (tile, files[&tile].clone())).collect()
}

#[test]
fn paths_are_those_of_the_specification_in_one_spelling() {
    let good = [
        (Tile::new(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (Tile::new(0, 0, 256), "tile/0/000"),
        (Tile::new(1, 999, 255), "tile/1/999.p/255"),
        (Tile::new(0, 1000, 1), "tile/0/x001/000.p/1"),
        (Tile::new(6, 0, 32), "tile/6/000.p/32"),
    ];
    for (tile, path) in good {
        assert_eq!(tile.unwrap().to_string(), path);
        assert_eq!(path.parse(), Ok(tile.unwrap()));
        assert!(path.parse::<Bundle>().is_err());
    }
    let bundle = Bundle::of_tree(1_234_067, 1_234_067 * 256 + 7).unwrap();
    assert_eq!(bundle.to_string(), "tile/entries/x001/x234/067.p/7");
    assert_eq!("tile/entries/x001/x234/067.p/7".parse(), Ok(bundle));
    let bad = [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/1000",
        "tile/0/x000/001",
        "tile/00/000",
        "tile/+0/000",
        "tile/-1/000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/05",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/x000",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/0x1",
        "tile/7/000.p/1",
        "tile/6/000.p/33",
        "tile/6/001.p/1",
        "tile/63/000",
        "tile/64/000",
        "tile/256/000",
        "tile/0/000 ",
        "tile/0/٠٠٠",
        "tile/data/000",
        "tile/0/x999/x999/x999/x999/999",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/0/X001/000",
        "tile/0/xx01/000",
    ]; // (the last tile of all is 2^45 - 1)
    for path in bad {
        assert!(path.parse::<Tile>().is_err(), "{path}");
        let entries = path.replacen("tile/0/", "tile/entries/", 1);
        assert!(entries.parse::<Bundle>().is_err() || entries == path, "{entries}");
    }
    let last = Tile::new(0, (1 << 45) - 1, 256).unwrap();
    assert_eq!(last.to_string(), "tile/0/x035/x184/x372/x088/831");
    assert_eq!(last.to_string().parse(), Ok(last));
    assert_eq!(Tile::new(0, 1 << 45, 1), None);
}

#[test]
fn a_tree_of_70_000_has_the_tiles_that_the_specification_says() {
    let (_, files) = published(&leaves(70_000));
    let count = |level: u8, full: bool| {
        files.keys().filter(|tile| tile.level() == level && tile.is_full() == full).count()
    };
    assert_eq!((count(0, true), count(0, false)), (273, 1));
    assert_eq!((count(1, true), count(1, false)), (1, 1));
    assert_eq!((count(2, true), count(2, false)), (0, 1));
    for path in ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"] {
        assert!(files.contains_key(&path.parse().unwrap()), "{path}");
    }
    let (_, files) = published(&leaves(256));
    let paths: Vec<_> = files.keys().map(Tile::to_string).collect();
    assert_eq!(paths, ["tile/0/000", "tile/1/000.p/1"]);
    assert!(published(&[]).1.is_empty());
}

/// Every tile holds what the specification says: MTH(D[(n*256+i)*256^l : (n*256+i+1)*256^l]).
#[test]
fn every_hash_of_every_tile_is_the_root_of_its_leaves() {
    let all = leaves(66_000);
    for (tile, bytes) in published(&all).1 {
        let step = 256_usize.pow(tile.level().into());
        let mine = &all[tile.leaves().start as usize..tile.leaves().end as usize];
        let expected: Vec<Hash> = mine.chunks(step).map(merkle::root).collect();
        assert_eq!(tile.decode(&bytes).unwrap(), expected, "{tile}");
    }
}

#[test]
fn an_edge_has_the_root_and_changes_the_tiles_that_it_should_in_batches_of_any_size() {
    let all = leaves(1_700);
    for step in [1, 7, 255, 256, 257, 1_000] {
        let (mut edge, mut frontier, mut size) = (Edge::new(), Frontier::new(), 0);
        for batch in all.chunks(step) {
            let full = edge.append(batch).unwrap();
            batch.iter().for_each(|leaf| frontier.push(*leaf));
            let new = size + batch.len() as u64;
            assert_eq!(edge.head(), frontier.head());
            let mut written: Vec<_> = full.iter().map(|written| written.tile).collect();
            written.extend(edge.partial().iter().map(|written| written.tile));
            written.sort();
            // A partial tile of a level that did not grow is there already.
            written.retain(|tile| Tile::of_tree(tile.level(), tile.index(), size) != Some(*tile));
            let mut changed: Vec<_> = Tile::changed(size, new).collect();
            changed.sort();
            assert_eq!(written, changed, "{size} to {new}");
            let bundles: Vec<_> = Bundle::changed(size, new).map(|bundle| bundle.tile()).collect();
            let leaves: Vec<_> = changed.into_iter().filter(|tile| tile.level() == 0).collect();
            assert_eq!(bundles, leaves);
            size = new;
            let files = edge.partial().into_iter().map(|w| (w.tile, w.bytes)).collect();
            assert_eq!(Edge::open(edge.head(), files).unwrap(), edge);
        }
    }
}

/// Sizes around every place where a tile begins, ends, or a level appears.
const SIZES: [usize; 16] =
    [1, 2, 3, 5, 255, 256, 257, 300, 511, 512, 513, 1_000, 65_535, 65_536, 65_537, 65_800];

#[test]
fn proofs_from_tiles_are_those_from_all_leaves() {
    let all = leaves(65_800);
    for size in SIZES {
        let (head, files) = published(&all[..size]);
        let tiles = Tiles::authenticate(head, files.clone()).unwrap();
        let places = [0, 1, 254, 255, 256, 257, 511, size / 2, size.saturating_sub(2), size - 1];
        for at in places.into_iter().filter(|at| *at < size) {
            let expected = merkle::inclusion_proof(&all[..size], at as u64).unwrap();
            let ranges = merkle::inclusion_ranges(at as u64, size as u64).unwrap();
            let few = pick(&files, needed(&ranges, size as u64));
            // What is said to be needed is enough, and all of it is.
            let enough = Tiles::authenticate(head, few.clone()).unwrap();
            assert_eq!(enough.inclusion(at as u64).unwrap(), expected, "{at} of {size}");
            for tile in few.keys() {
                let mut fewer = few.clone();
                fewer.remove(tile);
                let built = Tiles::authenticate(head, fewer).and_then(|t| t.inclusion(at as u64));
                assert!(built.is_err(), "{at} of {size} without {tile}");
            }
            assert_eq!(tiles.leaf(at as u64), Ok(all[at]));
            let old = at as u64 + 1;
            let expected = merkle::consistency_proof(&all[..size], old).unwrap();
            let ranges = merkle::consistency_ranges(old, size as u64).unwrap();
            let few = pick(&files, needed(&ranges, size as u64));
            let enough = Tiles::authenticate(head, few).unwrap();
            assert_eq!(enough.consistency(old).unwrap(), expected, "{old} of {size}");
        }
        assert_eq!(tiles.inclusion(size as u64), Err(BadTiles::Position));
        assert_eq!(tiles.consistency(size as u64 + 1), Err(BadTiles::Position));
        assert_eq!(tiles.consistency(0), Ok(vec![]));
    }
}

/// GO-2026-6179: an entry rewritten together with its level-0 tile, under the old checkpoint.
#[test]
fn a_rewritten_entry_with_its_tile_is_refused_by_every_proof_that_touches_it() {
    let all = leaves(66_000);
    let (head, files) = published(&all);
    for at in [0_u64, 700, 65_400, 65_600, 65_999] {
        let ranges = merkle::inclusion_ranges(at, head.size).unwrap();
        let mut few = pick(&files, needed(&ranges, head.size));
        let tile = Tile::of_tree(0, at / 256, head.size).unwrap();
        let forged = merkle::leaf_hash(b"another entry");
        let place = (at % 256) as usize * 32;
        few.get_mut(&tile).unwrap()[place..place + 32].copy_from_slice(&forged.0);
        let expected = if tile.is_full() { BadTiles::Changed(tile) } else { BadTiles::Root };
        assert_eq!(Tiles::authenticate(head, few).unwrap_err(), expected, "entry {at}");
    }
}

#[test]
fn every_bit_of_every_tile_counts() {
    let all = leaves(600);
    let (head, files) = published(&all);
    for (tile, bytes) in &files {
        // One bit of each byte, or with MUTATE_ALL=1 every one of them.
        let step = if std::env::var_os("MUTATE_ALL").is_some() { 1 } else { 9 };
        for bit in (0..bytes.len() * 8).step_by(step) {
            let mut bad = files.clone();
            bad.get_mut(tile).unwrap()[bit / 8] ^= 1 << (bit % 8);
            assert!(Tiles::authenticate(head, bad).is_err(), "{tile}, bit {bit}");
        }
        for length in [0, 31, bytes.len() - 32, bytes.len() - 1, bytes.len() + 32] {
            let mut bad = files.clone();
            bad.get_mut(tile).unwrap().resize(length, 0);
            assert_eq!(Tiles::authenticate(head, bad).unwrap_err(), BadTiles::Length(*tile));
        }
        let mut bad = files.clone();
        bad.get_mut(tile).unwrap().rotate_left(32);
        let same = tile.width() == 1;
        assert_eq!(Tiles::authenticate(head, bad).is_ok(), same, "{tile} in another order");
    }
    let root = TreeHead { root: all[0], ..head };
    assert_eq!(Tiles::authenticate(root, files.clone()).unwrap_err(), BadTiles::Root);
    let mut more = files;
    let foreign = Tile::new(0, 2, 256).unwrap();
    more.insert(foreign, vec![0; 8_192]);
    assert_eq!(Tiles::authenticate(head, more).unwrap_err(), BadTiles::Foreign(foreign));
}

#[test]
fn a_receipt_needs_only_the_edge_before_the_batch() {
    let all = leaves(140);
    for old in 0..90 {
        let mut frontier = Frontier::new();
        all[..old].iter().for_each(|leaf| frontier.push(*leaf));
        for size in old..old + 50 {
            let batch = &all[old..size];
            for index in 0..size as u64 {
                let proof = frontier.inclusion_of_appended(batch, index);
                let whole = merkle::inclusion_proof(&all[..size], index);
                let expected = whole.filter(|_| index >= old as u64);
                assert_eq!(proof, expected, "{index} of {old} and {} more", batch.len());
            }
            assert_eq!(frontier.inclusion_of_appended(batch, size as u64), None);
            let proof = frontier.consistency_of_appended(batch);
            assert_eq!(proof, merkle::consistency_proof(&all[..size], old as u64));
        }
    }
}

#[test]
fn bundles_have_one_encoding() {
    let entries: [&[u8]; 3] = [b"", b"a", b"bcd"];
    let bundle = Bundle::of_tree(0, 3).unwrap();
    let bytes = bundle.encode(entries).unwrap();
    assert_eq!(bytes, b"\0\0\0\x01a\0\x03bcd");
    assert_eq!(bundle.decode(&bytes).unwrap(), entries);
    for cut in 0..bytes.len() {
        assert!(bundle.decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let more = [&bytes[..], b"\0\0"].concat();
    assert_eq!(bundle.decode(&more), Err(BadBundle::Width { expected: 3, found: 4 }));
    assert_eq!(bundle.decode(&[&bytes[..], b"\0"].concat()), Err(BadBundle::CutOff));
    assert_eq!(bundle.encode(&entries[..2]), Err(BadBundle::Width { expected: 3, found: 2 }));
    let long = vec![b'x'; 65_535];
    let one = Bundle::of_tree(0, 1).unwrap();
    assert_eq!(one.decode(&one.encode([&long]).unwrap()).unwrap(), [&long]);
    assert_eq!(one.encode([[&long[..], b"x"].concat()]), Err(BadBundle::Long));
}
