//! Whatever is done to an export is found, and the first broken entry is named.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod world;

use audit_schema::{
    chain::{Broken, Chain, CustomerChain, Fault, Link},
    checkpoint::{self, Checkpoint},
    commit::{BadOpening, Opening, commitment, opens},
    entry::Entry,
    event::ActorKind,
    export::{self, Export, verify_customer_export, verify_export, verify_range},
    hash::Hash,
    merkle,
};
use world::{Log, example, file, long, vkey};

fn lines(file: &[u8]) -> Vec<&[u8]> {
    file.split_inclusive(|byte| *byte == b'\n').collect()
}

fn verify(log: &Log, file: &[u8]) -> Result<export::Verified, Broken> {
    verify_from(&under(log), file)
}

/// The beginning of a verification under the log's checkpoint.
fn under(log: &Log) -> Export {
    Export::under(&log.note(), &vkey()).unwrap()
}

/// What [`verify_export`] does, but for the checkpoint's signature, which is slow to check.
fn verify_from(begun: &Export, file: &[u8]) -> Result<export::Verified, Broken> {
    let mut export = begun.clone();
    lines(file).into_iter().try_for_each(|line| export.push(line))?;
    export.finish()
}

/// What is said of lines under the log's checkpoint: the entry, and what is wrong with it.
fn said(log: &Log, lines: &[Vec<u8>]) -> (Option<u64>, Fault) {
    let broken = verify(log, &file(lines)).unwrap_err();
    assert!(broken.to_string().contains(&broken.fault.to_string()));
    (broken.seq, broken.fault)
}

#[test]
fn a_good_export_holds() {
    for log in [example(), long(100)] {
        let verified = verify_export(lines(&log.file()), Some((&log.note(), &vkey()))).unwrap();
        assert_eq!(verify(&log, &log.file()).as_ref(), Ok(&verified));
        assert_eq!((verified.entries, verified.beyond), (log.lines.len() as u64, 0));
        assert_eq!(verified.root, Some(merkle::root(&log.leaves())));
        let alone = verify_export(lines(&log.file()), None).unwrap();
        assert_eq!((alone.beyond, alone.checkpoint), (alone.entries, None));
    }
}

