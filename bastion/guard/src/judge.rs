//! Does this certificate open this account on this VM, now? Pure, but for the list it is handed.
//!
//! In order: the certificate under a known CA and in its time, what it carries
//! ([`mod@warrant`]), this instance and this account, and for a data account what is revoked since.
//! The first thing that does not hold is the reason.

use crate::config::Config;
use audit_schema::{event::Level, time::Timestamp};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bastion_core::{
    cert::{consent_name, receipt_name},
    cert_blob::{self, BadBlob, UserCertificate},
    limits::{CERT_BLOB_BYTES_MAX, GUARD_SKEW_SECONDS_MAX},
    revocation::{BadRevocations, Revocations},
    warrant::{self, Claim, Known, Unwarranted, Warrant, Witnesses},
};

/// What sshd asks.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The Unix user that somebody logs in as, `%u`.
    pub unix_user: &'a str,
    /// The type of what they show, `%t`.
    pub kind: &'a str,
    /// What they show, in base64, `%k`.
    pub certificate: &'a str,
}

/// Why nobody gets in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each message says what the case is
pub enum Refused {
    #[error("not a certificate of the one type that the bastion makes")]
    Kind,
    #[error("{0}")]
    Blob(#[from] BadBlob),
    #[error("the certificate is not valid now: see this machine's clock")]
    Time,
    #[error("the certificate has other than one principal")]
    Principals,
    #[error("the certificate carries no receipt: it is not in the log, or is for another bastion")]
    NoReceipt,
    #[error("certificate {serial} ({key_id}): {why}")]
    Unwarranted { serial: u64, key_id: String, why: Unwarranted },
    #[error("it is for instance {0}, this is another")]
    Instance(String),
    #[error("it is for a VM of the customer {0}, this is another's")]
    Customer(String),
    #[error("it is for account {account} at level {level}, and that is not this Unix user here")]
    Account { account: String, level: &'static str },
    #[error("the revocation list cannot be read: {0}")]
    Unreadable(String),
    #[error("{0}")]
    List(#[from] BadRevocations),
    #[error("the revocation list is for another {0}")]
    OtherList(&'static str),
    #[error("the revocation list is {0} s old: its refresh has stopped")]
    OldList(i64),
    #[error("the revocation list is {0} s in the future: set this machine's clock")]
    EarlyList(i64),
    #[error("the consent {0} was taken back")]
    Withdrawn(String),
    #[error("this instance is retired")]
    Retired,
}

/// The principal that sshd may accept.
pub fn judge(
    question: &Question<'_>,
    config: &Config,
    list: impl FnOnce() -> Result<String, String>,
    now: Timestamp,
) -> Result<String, Refused> {
    let certificate = certificate(question, config, now)?;
    let [principal] = certificate.principals.as_slice() else { return Err(Refused::Principals) };
    let warrant = warrant(&certificate, principal, (config, now))?;
    if warrant.instance() != &config.instance {
        return Err(Refused::Instance(warrant.instance().to_string()));
    }
    if warrant.customer() != &config.customer {
        return Err(Refused::Customer(warrant.customer().to_string()));
    }
    let here = config.accounts.iter().any(|account| {
        account.account.as_str() == warrant.account()
            && account.level == warrant.level()
            && account.unix_user == question.unix_user
    });
    if !here {
        let level = warrant.level().as_str();
        return Err(Refused::Account { account: warrant.account().to_owned(), level });
    }
    if warrant.level() == Level::Data {
        unrevoked(&warrant, &revocations(config, list, now)?)?;
    }
    Ok(principal.clone())
}

fn certificate(
    question: &Question<'_>,
    config: &Config,
    now: Timestamp,
) -> Result<UserCertificate, Refused> {
    if question.kind != cert_blob::CERT_TYPE {
        return Err(Refused::Kind);
    }
    if question.certificate.len() > CERT_BLOB_BYTES_MAX * 2 {
        return Err(BadBlob::Long.into());
    }
    let blob = STANDARD.decode(question.certificate).map_err(|_| BadBlob::Shape("base64"))?;
    let (receipt, consent) = (receipt_name(&config.origin), consent_name(&config.origin));
    let certificate = cert_blob::read(&blob, &config.user_cas, &[&receipt, &consent])?;
    if now < certificate.valid_after || now >= certificate.valid_before {
        return Err(Refused::Time);
    }
    Ok(certificate)
}

fn warrant(
    certificate: &UserCertificate,
    principal: &str,
    (config, now): (&Config, Timestamp),
) -> Result<Warrant, Refused> {
    let carried = |name: String| certificate.late.get(&name).map(String::as_str);
    let claim = Claim {
        draft: certificate.draft,
        serial: certificate.serial,
        key_id: &certificate.key_id,
        principal,
        valid_after: certificate.valid_after,
        valid_before: certificate.valid_before,
        receipt: carried(receipt_name(&config.origin)).ok_or(Refused::NoReceipt)?,
        consent: carried(consent_name(&config.origin)),
    };
    let known = Known {
        log: &config.log_keys,
        origin: &config.origin,
        approvers: &config.approvers,
        signatures_needed: config.signatures_needed,
        witnesses: config
            .witnesses
            .as_ref()
            .map(|policy| Witnesses { policy, levels: &config.witnessed }),
        data_seconds_max: config.checkpoint_seconds_max,
        now,
    };
    warrant::check(&claim, &known).map_err(|why| Refused::Unwarranted {
        serial: certificate.serial,
        key_id: plain(&certificate.key_id),
        why,
    })
}

/// The list, if it is this customer's and fresh.
pub fn revocations(
    config: &Config,
    list: impl FnOnce() -> Result<String, String>,
    now: Timestamp,
) -> Result<Revocations, Refused> {
    let list = Revocations::open(&list().map_err(Refused::Unreadable)?, &config.log_keys)?;
    if list.origin != config.origin {
        return Err(Refused::OtherList("deployment"));
    }
    if list.customer != config.customer {
        return Err(Refused::OtherList("customer"));
    }
    let age = now.seconds() - list.issued.seconds();
    if age > config.revocations_seconds_max {
        return Err(Refused::OldList(age));
    }
    if age < -GUARD_SKEW_SECONDS_MAX {
        return Err(Refused::EarlyList(-age));
    }
    Ok(list)
}

fn unrevoked(warrant: &Warrant, list: &Revocations) -> Result<(), Refused> {
    if list.instances.contains(warrant.instance()) {
        return Err(Refused::Retired);
    }
    match warrant.consent() {
        Some(consent) if list.consents.contains(consent) => {
            Err(Refused::Withdrawn(consent.0.to_string()))
        }
        _ => Ok(()),
    }
}

/// A stranger's text for a line of the log.
pub fn plain(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    text.chars().take(200).map(safe).collect()
}
