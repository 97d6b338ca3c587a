//! The customer's consent as a certificate carries it: the statement and its signatures.
//!
//! ```text
//! bastion-consent/v1
//! {"account":"dba","…":"the exact bytes that were signed, on one line"}
//! -----BEGIN SSH SIGNATURE-----
//! …
//! -----END SSH SIGNATURE-----
//! ```
//!
//! as many signatures as were given, each as `ssh-keygen -Y sign` made it. One encoding only: what
//! is parsed composes to the same text again.

use crate::limits::{CERT_EXTENSIONS_BYTES_MAX, CONSENT_SIGNATURES_MAX};

const HEADER: &str = "bastion-consent/v1\n";
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";

/// A statement with the signatures over it, none of them checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedConsent {
    /// The exact bytes that were signed: one line of canonical JSON.
    pub statement: Vec<u8>,
    /// The armored signatures.
    pub signatures: Vec<String>,
}

/// A text that carries no consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the consent in the certificate is not a statement and its signatures in the one spelling")]
pub struct BadCarried;

impl CarriedConsent {
    /// The text of the extension.
    pub fn to_text(&self) -> Result<String, BadCarried> {
        let statement = std::str::from_utf8(&self.statement).map_err(|_| BadCarried)?;
        if statement.contains('\n') || self.signatures.is_empty() {
            return Err(BadCarried);
        }
        let mut text = format!("{HEADER}{statement}\n");
        for signature in &self.signatures {
            let signature = signature.strip_suffix('\n').unwrap_or(signature);
            if !signature.starts_with(BEGIN) || signature.matches(BEGIN).count() != 1 {
                return Err(BadCarried);
            }
            text.push_str(signature);
            text.push('\n');
        }
        Ok(text)
    }

    /// What a text carries.
    pub fn parse(text: &str) -> Result<Self, BadCarried> {
        if text.len() > CERT_EXTENSIONS_BYTES_MAX {
            return Err(BadCarried);
        }
        let body = text.strip_prefix(HEADER).ok_or(BadCarried)?;
        let (statement, armored) = body.split_once('\n').ok_or(BadCarried)?;
        let mut parts = armored.split(BEGIN);
        if parts.next() != Some("") {
            return Err(BadCarried);
        }
        let signatures: Vec<String> = parts.map(|part| format!("{BEGIN}{part}")).collect();
        if signatures.len() as u64 > CONSENT_SIGNATURES_MAX {
            return Err(BadCarried);
        }
        let carried = Self { statement: statement.as_bytes().to_vec(), signatures };
        if carried.to_text()? == text { Ok(carried) } else { Err(BadCarried) }
    }
}
