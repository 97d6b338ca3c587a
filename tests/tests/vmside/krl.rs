//! Our KRL, read by ssh-keygen.

use crate::{https::Folder, world::keygen};
use audit_schema::{hash::Hash, time::Timestamp};
use bastion_core::krl::Krl;
use russh::keys::PublicKey;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

/// Whether ssh-keygen finds the key of a file in the list.
fn is_revoked(folder: &Folder, file: &str) -> bool {
    let asked = Command::new("ssh-keygen")
        .args(["-Q", "-f", "krl", file])
        .current_dir(&folder.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(said.contains(": ok") || said.contains("REVOKED"), "{asked:?}");
    assert_eq!(asked.status.success(), said.contains(": ok"));
    said.contains("REVOKED")
}

#[test]
fn ssh_keygen_reads_what_is_revoked_and_nothing_else() {
    let folder = Folder::new("krl");
    let at = |name: &str| folder.0.join(name).display().to_string();
    for name in ["ca", "old-ca", "key"] {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &at(name)]);
    }
    for (ca, serial) in [("ca", "7"), ("ca", "8"), ("ca", "4294967296"), ("old-ca", "9")] {
        fs::copy(at("key.pub"), at(&format!("{ca}-{serial}.pub"))).unwrap();
        let public = at(&format!("{ca}-{serial}.pub"));
        keygen(&["-q", "-s", &at(ca), "-I", "x", "-n", "x", "-z", serial, &public]);
    }
    let key =
        |name: &str| PublicKey::from_openssh(fs::read_to_string(at(name)).unwrap().trim()).unwrap();
    let blob = key("ca.pub").to_bytes().unwrap();
    let mut list = Krl {
        version: 4711,
        generated: Timestamp::from_seconds(1_700_000_000),
        keys: BTreeSet::new(),
        serials: BTreeMap::from([(blob, BTreeSet::from([0, 7, 4_294_967_296]))]),
    };
    fs::write(at("krl"), list.to_bytes()).unwrap();
    let said = keygen(&["-Q", "-l", "-f", &at("krl")]);
    assert!(said.contains("KRL version 4711"), "{said}");
    for (file, revoked) in [
        ("ca-7-cert.pub", true),
        ("ca-8-cert.pub", false),
        ("ca-4294967296-cert.pub", true),
        ("old-ca-9-cert.pub", false),
        ("key.pub", false),
        ("ca.pub", false),
    ] {
        assert_eq!(is_revoked(&folder, file), revoked, "{file}");
    }
    // A CA that counts no more takes all that it signed along.
    list.keys.insert(Hash::of(&key("old-ca.pub").to_bytes().unwrap()));
    fs::write(at("krl"), list.to_bytes()).unwrap();
    assert!(is_revoked(&folder, "old-ca-9-cert.pub") && is_revoked(&folder, "old-ca.pub"));
    assert!(!is_revoked(&folder, "ca-8-cert.pub"));
    // Nothing revoked is a list, too.
    list.keys.clear();
    list.serials.clear();
    fs::write(at("krl"), list.to_bytes()).unwrap();
    assert!(!is_revoked(&folder, "ca-7-cert.pub"));
}
