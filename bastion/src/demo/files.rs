//! Files and keys of the demo's folder, each with the permissions that are meant.

use super::error::{DemoError, Doing as _};
use russh::keys::ssh_key::{PrivateKey, private::Ed25519Keypair};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// A fresh ed25519 key pair.
pub fn fresh_key(comment: &str) -> Result<PrivateKey, DemoError> {
    let mut seed = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut seed)
        .map_err(|_| io::Error::other("no randomness"))
        .doing("draw a key")?;
    let pair = Ed25519Keypair::from_seed(&seed);
    let mut key = PrivateKey::from(pair);
    key.set_comment(comment);
    Ok(key)
}

/// Writes a whole file with these permissions, from the first moment on.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), DemoError> {
    let fresh = path.with_extension("new");
    let doing = || format!("write {path:?}");
    if let Err(error) = fs::remove_file(&fresh)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error).doing(doing());
    }
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create_new(true).mode(mode).open(&fresh).doing(doing())?;
    file.write_all(text.as_bytes()).doing(doing())?;
    // The mode above is narrowed by the umask; ours is meant.
    fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)).doing(doing())?;
    fs::rename(&fresh, path).doing(doing())
}

/// Makes a folder with exactly these permissions.
pub fn folder(path: &Path, mode: u32) -> Result<(), DemoError> {
    fs::create_dir_all(path).doing(format!("make {path:?}"))?;
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).doing(format!("set the mode of {path:?}"))
}

/// The text as one line with its end.
pub fn line(text: &str) -> String {
    format!("{}\n", text.trim_end())
}
