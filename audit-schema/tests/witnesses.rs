//! Cosignatures, policies and the witness protocol, against what others published and signed.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod world;

use audit_schema::{
    checkpoint::{self, BadNote, BadVkey, Checkpoint, Vkey},
    cosignature::{self, WitnessKey, cosign},
    hash::Hash,
    merkle::{self, Frontier, TreeHead, leaf_hash},
    note,
    policy::{Policy, PolicyFault, Unwitnessed},
    witness::{AddCheckpoint, Refusal, accept, judge, parse_size, size_body},
};
use ed25519_dalek::SigningKey;

/// A checkpoint that a public log signed and four public witnesses cosigned in May 2026.
const ARCHE: &str = "arche2025h1.staging.ct.transparency.dev\n\
    1432088532\n\
    U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\
    \n\
    — arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPM\
    HbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n\
    — arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3N\
    ygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n\
    — transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2r\
    hIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n\
    — witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ\
    75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n\
    — remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sX\
    Tynk5XeU/zZ0WBxtqB0DrAWfBw==\n\
    — witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmI\
    Y/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n";
const ARCHE_KEY: &str =
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
const GARDEN: &str = "transparency.dev/DEV:witness-little-garden+d8042a87+\
    BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM";
const SMARTIT: &str =
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO";
const REMORA: &str = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
const STAGEMOLE: &str =
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv";
const NAVIGLI: &str = "witness.navigli.sunlight.geomys.org+a3e00fe2+\
    BNy/co4C1Hn1p+INwJrfUlgz7W55dSZReusH/GhUhJ/G";
const COSIGNED_AT: u64 = 0x6a12_2120;

#[test]
fn a_checkpoint_that_public_witnesses_cosigned_holds_and_no_other_does() {
    let log: Vkey = ARCHE_KEY.parse().unwrap();
    assert_eq!(checkpoint::verify(ARCHE, &log).unwrap().size, 1_432_088_532);
    for text in [GARDEN, SMARTIT, REMORA, STAGEMOLE] {
        let key: WitnessKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert!(key.is_verifiable());
        assert_eq!(cosignature::verify(ARCHE, &key), Ok(COSIGNED_AT), "{text}");
        let forged = ARCHE.replacen("1432088532", "1432088533", 1);
        assert_eq!(cosignature::verify(&forged, &key), Err(BadNote::Signature));
        assert_eq!(text.parse::<Vkey>(), Err(BadVkey::Algorithm));
    }
    let absent: WitnessKey = NAVIGLI.parse().unwrap();
    assert_eq!(cosignature::verify(ARCHE, &absent), Err(BadNote::Unsigned));
    assert_eq!(ARCHE_KEY.parse::<WitnessKey>(), Err(BadVkey::Algorithm));
}

#[test]
fn an_ml_dsa_key_may_be_named_and_counts_as_one_that_has_not_signed() {
    let text = ml_dsa_key("witness.example/pq");
    let key: WitnessKey = text.parse().unwrap();
    assert_eq!(key.to_string(), text);
    assert!(!key.is_verifiable());
    assert!(text.parse::<Vkey>().is_err());
    assert_eq!(cosignature::verify(ARCHE, &key), Err(BadNote::Unsigned));
    let (name, rest) = text.split_once('+').unwrap();
    assert_eq!(format!("{name}x+{rest}").parse::<WitnessKey>(), Err(BadVkey::Hash));
    assert_eq!(ml_dsa_key("a b").parse::<WitnessKey>(), Err(BadVkey::Name));
    let policy = format!("witness pq {text}\nquorum pq\n");
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let log: Vkey = ARCHE_KEY.parse().unwrap();
    let lacking = Unwitnessed::Quorum { found: 0, known: 1 };
    assert_eq!(policy.check(ARCHE, Some(&log)), Err(lacking));
}

/// A key of the right length and id; of ML-DSA-44 every such string is one.
fn ml_dsa_key(name: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let blob = [&[6][..], &[7; 1_312]].concat();
    let id = Hash::of(&[name.as_bytes(), b"\n", &blob].concat());
    format!("{name}+{}+{}", &id.to_string()[..8], STANDARD.encode(blob))
}

