//! A thief's workshop: certificates, receipts and consents, perfect or with one thing wrong.

use audit_schema::{
    canonical,
    checkpoint::{self, Checkpoint, Vkey},
    entry::{CustomerLink, Entry, event_value},
    event::{Actor, ActorKind, ChannelKind, Event, Level, Place},
    hash::Hash,
    merkle,
    receipt::{Proven, Receipt},
    time::Timestamp,
};
use bastion_core::{
    carried::CarriedConsent,
    cert::{CertContent, consent_name, receipt_name},
    consent::{NamedOperator, ReasonCode, RecordingLevel, ScopedInstance, Terms},
    id::OperatorId,
    statement::{Nonce, Statement, namespace},
};
use russh::keys::{
    PrivateKey,
    ssh_key::{Certificate, HashAlg, LineEnding, private::Ed25519Keypair},
};
use sha2::{Digest as _, Sha256};

/// The keys, stolen or not.
pub struct Forge {
    pub origin: String,
    pub customer: String,
    pub instance: String,
    pub ca: PrivateKey,
    pub log: bastion::ledger::SigningKey,
    pub approver: PrivateKey,
}

/// What a certificate is to be; [`Wish::good`] is perfect.
#[derive(Clone)]
pub struct Wish {
    pub account: &'static str,
    pub level: Level,
    pub instance: String,
    pub now: Timestamp,
    /// How many seconds ago the issuance was entered.
    pub age: i64,
    pub receipt: bool,
    pub consent: bool,
    /// The signed consent says another plain sentence than its fields.
    pub summary: bool,
    /// A damaged byte of the receipt.
    pub damage: Option<usize>,
}

impl Wish {
    pub fn good(forge: &Forge, now: Timestamp) -> Self {
        Self {
            account: "dba",
            level: Level::Data,
            instance: forge.instance.clone(),
            now,
            age: 1,
            receipt: true,
            consent: true,
            summary: false,
            damage: None,
        }
    }
}

/// A key from a label, the same in every run.
pub fn key(label: &str) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&Sha256::digest(label).into()))
}

/// The ticket of every forged consent.
pub const TICKET: &str = "t-forged";

impl Forge {
    /// The verifier key of the log.
    pub fn vkey(&self) -> Vkey {
        Vkey::new(&self.origin, self.log.verifying_key()).unwrap()
    }

    /// A certificate for `subject`.
    pub fn certificate(&self, wish: &Wish, subject: &PrivateKey) -> Certificate {
        let issued_at = wish.now.plus_seconds(-wish.age);
        let principal = format!("{}:{}@{}", wish.level.as_str(), wish.account, wish.instance);
        let ticket = if wish.level == Level::Data { TICKET } else { "-" };
        let customer = &self.customer;
        let content = CertContent {
            serial: 7,
            key_id: format!("{customer}/{customer}-pg/{}/{ticket}/l-forged", wish.instance),
            principal,
            valid_after: Timestamp::from_seconds(issued_at.seconds() - 120),
            valid_before: Timestamp::from_seconds(issued_at.seconds() + 300),
            source_address: "127.0.0.0/8".to_owned(),
            force_command: None,
            permit_pty: false,
            permit_port_forwarding: false,
            permit_agent_forwarding: false,
            permit_x11_forwarding: false,
        };
        let ca = self.ca.public_key().key_data();
        let subject = subject.public_key().key_data();
        let draft = content.draft(subject, ca, [5; 32]).unwrap();
        let mut late = Vec::new();
        if wish.receipt {
            let text = self.receipt(wish, (&content, draft.digest()), issued_at);
            late.push((receipt_name(&self.origin), text));
        }
        if wish.consent {
            late.push((consent_name(&self.origin), self.consent(wish, issued_at)));
        }
        draft.sign(&self.ca, &late).unwrap()
    }

