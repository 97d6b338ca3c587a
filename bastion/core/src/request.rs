//! What is asked: one channel to one account of one VM.

use crate::{
    destination::Wanted,
    id::{AccountName, LeaseId, OperatorId, SessionId, VmName},
};
use audit_schema::event::ChannelKind;
use std::net::IpAddr;

/// The most bytes that a command may have.
pub use crate::limits::COMMAND_BYTES_MAX;

/// What an operator asks for with one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRequest {
    /// The id that the lease will have if it is granted.
    pub lease: LeaseId,
    /// The connection that the channel belongs to.
    pub session: SessionId,
    /// Who asks.
    pub operator: OperatorId,
    /// From where they connected.
    pub source: IpAddr,
    /// The VM, as typed.
    pub vm: VmName,
    /// The account on it, as typed.
    pub account: AccountName,
    /// What kind of channel.
    pub kind: ChannelKind,
    /// Whether a terminal was asked for.
    pub pty: bool,
    /// The command of an exec channel, as sent.
    pub command: Option<Vec<u8>>,
    /// The destination of a forward.
    pub destination: Option<Wanted>,
    /// What is asked for beside a session channel.
    pub beside: Beside,
}

/// What a session channel may have besides: ways back from the VM to the operator. Each is policy
/// of its own; a channel goes on without what is not permitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The operator's ssh-agent.
    pub agent: bool,
    /// The operator's X11 display.
    pub x11: bool,
}

impl Beside {
    /// Which kinds these are.
    pub fn kinds(self) -> impl Iterator<Item = ChannelKind> {
        let agent = self.agent.then_some(ChannelKind::ForwardAgent);
        agent.into_iter().chain(self.x11.then_some(ChannelKind::ForwardX11))
    }
}
