//! Whether the log and the customer permitted a certificate: asked of what the certificate carries.
//!
//! The signer asks this before it signs, and a VM's guard asks it of the certificate that it was
//! shown; both believe nobody, so it is one function. [`check`] goes from the receipt to the
//! entries that it proves: the grant, and the issuance that names this very certificate by its
//! digest. For a data account it goes on to the statement that the customer signed: its bytes, its
//! plain words made again and compared, and signatures of enough approvers whose keys the asker
//! knows by itself. What is not in a certificate (whether a consent was taken back since) is in
//! the [list of what is revoked](crate::revocation).

use crate::{
    carried::{BadCarried, CarriedConsent},
    consent::{ApproverKey, SignatureCheck, Statement, verify_signature},
    id::{ApproverId, CustomerId, InstanceId, LeaseId, TicketId},
    limits::GUARD_SKEW_SECONDS_MAX,
    statement::BadStatement,
};
use audit_schema::{
    checkpoint::Vkey,
    entry::Entry,
    event::{Event, Level, Place},
    hash::Hash,
    policy::Policy,
    receipt::{BadReceipt, Receipt},
    time::Timestamp,
};
use ed25519_dalek::VerifyingKey;
use ssh_key::PublicKey;

/// What a certificate says of itself.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// SHA-256 of it without what was added after the entry.
    pub draft: Hash,
    /// Its serial.
    pub serial: u64,
    /// Its key id.
    pub key_id: &'a str,
    /// Its one principal.
    pub principal: &'a str,
    /// From when.
    pub valid_after: Timestamp,
    /// Until when.
    pub valid_before: Timestamp,
    /// The text of its receipt.
    pub receipt: &'a str,
    /// The text of its consent, where it carries one.
    pub consent: Option<&'a str>,
}

/// What whoever asks knows by itself.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The keys of the log.
    pub log: &'a [Vkey],
    /// The deployment that consents are for.
    pub origin: &'a str,
    /// The approvers of the customer.
    pub approvers: &'a [ApproverKey],
    /// How many of them have to have signed, at least.
    pub signatures_needed: u64,
    /// Whose cosignatures a checkpoint needs, where any are demanded.
    pub witnesses: Option<Witnesses<'a>>,
    /// How old a checkpoint may be for a data account, in seconds.
    pub data_seconds_max: i64,
    /// Now.
    pub now: Timestamp,
}

/// Who has to have cosigned the log, and for which levels.
#[derive(Clone, Copy, Debug)]
pub struct Witnesses<'a> {
    /// The witnesses, and how many of them.
    pub policy: &'a Policy,
    /// The levels at which it is asked.
    pub levels: &'a [Level],
}

/// What the log and the customer permitted. Only [`check`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warrant {
    customer: CustomerId,
    instance: InstanceId,
    account: String,
    level: Level,
    lease: LeaseId,
    consent: Option<(TicketId, u64)>,
    approvers: Vec<ApproverId>,
}

impl Warrant {
    /// Whose VM.
    pub fn customer(&self) -> &CustomerId {
        &self.customer
    }
    /// Which life of it.
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }
    /// The account.
    pub fn account(&self) -> &str {
        &self.account
    }
    /// What it reaches.
    pub fn level(&self) -> Level {
        self.level
    }
    /// The lease.
    pub fn lease(&self) -> &LeaseId {
        &self.lease
    }
    /// The ticket and its revision, for a data account.
    pub fn consent(&self) -> Option<&(TicketId, u64)> {
        self.consent.as_ref()
    }
    /// Who signed it.
    pub fn approvers(&self) -> &[ApproverId] {
        &self.approvers
    }
}

