//! Keys in files: written 0600 into 0700 folders, and refused when they are looser than that.
//!
//! A private key that others can read is a key that others have; so a loose mode is an error at
//! start, not a warning. SSH keys are OpenSSH files (`ssh-keygen -l -f` reads them), the log key
//! and the recording keys are PEM (`openssl pkey` reads them): all can be checked without us.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeySize, PrivateDecryptingKey, PublicEncryptingKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{SigningKey, pkcs8::DecodePrivateKey as _};
use russh::keys::{PrivateKey, ssh_key::LineEnding};
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("{file}: {cause}")]
    Io {
        /// Which file.
        file: String,
        /// Why not.
        cause: io::Error,
    },
    /// Others could read it.
    #[error("{file}: mode {mode:03o} lets others read it; run `chmod 600 {file}`")]
    Loose {
        /// Which file.
        file: String,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{file}: belongs to uid {owner}, not to root or to us; run `chown` on it")]
    Owner {
        /// Which file.
        file: String,
        /// Whose it is.
        owner: u32,
    },
    /// It is no key of the kind that belongs there.
    #[error("{file}: not {kind}")]
    Kind {
        /// Which file.
        file: String,
        /// What belongs there.
        kind: &'static str,
    },
}

/// An OpenSSH private key, without a passphrase.
pub fn read_ssh(file: &Path) -> Result<PrivateKey, KeyFileError> {
    let text = read_private(file)?;
    let key = PrivateKey::from_openssh(text.as_bytes());
    key.ok()
        .filter(|key| !key.is_encrypted())
        .ok_or_else(|| wrong(file, "an OpenSSH private key without a passphrase"))
}

/// The log key: ed25519 in PKCS#8 PEM.
pub fn read_log_key(file: &Path) -> Result<SigningKey, KeyFileError> {
    let kind = "an ed25519 private key in PKCS#8 PEM";
    let der = pem_body(&read_private(file)?, "PRIVATE KEY").ok_or_else(|| wrong(file, kind))?;
    SigningKey::from_pkcs8_der(&der).map_err(|_| wrong(file, kind))
}

/// A public RSA key in PEM, of at least 3072 bits: recordings are sealed to it. Returns the PEM.
pub fn read_recording_key(file: &Path) -> Result<String, KeyFileError> {
    let text = fs::read_to_string(file).map_err(|cause| io_error(file, cause))?;
    match check_recording_key(&text) {
        true => Ok(text),
        false => Err(wrong(file, "a public RSA key of at least 3072 bits in PEM")),
    }
}

/// Whether a PEM text is a public RSA key of at least 3072 bits.
pub fn check_recording_key(pem: &str) -> bool {
    let der = pem_body(pem, "PUBLIC KEY");
    der.and_then(|der| PublicEncryptingKey::from_der(&der).ok())
        .is_some_and(|key| key.key_size_bits() >= 3072)
}

/// A private file's text; loose modes and foreign owners are refused.
pub fn read_private(file: &Path) -> Result<String, KeyFileError> {
    let meta = fs::metadata(file).map_err(|cause| io_error(file, cause))?;
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Loose { file: file.display().to_string(), mode });
    }
    let us = nix::unistd::geteuid().as_raw();
    if meta.uid() != us && meta.uid() != 0 {
        return Err(KeyFileError::Owner { file: file.display().to_string(), owner: meta.uid() });
    }
    fs::read_to_string(file).map_err(|cause| io_error(file, cause))
}

/// Makes a folder that only we can enter.
pub fn make_private_dir(dir: &Path) -> Result<(), KeyFileError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|cause| io_error(dir, cause))
}

/// Writes a new file that only we can read; an existing file is never overwritten.
pub fn write_private(file: &Path, text: &[u8]) -> Result<(), KeyFileError> {
    write_new(file, text, 0o600)
}

