//! The program `audit-verify` as an auditor runs it: what it says, and how it ends.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod tree;
mod world;

use audit_schema::{
    checkpoint::{self, Checkpoint},
    cosignature::{WitnessKey, cosign},
    entry::Entry,
    merkle, note,
    proof::Proof,
};
use ed25519_dalek::SigningKey;
use std::{fs, path::Path, process::Command};
use tree::{Folder, published, write};
use world::{Log, key, long, vkey};

fn put(folder: &Folder, name: &str, bytes: impl AsRef<[u8]>) -> String {
    folder.file(name, bytes).display().to_string()
}

/// Exit status, standard output, standard error.
fn run(words: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_audit-verify")).args(words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn holds(words: &[&str]) -> String {
    let (code, out, error) = run(words);
    assert_eq!((code, error.as_str()), (0, ""), "{words:?}: {out}");
    out
}

fn broken(words: &[&str]) -> String {
    let (code, out, error) = run(words);
    assert_eq!(code, 4, "{words:?}: {out}{error}");
    error
}

/// The log's note with the cosignature of one witness, and a policy that asks for it.
fn witnessed(log: &Log) -> (String, String) {
    let witness = SigningKey::from_bytes(&[7; 32]);
    let name = "witness.example/w";
    let line = cosign(&log.checkpoint(), name, &witness, 1_795_600_000).unwrap();
    let public = WitnessKey::new(name, witness.verifying_key()).unwrap();
    let policy = format!("log {}\nwitness w {public}\nquorum w\n", vkey());
    (note::add(&log.note(), &line).unwrap(), policy)
}

#[test]
fn an_export_holds_and_a_changed_one_does_not() {
    let (folder, log) = (Folder::new("audit-verify-export"), long(40));
    let (cosigned, policy) = witnessed(&log);
    let vkey = put(&folder, "vkey", format!("{}\n", vkey()));
    let export = put(&folder, "export.jsonl", log.file());
    let (note, policy) = (put(&folder, "note", log.note()), put(&folder, "policy", policy));
    let cosigned = put(&folder, "cosigned", cosigned);

    let said = holds(&["export", &export]);
    assert!(said.contains("chain: 40 entries hold") && said.contains("cut-off end"), "{said}");
    let said = holds(&["export", &export, "--checkpoint", &note, "--vkey", &vkey]);
    assert!(said.contains("tree: the first 40 entries") && said.contains("unwitnessed"), "{said}");
    let under =
        ["export", &export, "--checkpoint", &cosigned, "--vkey", &vkey, "--policy", &policy];
    let said = holds(&under);
    assert!(said.contains("witness.example/w cosigned it at 2026-11-25T"), "{said}");
    assert!(!said.contains("unwitnessed"), "{said}");
    let under = ["export", &export, "--checkpoint", &note, "--vkey", &vkey, "--policy", &policy];
    assert!(broken(&under).contains("0 of 1 witnesses"));
    let any = ["export", &export, "--checkpoint", &note, "--vkey", &vkey, "--any-entries"];
    assert!(holds(&any).contains("tree: the first 40 entries"));

    let text = String::from_utf8(log.file()).unwrap();
    put(&folder, "export.jsonl", text.replacen("s-00000008", "s-00000009", 1));
    assert!(broken(&["export", &export]).contains("entry 8 (line 9): it was changed"));
    assert!(broken(&any).contains("not the entries that the checkpoint signs"));
    put(&folder, "export.jsonl", text.trim_end());
    assert!(broken(&["export", &export]).contains("no newline"));
    let shorter: String = text.split_inclusive('\n').take(39).collect();
    put(&folder, "export.jsonl", shorter);
    assert!(broken(&any).contains("line 40: it is missing"));
    let under = ["export", &export, "--checkpoint", &note, "--vkey", &vkey];
    assert!(broken(&under).contains("entry 39: it is missing, and all after it"));
}

#[test]
fn a_published_tree_holds_and_a_changed_one_does_not() {
    let (folder, log) = (Folder::new("audit-verify-tiles"), long(300));
    let (cosigned, policy) = witnessed(&log);
    let files = published(&log.lines, &cosigned);
    write(&folder.0, &files);
    let (dir, key) = (folder.0.display().to_string(), vkey().to_string());
    let policy = put(&folder, "policy", policy);
    let said = holds(&["tiles", &dir, "--vkey", &key, "--policy", &policy]);
    assert!(said.contains("tree: 300 entries and 3 tiles have the signed root"), "{said}");
    assert!(said.contains("chain: 300 entries of 2 customers hold"), "{said}");
    let any = ["tiles", &dir, "--vkey", &key, "--any-entries"];
    assert!(holds(&any).contains("were not looked into"));

    // An entry rewritten together with its level-0 tile, under the old checkpoint.
    let mut lines = log.lines.clone();
    let mut entry = Entry::parse(&lines[20]).unwrap();
    entry.gateway = "gw-2".into();
    lines[20] = entry.to_line().unwrap().into_bytes();
    let rewritten = published(&lines, &cosigned);
    fs::write(folder.0.join("tile/entries/000"), &rewritten["tile/entries/000"]).unwrap();
    assert!(broken(&any).contains("entry 20: its bundle and tile/0/000 do not agree"));
    fs::write(folder.0.join("tile/0/000"), &rewritten["tile/0/000"]).unwrap();
    assert!(broken(&any).contains("tile/1/000.p/1: hash 0 is not the root of tile/0/000"));
    let said = broken(&["tiles", &dir, "--vkey", &key]);
    assert!(said.contains("tile/entries/000: entry 21 (line 22): its prev"), "{said}");
    write(&folder.0, &rewritten);
    assert!(broken(&any).contains("the log was written anew"));

    write(&folder.0, &files);
    for (path, bytes) in &files {
        let mut bad = bytes.clone();
        bad[bytes.len() / 2] ^= 4;
        fs::write(folder.0.join(path), bad).unwrap();
        broken(&["tiles", &dir, "--vkey", &key]);
        fs::write(folder.0.join(path), bytes).unwrap();
    }
    fs::remove_file(folder.0.join("tile/0/001.p/44")).unwrap();
    assert!(broken(&any).contains("tile/0/001.p/44: it is missing"));
}

