//! The map of customers, proofs of many leaves, and a customer's export that is whole.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod world;

use audit_schema::{
    customer_export::{BadCustomerExport as Bad, CustomerExport},
    customers::{CustomerMap, Row, blinded, verify_place},
    event::{ActorKind, Event},
    export::verify_export,
    hash::Hash,
    merkle::{self, TreeHead, leaf_hash},
    multiproof,
};
use world::{Log, long, vkey};

#[test]
fn every_set_of_leaves_of_every_small_tree_is_proven_and_nothing_else_is() {
    let all: Vec<Hash> = (0..9_u8).map(|n| leaf_hash(&[n])).collect();
    for size in 1..=all.len() as u64 {
        let tree = &all[..size as usize];
        let head = TreeHead { size, root: merkle::root(tree) };
        for set in 1..1_u64 << size {
            let places: Vec<u64> = (0..size).filter(|at| set >> at & 1 == 1).collect();
            let mine: Vec<(u64, Hash)> =
                places.iter().map(|at| (*at, tree[*at as usize])).collect();
            let ranges = multiproof::ranges(&places, size).unwrap();
            let proof: Vec<Hash> = ranges
                .iter()
                .map(|range| merkle::root(&tree[range.start as usize..range.end as usize]))
                .collect();
            assert_eq!(multiproof::verify(&mine, &proof, &head), Ok(()));
            if let [only] = places[..] {
                assert_eq!(proof.len(), merkle::inclusion_proof(tree, only).unwrap().len());
            }
            for at in 0..proof.len() {
                let mut bad = proof.clone();
                bad[at].0[at] ^= 1;
                assert!(multiproof::verify(&mine, &bad, &head).is_err());
                assert!(multiproof::verify(&mine, &proof[..at], &head).is_err());
            }
            assert!(
                multiproof::verify(&mine, &[&proof[..], &[head.root]].concat(), &head).is_err()
            );
            for at in 0..mine.len() {
                let mut bad = mine.clone();
                bad[at].1 = leaf_hash(b"another");
                assert!(multiproof::verify(&bad, &proof, &head).is_err());
                let mut moved = mine.clone();
                moved[at].0 += 1;
                assert!(multiproof::verify(&moved, &proof, &head).is_err());
            }
        }
        assert_eq!(multiproof::ranges(&[], size), None);
        assert_eq!(multiproof::ranges(&[size], size), None);
        assert_eq!(multiproof::ranges(&[0, 0], size), None);
    }
    assert_eq!(multiproof::ranges(&[1, 0], 9), None);
    assert_eq!(multiproof::ranges(&[0], u64::MAX), None);
}

#[test]
fn a_place_in_the_map_is_one_customers_at_one_end() {
    let rows: Vec<Row> = (0..20_u8)
        .map(|n| Row {
            customer: blinded(&format!("customer-{n}"), &[n; 32]),
            head: leaf_hash(&[n]),
            seq: n.into(),
        })
        .collect();
    let map = CustomerMap::new(rows.clone()).unwrap();
    let mut backwards = rows.clone();
    backwards.reverse();
    assert_eq!(CustomerMap::new(backwards).unwrap(), map);
    assert_eq!(CustomerMap::new([&rows[..], &rows[3..4]].concat()), None);
    for row in &rows {
        let (found, index, proof) = map.place(&row.customer).unwrap();
        assert_eq!(found, *row);
        assert_eq!(verify_place(row, index, &proof, &map.head()), Ok(()));
        let shorter = Row { seq: row.seq + 1, ..*row };
        assert!(verify_place(&shorter, index, &proof, &map.head()).is_err());
        let other = Row { head: leaf_hash(b"x"), ..*row };
        assert!(verify_place(&other, index, &proof, &map.head()).is_err());
        let unblinded = Row { customer: Hash::of(b"acme"), ..*row };
        assert!(verify_place(&unblinded, index, &proof, &map.head()).is_err());
    }
    assert_eq!(map.place(&Hash::of(b"nobody")), None);
    assert_eq!(CustomerMap::new(vec![]).unwrap().head().root, Hash::of(b""));
}

/// A log with a heartbeat at 40 and entries after it, and the map at that heartbeat.
fn beating() -> (Log, CustomerMap) {
    let mut log = long(40);
    let map = log.map();
    log.heartbeat();
    let event = Event::CustomerAdded { signatures_needed: 2 };
    log.append(ActorKind::Officer, Some("acme"), &event, &[]);
    log.append(ActorKind::Officer, Some("globex"), &event, &[]);
    (log, map)
}

#[test]
fn a_customers_export_is_whole_up_to_its_heartbeat() {
    let (log, map) = beating();
    for (customer, entries) in [("acme", 10), ("globex", 10)] {
        let export = log.customer_export(customer, 40, &map);
        let text = export.to_text();
        assert_eq!(CustomerExport::parse(&text).unwrap(), export);
        let whole = export.verify(&vkey(), None).unwrap();
        assert_eq!((whole.entries, whole.heartbeat), (entries, 40));
        assert_eq!(whole.cosigned, []);
        let other = ["globex", "acme"].into_iter().find(|other| *other != customer).unwrap();
        let others = format!("\"id\":\"{other}\"");
        assert!(!text.contains(&others), "nothing of another customer is in it");
    }
}

