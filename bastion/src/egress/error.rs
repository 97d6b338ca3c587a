//! Why a VM could not be reached: each with what to do next.

use bastion_core::lease::Cause;
use std::{io, time::Duration};

/// A VM that could not be reached, did not prove who it is, or would not have us.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// No TCP connection.
    #[error("the VM cannot be reached ({0}): check that it runs, then try again")]
    Unreachable(#[source] io::Error),
    /// TCP, but no SSH.
    #[error("the VM's sshd did not complete the key exchange ({0}): check its sshd log")]
    Handshake(#[source] russh::Error),
    /// It is not, or cannot prove to be, the instance of the inventory.
    #[error("the VM did not prove which instance it is: {0}. Tell a security officer")]
    HostRefused(String),
    /// It would not have our certificate.
    #[error(
        "the VM refused the certificate: its sshd may not trust this gateway's CA, its clock may \
         be wrong, the account may be missing on it, or its guard has a reason: see its system log"
    )]
    CertificateRefused,
    /// It went away instead of saying yes or no.
    #[error(
        "the VM closed the connection during the login, or stopped answering: its sshd log says \
         whether it refused the certificate"
    )]
    LoginCut,
    /// Logged in, but no channel.
    #[error("the VM refused to open a channel ({0}): its sshd may be at MaxSessions")]
    ChannelRefused(String),
    /// Nothing listens at a forward's destination, or it does not answer the VM.
    #[error("the VM cannot connect there: check that something listens at the destination")]
    DestinationRefused,
    /// The VM's sshd does not forward.
    #[error(
        "the VM's sshd does not permit this forward: its sshd_config has to allow what the \
         certificate permits (AllowTcpForwarding, AllowStreamLocalForwarding)"
    )]
    ForwardingRefused,
    /// A channel, but not this terminal, command or subsystem.
    #[error("the VM refused the request: its sshd or the certificate does not permit it")]
    RequestRefused,
    /// The connection went away on the way.
    #[error("the connection to the VM was lost: {0}")]
    Lost(#[source] russh::Error),
    /// The VM closed the channel before anything ran.
    #[error("the VM closed the channel before anything ran")]
    Vanished,
    /// A step took too long.
    #[error("the VM took more than {limit:?} for {step}: check its load, then try again")]
    Slow {
        /// Which.
        step: &'static str,
        /// What it may take.
        limit: Duration,
    },
    /// The lease ended first.
    #[error("the access ended before the VM was reached: {}", .0.words())]
    Ended(Cause),
}

impl EgressError {
    /// A stable word for the log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "vm_unreachable",
            Self::Handshake(_) => "vm_handshake_failed",
            Self::HostRefused(_) => "vm_host_certificate_refused",
            Self::CertificateRefused => "vm_refused_certificate",
            Self::ChannelRefused(_) => "vm_refused_channel",
            Self::DestinationRefused => "destination_unreachable",
            Self::ForwardingRefused => "vm_refused_forward",
            Self::RequestRefused => "vm_refused_request",
            Self::Lost(_) | Self::LoginCut | Self::Vanished => "vm_connection_lost",
            Self::Slow { .. } => "vm_timeout",
            Self::Ended(cause) => cause.as_str(),
        }
    }
}