#[test]
fn a_tree_of_entries_that_are_not_ours_holds_with_any_entries() {
    let folder = Folder::new("audit-verify-any");
    let lines: Vec<Vec<u8>> = (0..600_u32).map(|n| format!("anything {n}").into_bytes()).collect();
    let leaves: Vec<_> = lines.iter().map(|line| merkle::leaf_hash(line)).collect();
    let checkpoint =
        Checkpoint { origin: world::ORIGIN.into(), size: 600, root: merkle::root(&leaves) };
    let note = checkpoint::sign(&checkpoint, &key()).unwrap();
    write(&folder.0, &published(&lines, &note));
    let (dir, key) = (folder.0.display().to_string(), vkey().to_string());
    holds(&["tiles", &dir, "--vkey", &key, "--any-entries"]);
    let said = broken(&["tiles", &dir, "--vkey", &key]);
    assert!(said.contains("entry 0 (line 1): it is not an entry"), "{said}");
}

#[test]
fn a_proof_holds_and_another_entrys_does_not() {
    let (folder, log) = (Folder::new("audit-verify-proof"), long(40));
    let (cosigned, policy) = witnessed(&log);
    let hashes = merkle::inclusion_proof(&log.leaves(), 17).unwrap();
    let proof = Proof { extra: None, index: 17, hashes, checkpoint: cosigned };
    let file = put(&folder, "17.tlog-proof", proof.to_text().unwrap());
    let with_entry = Proof { extra: Some(log.lines[17].clone()), ..proof.clone() };
    let with_entry = put(&folder, "17-with-entry.tlog-proof", with_entry.to_text().unwrap());
    let entry = put(&folder, "entry", [&log.lines[17][..], b"\n"].concat());
    let other = put(&folder, "other", &log.lines[16]);
    let (key, policy) = (vkey().to_string(), put(&folder, "policy", policy));
    for given in [vec!["proof", &file, "--entry", &entry], vec!["proof", &with_entry]] {
        let given = [&given[..], &["--vkey", &key, "--policy", &policy]].concat();
        let said = holds(&given);
        assert!(said.contains("is number 17 of this log"), "{said}");
        assert!(said.contains("entry: access.denied, of 2026-11-24T"), "{said}");
    }
    let said = broken(&["proof", &file, "--entry", &other, "--vkey", &key]);
    assert!(said.contains("leads to another root"), "{said}");
    let (code, _, error) = run(&["proof", &file, "--vkey", &key]);
    assert!(code == 2 && error.contains("--entry FILE"), "{error}");
    let moved = Proof { index: 16, ..proof };
    let moved = put(&folder, "16.tlog-proof", moved.to_text().unwrap());
    broken(&["proof", &moved, "--entry", &entry, "--vkey", &key]);
}

#[test]
fn a_customers_export_is_complete_or_says_that_it_is_not() {
    let (folder, mut log) = (Folder::new("audit-verify-customer"), long(40));
    let map = log.map();
    log.heartbeat();
    let export = log.customer_export("acme", 40, &map);
    let file = put(&folder, "acme.export", export.to_text());
    let said = holds(&["customer", &file]);
    assert!(said.contains("complete: all 10 entries"), "{said}");
    assert!(said.contains("give its key with --vkey"), "{said}");
    let key = vkey().to_string();
    let said = holds(&["customer", &file, "--vkey", &key]);
    assert!(said.contains("unwitnessed") && said.contains("heartbeat 40"), "{said}");
    let alone = put(&folder, "acme.jsonl", log.customer_file("acme"));
    assert!(holds(&["customer", &alone]).contains("whether more came after them"));
    let mut cut = export;
    cut.entries.pop();
    put(&folder, "acme.export", cut.to_text());
    assert!(broken(&["customer", &file]).contains("entries are missing at the end"));
    let (code, _, error) = run(&["export", &file]);
    assert!(code == 2 && error.contains("audit-verify customer"), "{error}");
}

#[test]
fn wrong_usage_and_files_that_cannot_be_read_are_told_apart() {
    let folder = Folder::new("audit-verify-usage");
    let file = put(&folder, "file", "x");
    let key = vkey().to_string();
    let absent = folder.0.join("absent").display().to_string();
    let usage: [&[&str]; 10] = [
        &[],
        &["tree"],
        &["export"],
        &["export", &file, &file],
        &["export", &file, "--vkey"],
        &["export", &file, "--vkey", "nonsense"],
        &["export", &file, "--vkey", &key],
        &["export", &file, "--entry", &file],
        &["tiles", &file],
        &["customer", &file, "--any-entries"],
    ];
    for words in usage {
        let (code, out, error) = run(words);
        assert_eq!((code, out.as_str()), (2, ""), "{error}");
    }
    assert_eq!(run(&["export", &absent]).0, 1);
    assert_eq!(run(&["proof", &absent, "--vkey", &key]).0, 1);
    assert_eq!(run(&["tiles", &absent, "--vkey", &key]).0, 1);
    assert_eq!(run(&["help"]).0, 0);
    assert!(broken(&["proof", &file, "--vkey", &key]).contains("not a tlog-proof"));
    assert!(Path::new(&file).exists());
}