fn witness(n: u8) -> (SigningKey, WitnessKey, String) {
    let key = SigningKey::from_bytes(&[n; 32]);
    let name = format!("witness.example/w{n}");
    let public = WitnessKey::new(&name, key.verifying_key()).unwrap();
    (key, public, name)
}

/// The example log's checkpoint, cosigned by these at 1000 + n.
fn cosigned(by: &[u8]) -> String {
    let log = world::example();
    by.iter().fold(log.note(), |so_far, n| {
        let (key, _, name) = witness(*n);
        let line = cosign(&log.checkpoint(), &name, &key, 1_000 + u64::from(*n)).unwrap();
        note::add(&so_far, &line).unwrap()
    })
}

#[test]
fn a_cosignature_is_its_own_and_replaces_the_one_before() {
    let log = world::example();
    let (key, public, name) = witness(1);
    let first = cosigned(&[1, 2]);
    assert_eq!(cosignature::verify(&first, &public), Ok(1_001));
    let later = cosign(&log.checkpoint(), &name, &key, 5_000).unwrap();
    let renewed = note::add(&first, &later).unwrap();
    assert_eq!(cosignature::verify(&renewed, &public), Ok(5_000));
    assert_eq!(renewed.matches(&name).count(), 1);
    assert!(checkpoint::verify(&renewed, &world::vkey()).is_ok());
    // Both lines of one witness at once are two encodings of one statement.
    assert_eq!(cosignature::verify(&(first + &later), &public), Err(BadNote::Signature));
    // The same key signs as a log and as a witness, and neither passes for the other.
    let own = cosign(&log.checkpoint(), world::ORIGIN, &world::key(), 7).unwrap();
    let only = format!("{}\n{own}", text(&log.checkpoint()));
    assert_eq!(checkpoint::verify(&only, &world::vkey()), Err(BadNote::Unsigned));
    let log_key = WitnessKey::new(world::ORIGIN, world::key().verifying_key()).unwrap();
    assert_eq!(cosignature::verify(&log.note(), &log_key), Err(BadNote::Unsigned));
    assert_eq!(cosignature::verify(&only, &log_key), Ok(7));
    let never = cosign(&log.checkpoint(), &name, &key, 1 << 63);
    assert_eq!(never, Err(BadNote::Text));
}

fn text(checkpoint: &Checkpoint) -> String {
    let note = checkpoint::sign(checkpoint, &world::key()).unwrap();
    note.split_inclusive('\n').take(3).collect()
}

#[test]
fn every_changed_bit_of_a_cosigned_note_is_refused_or_changes_no_meaning() {
    let good = cosigned(&[1, 2]);
    let policy = policy(&["w1", "w2"], "group q all w1 w2\nquorum q\n");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone().into_bytes();
        bad[bit / 8] ^= 1 << (bit % 8);
        let Ok(bad) = String::from_utf8(bad) else { continue };
        assert!(policy.check(&bad, Some(&world::vkey())).is_err(), "bit {bit}");
    }
}

fn policy(names: &[&str], rest: &str) -> Policy {
    let mut file = format!("log {}\n", world::vkey());
    for name in names {
        file += &format!("witness {name} {}\n", witness(name[1..].parse().unwrap()).1);
    }
    Policy::parse((file + rest).as_bytes()).unwrap()
}

