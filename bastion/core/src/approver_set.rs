//! Who decides for a customer: what is signed when somebody becomes an approver, and when the set
//! of approvers changes.
//!
//! The first set comes by invitation: the provider hands out a one-time token with a statement
//! ([`Enrolment`]), and whoever signs it with a key proves to hold that key. From then on the set
//! belongs to those who are in it: a change is the whole *new* set as a statement
//! ([`ApproverSet`]), signed by as many of the present approvers as a consent takes, and by every
//! key that comes in, with `ssh-keygen -Y sign`. `previous` is the digest of the set that it
//! replaces, so a statement holds once, and the sets of a customer are a chain.
//!
//! ```json
//! {"approver":"ap-…","customer":"acme","expires_at":"…","handle":"ada","nonce":"…32 hex…",
//!  "origin":"b.example","schema":"approver-enrolment/v1","signatures_needed":1,"summary":"…"}
//! {"customer":"acme","members":[{"approver":"ap-…","handle":"ada","keys":["ssh-ed25519 AAAA…"]}],
//!  "nonce":"…","origin":"bastion.example","previous":"…64 hex…","revision":3,
//!  "schema":"approver-set/v1","signatures_needed":1,"summary":"…"}
//! ```

use crate::{
    id::{ApproverId, CustomerId, Handle},
    limits::{
        APPROVERS_MAX, CONSENT_SIGNATURES_MAX, KEYS_PER_PERSON_MAX, ORIGIN_BYTES_MAX,
        STATEMENT_BYTES_MAX,
    },
    statement::Nonce,
};
use audit_schema::{
    canonical::{self, CanonicalError},
    hash::Hash,
};
use serde::{Deserialize, Serialize};
use ssh_key::{HashAlg, PublicKey};
use std::collections::BTreeSet;

/// The `schema` of an enrolment.
pub const ENROLMENT_SCHEMA: &str = "approver-enrolment/v1";
/// The `schema` of a set.
pub const SET_SCHEMA: &str = "approver-set/v1";

/// The namespace of signatures over enrolments of a deployment.
pub fn enrolment_namespace(origin: &str) -> String {
    format!("approver-enrolment@{origin}")
}

/// The namespace of signatures over a customer's sets.
pub fn set_namespace(origin: &str) -> String {
    format!("approver-set@{origin}")
}

/// What somebody signs to become an approver of the first set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// Who they will be in the log.
    pub approver: ApproverId,
    /// Whose approver.
    pub customer: CustomerId,
    /// Until when it can be used.
    pub expires_at: String,
    /// What people call them.
    pub handle: Handle,
    /// Makes it unlike every other.
    pub nonce: Nonce,
    /// The deployment.
    pub origin: String,
    /// How many approvers a consent takes.
    pub signatures_needed: u64,
}

/// One approver of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Who they are in the log.
    pub approver: ApproverId,
    /// What people call them.
    pub handle: Handle,
    /// Their keys in OpenSSH's form without comments, sorted; at least one.
    pub keys: Vec<String>,
}

/// The approvers of a customer from one moment on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproverSet {
    /// Whose.
    pub customer: CustomerId,
    /// Sorted by id.
    pub members: Vec<Member>,
    /// Makes it unlike every other.
    pub nonce: Nonce,
    /// The deployment.
    pub origin: String,
    /// [`digest`] of the set that it replaces.
    pub previous: Hash,
    /// Counts the sets of this customer.
    pub revision: u64,
    /// How many of them a consent takes, and the next change of the set.
    pub signatures_needed: u64,
}

/// Why bytes are no statement about approvers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each message says what the case is
pub enum BadSet {
    #[error("the statement is too long")]
    Long,
    #[error("the statement is not as it was composed: {0}")]
    Canonical(#[from] CanonicalError),
    #[error("not the fields of a statement about approvers: {0}")]
    Shape(String),
    #[error("the origin must be 1 to {ORIGIN_BYTES_MAX} printable ASCII characters")]
    Origin,
    #[error("signatures needed must be 1 to {CONSENT_SIGNATURES_MAX}")]
    Signatures,
    #[error("the set has {members} approver(s) and needs {needed} signatures: nobody could decide")]
    TooFew { members: usize, needed: u64 },
    #[error("a set has 1 to {APPROVERS_MAX} approvers")]
    Size,
    #[error("the approver {0} has no key, or too many, or a key that does not parse")]
    Keys(Handle),
    #[error("a key or a name stands in the set twice")]
    Twice,
}

impl Enrolment {
    /// What it says, in plain words.
    pub fn summary(&self) -> String {
        format!(
            "Whoever signs this with a key becomes the approver {} ({}) of customer {} on the \
             bastion {}, and decides with that key who may reach the customer's data. A consent \
             takes {} signature(s). Sign it before {}, with a key that nobody else holds.",
            self.handle,
            self.approver,
            self.customer,
            self.origin,
            self.signatures_needed,
            self.expires_at
        )
    }

