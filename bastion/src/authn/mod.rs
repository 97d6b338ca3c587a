//! Who is this? A proof of a private key becomes an [`Identity`], or nothing.
//!
//! The key settles it, never the user name: a plain or FIDO2 key by its fingerprint in the
//! inventory, a certificate by the operator CA that signed it. An identity says nothing about what
//! somebody may do; the gate asks that anew for every channel. Whoever is not known is answered in
//! the same time and with the same words, whatever they got wrong.
//!
//! FIDO2: russh tells us that an `sk-` signature verifies, not whether somebody touched the key.
//! So nothing here or in any report says that a key was touched.

mod certificate;
mod failures;
mod keys;
mod prefix;

pub use failures::Failures;
pub use keys::ALGORITHMS;
pub use prefix::Prefix;

use crate::{
    config::OperatorCa,
    store::{Db, StoreError, Tx},
};
use audit_schema::{
    event::{Actor, ActorKind},
    time::Timestamp,
};
use bastion_core::id::{ApproverId, CustomerId, Handle, OfficerId, OperatorId};
use russh::keys::{
    PublicKey,
    ssh_key::{Algorithm, Certificate, HashAlg},
};
use std::net::IpAddr;

/// A party whose key was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which party.
    pub who: Who,
    /// What people call them; personal data.
    pub handle: Handle,
    /// The key that was proven, as `SHA256:…`.
    pub fingerprint: String,
    /// How it was proven.
    pub method: Method,
}

/// The three kinds of party that have keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Connects to VMs.
    Operator(OperatorId),
    /// Keeps the inventory and the policy.
    Officer(OfficerId),
    /// Decides for a customer.
    Approver(ApproverId, CustomerId),
}

/// How an identity was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A key of the inventory.
    Key,
    /// A FIDO2 key of the inventory.
    SecurityKey,
    /// A certificate of an operator CA.
    Certificate,
}

impl Method {
    /// The method's word in entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::SecurityKey => "security_key",
            Self::Certificate => "certificate",
        }
    }
}

impl Identity {
    /// The party as entries name it.
    pub fn actor(&self) -> Actor {
        let (id, kind) = match &self.who {
            Who::Operator(id) => (id.as_str(), ActorKind::Operator),
            Who::Officer(id) => (id.as_str(), ActorKind::Officer),
            Who::Approver(id, _) => (id.as_str(), ActorKind::Approver),
        };
        Actor { id: id.to_owned(), kind }
    }

    /// Whose approver this is.
    pub fn customer(&self) -> Option<&CustomerId> {
        match &self.who {
            Who::Approver(_, customer) => Some(customer),
            Who::Operator(_) | Who::Officer(_) => None,
        }
    }

    /// The operator, if it is one.
    pub fn operator(&self) -> Option<&OperatorId> {
        match &self.who {
            Who::Operator(id) => Some(id),
            Who::Officer(_) | Who::Approver(..) => None,
        }
    }

    /// The party's role, as the store has it.
    pub fn role(&self) -> &'static str {
        match self.who {
            Who::Operator(_) => "operator",
            Who::Officer(_) => "officer",
            Who::Approver(..) => "approver",
        }
    }
}

/// What an offered key is: nothing is proven by it, anybody can show a public key.
#[derive(Clone, Debug)]
pub struct Offered {
    /// Whether a signature of it could prove anything.
    pub worth_signing: bool,
    /// Whose key of the inventory it is.
    pub owner: Option<Identity>,
}

/// Looks proofs up.
pub struct Authn {
    db: Db,
    operator_cas: Vec<OperatorCa>,
}

impl Authn {
    /// Looks keys up in this store, and trusts these operator CAs.
    pub fn new(db: Db, operator_cas: Vec<OperatorCa>) -> Self {
        Self { db, operator_cas }
    }

    /// Whether it is worth the peer's while to sign with this key, and whose it would prove to be.
    /// With an operator CA any key may be a certificate's, which an offer does not tell, so every
    /// strong key is.
    pub async fn offered(
        &self,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Offered, StoreError> {
        if !keys::strong(key, algorithm) {
            return Ok(Offered { worth_signing: false, owner: None });
        }
        let owner = self.lookup(key).await?;
        Ok(Offered { worth_signing: !self.operator_cas.is_empty() || owner.is_some(), owner })
    }

    /// The identity of a key that was proven.
    pub async fn by_key(
        &self,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Option<Identity>, StoreError> {
        if keys::strong(key, algorithm) { self.lookup(key).await } else { Ok(None) }
    }

    /// The operator of a certificate whose key was proven.
    pub async fn by_certificate(
        &self,
        certificate: &Certificate,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Option<Identity>, StoreError> {
        certificate::operator(&self.db, &self.operator_cas, (certificate, source, now)).await
    }

    /// Whether an identity still stands, for whoever stays connected for hours.
    pub async fn stands(&self, identity: &Identity) -> Result<bool, StoreError> {
        let (sql, args) = keys::standing(identity);
        keys::is_same(self.db.row_opt(sql, &args).await?.as_ref(), identity)
    }

    async fn lookup(&self, key: &PublicKey) -> Result<Option<Identity>, StoreError> {
        keys::lookup(&self.db, &key.fingerprint(HashAlg::Sha256).to_string(), key).await
    }
}

/// Whether an identity still stands, asked in the transaction that opens its session: the key may
/// have been removed, or its owner disabled, since it was looked up.
pub async fn still_stands(tx: &mut Tx, identity: &Identity) -> Result<bool, StoreError> {
    let (sql, args) = keys::standing(identity);
    keys::is_same(tx.rows(sql, &args).await?.first(), identity)
}
