//! The four ways from an operator to a VM that are compared, and where each is a long way.

use serde::Serialize;

/// How an operator reaches the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// OpenSSH to OpenSSH, no bastion at all.
    Direct,
    /// `ssh -J` through an OpenSSH jump host.
    Jump,
    /// `user+vm@bastion`.
    Ours,
    /// `-J bastion`.
    OursJump,
}

impl Form {
    /// All, in the order in which a round takes them.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Jump, Self::Ours, Self::OursJump];
    /// Those that have something in the middle.
    pub const THROUGH: [Self; 3] = [Self::Jump, Self::Ours, Self::OursJump];

    /// The head of its column.
    pub fn head(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Jump => "-J",
            Self::Ours => "user+vm",
            Self::OursJump => "our -J",
        }
    }
}

/// Which part of the way takes 100 ms there and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// None: everything on one machine.
    Near,
    /// The operator is far from the gateway, the jump host and the VM, which are beside each other.
    FarOperator,
    /// The VM is far from the operator, the gateway and the jump host, which are beside each other.
    FarVm,
}

impl Distance {
    /// As the table says it.
    pub fn says(self) -> &'static str {
        match self {
            Self::Near => "no delay",
            Self::FarOperator => "100 ms to the operator",
            Self::FarVm => "100 ms to the VM",
        }
    }

    /// As a folder is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::FarOperator => "far-operator",
            Self::FarVm => "far-vm",
        }
    }
}

/// The key exchange of every leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kex {
    /// curve25519-sha256 everywhere, so that all do the same work.
    X25519,
    /// Whatever the two ends agree on.
    Default,
}

impl Kex {
    /// As the table says it.
    pub fn says(self) -> &'static str {
        match self {
            Self::X25519 => "x25519",
            Self::Default => "default kex",
        }
    }
}

/// Under which circumstances a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// What is far.
    pub distance: Distance,
    /// The key exchange.
    pub kex: Kex,
}

impl Way {
    /// x25519 over this distance: what all but one measure use.
    pub fn over(distance: Distance) -> Self {
        Self { distance, kex: Kex::X25519 }
    }
}
