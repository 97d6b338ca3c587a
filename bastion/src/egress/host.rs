//! Who is at the other end: russh's callbacks of a connection to a VM.
//!
//! Russh verifies that the VM holds the key of the certificate that it shows. Whether that
//! certificate means anything is decided here: an approved CA, a host certificate, this very
//! instance, valid now. A plain key is refused whatever it is; there is no first use to trust.

use super::doors::{Connected, Doors, Knock};
use audit_schema::event::ChannelKind;
use bastion_core::{hostcert, id::InstanceId};
use russh::{
    Channel, ChannelOpenFailure,
    client::{self, ChannelOpenHandle, Msg, Session},
    keys::{
        PublicKeyOrCertificate,
        ssh_key::{Certificate, public::KeyData},
    },
};
use std::sync::{Arc, Mutex, PoisonError};

/// The callbacks of one connection to a VM.
pub(crate) struct HostHandler {
    authorities: Arc<[KeyData]>,
    instance: InstanceId,
    refusal: Refusal,
    doors: Doors,
}

/// Why the VM was refused; russh's own error only says that it was.
#[derive(Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<String>>>);

impl Refusal {
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
    fn set(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }
}

impl HostHandler {
    pub(super) fn new(authorities: &Arc<[KeyData]>, instance: &InstanceId) -> Self {
        Self {
            authorities: Arc::clone(authorities),
            instance: instance.clone(),
            refusal: Refusal::default(),
            doors: Doors::default(),
        }
    }

    pub(super) fn doors(&self) -> Doors {
        self.doors.clone()
    }

    pub(super) fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }

    fn judge(&self, certificate: &Certificate) -> Result<(), String> {
        let check = hostcert::HostCheck {
            certificate,
            authorities: &self.authorities,
            instance: &self.instance,
            now: crate::clock::now(),
        };
        hostcert::check(&check).map(drop).map_err(|why| why.to_string())
    }
}

impl client::Handler for HostHandler {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let judged = match shown {
            PublicKeyOrCertificate::Certificate(certificate) => self.judge(certificate),
            PublicKeyOrCertificate::PublicKey { .. } => {
                Err("it shows a plain host key, no certificate of the VM-host CA".to_owned())
            }
        };
        match judged {
            Ok(()) => Ok(true),
            Err(why) => {
                tracing::warn!(instance = %self.instance, %why, "a VM's host key is refused");
                self.refusal.set(why);
                Ok(false)
            }
        }
    }

    // ---- what the VM opens: see [`super::doors`] -----------------------------------------------

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let (kind, from) = (ChannelKind::ForwardAgent, Connected::default());
        self.doors.knock(Knock { kind, channel, reply, from }).await;
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        channel: Channel<Msg>,
        originator: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let by = (originator.to_owned(), originator_port);
        let (kind, from) = (ChannelKind::ForwardX11, Connected { by, ..Connected::default() });
        self.doors.knock(Knock { kind, channel, reply, from }).await;
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        originator: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let from = Connected {
            to: (address.to_owned(), port),
            by: (originator.to_owned(), originator_port),
        };
        let kind = ChannelKind::ForwardRemote;
        self.doors.knock(Knock { kind, channel, reply, from }).await;
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }
}

async fn refuse(reply: ChannelOpenHandle) -> Result<(), russh::Error> {
    reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    Ok(())
}
