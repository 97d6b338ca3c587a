//! A changed, missing, doubled, swapped or cut line of an export is found under its checkpoint.

use bastion_tests::world::{Person::*, World};
use std::fs;

#[test]
fn a_changed_export_is_found() {
    changed_exports(&crate::sqlite());
}

fn changed_exports(world: &World) {
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
    let export = world.bastion(&["audit", "export"]).exits(0).text();
    let checkpoint = world.bastion(&["audit", "checkpoint"]).exits(0).text();
    fs::write(world.dir().join("checkpoint"), &checkpoint).unwrap();
    let verify = |text: &str| {
        fs::write(world.dir().join("try.jsonl"), text).unwrap();
        world.bastion(&["audit", "verify", "--file", "try.jsonl", "--checkpoint", "checkpoint"])
    };
    let whole = world.bastion(&["audit", "export"]).exits(0).text();
    verify(&whole).exits(0);
    assert!(whole.starts_with(&export), "the log is not append-only");

    let signed: usize = checkpoint.lines().nth(1).unwrap().parse().unwrap();
    let lines: Vec<&str> = whole.lines().take(signed).collect();
    let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let text = join(&lines);
    verify(&text).exits(0);
    // A sample of all bytes, spread over the file; the format's own tests change every one.
    for at in (0..text.len()).step_by(text.len() / 60) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        if let Ok(changed) = String::from_utf8(bytes) {
            verify(&changed).exits(4);
        }
    }
    for at in [0, 1, lines.len() / 2, lines.len() - 1] {
        let mut gone = lines.clone();
        gone.remove(at);
        verify(&join(&gone)).exits(4);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at]);
        verify(&join(&doubled)).exits(4);
        let mut swapped = lines.clone();
        swapped.swap(at, (at + 1) % lines.len());
        verify(&join(&swapped)).exits(4);
        verify(&join(&lines[..at])).exits(4);
    }
}
