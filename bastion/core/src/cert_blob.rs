//! What a certificate says, read from its bytes: what a VM's sshd was shown.
//!
//! OpenSSH's `ssh-ed25519-cert-v01@openssh.com`, of an ed25519 CA, read field by field and in one
//! spelling only: nothing may be left over, and extensions stand in their order, each once. Besides
//! the fields there is the digest that the issuance entry holds: SHA-256 of the blob up to its
//! signature, without the extensions that could only be made after the entry (see [`crate::cert`]).

use crate::limits::CERT_BLOB_BYTES_MAX;
use audit_schema::{hash::Hash, time::Timestamp};
use ed25519_dalek::{Signature, VerifyingKey};
use std::collections::BTreeMap;

/// The one type of certificate that is read.
pub const CERT_TYPE: &str = "ssh-ed25519-cert-v01@openssh.com";
const KEY_TYPE: &[u8] = b"ssh-ed25519";
/// `SSH2_CERT_TYPE_USER`.
const USER: u32 = 1;

/// Why bytes are no certificate of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBlob {
    /// Larger than any that we make.
    #[error("the certificate is longer than {CERT_BLOB_BYTES_MAX} bytes")]
    Long,
    /// Not the fields of one, or not in the one spelling.
    #[error("not an ed25519 user certificate of an ed25519 CA in its one spelling: {0}")]
    Shape(&'static str),
    /// Signed by nobody who counts here.
    #[error("the certificate's CA is not trusted here")]
    Authority,
    /// The signature is wrong.
    #[error("the certificate's signature does not hold")]
    Signature,
}

/// A certificate whose signature holds. Only [`read`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCertificate {
    /// The key that it certifies.
    pub subject: [u8; 32],
    /// The `seq` of its grant.
    pub serial: u64,
    /// `customer/service/instance/ticket/lease`.
    pub key_id: String,
    /// Whom it is for.
    pub principals: Vec<String>,
    /// From when.
    pub valid_after: Timestamp,
    /// Until when.
    pub valid_before: Timestamp,
    /// The extensions that were made after the entry, by name.
    pub late: BTreeMap<String, String>,
    /// What the issuance entry holds.
    pub draft: Hash,
}

/// Reads a certificate and checks its signature under one of these CAs. `late` says which
/// extensions were added after the entry.
pub fn read(
    blob: &[u8],
    authorities: &[VerifyingKey],
    late: &[&str],
) -> Result<UserCertificate, BadBlob> {
    if blob.len() > CERT_BLOB_BYTES_MAX {
        return Err(BadBlob::Long);
    }
    let mut wire = Wire { blob, at: 0 };
    wire.is(CERT_TYPE.as_bytes(), "its type")?;
    if wire.string("nonce")?.len() != 32 {
        return Err(BadBlob::Shape("nonce"));
    }
    let subject = key(wire.string("public key")?)?;
    let serial = wire.u64("serial")?;
    if wire.u32("kind")? != USER {
        return Err(BadBlob::Shape("kind"));
    }
    let key_id = wire.text("key id")?;
    let principals = principals(wire.string("principals")?)?;
    let (valid_after, valid_before) = (wire.time("validity")?, wire.time("validity")?);
    let critical = wire.string("critical options")?;
    options(critical)?;
    let extensions_at = wire.at;
    let extensions = wire.string("extensions")?;
    let rest_at = wire.at;
    wire.is(b"", "reserved")?;
    let authority = wire.string("CA")?;
    let signed_end = wire.at;
    let signature = wire.string("signature")?;
    wire.end("end")?;

    verify((authority, authorities), &blob[..signed_end], signature)?;
    let split = split(extensions, late)?;
    let mut draft = blob[..extensions_at].to_vec();
    // Fits 32 bits: it is no longer than the blob.
    draft.extend(u32::try_from(split.early.len()).unwrap_or(u32::MAX).to_be_bytes());
    draft.extend(split.early);
    draft.extend(&blob[rest_at..signed_end]);
    Ok(UserCertificate {
        subject,
        serial,
        key_id,
        principals,
        valid_after,
        valid_before,
        late: split.late,
        draft: Hash::of(&draft),
    })
}

