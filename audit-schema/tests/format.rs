//! FORMAT.md is the specification, and this test holds it to the code: the catalogue of events is
//! the one of the files of `src/event/`, the worked example is what the code makes and verifies,
//! and the script is `verify.sh`.
//!
//! `UPDATE_FORMAT=1 cargo test -p audit-schema --test format` writes the page's blocks anew.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod catalogue;
mod world;

use audit_schema::{
    checkpoint::Vkey, commit::Opening, entry::Entry, export::verify_export, hash::Hash, merkle,
};
use std::{fs, path::Path};
use world::{Log, example};

/// Each block of the page: the mark that stands before it, its fence, and its text.
fn blocks() -> Vec<(&'static str, &'static str, String)> {
    let log = example();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let entry = [log.lines[3].clone(), b"\n".to_vec()].concat();
    vec![
        ("example:entry", "json", text(entry)),
        ("example:key", "text", format!("{}\n", world::vkey())),
        ("example:export", "json", text(log.file())),
        ("example:leaves", "text", each(&log.leaves())),
        ("example:customer", "text", customer(&log)),
        ("example:tree", "text", tree(&log)),
        ("example:openings", "json", text(log.openings_file())),
        ("example:checkpoint", "text", log.note()),
        ("example:inclusion", "text", each(&merkle::inclusion_proof(&log.leaves(), 3).unwrap())),
        ("script", "sh", read("verify.sh")),
        ("events", "", catalogue::events(&event_files())),
        ("types", "", catalogue::types(&read("src/event/parts.rs"))),
    ]
}

fn each(hashes: &[Hash]) -> String {
    hashes.iter().map(|hash| format!("{hash}\n")).collect()
}

fn customer(log: &Log) -> String {
    let row = |line: &Vec<u8>| {
        let entry = Entry::parse(line).unwrap();
        let leaf = merkle::leaf_hash(line);
        entry.customer.map(|link| format!("{} {} {leaf}\n", link.seq, entry.seq))
    };
    log.lines.iter().filter_map(row).collect()
}

fn tree(log: &Log) -> String {
    let leaves = log.leaves();
    each(&[merkle::root(&leaves[..4]), merkle::root(&leaves[4..]), merkle::root(&leaves)])
}

/// The files of variants, in the order in which `event/mod.rs` chains them.
fn event_files() -> Vec<String> {
    let module = read("src/event/mod.rs");
    let (_, chain) = module.split_once("\nlog_events! { [").unwrap();
    let (chain, _) = chain.split_once(" declare] }").unwrap();
    let names = std::iter::once("log_events").chain(chain.split(' '));
    names.map(|name| read(&format!("src/event/{}.rs", name.trim_end_matches("_events")))).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Where the text of a block stands in the page.
fn place(page: &str, mark: &str, fence: &str) -> std::ops::Range<usize> {
    let mark = format!("<!-- {mark} -->\n");
    let start = page.find(&mark).unwrap_or_else(|| panic!("no {mark}")) + mark.len();
    if fence.is_empty() {
        let rest = &page[start..];
        let table = rest.strip_prefix('\n').unwrap();
        // A table ends at its first empty line; before it is filled in there is none.
        let length = if table.starts_with('|') { table.find("\n\n").unwrap() + 1 } else { 0 };
        return start + 1..start + 1 + length;
    }
    let open = format!("```{fence}\n");
    assert!(page[start..].starts_with(&open), "no {open} after {mark}");
    let start = start + open.len();
    let length = if page[start..].starts_with("```") {
        0
    } else {
        page[start..].find("\n```\n").unwrap() + 1
    };
    start..start + length
}

#[test]
fn the_page_holds_what_the_code_makes() {
    let mut page = read("FORMAT.md");
    if std::env::var_os("UPDATE_FORMAT").is_some() {
        for (mark, fence, text) in blocks() {
            let place = place(&page, mark, fence);
            // A table needs an empty line after it, where there was nothing before.
            let gap = if fence.is_empty() && place.is_empty() { "\n" } else { "" };
            page.replace_range(place, &(text + gap));
        }
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md"), &page).unwrap();
    }
    for (mark, fence, text) in blocks() {
        let found = &page[place(&page, mark, fence)];
        assert_eq!(found, text, "FORMAT.md, {mark}: run with UPDATE_FORMAT=1 if this is intended");
    }
}

#[test]
fn the_worked_example_verifies_as_it_is_printed() {
    let page = read("FORMAT.md");
    let block = |mark, fence| &page[place(&page, mark, fence)];
    let key: Vkey = block("example:key", "text").trim_end().parse().unwrap();
    let note = block("example:checkpoint", "text");
    let lines: Vec<_> = block("example:export", "json").split_inclusive('\n').collect();
    let verified = verify_export(&lines, Some((note, &key))).unwrap();
    assert_eq!((verified.entries, verified.beyond), (5, 0));
    for line in block("example:openings", "json").lines() {
        let opening = Opening::parse(line.as_bytes()).unwrap();
        let entry = lines[opening.seq as usize].trim_end_matches('\n');
        opening.check(&Entry::parse(entry.as_bytes()).unwrap()).unwrap();
    }
    let proof: Vec<Hash> =
        block("example:inclusion", "text").lines().map(|hash| hash.parse().unwrap()).collect();
    let head = verified.checkpoint.unwrap().head();
    let leaf = merkle::leaf_hash(lines[3].trim_end_matches('\n').as_bytes());
    merkle::verify_inclusion(&leaf, 3, &proof, &head).unwrap();
}

#[test]
fn every_event_is_in_the_catalogue_once() {
    let files = event_files();
    let renamed: usize =
        files.iter().map(|source| source.matches("    #[serde(rename = \"").count()).sum();
    let rows = catalogue::events(&files).lines().count() - 2;
    assert_eq!(rows, renamed);
}
