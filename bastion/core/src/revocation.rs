//! The revocation list: what a VM must no longer accept, signed, numbered and fresh.
//!
//! ```text
//! bastion-revocations/v1
//! origin bastion.example
//! customer acme
//! version 4711
//! issued 2026-11-24T08:02:00.000001Z
//! consent t-3h5k 1
//! instance i-9x2w
//!
//! — bastion.example Az3g…=
//! ```
//!
//! One list for each customer: a withdrawn consent stands in it until it would have ended by
//! itself, an instance from its retirement on. It is a signed note under the log's key; its
//! `version` is the size of the log when it was made, so of two lists the later one is known
//! whichever gateway made it. Consents and instances are sorted and each stands once: one list,
//! one text.

use crate::{
    id::{CustomerId, InstanceId, TicketId},
    limits::{ORIGIN_BYTES_MAX, REVOCATIONS_BYTES_MAX, REVOCATIONS_MAX},
};
use audit_schema::{
    note::{self, BadNote, Vkey},
    time::Timestamp,
};
use std::collections::BTreeSet;

const HEADER: &str = "bastion-revocations/v1";

/// What is revoked for one customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations {
    /// The deployment.
    pub origin: String,
    /// Whose VMs it is for.
    pub customer: CustomerId,
    /// The size of the log when it was made.
    pub version: u64,
    /// When it was made.
    pub issued: Timestamp,
    /// Tickets that permit nothing any more, with their revision.
    pub consents: BTreeSet<(TicketId, u64)>,
    /// Instances that are retired.
    pub instances: BTreeSet<InstanceId>,
}

/// Why a text is no list that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRevocations {
    /// More than a list may hold.
    #[error("the revocation list is longer than any that is made")]
    Long,
    /// Not in the one spelling.
    #[error("not a revocation list in its one spelling")]
    Spelling,
    /// Signed by nobody who counts here.
    #[error("the revocation list's signature does not hold: {0}")]
    Note(#[from] BadNote),
}

impl Revocations {
    /// The text that is signed.
    pub fn to_text(&self) -> Result<String, BadRevocations> {
        let plain = self.origin.bytes().all(|byte| byte.is_ascii_graphic());
        if self.origin.is_empty() || self.origin.len() > ORIGIN_BYTES_MAX || !plain {
            return Err(BadRevocations::Spelling);
        }
        if self.consents.len() + self.instances.len() > REVOCATIONS_MAX {
            return Err(BadRevocations::Long);
        }
        let Self { origin, customer, version, issued, .. } = self;
        let mut text = format!(
            "{HEADER}\norigin {origin}\ncustomer {customer}\nversion {version}\nissued {issued}\n"
        );
        for (ticket, revision) in &self.consents {
            text += &format!("consent {ticket} {revision}\n");
        }
        for instance in &self.instances {
            text += &format!("instance {instance}\n");
        }
        Ok(text)
    }

    /// The list of a text, which nobody has signed yet.
    pub fn parse_text(text: &str) -> Result<Self, BadRevocations> {
        if text.len() > REVOCATIONS_BYTES_MAX {
            return Err(BadRevocations::Long);
        }
        let list = Self::lines(text).ok_or(BadRevocations::Spelling)?;
        if list.to_text()? == text { Ok(list) } else { Err(BadRevocations::Spelling) }
    }

    fn lines(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return None;
        }
        let mut word = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let mut list = Self {
            origin: word("origin")?.to_owned(),
            customer: word("customer")?.parse().ok()?,
            version: word("version")?.parse().ok()?,
            issued: word("issued")?.parse().ok()?,
            consents: BTreeSet::new(),
            instances: BTreeSet::new(),
        };
        for line in lines {
            match line.split_once(' ')? {
                ("consent", consent) => {
                    let (ticket, revision) = consent.split_once(' ')?;
                    list.consents.insert((ticket.parse().ok()?, revision.parse().ok()?));
                }
                ("instance", instance) => drop(list.instances.insert(instance.parse().ok()?)),
                _ => return None,
            }
        }
        Some(list)
    }

    /// The list of a signed note, under one of these keys.
    pub fn open(signed: &str, vkeys: &[Vkey]) -> Result<Self, BadRevocations> {
        if signed.len() > REVOCATIONS_BYTES_MAX {
            return Err(BadRevocations::Long);
        }
        let text = vkeys.iter().find_map(|vkey| note::open(signed, vkey).ok());
        match text {
            Some(text) => Self::parse_text(text),
            // Of the first key: that one should have signed it.
            None => Err(vkeys
                .first()
                .and_then(|vkey| note::open(signed, vkey).err())
                .unwrap_or(BadNote::Unsigned)
                .into()),
        }
    }
}