#[test]
fn a_quorum_is_counted_as_its_groups_say() {
    // The specification's own example: two of the X and one of the Y.
    let names = ["w1", "w2", "w3", "w4", "w5", "w6"];
    let groups = "group x 2 w1 w2 w3\ngroup y any w4 w5 w6\ngroup both all x y\nquorum both\n";
    let policy = policy(&names, groups);
    for chosen in 0..64_u32 {
        let by: Vec<u8> = (1..=6).filter(|n| chosen >> (n - 1) & 1 == 1).collect();
        let x = by.iter().filter(|n| **n <= 3).count();
        let expected = x >= 2 && by.len() > x;
        let found = policy.check(&cosigned(&by), None);
        assert_eq!(found.is_ok(), expected, "{by:?}");
        match found {
            Ok(witnessed) => {
                let names = witnessed.cosigned.iter().map(|(name, _)| name.clone());
                let expected = by.iter().map(|n| format!("witness.example/w{n}"));
                assert!(names.eq(expected));
            }
            Err(lacking) => {
                assert_eq!(lacking, Unwitnessed::Quorum { found: by.len(), known: 6 });
            }
        }
    }
    // w1 at 1001, w2 at 1002: with an age limit only those after it count.
    let two = self::policy(&["w1", "w2"], "group q all w1 w2\nquorum q\n");
    let note = cosigned(&[1, 2]);
    assert!(two.check_since(&note, None, 1_001).is_ok());
    assert!(two.check_since(&note, None, 1_002).is_err());
    // A log that is not listed, another log's key, and no log at all.
    let other = Vkey::new("other.example", world::key().verifying_key()).unwrap();
    assert_eq!(two.check(&note, Some(&other)), Err(Unwitnessed::Log));
    let unlisted = format!("log {ARCHE_KEY}\nquorum none\n");
    let unlisted = Policy::parse(unlisted.as_bytes()).unwrap();
    assert_eq!(unlisted.check(&note, None), Err(Unwitnessed::Log));
    assert!(!unlisted.asks_for_witnesses());
    assert!(unlisted.check(ARCHE, None).is_ok());
    let none = Policy::parse(b"quorum none\n").unwrap();
    assert_eq!(none.check(&note, None), Err(Unwitnessed::Log));
    assert!(none.check(&note, Some(&world::vkey())).is_ok());
}

#[test]
fn a_policy_of_public_witnesses_believes_a_public_checkpoint() {
    let file = format!(
        "\n# who watches arche\n log\t{ARCHE_KEY}  https://log.example/ \n\
         witness garden {GARDEN} https://witness.example/\nwitness remora {REMORA}\n\
         witness navigli {NAVIGLI}\n\t\ngroup g 2 garden remora navigli\nquorum g\n"
    );
    let policy = Policy::parse(file.as_bytes()).unwrap();
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/"));
    assert_eq!(policy.witnesses()[0].name, "garden");
    let witnessed = policy.check(ARCHE, None).unwrap();
    assert_eq!(witnessed.cosigned.len(), 2);
    assert_eq!(witnessed.cosigned[1], ("remora.n621.de".into(), COSIGNED_AT));
    let all = file.replace("group g 2", "group g all");
    let all = Policy::parse(all.as_bytes()).unwrap();
    assert_eq!(all.check(ARCHE, None), Err(Unwitnessed::Quorum { found: 2, known: 3 }));
}

#[test]
fn a_policy_that_could_be_read_in_two_ways_is_refused() {
    use PolicyFault::*;
    let (log, w) = (format!("log {ARCHE_KEY}\n"), format!("witness w {REMORA}\n"));
    let two = format!("{w}witness v {GARDEN}\n");
    let table = [
        (String::new(), 0, NoQuorum),
        ("# nothing\n".into(), 1, NoQuorum),
        (w.clone(), 1, NoQuorum),
        ("quorum none".into(), 1, NoNewline),
        ("quorum none\r\n".into(), 1, Byte),
        ("quorum none\u{7f}\n".into(), 1, Byte),
        ("quorum w\n".into(), 1, Unknown),
        (format!("quorum w\n{w}"), 1, Unknown),
        ("quorum none\nquorum none\n".into(), 2, SecondQuorum),
        ("quorum none x\n".into(), 1, Line),
        ("quorum\n".into(), 1, Line),
        ("Quorum none\n".into(), 1, Line),
        ("log\n".into(), 1, Line),
        (format!("log {ARCHE_KEY} https://a b\n"), 1, Line),
        (format!("log {REMORA}\n"), 1, Key(BadVkey::Algorithm)),
        (format!("witness w {ARCHE_KEY}\n"), 1, Key(BadVkey::Algorithm)),
        (format!("{log}{log}"), 2, DuplicateKey),
        (format!("{w}witness v {REMORA}\n"), 2, DuplicateKey),
        (format!("{w}witness w {GARDEN}\n"), 2, DuplicateName),
        (format!("witness none {REMORA}\n"), 1, DuplicateName),
        (format!("{w}group none 1 w\n"), 2, DuplicateName),
        (format!("{w}group w 1 w\n"), 2, DuplicateName),
        (format!("{w}group g 1 none\n"), 2, Unknown),
        (format!("{w}group g 1 g\n"), 2, Unknown),
        (format!("{w}group g 1 w w\n"), 2, Taken),
        (format!("{w}group g 1 w\ngroup h 1 w\n"), 3, Taken),
        (format!("{two}group g 1 w\ngroup h 2 g w\n"), 4, Taken),
        (format!("{w}group g 1\n"), 2, Line),
        (format!("{w}group g 0 w\n"), 2, Threshold),
        (format!("{w}group g 2 w\n"), 2, Threshold),
        (format!("{w}group g 01 w\n"), 2, Threshold),
        (format!("{w}group g +1 w\n"), 2, Threshold),
        (format!("{w}group g -1 w\n"), 2, Threshold),
        (format!("{w}group g most w\n"), 2, Threshold),
    ];
    for (file, line, fault) in table {
        let refused = Policy::parse(file.as_bytes()).unwrap_err();
        assert_eq!((refused.line, refused.fault), (line, fault), "{file}");
    }
    let bytes = Policy::parse(b"# \xff\nquorum none\n").unwrap_err();
    assert_eq!(bytes.fault, Byte);
}