    /// The exact bytes to sign.
    pub fn compose(&self) -> Result<Vec<u8>, BadSet> {
        check_origin(&self.origin)?;
        check_needed(self.signatures_needed)?;
        encode(self, ENROLMENT_SCHEMA, self.summary())
    }

    /// The enrolment of exact bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadSet> {
        let enrolment: Self = decode(bytes)?;
        same(bytes, enrolment.compose()?).map(|()| enrolment)
    }
}

impl ApproverSet {
    /// What it says, in plain words.
    pub fn summary(&self) -> String {
        let member = |member: &Member| {
            let keys: Vec<String> = member.keys.iter().map(|key| fingerprint(key)).collect();
            format!("{} ({}) with {}", member.handle, member.approver, keys.join(" and "))
        };
        let members: Vec<String> = self.members.iter().map(member).collect();
        format!(
            "From this on (revision {}) these and nobody else decide for customer {} on the \
             bastion {}: {}. A consent takes {} signature(s), and so does the next change of \
             this set.",
            self.revision,
            self.customer,
            self.origin,
            members.join("; "),
            self.signatures_needed
        )
    }

    /// The exact bytes to sign.
    pub fn compose(&self) -> Result<Vec<u8>, BadSet> {
        self.check()?;
        encode(self, SET_SCHEMA, self.summary())
    }

    /// The set of exact bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadSet> {
        let set: Self = decode(bytes)?;
        same(bytes, set.compose()?).map(|()| set)
    }

    fn check(&self) -> Result<(), BadSet> {
        check_origin(&self.origin)?;
        check_needed(self.signatures_needed)?;
        if self.members.is_empty() || self.members.len() > APPROVERS_MAX {
            return Err(BadSet::Size);
        }
        if (self.members.len() as u64) < self.signatures_needed {
            let (members, needed) = (self.members.len(), self.signatures_needed);
            return Err(BadSet::TooFew { members, needed });
        }
        let mut keys = BTreeSet::new();
        let mut names = BTreeSet::new();
        for member in &self.members {
            let count = member.keys.len() as u64;
            let plain = |key: &String| {
                PublicKey::from_openssh(key).is_ok_and(|key| key.comment().is_empty())
            };
            let sorted = member.keys.is_sorted() && member.keys.iter().all(plain);
            if count == 0 || count > KEYS_PER_PERSON_MAX || !sorted {
                return Err(BadSet::Keys(member.handle.clone()));
            }
            if !member.keys.iter().all(|key| keys.insert(key)) || !names.insert(&member.handle) {
                return Err(BadSet::Twice);
            }
        }
        match self.members.is_sorted_by(|a, b| a.approver < b.approver) {
            true => Ok(()),
            false => Err(BadSet::Twice),
        }
    }
}

/// The digest of a set as it stands: of its members and the number of signatures.
pub fn digest(members: &[Member], signatures_needed: u64) -> Result<Hash, BadSet> {
    let value = serde_json::json!({ "members": members, "signatures_needed": signatures_needed });
    Ok(Hash::of(&canonical::encode(&value)?))
}

/// `SHA256:…` of a key's line; the line itself where it is none, which [`ApproverSet::compose`]
/// refuses.
pub fn fingerprint(line: &str) -> String {
    match PublicKey::from_openssh(line) {
        Ok(key) => key.fingerprint(HashAlg::Sha256).to_string(),
        Err(_) => line.to_owned(),
    }
}

