//! The key revocation list that a VM's sshd reads (`RevokedKeys`): OpenSSH's own binary form, as
//! PROTOCOL.krl has it.
//!
//! Two kinds of things stand in it: keys, by their SHA-256 (a CA that was rotated out; sshd looks
//! at a certificate's CA too), and certificates of one CA, by their serials. A serial is the place
//! of a grant in the log, so the certificates of leases that lost their ground name themselves;
//! place 0 is `genesis` and no certificate. An unreadable list locks everybody out, so whoever
//! installs one asks `ssh-keygen -Q` first. `version` is the size of the log that it was made of.

use audit_schema::{hash::Hash, time::Timestamp};
use std::collections::{BTreeMap, BTreeSet};

const MAGIC: &[u8; 8] = b"SSHKRL\n\0";
const FORMAT_VERSION: u32 = 1;
const SECTION_CERTIFICATES: u8 = 1;
const SECTION_FINGERPRINT_SHA256: u8 = 5;
const CERTIFICATES_SERIAL_LIST: u8 = 0x20;

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Krl {
    /// Grows with the log.
    pub version: u64,
    /// When it was made.
    pub generated: Timestamp,
    /// SHA-256 of the blobs of keys that count no more, whoever's they are.
    pub keys: BTreeSet<Hash>,
    /// Serials of certificates, by the blob of their CA's key.
    pub serials: BTreeMap<Vec<u8>, BTreeSet<u64>>,
}

impl Krl {
    /// The exact bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
        let generated = u64::try_from(self.generated.seconds()).unwrap_or_default();
        out.extend_from_slice(&generated.to_be_bytes());
        // No flags, nothing in the reserved field, and a comment for `ssh-keygen -Ql`.
        out.extend_from_slice(&0_u64.to_be_bytes());
        string(&mut out, b"");
        string(&mut out, b"bastion");
        for (ca, serials) in &self.serials {
            let listed: Vec<u8> = serials
                .iter()
                .filter(|serial| **serial != 0)
                .flat_map(|s| s.to_be_bytes())
                .collect();
            if listed.is_empty() {
                continue;
            }
            let mut section = Vec::new();
            string(&mut section, ca);
            string(&mut section, b"");
            section.push(CERTIFICATES_SERIAL_LIST);
            string(&mut section, &listed);
            out.push(SECTION_CERTIFICATES);
            string(&mut out, &section);
        }
        if !self.keys.is_empty() {
            let mut section = Vec::new();
            self.keys.iter().for_each(|key| string(&mut section, &key.0));
            out.push(SECTION_FINGERPRINT_SHA256);
            string(&mut out, &section);
        }
        out
    }
}

/// A string as SSH writes it. What we put into one is bounded far below 4 GiB.
fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}