/// Three requests of the tests of Filippo Valsorda's torchwood, which is the reference witness.
const SIGSUM: &str =
    "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562";
const SIGSUM_KEY: &str = "ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f";

fn sigsum(old: &str, checkpoint: &str, signature: &str) -> String {
    format!("old {old}\n\n{SIGSUM}\n{checkpoint}\n\n— {SIGSUM} {signature}\n")
}

fn sigsum_requests() -> [String; 3] {
    [
        sigsum(
            "0",
            "1\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajX\
             pNUbIQY=",
        ),
        sigsum(
            "1\nKgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\
             KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "3\nRcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
            "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB\
             8WVrx6go=",
        ),
        sigsum(
            "1\nKgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\
             +fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=\n\
             KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "5\nQrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
            "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAS\
             hei7sDww=",
        ),
    ]
}

#[test]
fn requests_of_the_reference_witness_are_judged_as_it_judges_them() {
    let key = SIGSUM_KEY.parse::<Hash>().unwrap();
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key.0).unwrap();
    let trusted = [Vkey::new(SIGSUM, key).unwrap()];
    let requests = sigsum_requests().map(|body| {
        let request = AddCheckpoint::parse(&body).unwrap();
        assert_eq!(request.to_text().unwrap(), body);
        assert_eq!(request.origin(), Ok(SIGSUM));
        request
    });
    let [first, third, fifth] = &requests;
    let one = judge(first, &trusted, None).unwrap().head();
    assert_eq!(one.size, 1);
    let three = judge(third, &trusted, Some(&one)).unwrap().head();
    let five = judge(fifth, &trusted, Some(&one)).unwrap().head();
    assert_eq!((three.size, five.size), (3, 5));
    // The race of that test: the longer one was taken first.
    let late = judge(third, &trusted, Some(&five)).unwrap_err();
    assert_eq!((late, late.status()), (Refusal::Conflict { size: 5 }, 409));
    assert_eq!(late.size_body().as_deref(), Some("5\n"));
    assert_eq!(judge(first, &[], None).unwrap_err().status(), 403);
    assert_eq!(judge(first, &[world::vkey()], None).unwrap_err().status(), 403);
    let mut false_proof = fifth.clone();
    false_proof.proof.swap(0, 1);
    assert_eq!(judge(&false_proof, &trusted, Some(&one)), Err(Refusal::Inconsistent));
}

