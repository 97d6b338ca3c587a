//! What a login on a VM is for: a session, or one connection that goes on from there.

use super::EgressError;
use bastion_core::{authorize::Grant, destination::Wanted};
use russh::{
    Channel, ChannelOpenFailure,
    client::{Handle, Handler, Msg},
};

/// What is opened on a VM after the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A session channel, for a program.
    Session,
    /// A connection to a port that the VM can reach.
    Tcp(String, u16),
    /// A connection to a socket on the VM.
    Unix(String),
}

impl Purpose {
    /// What a grant is for, to the letter of what was granted.
    pub fn of(grant: &Grant) -> Self {
        match &grant.request().destination {
            Some(Wanted::Tcp { host, port }) => Self::Tcp(host.clone(), *port),
            Some(Wanted::Unix { path }) => Self::Unix(path.clone()),
            // A port to listen on is asked for beside the login; see `Listening`.
            Some(Wanted::Listen { .. }) | None => Self::Session,
        }
    }

    /// Opens it.
    pub(super) async fn open<H: Handler>(
        &self,
        vm: &Handle<H>,
    ) -> Result<Channel<Msg>, russh::Error> {
        match self {
            Self::Session => vm.channel_open_session().await,
            // The VM need not know who asked from where: the log does.
            Self::Tcp(host, port) => {
                vm.channel_open_direct_tcpip(host, u32::from(*port), "127.0.0.1", 0).await
            }
            Self::Unix(path) => vm.channel_open_direct_streamlocal(path).await,
        }
    }

    /// What it means that the VM does not open it.
    pub(super) fn refused(&self, why: &ChannelOpenFailure) -> EgressError {
        match (self, why) {
            (Self::Session, _) => EgressError::ChannelRefused(format!("{why:?}")),
            (Self::Tcp(..) | Self::Unix(_), ChannelOpenFailure::ConnectFailed) => {
                EgressError::DestinationRefused
            }
            (Self::Tcp(..) | Self::Unix(_), _) => EgressError::ForwardingRefused,
        }
    }
}
