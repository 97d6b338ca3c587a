//! Certificates: drafted for a recorded grant, entered, and only then signed.
//!
//! [`Ca::prepare`] takes an `Entered<Grant>`, which exists only inside the change that enters the
//! grant. [`Ca::issue`] enters the draft's digest in that same change, so both stand in the log or
//! neither does, and nothing can come between them. [`Ca::sign`] takes the `Recorded<Issuance>`
//! that the commit of that change makes, and gives the one signature. If we crash between the entry
//! and the signature, the log names a certificate that never was, which harms nobody; the other
//! order could leave a certificate that no entry names.

mod consent;
mod host;
mod issuance;
mod lease;
mod live;

pub use host::HostError;
pub use issuance::Issuance;
pub use lease::{Alive, Certified, Lease, Signed};
pub use live::Live;

use crate::{
    ledger::{Entered, Ledger, LedgerError, NotWitnessed, Recorded, Unsigned, signer::HeadToSign},
    relay::recording::Blank,
    signer::{Line, Order, Signer, SignerError, Under},
    witness::panel::Panel,
};
use audit_schema::{hash::Hash, time::Timestamp};
use bastion_core::{
    authorize::Grant,
    cert::{self, CertContent, CertError, CertTerms},
};
use ipnet::IpNet;
use russh::keys::{
    PrivateKey, PublicKey,
    ssh_key::{
        Certificate,
        private::{Ed25519Keypair, Ed25519PrivateKey},
    },
};
use std::{io, net::SocketAddr, sync::Arc};

/// The authorities of a deployment that this process holds.
pub struct Ca {
    signer: Arc<Signer>,
    gateway_host: PrivateKey,
    vm_host: PrivateKey,
    egress: Vec<IpNet>,
    live: Arc<Live>,
}