/// The signature over the rest, by a CA that counts.
fn verify(
    (authority, authorities): (&[u8], &[VerifyingKey]),
    signed: &[u8],
    signature: &[u8],
) -> Result<(), BadBlob> {
    let mut wire = Wire { blob: authority, at: 0 };
    wire.is(KEY_TYPE, "CA")?;
    let authority = key(wire.string("CA")?)?;
    wire.end("CA")?;
    let known = authorities.iter().find(|known| *known.as_bytes() == authority);
    let known = known.ok_or(BadBlob::Authority)?;
    let mut wire = Wire { blob: signature, at: 0 };
    wire.is(KEY_TYPE, "signature")?;
    let bytes = wire.string("signature")?;
    wire.end("signature")?;
    let signature = Signature::from_slice(bytes).map_err(|_| BadBlob::Shape("signature"))?;
    known.verify_strict(signed, &signature).map_err(|_| BadBlob::Signature)
}

/// Extensions: those that the entry knows, as they were encoded, and those that came after.
#[derive(Default)]
struct Split {
    early: Vec<u8>,
    late: BTreeMap<String, String>,
}

fn split(extensions: &[u8], late: &[&str]) -> Result<Split, BadBlob> {
    let mut split = Split::default();
    let mut start = 0;
    for (name, data, end) in options(extensions)? {
        if late.contains(&name) {
            let mut value = Wire { blob: data, at: 0 };
            let text = value.text("extension")?;
            value.end("extension")?;
            split.late.insert(name.to_owned(), text);
        } else {
            split.early.extend(&extensions[start..end]);
        }
        start = end;
    }
    Ok(split)
}

/// Name, data and end of an option.
type Opt<'a> = (&'a str, &'a [u8], usize);

/// The options; in their order, each once.
fn options(blob: &[u8]) -> Result<Vec<Opt<'_>>, BadBlob> {
    let mut wire = Wire { blob, at: 0 };
    let mut found: Vec<Opt<'_>> = Vec::new();
    while wire.at < blob.len() {
        let name = std::str::from_utf8(wire.string("option")?);
        let name = name.map_err(|_| BadBlob::Shape("option"))?;
        let data = wire.string("option")?;
        if found.last().is_some_and(|(before, ..)| *before >= name) {
            return Err(BadBlob::Shape("options out of order"));
        }
        found.push((name, data, wire.at));
    }
    Ok(found)
}

fn principals(blob: &[u8]) -> Result<Vec<String>, BadBlob> {
    let mut wire = Wire { blob, at: 0 };
    let mut names = Vec::new();
    while wire.at < blob.len() {
        names.push(wire.text("principals")?);
    }
    Ok(names)
}

fn key(bytes: &[u8]) -> Result<[u8; 32], BadBlob> {
    bytes.try_into().map_err(|_| BadBlob::Shape("public key"))
}

/// SSH's encoding (RFC 4251 §5), read from the front.
struct Wire<'a> {
    blob: &'a [u8],
    at: usize,
}

impl<'a> Wire<'a> {
    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], BadBlob> {
        let end = self.at.checked_add(length).ok_or(BadBlob::Shape(what))?;
        let bytes = self.blob.get(self.at..end).ok_or(BadBlob::Shape(what))?;
        self.at = end;
        Ok(bytes)
    }
    fn u32(&mut self, what: &'static str) -> Result<u32, BadBlob> {
        let bytes = self.take(4, what)?.first_chunk().ok_or(BadBlob::Shape(what))?;
        Ok(u32::from_be_bytes(*bytes))
    }
    fn u64(&mut self, what: &'static str) -> Result<u64, BadBlob> {
        let bytes = self.take(8, what)?.first_chunk().ok_or(BadBlob::Shape(what))?;
        Ok(u64::from_be_bytes(*bytes))
    }
    fn string(&mut self, what: &'static str) -> Result<&'a [u8], BadBlob> {
        let length = self.u32(what)?;
        self.take(usize::try_from(length).map_err(|_| BadBlob::Shape(what))?, what)
    }
    fn text(&mut self, what: &'static str) -> Result<String, BadBlob> {
        let text = std::str::from_utf8(self.string(what)?);
        text.map(str::to_owned).map_err(|_| BadBlob::Shape(what))
    }
    fn time(&mut self, what: &'static str) -> Result<Timestamp, BadBlob> {
        let seconds = i64::try_from(self.u64(what)?).map_err(|_| BadBlob::Shape(what))?;
        let time = Timestamp::from_seconds(seconds);
        // Our own certificates end within the years that have a spelling.
        if time.seconds() == seconds { Ok(time) } else { Err(BadBlob::Shape(what)) }
    }
    fn is(&mut self, expected: &[u8], what: &'static str) -> Result<(), BadBlob> {
        if self.string(what)? == expected { Ok(()) } else { Err(BadBlob::Shape(what)) }
    }
    fn end(&self, what: &'static str) -> Result<(), BadBlob> {
        if self.at == self.blob.len() { Ok(()) } else { Err(BadBlob::Shape(what)) }
    }
}
