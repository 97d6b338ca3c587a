//! What a VM knows by itself: one file, written at its provisioning, that only root can change.
//!
//! ```json
//! {
//!   "origin": "bastion.example",
//!   "log_keys": ["bastion.example+3f2a…+AZ…"],
//!   "user_cas": ["ssh-ed25519 AAAA…"],
//!   "customer": "acme",
//!   "instance": "i-9x2w…",
//!   "accounts": [{"account": "dba", "level": "data", "unix_user": "dba"}],
//!   "approvers": [{"approver": "ap-7k…", "key": "ssh-ed25519 AAAA…"}],
//!   "signatures_needed": 1,
//!   "revocations": "/var/lib/bastion/revocations"
//! }
//! ```
//!
//! Lists of keys hold two while one is being replaced. `witnesses` is a C2SP tlog-policy as one
//! text: where it stands, a receipt's checkpoint must be cosigned as it says at the levels of
//! `witnessed` (by default `data`), or nobody gets in there. `checkpoint_seconds_max`,
//! `revocations_seconds_max` and `syslog` have defaults. Where a file or a folder above it belongs
//! to another than root, or others may write to it, its content is worth nothing and nobody gets
//! in.

use audit_schema::{checkpoint::Vkey, event::Level, policy::Policy, time::Timestamp};
use bastion_core::{
    consent::ApproverKey,
    id::{AccountName, ApproverId, CustomerId, InstanceId},
    limits::{
        CONSENT_SIGNATURES_MAX, DATA_CHECKPOINT_SECONDS_MAX, GUARD_CONFIG_BYTES_MAX,
        REVOCATIONS_SECONDS_MAX,
    },
};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What a VM knows by itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// The deployment.
    pub origin: String,
    /// The keys of its log.
    pub log_keys: Vec<Vkey>,
    /// The CAs of its user certificates.
    pub user_cas: Vec<VerifyingKey>,
    /// Whose VM this is.
    pub customer: CustomerId,
    /// Which life of it.
    pub instance: InstanceId,
    /// Its accounts.
    pub accounts: Vec<Account>,
    /// Who has to have cosigned the log, where anybody has.
    pub witnesses: Option<Policy>,
    /// At which levels.
    pub witnessed: Vec<Level>,
    /// The customer's approvers, as they were at provisioning.
    pub approvers: Vec<ApproverKey>,
    /// How many of them have to sign.
    pub signatures_needed: u64,
    /// How old a checkpoint may be for a data account, in seconds.
    pub checkpoint_seconds_max: i64,
    /// Where the revocation list is.
    pub revocations: Option<PathBuf>,
    /// How old it may be, in seconds.
    pub revocations_seconds_max: i64,
    /// Where the system's log listens.
    pub syslog: PathBuf,
}

/// An account of this VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// As the inventory has it.
    pub account: AccountName,
    /// What it reaches.
    pub level: Level,
    /// The Unix user that it is.
    pub unix_user: String,
}

/// Who may have written a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Root alone, and root alone may write to the folders above it.
    Root,
    /// This Unix user: a demo of an ordinary user, who owns the VM and all that is in it.
    User(u32),
}

/// Why there is no configuration to go by.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// Another than root could have written it.
    #[error("{0}: {1}; nobody gets in by a configuration that others may write")]
    Loose(PathBuf, &'static str),
    /// It does not say what it should.
    #[error("{0}: {1}")]
    Content(PathBuf, String),
}

/// The file: what whoever provisions a VM writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// The deployment.
    pub origin: String,
    /// The keys of its log, `name+hash+base64`.
    pub log_keys: Vec<String>,
    /// The CAs of its user certificates, in OpenSSH's form.
    pub user_cas: Vec<String>,
    /// Whose VM this is.
    pub customer: CustomerId,
    /// Which life of it.
    pub instance: InstanceId,
    /// Its accounts.
    pub accounts: Vec<Account>,
    /// Who has to have cosigned the log: the text of a C2SP tlog-policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<String>,
    /// At which levels; `data` where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnessed: Vec<Level>,
    /// The customer's approvers; needed where an account reaches customer data.
    #[serde(default)]
    pub approvers: Vec<Approver>,
    /// How many of them have to sign.
    #[serde(default)]
    pub signatures_needed: u64,
    /// How old a checkpoint may be for a data account, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_seconds_max: Option<i64>,
    /// Where the revocation list is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocations: Option<PathBuf>,
    /// How old it may be, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocations_seconds_max: Option<i64>,
    /// Where the system's log listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<PathBuf>,
}

/// A key of an approver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approver {
    /// Who.
    pub approver: ApproverId,
    /// Their key, in OpenSSH's form.
    pub key: String,
}

