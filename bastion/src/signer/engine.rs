//! What is signed and what is not: the two keys, and the checks before each use of them.
//!
//! Nothing here waits, and nothing here is asked twice: a request has all that its answer needs.
//! What the gateway says is believed only where it is proven: a head by the RFC 6962 proof that it
//! extends the last one, an entry by its place under that head, a certificate by the entry that
//! holds its digest, a consent by the signatures over its bytes. One thing is the gateway's word:
//! whose keys the approvers' are. The VM knows those by itself.

use super::{
    message::{Answer, Head, Hello, Order, Request, Under},
    sandbox::Confined,
    state::State,
};
use crate::{
    clock,
    config::Config,
    keyfile::{self, KeyFileError},
};
use audit_schema::{
    checkpoint::{self, BadNote, BadVkey, Checkpoint, Vkey},
    event::Level,
    merkle::{self, TreeHead},
    note,
    policy::Policy,
    receipt::{BadReceipt, Proven, Receipt},
    time::Timestamp,
};
use bastion_core::{
    cert::{CertError, Draft, LateExtension, consent_name, receipt_name},
    consent::ApproverKey,
    limits::DATA_CHECKPOINT_SECONDS_MAX,
    revocation::{BadRevocations, Revocations},
    warrant::{self, Claim, Known, Unwarranted, Witnesses},
};
use ed25519_dalek::SigningKey;
use russh::keys::{PrivateKey, PublicKey};
use std::{io, path::PathBuf};

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A key is not usable.
    #[error("{0}")]
    Key(#[from] KeyFileError),
    /// The log's name cannot be a key's.
    #[error("the origin and the log key: {0}")]
    Vkey(#[from] BadVkey),
    /// What it remembers cannot be read or kept.
    #[error("the signer's state in {0}: {1}")]
    State(PathBuf, io::Error),
    /// The witnesses that it is to ask for cannot be known.
    #[error("{0}")]
    Witnesses(String),
    /// It cannot be spoken to.
    #[error("the signer does not say who it is")]
    Answer,
}

/// Why something is not signed.
#[derive(Debug, thiserror::Error)]
enum No {
    #[error("behind")]
    Behind(TreeHead),
    #[error("another log")]
    Fork(TreeHead),
    #[error("what was signed cannot be kept: {0}")]
    State(#[from] io::Error),
    #[error("{0}")]
    Note(#[from] BadNote),
    #[error("{0}")]
    Certificate(#[from] CertError),
    #[error("{0}")]
    Receipt(#[from] BadReceipt),
    #[error("{0}")]
    Unwarranted(#[from] Unwarranted),
    #[error("{0}")]
    Revocations(#[from] BadRevocations),
    #[error("{0}")]
    Malformed(&'static str),
}

/// The keys, and what was signed with them last.
pub(super) struct Engine {
    user_ca: PrivateKey,
    log_key: SigningKey,
    vkey: Vkey,
    origin: String,
    state: State,
    /// Who has to have cosigned a receipt's checkpoint, and for which levels.
    witnesses: Option<(Policy, Vec<Level>)>,
    revocations: Option<(u64, Timestamp)>,
    confined: Confined,
}

impl Engine {
    /// Reads the keys and the state of a deployment.
    pub fn open(config: &Config) -> Result<Self, EngineError> {
        let log_key = keyfile::read_log_key(&config.keys.log)?;
        let folder = folder(config);
        keyfile::make_private_dir(&folder)?;
        // The log may go on under another name than the deployment's.
        let log = &config.provable.origin;
        let state = State::open(&folder, (&config.gateway, log));
        Ok(Self {
            user_ca: keyfile::read_ssh(&config.keys.user_ca)?,
            vkey: Vkey::new(log, log_key.verifying_key())?,
            log_key,
            origin: config.origin.clone(),
            state: state.map_err(|error| EngineError::State(folder, error))?,
            witnesses: witnesses(config)?,
            revocations: None,
            confined: Confined::default(),
        })
    }

    /// What holds this process back from now on.
    pub fn confined_by(&mut self, confined: Confined) {
        self.confined = confined;
    }

    /// Answers a request.
    pub fn answer(&mut self, request: Request) -> Answer {
        let answered = match request {
            Request::Hello => self.hello(),
            Request::Head(head) => self.head(&head).map(Answer::Note),
            Request::Certificate(order) => self.certificate(&order).map(Answer::Certificate),
            Request::Revocations(text) => self.list(&text).map(Answer::Note),
        };
        match answered {
            Ok(answer) => answer,
            Err(No::Behind(last)) => Answer::Behind(last.into()),
            Err(No::Fork(last)) => Answer::Fork(last.into()),
            Err(why) => Answer::Refused(why.to_string()),
        }
    }

    /// Puts on the disk what was kept; to be called when nobody waits.
    pub fn flush(&mut self) -> io::Result<()> {
        self.state.flush()
    }

    fn hello(&self) -> Result<Answer, No> {
        let user_ca = self.user_ca.public_key().to_openssh();
        Ok(Answer::Hello(Box::new(Hello {
            user_ca: user_ca.map_err(|_| No::Malformed("the user CA has no public form"))?,
            vkey: self.vkey.to_string(),
            last: self.state.last().into(),
            confined: self.confined.to_string(),
        })))
    }

    /// A checkpoint that extends the last one.
    fn head(&mut self, ask: &Head) -> Result<String, No> {
        let (last, head) = (self.state.last(), ask.head());
        if ask.from != last.size {
            return Err(No::Behind(last));
        }
        merkle::verify_consistency(&last, &head, &ask.proof).map_err(|_| No::Fork(last))?;
        let (origin, TreeHead { size, root }) = (self.vkey.name().to_owned(), head);
        let note = checkpoint::sign(&Checkpoint { origin, size, root }, &self.log_key)?;
        // If we end after this, it is remembered and nobody has it; never the other way round.
        if head != last {
            self.state.keep(head)?;
        }
        Ok(note)
    }

    /// A certificate with its receipt and its consent in it.
    fn certificate(&mut self, order: &Order) -> Result<String, No> {
        let draft = self.draft(order)?;
        let checkpoint = match &order.under {
            Under::Head(head) => self.head(head)?,
            // That it is ours, and cosigned as it must be, is seen below.
            Under::Cosigned(note) => note.clone(),
        };
        let proven = [&order.granted, &order.issued]
            .map(|line| Proven { line: line.line.clone().into_bytes(), proof: line.proof.clone() });
        let receipt = Receipt { entries: proven.to_vec(), checkpoint }.to_text()?;
        self.warranted(order, &draft, &receipt)?;
        let mut late: Vec<LateExtension> = vec![(receipt_name(&self.origin), receipt)];
        if let Some(consent) = &order.consent {
            late.push((consent_name(&self.origin), consent.clone()));
        }
        let certificate = draft.sign(&self.user_ca, &late)?;
        certificate.to_openssh().map_err(|_| No::Malformed("the certificate has no text"))
    }

    /// The draft, made again from what it says: its digest is ours, not the gateway's.
    fn draft(&self, order: &Order) -> Result<Draft, No> {
        let subject = PublicKey::from_openssh(&order.subject);
        let subject = subject.map_err(|_| No::Malformed("the key to certify does not parse"))?;
        let ca = self.user_ca.public_key().key_data();
        Ok(order.content.draft(subject.key_data(), ca, order.nonce.0)?)
    }

    /// Whether the log and the customer permit it: what the VM's guard will ask too.
    fn warranted(&self, order: &Order, draft: &Draft, receipt: &str) -> Result<(), No> {
        let approver = |(approver, customer, key): &(_, _, String)| ApproverKey {
            approver: Clone::clone(approver),
            customer: Clone::clone(customer),
            public_key: key.clone(),
            added_at: Timestamp::from_micros(0),
            removed_at: None,
        };
        let approvers: Vec<ApproverKey> = order.approvers.iter().map(approver).collect();
        let content = &order.content;
        let claim = Claim {
            draft: draft.digest(),
            serial: content.serial,
            key_id: &content.key_id,
            principal: &content.principal,
            valid_after: content.valid_after,
            valid_before: content.valid_before,
            receipt,
            consent: order.consent.as_deref(),
        };
        let known = Known {
            log: std::slice::from_ref(&self.vkey),
            origin: &self.origin,
            approvers: &approvers,
            signatures_needed: 1,
            witnesses: self.witnesses.as_ref().map(|(policy, levels)| Witnesses { policy, levels }),
            data_seconds_max: DATA_CHECKPOINT_SECONDS_MAX,
            now: clock::now(),
        };
        warrant::check(&claim, &known)?;
        Ok(())
    }

    /// A revocation list of this deployment; of two, the later has neither a smaller version nor an
    /// earlier time.
    fn list(&mut self, text: &str) -> Result<String, No> {
        let list = Revocations::parse_text(text)?;
        if list.origin != self.origin {
            return Err(No::Malformed("the revocation list is another deployment's"));
        }
        let ours = (list.version, list.issued);
        let back = |(version, issued)| ours.0 < version || ours.1 < issued;
        if self.revocations.is_some_and(back) {
            return Err(No::Malformed("a revocation list never goes back"));
        }
        self.revocations = Some(ours);
        Ok(note::sign(text, self.vkey.name(), &self.log_key)?)
    }
}

fn witnesses(config: &Config) -> Result<Option<(Policy, Vec<Level>)>, EngineError> {
    let Some(witness) = config.witness.as_ref() else { return Ok(None) };
    let (policy, _) = witness.read().map_err(EngineError::Witnesses)?;
    Ok(Some((policy, witness.demand.clone())))
}

/// The folder of the signer's state.
pub(super) fn folder(config: &Config) -> PathBuf {
    config.dir.join("signer")
}