#[test]
fn empty_trees_and_odd_sizes_are_judged_as_the_reference_witness_judges_them() {
    let (empty, leaf) = (Hash::of(b""), leaf_hash(b"leaf"));
    let table = [
        ("empty tree", 0, 0, 0, empty, vec![], 200),
        ("empty root that is none", 0, 0, 0, leaf, vec![], 422),
        ("empty root of zeros", 0, 0, 0, Hash::ZERO, vec![], 422),
        ("empty tree with a proof", 0, 0, 0, empty, vec![leaf], 422),
        ("first tree", 0, 0, 1, leaf, vec![], 200),
        ("first tree with a proof", 0, 0, 1, leaf, vec![leaf], 422),
        ("old size is another", 1, 0, 1, leaf, vec![leaf], 409),
        ("old size above the new", 1, 1, 0, empty, vec![], 400),
        ("the same again", 1, 1, 1, leaf, vec![], 200),
        ("the same size, another root", 1, 1, 1, empty, vec![], 409),
    ];
    for (name, known, old, size, root, proof, status) in table {
        let last = TreeHead { size: known, root: if known == 0 { empty } else { leaf } };
        let checkpoint = Checkpoint { origin: world::ORIGIN.into(), size, root };
        let checkpoint = checkpoint::sign(&checkpoint, &world::key()).unwrap();
        let request = AddCheckpoint { old, proof, checkpoint };
        let request = AddCheckpoint::parse(&request.to_text().unwrap()).unwrap();
        let judged = judge(&request, &[world::vkey()], Some(&last));
        assert_eq!(judged.map_or_else(|refusal| refusal.status(), |_| 200), status, "{name}");
    }
}

#[test]
fn a_log_and_a_witness_go_through_their_life() {
    let (key, public, name) = witness(9);
    let leaves: Vec<_> = (0..40_u8).map(|n| leaf_hash(&[n])).collect();
    let (mut frontier, mut last) = (Frontier::new(), None::<TreeHead>);
    for (n, leaf) in leaves.iter().enumerate() {
        frontier.push(*leaf);
        let head = frontier.head();
        let checkpoint =
            Checkpoint { origin: world::ORIGIN.into(), size: head.size, root: head.root };
        let old = last.map_or(0, |last| last.size);
        let request = AddCheckpoint {
            old,
            proof: merkle::consistency_proof(&leaves[..=n], old).unwrap(),
            checkpoint: checkpoint::sign(&checkpoint, &world::key()).unwrap(),
        };
        let body = request.to_text().unwrap();
        let request = AddCheckpoint::parse(&body).unwrap();
        let taken = judge(&request, &[world::vkey()], last.as_ref()).unwrap();
        let answer = cosign(&taken, &name, &key, 100 + n as u64).unwrap();
        let stranger = cosign(&taken, "stranger.example", &key, 5).unwrap();
        let (note, when) = accept(&request.checkpoint, &(stranger + &answer), &public).unwrap();
        assert_eq!((when, note.lines().count()), (100 + n as u64, 6));
        assert_eq!(cosignature::verify(&note, &public), Ok(when));
        assert!(checkpoint::verify(&note, &world::vkey()).is_ok());
        let none = accept(&request.checkpoint, "", &public);
        assert!(none.is_err());
        if n % 3 == 0 {
            last = Some(taken.head());
        }
    }
}

#[test]
fn bodies_have_one_spelling() {
    let [_, good, _] = sigsum_requests();
    let bad = [
        good.replacen("old 1", "old 01", 1),
        good.replacen("old 1", "old +1", 1),
        good.replacen("old 1", "old -1", 1),
        good.replacen("old 1", "old  1", 1),
        good.replacen("old 1", "Old 1", 1),
        good.replacen("AAA=\n\n", "AAA=\n", 1),
        good.replacen("AAA=", "AAB=", 1),
        good.replacen("AAA=", "AAA", 1),
        good.replace('\n', "\r\n"),
        good.trim_end().to_owned(),
        good.replacen(
            "old 1\n",
            &("old 1\n".to_owned() + &"KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".repeat(62)),
            1,
        ),
    ];
    for body in bad {
        assert!(AddCheckpoint::parse(&body).is_err(), "{body}");
    }
    for size in [0, 1, 20_852_163, 1 << 53] {
        assert_eq!(parse_size(&size_body(size)), Ok(size));
    }
    for body in
        ["", "\n", "1", "01\n", "+1\n", "-1\n", "1\n\n", " 1\n", "1 \n", "9007199254740993\n"]
    {
        assert!(parse_size(body).is_err(), "{body:?}");
    }
}
