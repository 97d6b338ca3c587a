//! A recording from the outside: its file, its container, its plaintext.

use bastion::relay::recording::{Found, open_container, unwrap};
use bastion_tests::world::World;
use serde_json::Value;
use std::{fs, path::PathBuf};

/// The key that opens recordings of troubleshoot channels.
const PROVIDER: &str = "take-away/provider-recording.pem";

/// The lease of the last channel that was granted.
pub fn last_lease(world: &World) -> String {
    world.log().last("access.granted")["lease"].as_str().unwrap().to_owned()
}

/// The JSON lines of the recording of the last channel, a troubleshooting one.
pub fn lines(world: &World) -> Vec<Value> {
    let (plain, found) = plaintext(world, &last_lease(world));
    assert!(found.whole.is_some(), "{:?}", found.fault);
    let text = String::from_utf8(plain).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The file of the recording of a lease.
pub fn file(world: &World, lease: &str) -> PathBuf {
    let log = world.log();
    let issued = log.events("certificate.issued").into_iter().find(|e| e["lease"] == lease);
    let recording = issued.expect("a certificate")["recording"].as_str().unwrap().to_owned();
    world.dir().join("recordings").join(format!("{recording}.rec"))
}

/// Bytes of ciphertext in a container, sealed or not: what stands in its frames.
pub fn framed(file: &[u8]) -> u64 {
    let mut at = file.iter().position(|byte| *byte == b'\n').map_or(file.len(), |end| end + 1);
    let mut bytes = 0;
    while let Some(letter) = file.get(at) {
        if *letter != b'D' {
            at += 160;
            continue;
        }
        let Some(line) = file.get(at..at + 13) else { break };
        let length: usize = std::str::from_utf8(&line[2..12]).unwrap().parse().unwrap();
        let here = length.min(file.len() - at - 13);
        bytes += here as u64;
        at += 13 + length;
    }
    bytes
}

/// What is proven of a recording of a channel without a terminal: the output of the VM.
pub fn output(world: &World, lease: &str) -> (Vec<u8>, Found) {
    let (plain, found) = plaintext(world, lease);
    (streams(&plain, b'o'), found)
}

/// What is proven of a recording, opened with the provider's key.
fn plaintext(world: &World, lease: &str) -> (Vec<u8>, Found) {
    let archive = world.bastion(&["session", "fetch", lease]).exits(0).out;
    let tar = world.dir().join("fetched.tar");
    fs::write(&tar, archive).unwrap();
    let part = |end: &str| {
        let extract = format!("tar xOf fetched.tar --wildcards '*{end}'");
        world.run("sh", &["-c", &extract]).exits(0).out
    };
    let wrapped = String::from_utf8(part(".keys.json")).unwrap();
    let private = fs::read_to_string(world.dir().join(PROVIDER)).unwrap();
    let key = unwrap(&wrapped, &private).unwrap();
    open_container(&part(".recording"), &key).unwrap()
}

/// One stream of `timed-streams-v1`; its last piece may be cut where the last segment ended.
fn streams(plain: &[u8], letter: u8) -> Vec<u8> {
    let end = |from: usize| plain[from..].iter().position(|b| *b == b'\n').map(|at| from + at);
    let mut at = end(0).map_or(plain.len(), |end| end + 1);
    let mut out = Vec::new();
    while let Some(line_end) = end(at) {
        let line = std::str::from_utf8(&plain[at..line_end]).unwrap();
        let length: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        let data = &plain[line_end + 1..plain.len().min(line_end + 1 + length)];
        if plain[at] == letter {
            out.extend_from_slice(data);
        }
        at = line_end + 2 + length;
        if at > plain.len() {
            break;
        }
    }
    out
}
