//! What the fields of events are made of: parties, levels, kinds of channels, places.

use serde::{Deserialize, Serialize};

/// Who caused an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The pseudonymous id: `op-…`, `of-…`, `ap-…`, a Unix user id, or a gateway's name.
    pub id: String,
    /// Which of the five kinds of party.
    pub kind: ActorKind,
}

/// The kinds of party that can cause an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// The provider's person who connects to VMs.
    Operator,
    /// The provider's security officer.
    Officer,
    /// The customer's person who decides about consent.
    Approver,
    /// A Unix user on the gateway's machine; the id is the numeric uid.
    Local,
    /// The gateway itself: time ran out, a process started.
    Gateway,
}

/// The access level of an account on a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// No way to customer data.
    Troubleshoot,
    /// Reaches customer data: never without a live consent.
    Data,
}

impl Level {
    /// The level's word in principals, policies and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Troubleshoot => "troubleshoot",
            Self::Data => "data",
        }
    }
}

/// What kind of SSH channel was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// A shell, with or without a terminal.
    Shell,
    /// One command.
    Exec,
    /// The sftp subsystem.
    Sftp,
    /// A connection through the gateway to an SSH port, refused before a VM was known.
    Forward,
    /// A connection to a port that the VM can reach (`ssh -L`, `ssh -D`).
    ForwardLocal,
    /// A connection to a socket on the VM.
    ForwardStreamlocal,
    /// A port on the VM whose connections go to the operator (`ssh -R`).
    ForwardRemote,
    /// The operator's agent, lent to a session (`ssh -A`).
    ForwardAgent,
    /// The operator's display, lent to a session (`ssh -X`).
    ForwardX11,
}

impl ChannelKind {
    /// The kind's word in policies and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec => "exec",
            Self::Sftp => "sftp",
            Self::Forward => "forward",
            Self::ForwardLocal => "forward_local",
            Self::ForwardStreamlocal => "forward_streamlocal",
            Self::ForwardRemote => "forward_remote",
            Self::ForwardAgent => "forward_agent",
            Self::ForwardX11 => "forward_x11",
        }
    }
}

/// How a channel came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The program on the VM ended, or the operator left.
    Completed,
    /// The gateway ended it; `reason` says why.
    Cut,
    /// The VM could not be reached or did not prove who it is; no byte passed.
    Unreachable,
    /// Something of ours failed (a recording, the relay); `reason` says what.
    Failed,
}

/// Which way a file went, seen from the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the operator to the VM.
    Upload,
    /// From the VM to the operator.
    Download,
}

/// The place of an access: what a row of the population names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The account on the VM.
    pub account: String,
    /// The VM instance's id, one life of a VM.
    pub instance: String,
    /// The account's access level.
    pub level: Level,
    /// The service that the VM belongs to.
    pub service: String,
    /// The VM's name in the inventory.
    pub vm: String,
}

/// The state of an operator's mandatory training at the moment of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingState {
    /// The course's id.
    pub course: String,
    /// Until when it counts; absent when it was never completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
}
