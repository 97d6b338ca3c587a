//! Signed notes, verifier keys and checkpoints, against what others published.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod world;

use audit_schema::{
    checkpoint::{self, BadNote, BadVkey, Checkpoint, Vkey},
    hash::Hash,
    note,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{SigningKey, VerifyingKey};

/// The example of golang.org/x/mod/sumdb/note: its keys and its note, signed by both.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_SECRET: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const GO_TEXT: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n";
const PETER_LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgY\
    N1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_LINE: &str = "\u{2014} EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+v\
    AF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

/// A checkpoint that Sigstore's public log signed in July 2026, and the log's key.
const REKOR: &str = "log2025-1.rekor.sigstore.dev\n34356369\n\
    dA9mMr0smTXgo7nGsE01Zdc5KOOqTs2/zYfdSqxO+ks=\n\n\
    \u{2014} log2025-1.rekor.sigstore.dev zxGZFQZgTebN28s0D7vKP5gX8R+CsXCved700HCQAHgDHbdkaH3t\
    fx7+DMPkccNhzsnSy7LijLzWMa+evZduylLs0wc=\n";
const REKOR_KEY: &str = "t8rlp1knGwjfbcXAYPYAkn0XiLz1x8O4t0YkEhie244=";

#[test]
fn the_go_note_is_signed_and_opened_byte_for_byte() {
    let peter: Vkey = PETER.parse().unwrap();
    assert_eq!((peter.name(), peter.id()), ("PeterNeumann", [0xc7, 0x4f, 0x20, 0xa3]));
    assert_eq!(peter.to_string(), PETER);
    let secret = STANDARD.decode(PETER_SECRET).unwrap();
    let key = SigningKey::from_bytes(secret[1..].try_into().unwrap());
    let note = note::sign(GO_TEXT, "PeterNeumann", &key).unwrap();
    assert_eq!(note, format!("{GO_TEXT}\n{PETER_LINE}"));
    assert_eq!(note::open(&note, &peter), Ok(GO_TEXT));
    let both = format!("{GO_TEXT}\n{PETER_LINE}{ENOCH_LINE}");
    let enoch: Vkey = ENOCH.parse().unwrap();
    assert_eq!(note::open(&both, &enoch), Ok(GO_TEXT));
    assert_eq!(note::open(&both, &peter), Ok(GO_TEXT));
    assert_eq!(note::open(&note, &enoch), Err(BadNote::Unsigned));
    assert_eq!(checkpoint::verify(&note, &peter), Err(BadNote::Text));
}

#[test]
fn a_checkpoint_of_a_public_log_verifies() {
    let key: [u8; 32] = STANDARD.decode(REKOR_KEY).unwrap().try_into().unwrap();
    let key = VerifyingKey::from_bytes(&key).unwrap();
    let vkey = Vkey::new("log2025-1.rekor.sigstore.dev", key).unwrap();
    let checkpoint = checkpoint::verify(REKOR, &vkey).unwrap();
    assert_eq!(checkpoint.size, 34_356_369);
    let forged = REKOR.replacen("34356369", "34356368", 1);
    assert_eq!(checkpoint::verify(&forged, &vkey), Err(BadNote::Signature));
    let renamed = Vkey::new("log2025-2.rekor.sigstore.dev", key).unwrap();
    assert_eq!(checkpoint::verify(REKOR, &renamed), Err(BadNote::Unsigned));
}

#[test]
fn verifier_keys_have_one_spelling() {
    let table = [
        ("", BadVkey::Spelling),
        ("PeterNeumann", BadVkey::Spelling),
        ("PeterNeumann+c74f20a3", BadVkey::Spelling),
        ("PeterNeumann+c74f20a3+", BadVkey::Spelling),
        ("PeterNeumann+c74f20a3+!!!!", BadVkey::Spelling),
        // Go's bad keys: too long, another id, upper case, a space, an unknown algorithm.
        (
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
            BadVkey::Spelling,
        ),
        ("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", BadVkey::Hash),
        ("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", BadVkey::Hash),
        ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", BadVkey::Name),
        ("+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", BadVkey::Name),
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", BadVkey::Algorithm),
        ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n", BadVkey::Spelling),
        ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T", BadVkey::Spelling),
        ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy", BadVkey::Key),
        // The identity point: a signature of it is a signature of everything.
        ("x+00000000+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", BadVkey::Key),
    ];
    for (text, expected) in table {
        assert_eq!(text.parse::<Vkey>(), Err(expected), "{text}");
    }
}

fn sample() -> Checkpoint {
    Checkpoint { origin: world::ORIGIN.into(), size: 5, root: Hash::of(b"root") }
}

/// A note of any text, signed by the log's key: what a careless writer might sign.
fn signed(text: &str) -> String {
    note::sign(text, world::ORIGIN, &world::key()).unwrap()
}

#[test]
fn a_checkpoint_has_one_spelling_even_where_it_is_signed() {
    let good = checkpoint::sign(&sample(), &world::key()).unwrap();
    let text = good.split("\n\n").next().unwrap().to_owned() + "\n";
    assert_eq!(checkpoint::verify(&signed(&text), &world::vkey()), Ok(sample()));
    let root = STANDARD.encode(Hash::of(b"root").0);
    let table = [
        ("another origin", text.replacen("bastion", "cushion", 1), BadNote::Origin),
        ("a leading zero", text.replacen("\n5\n", "\n05\n", 1), BadNote::Text),
        ("a sign", text.replacen("\n5\n", "\n+5\n", 1), BadNote::Text),
        ("a negative size", text.replacen("\n5\n", "\n-5\n", 1), BadNote::Text),
        ("beyond 2^53", text.replacen("\n5\n", "\n9007199254740993\n", 1), BadNote::Text),
        ("beyond 2^64", text.replacen("\n5\n", "\n18446744073709551616\n", 1), BadNote::Text),
        ("no size", text.replacen("\n5\n", "\n\n", 1), BadNote::Text),
        ("an extension", text.clone() + "more\n", BadNote::Text),
        ("an empty fourth line", text.clone() + "\n", BadNote::Text),
        ("no root", text.replacen(&root, "", 1), BadNote::Text),
        ("a short root", text.replacen(&root, &STANDARD.encode([7; 31]), 1), BadNote::Text),
        ("no padding", text.replacen('=', "", 1), BadNote::Text),
        ("spaces", text.replacen('\n', " \n", 1), BadNote::Text),
        ("two lines", "bastion.example/log\n5\n".to_owned(), BadNote::Text),
    ];
    for (name, text, expected) in table {
        assert_eq!(checkpoint::verify(&signed(&text), &world::vkey()), Err(expected), "{name}");
    }
    let largest = Checkpoint { size: 1 << 53, ..sample() };
    let note = checkpoint::sign(&largest, &world::key()).unwrap();
    assert_eq!(checkpoint::verify(&note, &world::vkey()), Ok(largest));
}

#[test]
fn a_note_has_one_spelling() {
    let good = checkpoint::sign(&sample(), &world::key()).unwrap();
    let line = good.split_inclusive('\n').next_back().unwrap();
    let witness = "\u{2014} witness.example 2WlDw+O1PYA=\n";
    let with = |more: &str| format!("{good}{more}");
    assert!(checkpoint::verify(&with(witness), &world::vkey()).is_ok());
    assert!(checkpoint::verify(&with(&witness.repeat(15)), &world::vkey()).is_ok());
    let table = [
        ("17 signatures", with(&witness.repeat(16)), BadNote::Long),
        ("too long", with(&format!("\u{2014} w {}\n", "A".repeat(140_000))), BadNote::Long),
        ("twice", with(line), BadNote::Signature),
        ("garbage", with("garbage\n"), BadNote::Note),
        ("a hyphen", with("- witness.example 2WlDw+O1PYA=\n"), BadNote::Note),
        ("a name with a plus", with("\u{2014} a+b 2WlDw+O1PYA=\n"), BadNote::Note),
        ("a name with a no-break space", with("\u{2014} a\u{a0}b 2WlDw+O1PYA=\n"), BadNote::Note),
        ("no name", with("\u{2014}  2WlDw+O1PYA=\n"), BadNote::Note),
        ("a short signature", with("\u{2014} w 2WlDww==\n"), BadNote::Note),
        ("stray bits", with("\u{2014} w 2WlDw+O1PYB=\n"), BadNote::Note),
        ("no padding", with("\u{2014} w 2WlDw+O1PYA\n"), BadNote::Note),
        ("no last newline", good.trim_end().to_owned(), BadNote::Note),
        ("an empty last line", with("\n"), BadNote::Note),
        ("carriage returns", good.replace('\n', "\r\n"), BadNote::Note),
        ("a nul", good.replacen('\n', "\0\n", 1), BadNote::Note),
        ("a tab", good.replacen('\n', "\t\n", 1), BadNote::Note),
        ("no text", format!("\n{line}"), BadNote::Note),
        ("no signature", good.replace(line, ""), BadNote::Note),
        ("only a witness", good.replace(line, witness), BadNote::Unsigned),
        ("empty", String::new(), BadNote::Note),
        ("a byte order mark", format!("\u{feff}{good}"), BadNote::Signature),
    ];
    for (name, bad, expected) in table {
        assert_eq!(checkpoint::verify(&bad, &world::vkey()), Err(expected), "{name}");
    }
}

#[test]
fn every_single_byte_change_of_a_note_is_found() {
    let good = checkpoint::sign(&sample(), &world::key()).unwrap();
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bad = good.clone().into_bytes();
            if std::mem::replace(&mut bad[at], byte) == byte {
                continue;
            }
            if let Ok(bad) = String::from_utf8(bad) {
                assert!(checkpoint::verify(&bad, &world::vkey()).is_err(), "byte {at}: {bad}");
            }
        }
        if let Some((left, right)) = good.split_at_checked(at)
            && let Some((_, right)) = right.split_at_checked(1)
        {
            let bad = [left, right].concat();
            assert!(checkpoint::verify(&bad, &world::vkey()).is_err(), "without byte {at}");
        }
    }
}

#[test]
fn a_checkpoint_that_cannot_be_is_not_signed() {
    for origin in ["", "two words", "a+b", "line\nbreak", "nul\0", "no\u{a0}break"] {
        let bad = Checkpoint { origin: origin.into(), ..sample() };
        assert_eq!(checkpoint::sign(&bad, &world::key()), Err(BadNote::Text), "{origin:?}");
    }
    let bad = Checkpoint { size: (1 << 53) + 1, ..sample() };
    assert_eq!(checkpoint::sign(&bad, &world::key()), Err(BadNote::Text));
}
