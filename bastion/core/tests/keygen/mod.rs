//! The real ssh-keygen, in a folder that goes when it is dropped; and signature files by hand.
#![allow(clippy::unwrap_used)] // a panic is how a test fails
#![allow(dead_code)] // each test file uses its own part

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ssh_key::{PublicKey, public::KeyData};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A folder that goes when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("bastion-core-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A key of the real ssh-keygen.
pub struct RealKey {
    pub folder: Folder,
    pub public: String,
}

impl RealKey {
    pub fn new(kind: &[&str]) -> Self {
        let folder = Folder::new();
        let key = folder.path("key");
        keygen(&[&["-q", "-N", "", "-f", key.to_str().unwrap(), "-t"], kind].concat(), None);
        let public = fs::read_to_string(folder.path("key.pub")).unwrap();
        Self { folder, public }
    }

    pub fn data(&self) -> KeyData {
        PublicKey::from_openssh(&self.public).unwrap().key_data().clone()
    }

    pub fn sign(&self, statement: &[u8], namespace: &str, options: &[&str]) -> String {
        let file = self.folder.path("statement.json");
        fs::write(&file, statement).unwrap();
        let sig = self.folder.path("statement.json.sig");
        if sig.exists() {
            fs::remove_file(&sig).unwrap();
        }
        let key = self.folder.path("key");
        let mut args = vec!["-Y", "sign", "-f", key.to_str().unwrap(), "-n", namespace];
        for option in options {
            args.extend(["-O", option]);
        }
        args.push(file.to_str().unwrap());
        keygen(&args, None);
        fs::read_to_string(sig).unwrap()
    }
}

pub fn keygen(args: &[&str], stdin: Option<&Path>) {
    let input = stdin.map_or_else(Stdio::null, |path| fs::File::open(path).unwrap().into());
    let done = Command::new("ssh-keygen").args(args).stdin(input).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// What ssh-keygen prints.
pub fn printed(args: &[&str]) -> String {
    let done = Command::new("ssh-keygen").args(args).stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The armor of ssh-keygen around a blob.
pub fn armor(blob: &[u8]) -> String {
    let text = STANDARD.encode(blob);
    let lines: Vec<&str> =
        text.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}

/// A string of the SSH wire.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A signature blob by hand, where a library would refuse.
pub fn blob(key: &KeyData, namespace: &str, hash: &str, signature: &[u8]) -> Vec<u8> {
    let public = ssh_key::PublicKey::new(key.clone(), "").to_bytes().unwrap();
    [
        b"SSHSIG".to_vec(),
        1_u32.to_be_bytes().to_vec(),
        string(&public),
        string(namespace.as_bytes()),
        string(b""),
        string(hash.as_bytes()),
        string(signature),
    ]
    .concat()
}