/// Why a certificate is not to be signed, or not to be let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each message says what the case is
pub enum Unwarranted {
    #[error("{0}")]
    Receipt(#[from] BadReceipt),
    #[error("the receipt does not prove a grant and the issuance that follows from it")]
    Entries,
    #[error("the issuance in the log is of another certificate: its {0} differs")]
    OtherCertificate(&'static str),
    #[error("the grant in the log is of something else: its {0} differs")]
    OtherGrant(&'static str),
    #[error("the grant ends before the certificate does")]
    Outlived,
    #[error("the checkpoint is {0} s old: the gateway has to log in again")]
    Stale(i64),
    #[error("the entry is {0} s in the future: set this machine's clock")]
    Early(i64),
    #[error("a data account, and the certificate carries no consent")]
    NoConsent,
    #[error("{0}")]
    Carried(#[from] BadCarried),
    #[error("{0}")]
    Statement(#[from] BadStatement),
    #[error("the consent does not permit this: another {0}")]
    NotCovered(&'static str),
    #[error("the consent's window is not now")]
    Window,
    #[error("{found} of {needed} approvers known here signed the consent; the last one: {why}")]
    Unsigned { found: u64, needed: u64, why: String },
}

/// Checks everything that a certificate carries.
pub fn check(claim: &Claim<'_>, known: &Known<'_>) -> Result<Warrant, Unwarranted> {
    let carried = Receipt::parse(claim.receipt)?;
    let receipt = carried.verify(known.log)?;
    let [granted, issued] = receipt.entries() else { return Err(Unwarranted::Entries) };
    let grant = Grant::of(granted).ok_or(Unwarranted::Entries)?;
    same_certificate(claim, &grant, issued)?;
    let age = known.now.seconds() - issued.time.seconds();
    if age < -GUARD_SKEW_SECONDS_MAX {
        return Err(Unwarranted::Early(-age));
    }
    let mut warrant = Warrant {
        instance: id(&grant.place.instance, "instance")?,
        account: grant.place.account.clone(),
        level: grant.place.level,
        lease: id(&grant.lease, "lease")?,
        customer: id(&grant.customer, "customer")?,
        consent: None,
        approvers: Vec::new(),
    };
    if let Some(witnesses) = known.witnesses.filter(|w| w.levels.contains(&warrant.level)) {
        // It covers the issuance, so no cosignature of it can be older than that.
        carried.verify_with(witnesses.policy, known.log, 0)?;
    }
    if warrant.level == Level::Data {
        // The checkpoint covers the issuance, so it cannot be older than that.
        if age > known.data_seconds_max {
            return Err(Unwarranted::Stale(age));
        }
        let (consent, approvers) = consented(claim, known, (&grant, &warrant))?;
        warrant.consent = Some(consent);
        warrant.approvers = approvers;
    }
    Ok(warrant)
}

/// What the grant's entry says.
struct Grant {
    seq: u64,
    time: Timestamp,
    customer: String,
    place: Place,
    lease: String,
    deadline: Timestamp,
    operator: String,
    team: String,
    consent: Option<(String, u64)>,
}

impl Grant {
    fn of(entry: &Entry) -> Option<Self> {
        let customer = entry.customer.as_ref()?.id.clone();
        match entry.event()? {
            Event::AccessGranted {
                deadline,
                lease,
                operator,
                place,
                revision,
                team,
                ticket,
                ..
            } => Some(Self {
                seq: entry.seq,
                time: entry.time,
                customer,
                place,
                lease,
                deadline: deadline.parse().ok()?,
                operator,
                team,
                consent: ticket.zip(revision),
            }),
            _ => None,
        }
    }
}

/// The issuance is of this certificate and follows from this grant, field by field.
fn same_certificate(claim: &Claim<'_>, grant: &Grant, issued: &Entry) -> Result<(), Unwarranted> {
    let Some(Event::CertificateIssued {
        draft,
        key_id,
        lease,
        principal,
        serial,
        valid_after,
        valid_before,
        ..
    }) = issued.event()
    else {
        return Err(Unwarranted::Entries);
    };
    let of_certificate = [
        ("digest", draft == claim.draft.to_string()),
        ("serial", serial == claim.serial),
        ("key id", key_id == claim.key_id),
        ("principal", principal == claim.principal),
        ("validity", valid_after == claim.valid_after.to_string()),
        ("validity", valid_before == claim.valid_before.to_string()),
    ];
    if let Some((what, _)) = of_certificate.iter().find(|(_, same)| !same) {
        return Err(Unwarranted::OtherCertificate(what));
    }
    let place = &grant.place;
    let ticket = grant.consent.as_ref().map_or("-", |(ticket, _)| ticket);
    let customer = issued.customer.as_ref().map(|link| link.id.as_str());
    let of_grant = [
        ("seq", grant.seq == serial && grant.seq < issued.seq && grant.time <= issued.time),
        ("customer", customer == Some(&grant.customer)),
        ("lease", grant.lease == lease),
        (
            "place",
            principal == format!("{}:{}@{}", place.level.as_str(), place.account, place.instance),
        ),
        (
            "key id",
            key_id
                == format!(
                    "{}/{}/{}/{ticket}/{lease}",
                    grant.customer, place.service, place.instance
                ),
        ),
    ];
    if let Some((what, _)) = of_grant.iter().find(|(_, same)| !same) {
        return Err(Unwarranted::OtherGrant(what));
    }
    if grant.deadline < claim.valid_before {
        return Err(Unwarranted::Outlived);
    }
    Ok(())
}

/// The customer signed for exactly this, and enough of its approvers did.
fn consented(
    claim: &Claim<'_>,
    known: &Known<'_>,
    (grant, warrant): (&Grant, &Warrant),
) -> Result<((TicketId, u64), Vec<ApproverId>), Unwarranted> {
    let carried = CarriedConsent::parse(claim.consent.ok_or(Unwarranted::NoConsent)?)?;
    let (ticket, revision) = grant.consent.as_ref().ok_or(Unwarranted::OtherGrant("ticket"))?;
    let (ticket, revision): (TicketId, u64) = (id(ticket, "ticket")?, *revision);
    // Its summary is made again from the fields and compared, in here.
    let statement = Statement::parse(&carried.statement)?;
    covers(&statement, known, (grant, warrant), (&ticket, revision))?;
    let mut approvers: Vec<ApproverId> = Vec::new();
    let mut why = "there is no other signature".to_owned();
    for signature in &carried.signatures {
        let check = SignatureCheck {
            statement: &carried.statement,
            signature,
            origin: known.origin,
            customer: &warrant.customer,
            ticket: &ticket,
            revision,
            keys: known.approvers,
            decided_at: grant.time,
            signed_already: &approvers,
        };
        match verify_signature(&check) {
            Ok(signed) => approvers.push(signed.approver().clone()),
            Err(bad) => why = bad.to_string(),
        }
    }
    let needed = statement.signatures_needed.max(known.signatures_needed).max(1);
    let found = approvers.len() as u64;
    if found < needed {
        return Err(Unwarranted::Unsigned { found, needed, why });
    }
    Ok(((ticket, revision), approvers))
}

/// The statement is of this ticket and names this place, this operator and this moment.
fn covers(
    statement: &Statement,
    known: &Known<'_>,
    (grant, warrant): (&Grant, &Warrant),
    (ticket, revision): (&TicketId, u64),
) -> Result<(), Unwarranted> {
    let terms = &statement.terms;
    let scoped = terms.instances.iter().find(|scoped| scoped.instance == warrant.instance);
    let named = terms.operators.iter().any(|named| named.id.as_str() == grant.operator)
        || terms.team.as_ref().is_some_and(|team| team.as_str() == grant.team);
    let covered = [
        ("deployment", statement.origin == known.origin),
        ("customer", statement.customer == warrant.customer),
        ("ticket", statement.ticket == *ticket),
        ("revision", statement.revision == revision),
        ("level", terms.level == warrant.level),
        ("account", terms.account.as_str() == warrant.account),
        ("instance", scoped.is_some()),
        ("service", scoped.is_some_and(|scoped| scoped.service.as_str() == grant.place.service)),
        ("operator", named),
    ];
    if let Some((what, _)) = covered.iter().find(|(_, covered)| !covered) {
        return Err(Unwarranted::NotCovered(what));
    }
    if grant.time < terms.not_before || known.now >= terms.not_after {
        return Err(Unwarranted::Window);
    }
    Ok(())
}

/// An id of an entry, which the bastion itself wrote.
fn id<T: std::str::FromStr>(text: &str, what: &'static str) -> Result<T, Unwarranted> {
    text.parse().map_err(|_| Unwarranted::OtherGrant(what))
}

/// An ed25519 key of OpenSSH's form, `ssh-ed25519 AAAA…`: what a CA's key is.
pub fn ed25519_key(line: &str) -> Option<VerifyingKey> {
    let key = PublicKey::from_openssh(line).ok()?;
    VerifyingKey::from_bytes(&key.key_data().ed25519()?.0).ok().filter(|key| !key.is_weak())
}