/// Writes a new file that everybody may read; an existing file is never overwritten.
pub fn write_public(file: &Path, text: &[u8]) -> Result<(), KeyFileError> {
    write_new(file, text, 0o644)
}

fn write_new(file: &Path, text: &[u8], mode: u32) -> Result<(), KeyFileError> {
    let write = || {
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
        out.write_all(text)?;
        out.sync_all()
    };
    write().map_err(|cause| io_error(file, cause))
}

/// A fresh ed25519 key as an OpenSSH file; returns its public line.
pub fn make_ssh(file: &Path, seed: [u8; 32], comment: &str) -> Result<String, KeyFileError> {
    let pair = russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&seed);
    let mut key = PrivateKey::from(pair);
    key.set_comment(comment);
    let kind = "writable as an OpenSSH key";
    let text = key.to_openssh(LineEnding::LF).map_err(|_| wrong(file, kind))?;
    let public = key.public_key().to_openssh().map_err(|_| wrong(file, kind))?;
    write_private(file, text.as_bytes())?;
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    write_public(Path::new(&name), format!("{public}\n").as_bytes())?;
    Ok(public)
}

/// A fresh log key as PKCS#8 PEM.
pub fn make_log_key(file: &Path, seed: [u8; 32]) -> Result<SigningKey, KeyFileError> {
    // RFC 8410: a fixed header and the 32 bytes.
    let header = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    let der = [header.as_slice(), &seed].concat();
    write_private(file, pem("PRIVATE KEY", &der).as_bytes())?;
    Ok(SigningKey::from_bytes(&seed))
}

/// A fresh RSA-3072 pair for recordings: the private PEM, then the public one.
pub fn make_recording_pair() -> Result<(String, String), aws_lc_rs::error::Unspecified> {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa3072)?;
    let private: Pkcs8V1Der = key.as_der()?;
    let public: PublicKeyX509Der = key.public_key().as_der()?;
    Ok((pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref())))
}

/// DER as PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// The DER of the first PEM block with this label.
pub fn pem_body(text: &str, label: &str) -> Option<Vec<u8>> {
    let after = text.split_once(&format!("-----BEGIN {label}-----"))?.1;
    let body = after.split_once(&format!("-----END {label}-----"))?.0;
    let body: String = body.split_ascii_whitespace().collect();
    BASE64.decode(body).ok()
}

fn io_error(file: &Path, cause: io::Error) -> KeyFileError {
    KeyFileError::Io { file: file.display().to_string(), cause }
}

fn wrong(file: &Path, kind: &'static str) -> KeyFileError {
    KeyFileError::Kind { file: file.display().to_string(), kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_come_back_as_they_were_made_and_loose_ones_do_not() {
        let dir = std::env::temp_dir().join(format!("bastion-keyfile-{}", std::process::id()));
        make_private_dir(&dir).unwrap();
        let (ssh, log) = (dir.join("ca"), dir.join("log.pem"));
        let public = make_ssh(&ssh, [7; 32], "user-ca").unwrap();
        assert_eq!(read_ssh(&ssh).unwrap().public_key().to_openssh().unwrap(), public);
        let made = make_log_key(&log, [9; 32]).unwrap();
        assert_eq!(read_log_key(&log).unwrap().to_bytes(), made.to_bytes());
        assert!(matches!(read_log_key(&ssh), Err(KeyFileError::Kind { .. })));
        assert!(make_log_key(&log, [1; 32]).is_err(), "a key is never overwritten");
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_ssh(&ssh), Err(KeyFileError::Loose { mode: 0o640, .. })));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn recording_keys_are_rsa_3072() {
        let (private, public) = make_recording_pair().unwrap();
        assert!(check_recording_key(&public));
        assert!(!check_recording_key(&private));
        let small = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let small: PublicKeyX509Der = small.public_key().as_der().unwrap();
        assert!(!check_recording_key(&pem("PUBLIC KEY", small.as_ref())));
    }
}