/// The private keys, as read from their files.
pub struct Authorities {
    /// Keeps the key that signs the certificates that log in to VMs.
    pub signer: Arc<Signer>,
    /// Signs what operators' known_hosts trust.
    pub gateway_host: PrivateKey,
    /// Signs the host certificates of VMs.
    pub vm_host: PrivateKey,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The content cannot be certified.
    #[error(transparent)]
    Certificate(#[from] CertError),
    /// The address of the VM in the inventory is not `host:port`.
    #[error("the address `{0}` of the VM is not a socket address: correct the inventory")]
    Address(String),
    /// No way to the VM from here.
    #[error("no route to the VM at {0}: {1}")]
    Route(String, io::Error),
    /// No randomness.
    #[error("the system has no randomness")]
    Entropy,
    /// The signer did not sign.
    #[error("{0}")]
    Signer(#[from] SignerError),
    /// What the signer has to be shown cannot be had.
    #[error("{0}")]
    Log(#[from] LedgerError),
    /// Too few witnesses have cosigned the entry, and its level demands it.
    #[error("{0}")]
    Unwitnessed(NotWitnessed),
    /// There is nothing to show.
    #[error("the entries of this certificate cannot be proven to its signer")]
    Entries,
}

/// How often a proof is made again because the signer has moved on.
const SIGNER_TRIES: usize = 8;

/// The key of one channel: made for it, kept in memory, gone with it.
pub struct EgressKey(PrivateKey);

impl EgressKey {
    /// A fresh ed25519 key.
    pub fn fresh() -> Result<Self, CaError> {
        let key = Ed25519Keypair::from(Ed25519PrivateKey::from_bytes(&entropy()?));
        Ok(Self(PrivateKey::from(key)))
    }
}

/// A certificate without its signature, for a grant that is being entered, with the recording that
/// was prepared for its channel.
pub struct Draft {
    grant: Arc<Grant>,
    granted_at: Timestamp,
    key: EgressKey,
    body: cert::Draft,
    nonce: [u8; 32],
    blank: Blank,
    /// The place of its own entry, once it has one.
    issued: u64,
    consent: Option<consent::Consent>,
}

impl Ca {
    /// Takes the authorities; `egress` are the ranges that VMs see this gateway come from, empty
    /// for the address that each VM is dialled from.
    pub fn new(authorities: Authorities, egress: Vec<IpNet>, live: Arc<Live>) -> Self {
        let Authorities { signer, gateway_host, vm_host } = authorities;
        Self { signer, gateway_host, vm_host, egress, live }
    }

    /// Drafts the certificate of a grant, for a key and a recording made for it.
    pub fn prepare(
        &self,
        grant: Entered<Grant>,
        key: EgressKey,
        blank: Blank,
    ) -> Result<Box<Draft>, CaError> {
        let egress = self.egress_for(&grant.get().instance().address)?;
        let terms = CertTerms { serial: grant.seq(), now: grant.time(), egress: &egress };
        let content = CertContent::of(grant.get(), &terms)?;
        let (subject, ca) = (key.0.public_key().key_data(), self.user_ca().key_data());
        let nonce = entropy()?;
        let body = content.draft(subject, ca, nonce)?;
        let granted_at = grant.time();
        let grant = Arc::new(grant.into_inner());
        let draft = Draft { grant, granted_at, key, body, nonce, blank, issued: 0, consent: None };
        Ok(Box::new(draft))
    }

    /// The one signature that opens a VM, after the entry that names it.
    pub async fn sign(
        &self,
        issuance: Recorded<Issuance>,
        log: &Ledger,
    ) -> Result<Signed, CaError> {
        let draft = issuance.into_inner().into_draft();
        let certificate = self.ordered(&draft, log).await?;
        Ok(Lease::signed(*draft, certificate, &self.live))
    }

    /// Has the certificate made: under a checkpoint that witnesses have cosigned where the level
    /// demands it, else under a new one.
    async fn ordered(&self, draft: &Draft, log: &Ledger) -> Result<Certificate, CaError> {
        let demanded = |panel: &Panel| panel.demands(draft.grant.level());
        if !log.panel().is_some_and(demanded) {
            return self.ordered_at_once(draft, log).await;
        }
        let cosigned = log.witnessed(draft.issued + 1).await.map_err(CaError::Unwitnessed)?;
        let lines = log.proven_in(&draft.entries(), &cosigned.head).await?;
        let order = order(draft, lines, Under::Cosigned(cosigned.note))?;
        Ok(self.signer.certificate(order).await?)
    }

    /// Has the certificate made, with the proof of both entries from where the signer is.
    async fn ordered_at_once(&self, draft: &Draft, log: &Ledger) -> Result<Certificate, CaError> {
        let entries = draft.entries();
        let _turn = self.signer.turn().await;
        for _ in 0..SIGNER_TRIES {
            let from = self.signer.last_signed().size;
            let shown = log.unsigned(&entries, from).await?;
            let Unsigned { head, lines, inclusion, consistency: proof } = shown;
            let lines = lines.into_iter().zip(inclusion).collect();
            let under = Under::Head(HeadToSign { head, from, proof }.into());
            match self.signer.certificate(order(draft, lines, under)?).await {
                // A checkpoint was signed meanwhile: now we know from where to prove.
                Err(SignerError::Behind(_)) => {}
                done => return Ok(done?),
            }
        }
        Err(CaError::Entries)
    }

    /// The ranges for `source-address`: those of the configuration, or the one address that the
    /// system would dial this VM from. Asking a UDP socket sends nothing.
    fn egress_for(&self, address: &str) -> Result<Vec<IpNet>, CaError> {
        if !self.egress.is_empty() {
            return Ok(self.egress.clone());
        }
        let vm: SocketAddr = address.parse().map_err(|_| CaError::Address(address.to_owned()))?;
        let any = if vm.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let ask = || {
            let socket = std::net::UdpSocket::bind(any)?;
            socket.connect(vm)?;
            socket.local_addr()
        };
        let local = ask().map_err(|error| CaError::Route(address.to_owned(), error))?;
        Ok(vec![IpNet::from(local.ip().to_canonical())])
    }
}

impl Draft {
    /// The places of its grant and of its own entry.
    fn entries(&self) -> [u64; 2] {
        [self.body.content().serial, self.issued]
    }
}

/// What the signer is shown of a draft.
fn order(draft: &Draft, lines: Vec<(Vec<u8>, Vec<Hash>)>, under: Under) -> Result<Order, CaError> {
    let mut lines = lines.into_iter().map(|(line, proof)| {
        let line = String::from_utf8(line).map_err(|_| CaError::Entries)?;
        Ok(Line { line, proof })
    });
    let mut line = || lines.next().unwrap_or(Err(CaError::Entries));
    let subject = PublicKey::from(draft.body.subject().clone());
    Ok(Order {
        content: draft.body.content().clone(),
        subject: subject.to_openssh().map_err(|_| CaError::Entries)?,
        nonce: Hash(draft.nonce),
        under,
        granted: line()?,
        issued: line()?,
        consent: draft.consent.as_ref().map(|consent| consent.text.clone()),
        approvers: draft.consent.iter().flat_map(|c| c.approvers.clone()).collect(),
    })
}

fn entropy() -> Result<[u8; 32], CaError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CaError::Entropy)?;
    Ok(bytes)
}
