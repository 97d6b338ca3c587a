//! Where they go: customers, services, VMs and the accounts on them.

use crate::id::{AccountName, CustomerId, InstanceId, ServiceId, VmName};
use audit_schema::event::Level;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What a customer rents: one or more VMs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Whose it is.
    pub customer: CustomerId,
    /// From where operators may come; empty means anywhere, and is flagged wherever it shows.
    pub sources: SourceRanges,
    /// PEM of the RSA key to which recordings of its data channels are sealed.
    pub recording_key: String,
}

/// Allowed source ranges; empty means anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceRanges(pub Vec<IpNet>);

impl SourceRanges {
    /// Whether an operator may come from this address. An IPv4 address that a dual-stack listener
    /// shows as IPv6 counts as the IPv4 address.
    pub fn allow(&self, source: IpAddr) -> bool {
        self.is_wide_open() || self.0.iter().any(|range| range.contains(&source.to_canonical()))
    }
    /// Whether other ranges allow an address that these do not.
    pub fn widened(&self, other: &Self) -> bool {
        // Neighbours joined, a range is covered by all of them exactly if it is by one of them.
        let ours = IpNet::aggregate(&self.0);
        let covered = |range: &IpNet| ours.iter().any(|net| net.contains(range));
        !self.is_wide_open() && (other.is_wide_open() || !other.0.iter().all(covered))
    }
    /// Whether everything is allowed: the default, and worth a warning.
    pub fn is_wide_open(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|range| range.prefix_len() == 0)
    }
}

/// One life of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmInstance {
    /// This life.
    pub id: InstanceId,
    /// The name through all lives.
    pub vm: VmName,
    /// The service it is part of.
    pub service: ServiceId,
    /// Whose data it holds; never changes within an instance.
    pub customer: CustomerId,
    /// The region, as the provider names it.
    pub region: String,
    /// The zone within it.
    pub zone: String,
    /// `host:port` of its sshd.
    pub address: String,
    /// The accounts; their levels never change within an instance.
    pub accounts: Vec<Account>,
}

impl VmInstance {
    /// The account of a name.
    pub fn account(&self, name: &AccountName) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == *name)
    }
}

/// A Unix login on a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What operators type.
    pub name: AccountName,
    /// What it reaches.
    pub level: Level,
    /// The Unix user that it is on the VM.
    pub unix_user: String,
}

/// What a level reaches, in words for the customer.
pub fn describe_level(level: Level) -> &'static str {
    match level {
        Level::Troubleshoot => "troubleshooting without access to customer data",
        Level::Data => "access to customer data",
    }
}