    fn receipt(
        &self,
        wish: &Wish,
        (content, digest): (&CertContent, Hash),
        issued_at: Timestamp,
    ) -> String {
        let place = Place {
            account: wish.account.to_owned(),
            instance: wish.instance.clone(),
            level: wish.level,
            service: format!("{}-pg", self.customer),
            vm: format!("pg-1.{}", self.customer),
        };
        let is_data = wish.level == Level::Data;
        let granted = Event::AccessGranted {
            beside: Vec::new(),
            channel: ChannelKind::Exec,
            country: "DE".to_owned(),
            deadline: issued_at.plus_seconds(3600).to_string(),
            destination: None,
            employing_entity: "Hosting GmbH".to_owned(),
            lease: "l-forged".to_owned(),
            operator: "op-1".to_owned(),
            place,
            policies: Vec::new(),
            policy_digest: Hash::ZERO.to_string(),
            recording_level: None,
            revision: is_data.then_some(1),
            session: "s-1".to_owned(),
            team: "databases".to_owned(),
            ticket: is_data.then(|| TICKET.to_owned()),
            training: Vec::new(),
        };
        let issued = Event::CertificateIssued {
            draft: digest.to_string(),
            key_id: content.key_id.clone(),
            lease: "l-forged".to_owned(),
            principal: content.principal.clone(),
            public_key: "SHA256:-".to_owned(),
            recording: "r-forged".to_owned(),
            serial: content.serial,
            valid_after: content.valid_after.to_string(),
            valid_before: content.valid_before.to_string(),
        };
        let lines = [self.line(7, issued_at, granted), self.line(8, issued_at, issued)];
        let mut leaves: Vec<Hash> = (0..11).map(|seq| merkle::leaf_hash(&[seq])).collect();
        leaves[7] = merkle::leaf_hash(&lines[0]);
        leaves[8] = merkle::leaf_hash(&lines[1]);
        let (size, root) = (leaves.len() as u64, merkle::root(&leaves));
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root };
        let entries = lines.into_iter().zip([7, 8]).map(|(line, seq)| Proven {
            line,
            proof: merkle::inclusion_proof(&leaves, seq).unwrap(),
        });
        let checkpoint = checkpoint::sign(&checkpoint, &self.log).unwrap();
        let text = Receipt { entries: entries.collect(), checkpoint }.to_text().unwrap();
        match wish.damage {
            None => text,
            Some(at) => {
                let mut bytes = text.into_bytes();
                let at = at % bytes.len();
                // Within ASCII, so that it stays a text.
                bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                String::from_utf8_lossy(&bytes).into_owned()
            }
        }
    }

    fn line(&self, seq: u64, time: Timestamp, event: Event) -> Vec<u8> {
        let entry = Entry {
            actor: Actor { id: "op-1".to_owned(), kind: ActorKind::Operator },
            commit: Default::default(),
            customer: Some(CustomerLink { id: self.customer.clone(), prev: Hash::ZERO, seq }),
            event: event_value(&event).unwrap(),
            gateway: "gw-1".to_owned(),
            prev: merkle::leaf_hash(&[6]),
            seq,
            time,
        };
        entry.to_line().unwrap().into_bytes()
    }

    fn consent(&self, wish: &Wish, issued_at: Timestamp) -> String {
        let terms = Terms {
            account: wish.account.parse().unwrap(),
            case: None,
            instances: vec![ScopedInstance {
                instance: wish.instance.parse().unwrap(),
                service: format!("{}-pg", self.customer).parse().unwrap(),
                vm: format!("pg-1.{}", self.customer).parse().unwrap(),
            }],
            justification: "a forged reason".parse().unwrap(),
            level: wish.level,
            not_after: issued_at.plus_seconds(3600),
            not_before: issued_at.plus_seconds(-600),
            operators: vec![NamedOperator {
                id: "op-1".parse::<OperatorId>().unwrap(),
                handle: "olga".parse().unwrap(),
            }],
            reason: ReasonCode::CustomerRequest,
            recording: RecordingLevel::Full,
            recording_access: false,
            sessions_max: 1,
            team: None,
        };
        let statement = Statement {
            origin: self.origin.clone(),
            signatures_needed: 1,
            nonce: Nonce([3; 16]),
            channel_rules: Hash::ZERO,
            policy: Hash::ZERO,
            customer: self.customer.parse().unwrap(),
            ticket: TICKET.parse().unwrap(),
            revision: 1,
            opened_by: Actor { id: "op-1".to_owned(), kind: ActorKind::Operator },
            terms,
        };
        let mut statement = statement.compose().unwrap();
        if wish.summary {
            let mut value: serde_json::Value = serde_json::from_slice(&statement).unwrap();
            value["summary"] = "Customer acme permits nothing at all.".into();
            statement = canonical::encode(&value).unwrap();
        }
        let signature = self.approver.sign(&namespace(&self.origin), HashAlg::Sha512, &statement);
        let signatures = vec![signature.unwrap().to_pem(LineEnding::LF).unwrap()];
        CarriedConsent { statement, signatures }.to_text().unwrap()
    }
}