#[test]
fn a_customers_export_without_its_end_or_with_anything_else_is_refused() {
    let (log, map) = beating();
    let good = log.customer_export("acme", 40, &map);
    let said = |export: &CustomerExport| export.verify(&vkey(), None).unwrap_err();

    // The last entry left out, and the proof made anew for what is left.
    let mut shorter = good.clone();
    shorter.entries.pop();
    let seqs: Vec<u64> = shorter
        .entries
        .iter()
        .map(|line| audit_schema::entry::Entry::parse(line).unwrap().seq)
        .collect();
    let leaves = log.leaves();
    let ranges = CustomerExport::ranges(&seqs, 40, leaves.len() as u64).unwrap();
    shorter.nodes = ranges
        .iter()
        .map(|range| merkle::root(&leaves[range.start as usize..range.end as usize]))
        .collect();
    assert!(matches!(said(&shorter), Bad::Map(_)));

    let mut gap = good.clone();
    gap.entries.remove(4);
    assert!(matches!(said(&gap), Bad::Chain(_)));
    // An entry that came after the heartbeat.
    let mut after = good.clone();
    after.entries.push(log.lines[41].clone());
    assert_eq!(said(&after), Bad::After(41));
    let other = CustomerExport { customer: "globex".into(), ..good.clone() };
    assert!(matches!(said(&other), Bad::Chain(_)));
    let no_heartbeat = CustomerExport { heartbeat: log.lines[39].clone(), ..good.clone() };
    assert_eq!(said(&no_heartbeat), Bad::NoHeartbeat);
    let blind = CustomerExport { blind: Hash::ZERO, ..good.clone() };
    assert!(matches!(said(&blind), Bad::Map(_)));
    let none = CustomerExport { entries: vec![], ..good.clone() };
    assert!(matches!(said(&none), Bad::Chain(_)));
    // Entries that were written for this customer alone and stand in no tree.
    let mut forged = good.clone();
    forged.nodes[0].0[0] ^= 1;
    assert!(matches!(said(&forged), Bad::Tree(_)));
}

#[test]
fn every_changed_bit_of_a_customers_export_is_refused() {
    let (log, map) = beating();
    let good = log.customer_export("acme", 40, &map).to_text();
    // One bit of each byte, or with MUTATE_ALL=1 every one of them.
    let step = if std::env::var_os("MUTATE_ALL").is_some() { 1 } else { 9 };
    for bit in (0..good.len() * 8).step_by(step) {
        let mut bad = good.clone().into_bytes();
        bad[bit / 8] ^= 1 << (bit % 8);
        let Ok(bad) = String::from_utf8(bad) else { continue };
        let held = CustomerExport::parse(&bad).and_then(|export| export.verify(&vkey(), None));
        assert!(held.is_err(), "bit {bit}");
    }
    for cut in 0..good.len() {
        let Some(cut_off) = good.get(..cut) else { continue };
        let held = CustomerExport::parse(cut_off).and_then(|export| export.verify(&vkey(), None));
        assert!(held.is_err(), "cut at {cut}");
    }
}

#[test]
fn a_checkpoint_of_a_new_epoch_has_the_name_that_the_epoch_gave() {
    use audit_schema::checkpoint::{self, Checkpoint, Vkey};
    let mut log = long(9);
    let before = log.note();
    let (origin, old) = ("bastion.example/log/epoch-2", log.checkpoint());
    let epoch_key = Vkey::new(origin, world::key().verifying_key()).unwrap();
    let epoch = Event::LogEpoch {
        log_key: epoch_key.to_string(),
        lost_from: 9,
        lost_to: 12,
        old_origin: old.origin.clone(),
        old_root: Hash::of(b"the root of twelve").to_string(),
        old_size: 12,
        origin: origin.into(),
    };
    log.append(ActorKind::Local, None, &epoch, &[("reason", "the disk burned")]);
    log.append(ActorKind::Gateway, None, &world::stopped(), &[]);
    let after = Checkpoint { origin: origin.into(), ..log.checkpoint() };
    let after = checkpoint::sign(&after, &world::key()).unwrap();
    let file = log.file();
    let lines = || file.split_inclusive(|byte| *byte == b'\n');
    assert!(verify_export(lines(), Some((&after, &epoch_key))).is_ok());
    // What was signed before the epoch still holds, under the old name.
    assert_eq!(verify_export(lines(), Some((&before, &vkey()))).unwrap().beyond, 2);
    // The old name may not sign a tree in which the log has another.
    let stale = verify_export(lines(), Some((&log.note(), &vkey()))).unwrap_err();
    assert_eq!(stale.fault, audit_schema::chain::Fault::Origin);
}