#[test]
fn every_single_byte_change_is_found() {
    let (begun, good) = (under(&example()), example().file());
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(verify_from(&begun, &bad).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn every_byte_value_in_one_entry_is_found_and_the_entry_is_named() {
    let log = example();
    let (begun, good) = (under(&log), log.file());
    let start = log.lines[0].len() + 1;
    for at in start..start + log.lines[1].len() {
        for byte in 0..=255 {
            let mut bad = good.clone();
            if std::mem::replace(&mut bad[at], byte) != byte {
                let broken = verify_from(&begun, &bad).unwrap_err();
                assert_eq!(broken.seq, Some(1), "byte {at} is {byte}: {broken}");
            }
        }
    }
}

#[test]
fn every_single_byte_deletion_insertion_and_truncation_is_found() {
    let (begun, good) = (under(&example()), example().file());
    for at in 0..good.len() {
        let without = [&good[..at], &good[at + 1..]].concat();
        assert!(verify_from(&begun, &without).is_err(), "without byte {at}");
        assert!(verify_from(&begun, &good[..at]).is_err(), "cut at {at}");
        assert!(at == 0 || verify_from(&begun, &good[at..]).is_err(), "begun at {at}");
        for byte in [good[at], b'\n', b' ', 0, b'"', b'0', 0xff] {
            let with = [&good[..at], &[byte], &good[at..]].concat();
            assert!(verify_from(&begun, &with).is_err(), "with {byte} at {at}");
        }
    }
    for byte in [b'\n', b'\r', b' ', 0, b'{'] {
        assert!(verify_from(&begun, &[&good[..], &[byte]].concat()).is_err());
    }
}

#[test]
fn every_deletion_swap_duplication_and_cut_of_lines_is_found_and_named() {
    let log = long(24);
    let size = log.lines.len();
    for at in 0..size {
        let mut bad = log.lines.clone();
        bad.remove(at);
        let expected = if at + 1 == size {
            Fault::CutOff { size: size as u64 }
        } else {
            Fault::Missing { found: at as u64 + 1 }
        };
        assert_eq!(said(&log, &bad), (Some(at as u64), expected));
        let cut = &log.lines[..at];
        assert_eq!(said(&log, cut), (Some(at as u64), Fault::CutOff { size: size as u64 }));
        for to in (0..size).filter(|to| *to != at) {
            let mut swapped = log.lines.clone();
            swapped.swap(at, to);
            assert_eq!(said(&log, &swapped).0, Some(at.min(to) as u64), "{at} and {to}");
        }
        for to in 0..=size {
            let mut doubled = log.lines.clone();
            doubled.insert(to, log.lines[at].clone());
            // Beside itself the first of the two is the right one.
            let first = if to == at { at + 1 } else { to } as u64;
            assert_eq!(said(&log, &doubled).0, Some(first), "{at} doubled at {to}");
        }
    }
}

/// Replace in a line what stands there once.
fn edit(log: &Log, at: usize, from: &str, to: &str) -> Vec<Vec<u8>> {
    let mut lines = log.lines.clone();
    let line = String::from_utf8(lines[at].clone()).unwrap();
    assert!(line.contains(from), "{from} is not in {line}");
    lines[at] = line.replacen(from, to, 1).into_bytes();
    lines
}

#[test]
fn what_was_changed_is_named_with_what_is_wrong() {
    let log = example();
    let seq = |found| Fault::CustomerSeq { expected: 1, found };
    let table = [
        (0, "gw-1", "gw-2", Some(0), Fault::Changed),
        (0, "\"format\":1", "\"format\":2", Some(0), Fault::Format(2)),
        (0, "\"v\":1", "\"v\":2", Some(0), {
            Fault::Malformed(audit_schema::entry::EntryError::Shape(
                "not a genesis of version 1".into(),
            ))
        }),
        (0, "\"genesis\"", "\"genesys\"", Some(0), Fault::Genesis),
        (0, "\"prev\":\"0", "\"prev\":\"1", Some(0), Fault::Prev),
        (0, "origin\":\"bastion", "origin\":\"cushion", Some(0), Fault::Changed),
        (2, "publickey", "password", Some(2), Fault::Changed),
        (2, "session.opened", "genesis", Some(2), Fault::Genesis),
        (2, "\"seq\":2", "\"seq\":1", Some(2), Fault::Doubled { found: 1 }),
        (2, "\"seq\":2", "\"seq\":3", Some(2), Fault::Missing { found: 3 }),
        (3, "\"seq\":1}", "\"seq\":2}", Some(3), seq(2)),
        (3, "\"seq\":1}", "\"seq\":0}", Some(3), seq(0)),
        (3, "\"id\":\"acme\"", "\"id\":\"acmf\"", Some(3), {
            Fault::CustomerSeq { expected: 0, found: 1 }
        }),
        (3, "acme\",\"prev\":\"9", "acme\",\"prev\":\"8", Some(3), Fault::CustomerPrev),
        (4, "\"prev\":\"3", "\"prev\":\"4", Some(4), Fault::Prev),
        (4, "2026-11-24", "2026-11-23", Some(4), Fault::Time),
        (4, "operator_left", "operator_lost", None, Fault::Root),
    ];
    for (at, from, to, expected_seq, expected) in table {
        assert_eq!(said(&log, &edit(&log, at, from, to)), (expected_seq, expected), "{from}");
    }
    // The last but one: nothing after the next entry says which of the two was changed.
    let changed = edit(&log, 3, "op-1f2e3d4c", "op-1f2e3d4d");
    assert_eq!(said(&log, &changed), (Some(4), Fault::Prev));
    // The link itself was changed: the entry after commits to the line as it was.
    let changed = edit(&log, 2, "\"prev\":\"9", "\"prev\":\"8");
    assert_eq!(said(&log, &changed), (Some(2), Fault::Prev));
    assert_eq!(verify_export(Vec::<&[u8]>::new(), None), Err(whole(Fault::Empty)));
}

fn whole(fault: Fault) -> Broken {
    Broken { seq: None, line: None, fault }
}

#[test]
fn an_entry_replaced_and_all_after_it_linked_anew_is_found_by_the_checkpoint_alone() {
    let (log, mut forged) = (long(40), Log::default());
    for line in &log.lines {
        let entry = Entry::parse(line).unwrap();
        let customer = entry.customer.as_ref().map(|link| link.id.clone());
        // The seventh never happened, says the forger.
        if entry.seq == 7 {
            forged.append(ActorKind::Gateway, None, &world::stopped(), &[]);
        } else {
            let event = entry.event().unwrap();
            forged.append(ActorKind::Gateway, customer.as_deref(), &event, &[]);
        }
    }
    assert!(verify_export(lines(&forged.file()), None).is_ok());
    assert_eq!(verify(&log, &forged.file()), Err(whole(Fault::Root)));
}

#[test]
fn entries_beyond_the_checkpoint_are_counted_and_must_be_linked() {
    let (mut log, note) = (long(9), long(9).note());
    for more in 1..4 {
        log.append(ActorKind::Gateway, None, &world::stopped(), &[]);
        let verified = verify_export(lines(&log.file()), Some((&note, &vkey()))).unwrap();
        assert_eq!((verified.entries, verified.beyond), (9 + more, more));
    }
    let bad = edit(&log, 10, "gw-1", "gw-2");
    let broken = verify_export(lines(&file(&bad)), Some((&note, &vkey()))).unwrap_err();
    assert_eq!((broken.seq, broken.line), (Some(11), Some(12)));
}

#[test]
fn a_checkpoint_of_another_log_or_none_is_refused() {
    let log = example();
    let other = Checkpoint { origin: "other.example/log".into(), ..log.checkpoint() };
    let note = checkpoint::sign(&other, &world::key()).unwrap();
    let key = checkpoint::Vkey::new("other.example/log", world::key().verifying_key()).unwrap();
    let verified = verify_export(lines(&log.file()), Some((&note, &key)));
    assert_eq!(verified, Err(whole(Fault::Origin)));
    let unsigned = verify_export(lines(&log.file()), Some((&note, &vkey())));
    assert!(matches!(unsigned.unwrap_err().fault, Fault::Checkpoint(_)));
    let empty = Checkpoint { size: 0, root: Hash::of(b""), ..log.checkpoint() };
    let note = checkpoint::sign(&empty, &world::key()).unwrap();
    let verified = verify_export(lines(&log.file()), Some((&note, &vkey()))).unwrap();
    assert_eq!(verified.beyond, 5);
    let false_empty = Checkpoint { root: Hash::ZERO, ..empty };
    let note = checkpoint::sign(&false_empty, &world::key()).unwrap();
    let verified = verify_export(lines(&log.file()), Some((&note, &vkey())));
    assert_eq!(verified, Err(whole(Fault::Root)));
}

#[test]
fn a_range_holds_given_the_entry_before_it() {
    let log = long(30);
    let leaves = log.leaves();
    for from in 1..30 {
        let before = Link { seq: from as u64 - 1, leaf: leaves[from - 1] };
        let bytes = file(&log.lines[from..]);
        let verified = verify_range(lines(&bytes), before).unwrap();
        assert_eq!((verified.entries, verified.root), (30 - from as u64, None));
        let wrong = Link { leaf: Hash::ZERO, ..before };
        let broken = verify_range(lines(&bytes), wrong).unwrap_err();
        assert_eq!((broken.seq, broken.fault), (Some(from as u64), Fault::Prev));
        let early = Link { seq: before.seq + 1, ..before };
        assert!(verify_range(lines(&bytes), early).is_err());
    }
    // Customers' chains are followed within the range.
    let before = Link { seq: 4, leaf: leaves[4] };
    let bad = edit(&log, 9, "\"seq\":2}", "\"seq\":3}");
    let broken = verify_range(lines(&file(&bad[5..])), before).unwrap_err();
    assert_eq!((broken.seq, broken.line), (Some(9), Some(5)));
}

#[test]
fn a_customers_export_holds_and_whatever_is_done_to_it_is_found() {
    let log = long(40);
    let good = log.customer_file("acme");
    for customer in [None, Some("acme")] {
        let verified = verify_customer_export(lines(&good), customer).unwrap();
        assert_eq!((verified.customer.as_str(), verified.entries), ("acme", 10));
        assert_eq!(verified.last.seq, 9);
    }
    let other = verify_customer_export(lines(&good), Some("globex")).unwrap_err();
    assert_eq!((other.line, other.fault), (Some(1), Fault::OtherCustomer));
    let all = lines(&good);
    for at in 0..all.len() - 1 {
        let mut gone = all.clone();
        gone.remove(at);
        assert_eq!(verify_customer_export(gone, None).unwrap_err().line, Some(at as u64 + 1));
        let mut doubled = all.clone();
        doubled.insert(at, all[at]);
        assert_eq!(verify_customer_export(doubled, None).unwrap_err().line, Some(at as u64 + 2));
        let mut swapped = all.clone();
        swapped.swap(at, at + 1);
        assert_eq!(verify_customer_export(swapped, None).unwrap_err().line, Some(at as u64 + 1));
    }
    // Every changed byte but those of the last line, which nothing follows.
    let end = good.len() - all.last().unwrap().len();
    for at in 0..end {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(verify_customer_export(lines(&bad), None).is_err(), "byte {at}");
    }
    let with_genesis = [&log.lines[0][..], b"\n", &good].concat();
    let broken = verify_customer_export(lines(&with_genesis), None).unwrap_err();
    assert_eq!((broken.seq, broken.fault), (Some(0), Fault::OtherCustomer));
    let empty = verify_customer_export(Vec::<&[u8]>::new(), None);
    assert_eq!(empty, Err(whole(Fault::Empty)));
    let torn = verify_customer_export(lines(&good[..good.len() - 1]), None).unwrap_err();
    assert_eq!((torn.line, torn.fault), (Some(10), Fault::NoNewline));
}

#[test]
fn a_refused_line_leaves_the_chain_as_it_was() {
    let log = example();
    let (mut chain, mut customer) = (Chain::new(), CustomerChain::new(Some("acme")));
    for line in &log.lines {
        let before = format!("{chain:?}");
        for bad in [&b""[..], b"{}", &log.lines[4]] {
            assert!(bad == &line[..] || chain.push(bad).is_err());
        }
        assert_eq!(format!("{chain:?}"), before);
        let entry = chain.push(line).unwrap();
        if entry.customer.is_some() {
            customer.push(line).unwrap();
        } else {
            assert!(customer.push(line).is_err());
        }
    }
    assert_eq!((chain.size(), chain.root()), (5, Some(merkle::root(&log.leaves()))));
    assert_eq!(chain.customers()["acme"], customer.last().unwrap());
    assert_eq!(customer.last_in_log().map(|link| link.seq), Some(3));
}

#[test]
fn an_export_can_be_pushed_line_by_line() {
    let log = example();
    let mut export = Export::under(&log.note(), &vkey()).unwrap();
    for line in lines(&log.file()) {
        export.push(line).unwrap();
    }
    assert_eq!(export.finish().unwrap().beyond, 0);
}

#[test]
fn commitments_are_hmac_sha256() {
    // RFC 4231, test case 2, its key padded with the zeros that HMAC pads with.
    let mut salt = [0; 32];
    salt[..4].copy_from_slice(b"Jefe");
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let commit = commitment(&salt, "what do ya want for nothing?");
    assert_eq!(commit.to_string(), expected);
    assert!(opens(&commit, &salt, "what do ya want for nothing?"));
    assert!(!opens(&commit, &salt, "what do ya want for nothing"));
    assert!(!opens(&commit, &[1; 32], "what do ya want for nothing?"));
}

#[test]
fn an_opening_opens_its_own_field_of_its_own_entry_alone() {
    let log = example();
    let entry = |seq: u64| Entry::parse(&log.lines[seq as usize]).unwrap();
    for opening in &log.openings {
        let line = opening.to_line().unwrap();
        assert_eq!(Opening::parse(&line).as_ref(), Ok(opening));
        assert_eq!(opening.check(&entry(opening.seq)), Ok(()));
        assert_eq!(opening.check(&entry(4)), Err(BadOpening::Entry(opening.seq)));
        let other = Opening { value: "x".into(), ..opening.clone() };
        assert_eq!(other.check(&entry(opening.seq)), Err(BadOpening::Value));
        let other = Opening { salt: Hash::ZERO, ..opening.clone() };
        assert_eq!(other.check(&entry(opening.seq)), Err(BadOpening::Value));
        let other = Opening { field: "x".into(), ..opening.clone() };
        assert_eq!(other.check(&entry(opening.seq)), Err(BadOpening::Field));
    }
    assert!(Opening::parse(b"{}").is_err());
    assert!(Opening::parse(b"{\"field\":\"a\"}\n").is_err());
}