fn encode<T: Serialize>(fields: &T, schema: &str, summary: String) -> Result<Vec<u8>, BadSet> {
    let shape = |error: serde_json::Error| BadSet::Shape(error.to_string());
    let mut value = serde_json::to_value(fields).map_err(shape)?;
    let object = value.as_object_mut().ok_or_else(|| BadSet::Shape("not an object".into()))?;
    object.insert("schema".into(), schema.into());
    object.insert("summary".into(), summary.into());
    let bytes = canonical::encode(&value)?;
    if bytes.len() > STATEMENT_BYTES_MAX { Err(BadSet::Long) } else { Ok(bytes) }
}

/// The fields; schema and summary are compared by composing the same statement again.
fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, BadSet> {
    if bytes.len() > STATEMENT_BYTES_MAX {
        return Err(BadSet::Long);
    }
    let mut value = canonical::decode(bytes)?;
    if let Some(object) = value.as_object_mut() {
        object.remove("schema");
        object.remove("summary");
    }
    serde_json::from_value(value).map_err(|error| BadSet::Shape(error.to_string()))
}

fn same(bytes: &[u8], again: Vec<u8>) -> Result<(), BadSet> {
    match bytes == again {
        true => Ok(()),
        false => Err(BadSet::Shape("the summary or the schema is another: do not sign it".into())),
    }
}

fn check_origin(origin: &str) -> Result<(), BadSet> {
    let printable = origin.bytes().all(|b| b.is_ascii_graphic());
    match !origin.is_empty() && origin.len() <= ORIGIN_BYTES_MAX && printable {
        true => Ok(()),
        false => Err(BadSet::Origin),
    }
}

fn check_needed(needed: u64) -> Result<(), BadSet> {
    match (1..=CONSENT_SIGNATURES_MAX).contains(&needed) {
        true => Ok(()),
        false => Err(BadSet::Signatures),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICHvkXSpjm5pK9S4t2eYW3fFb5xU5lRzUCVB8XkGxBgn";

    fn set() -> ApproverSet {
        let approver = "ap-ada".parse().expect("id");
        let handle = "ada".parse().expect("handle");
        ApproverSet {
            customer: "acme".parse().expect("customer"),
            members: vec![Member { approver, handle, keys: vec![KEY.into()] }],
            nonce: Nonce([7; 16]),
            origin: "bastion.example".into(),
            previous: Hash::of(b"before"),
            revision: 3,
            signatures_needed: 1,
        }
    }

    #[test]
    fn a_set_is_one_encoding_and_each_changed_byte_is_refused() {
        let bytes = set().compose().expect("composes");
        assert_eq!(ApproverSet::parse(&bytes), Ok(set()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            if let Ok(other) = ApproverSet::parse(&damaged) {
                // A field that says something else, with a summary that says it too: another set.
                assert_ne!(other, set(), "byte {at}");
                assert_eq!(other.compose().expect("composes"), damaged);
            }
        }
    }

    #[test]
    fn a_set_that_nobody_could_decide_with_is_none() {
        let mut none = set();
        none.members.clear();
        assert_eq!(none.compose(), Err(BadSet::Size));
        let mut few = set();
        few.signatures_needed = 2;
        assert_eq!(few.compose(), Err(BadSet::TooFew { members: 1, needed: 2 }));
        let mut bare = set();
        bare.members[0].keys.clear();
        assert_eq!(bare.compose(), Err(BadSet::Keys("ada".parse().expect("handle"))));
        let mut twice = set();
        let mut second = twice.members[0].clone();
        second.approver = "ap-bea".parse().expect("id");
        second.handle = "bea".parse().expect("handle");
        twice.members.push(second);
        assert_eq!(twice.compose(), Err(BadSet::Twice));
    }

    #[test]
    fn an_enrolment_says_whom_it_makes_what() {
        let enrolment = Enrolment {
            approver: "ap-ada".parse().expect("id"),
            customer: "acme".parse().expect("customer"),
            expires_at: "2026-12-01T00:00:00.000000Z".into(),
            handle: "ada".parse().expect("handle"),
            nonce: Nonce([7; 16]),
            origin: "bastion.example".into(),
            signatures_needed: 1,
        };
        let bytes = enrolment.compose().expect("composes");
        assert_eq!(Enrolment::parse(&bytes), Ok(enrolment.clone()));
        assert!(enrolment.summary().contains("approver ada (ap-ada) of customer acme"));
        let other = String::from_utf8(bytes).expect("text").replace("-enrolment/v1", "-set/v1");
        assert!(Enrolment::parse(other.as_bytes()).is_err());
    }
}