impl Config {
    /// Reads a configuration that nobody but its owner can have written.
    pub fn read(path: &Path, owner: Owner) -> Result<Self, BadConfig> {
        let failed = |error| BadConfig::Io(path.to_owned(), error);
        let uid = match owner {
            Owner::Root => trusted(path).map(|()| 0)?,
            Owner::User(uid) => uid,
        };
        let mut file = fs::File::open(path).map_err(failed)?;
        // What was opened, not what stood there a moment ago.
        only_of(uid, path, &file.metadata().map_err(failed)?)?;
        let mut text = String::new();
        let mut bounded = file.by_ref().take(GUARD_CONFIG_BYTES_MAX);
        bounded.read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text).map_err(|bad| BadConfig::Content(path.to_owned(), bad))
    }

    /// The configuration of a text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Pinned = serde_json::from_str(text).map_err(|bad| bad.to_string())?;
        let vkeys = file.log_keys.iter().map(|key| key.parse::<Vkey>());
        let log_keys: Vec<Vkey> = vkeys.collect::<Result<_, _>>().map_err(|bad| bad.to_string())?;
        let cas = file.user_cas.iter().map(|line| bastion_core::warrant::ed25519_key(line));
        let user_cas: Option<Vec<VerifyingKey>> = cas.collect();
        let user_cas = user_cas.ok_or("a CA in user_cas is no ed25519 key in OpenSSH's form")?;
        if log_keys.is_empty() || user_cas.is_empty() {
            return Err("it needs at least one of log_keys and of user_cas".to_owned());
        }
        let witnesses = file.witnesses.as_deref().map(witnesses).transpose()?;
        let customer = file.customer.clone();
        let pinned = |pinned: Approver| ApproverKey {
            approver: pinned.approver,
            customer: customer.clone(),
            public_key: pinned.key,
            // Pinned here, whatever the gateway says since when.
            added_at: Timestamp::from_micros(0),
            removed_at: None,
        };
        let config = Self {
            origin: file.origin,
            log_keys,
            user_cas,
            instance: file.instance,
            accounts: file.accounts,
            witnessed: match file.witnessed {
                levels if levels.is_empty() => vec![Level::Data],
                levels => levels,
            },
            witnesses,
            approvers: file.approvers.into_iter().map(pinned).collect(),
            signatures_needed: file.signatures_needed,
            checkpoint_seconds_max: file
                .checkpoint_seconds_max
                .unwrap_or(DATA_CHECKPOINT_SECONDS_MAX)
                .min(DATA_CHECKPOINT_SECONDS_MAX),
            revocations: file.revocations,
            revocations_seconds_max: file
                .revocations_seconds_max
                .unwrap_or(REVOCATIONS_SECONDS_MAX),
            syslog: file.syslog.unwrap_or_else(|| PathBuf::from(crate::syslog::SOCKET)),
            customer: file.customer,
        };
        config.whole()
    }

    /// A data account without what it is guarded by is no configuration.
    fn whole(self) -> Result<Self, String> {
        if self.witnesses.is_none() && self.witnessed != [Level::Data] {
            return Err("witnessed says at which levels, and witnesses is missing: who?".into());
        }
        let needed = 1..=CONSENT_SIGNATURES_MAX;
        if self.has_data()
            && (self.approvers.is_empty()
                || !needed.contains(&self.signatures_needed)
                || self.revocations.is_none())
        {
            return Err("a data account needs approvers, signatures_needed and revocations".into());
        }
        Ok(self)
    }

    /// Whether an account of this VM reaches customer data.
    pub fn has_data(&self) -> bool {
        self.accounts.iter().any(|account| account.level == Level::Data)
    }
}

/// A policy that asks nobody is not what somebody wanted who wrote one down.
fn witnesses(text: &str) -> Result<Policy, String> {
    let policy = Policy::parse(text.as_bytes()).map_err(|bad| format!("witnesses: {bad}"))?;
    match policy.asks_for_witnesses() {
        true => Ok(policy),
        false => Err("witnesses: its quorum is `none`: name one, or leave witnesses out".into()),
    }
}

/// A file and every folder above it are root's, and nobody else may write there; no link leads to
/// another place.
fn trusted(path: &Path) -> Result<(), BadConfig> {
    if !path.is_absolute() {
        return Err(BadConfig::Loose(path.to_owned(), "its path is not absolute"));
    }
    for place in path.ancestors() {
        let meta = fs::symlink_metadata(place);
        let meta = meta.map_err(|error| BadConfig::Io(place.to_owned(), error))?;
        only_of(0, place, &meta)?;
    }
    Ok(())
}

fn only_of(owner: u32, place: &Path, meta: &fs::Metadata) -> Result<(), BadConfig> {
    let what = if meta.file_type().is_symlink() {
        "it is a link"
    } else if meta.uid() != owner {
        "it does not belong to root"
    } else if meta.mode() & 0o022 != 0 {
        "others than root may write to it"
    } else {
        return Ok(());
    };
    Err(BadConfig::Loose(place.to_owned(), what))
}
