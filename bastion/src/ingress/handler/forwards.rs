//! The callbacks' part in forwards: connections that the peer wants, a port on a VM, and what a
//! session may have of the operator's.

use super::{Handler, HandlerError, Open};
use crate::{
    ingress::{
        channel::To,
        lender,
        listener::{self, Listen},
        login::Login,
        refusal,
        start::{Also, Asked, Start},
    },
    relay::downstream::{Lent, X11},
};
use audit_schema::event::ChannelKind;
use bastion_core::{
    destination::Wanted,
    limits::{LISTEN_SECONDS_MAX, LISTENERS_PER_CONNECTION_MAX, X11_WORD_BYTES_MAX},
};
use russh::{
    Channel, ChannelId,
    server::{self, ChannelOpenHandle, Msg},
};
use std::time::Duration;
use tokio::sync::oneshot;

impl Handler {
    /// A connection that the peer wants, with its inbox in place.
    pub(super) fn forward(
        &mut self,
        (channel, reply): (Channel<Msg>, ChannelOpenHandle),
        wanted: Wanted,
        session: &server::Session,
    ) -> Result<Asked, HandlerError> {
        let id = channel.id();
        let (_, write) = channel.split();
        let (inbox, input) = self.line.flow().channel(id);
        self.channels.insert(id, Open { inbox, waiting: None });
        Ok(Asked {
            login: self.line.meaning(&self.login),
            what: Start::Forward(wanted),
            pty: None,
            env: Vec::new(),
            input,
            write,
            handle: session.handle(),
            opening: Some(reply),
            spare: self.line.spare(),
            held: self.line.hold(self.session()?),
            also: Also { lent: Lent::default(), notes: Vec::new(), flow: self.line.flow().clone() },
        })
    }

    /// Where a channel of this connection goes, if it goes to a VM and an operator asks.
    fn to(&self) -> Result<Option<To>, HandlerError> {
        let operator = self.session()?.identity.operator().cloned();
        Ok(match (self.line.meaning(&self.login), operator) {
            (Login::Vm { account, vm }, Some(operator)) => Some(To { operator, account, vm }),
            _ => None,
        })
    }

    /// Whether a session channel may have its agent or display with it. A no is entered, once a
    /// connection: clients ask anew with every channel.
    async fn may_lend(
        &mut self,
        channel: ChannelId,
        kind: ChannelKind,
    ) -> Result<bool, HandlerError> {
        if self.waiting(channel).is_none() {
            return Ok(false);
        }
        if !self.unlent.contains_key(&kind) {
            let Some(to) = self.to()? else { return Ok(false) };
            match lender::would_lend(self.session()?, to, kind).await {
                Ok(None) => return Ok(true),
                Ok(Some(sentence)) => drop(self.unlent.insert(kind, sentence)),
                Err(error) => return Err(HandlerError::Log(error.to_string())),
            }
        }
        let note = self.unlent.get(&kind).cloned();
        if let Some(waiting) = self.waiting(channel) {
            waiting.notes.extend(note);
        }
        Ok(false)
    }

    /// Whether the operator's agent goes with a session channel.
    pub(super) async fn lend_agent(&mut self, channel: ChannelId) -> Result<bool, HandlerError> {
        let may = self.may_lend(channel, ChannelKind::ForwardAgent).await?;
        if let Some(waiting) = self.waiting(channel) {
            waiting.lent.agent |= may;
        }
        Ok(may)
    }

    /// Whether the operator's display goes with a session channel.
    pub(super) async fn lend_display(
        &mut self,
        channel: ChannelId,
        x11: X11,
    ) -> Result<bool, HandlerError> {
        let plain = |text: &str| {
            text.len() <= X11_WORD_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let sound = plain(&x11.protocol) && plain(&x11.cookie);
        let may = sound && self.may_lend(channel, ChannelKind::ForwardX11).await?;
        if let Some(waiting) = self.waiting(channel).filter(|_| may) {
            waiting.lent.x11 = Some(x11);
        }
        Ok(may)
    }

    /// Has a VM listen for the operator. The answer has to wait for the VM, and the connection with
    /// it: russh has no other way.
    pub(super) async fn listen(
        &mut self,
        address: &str,
        port: &mut u32,
        operator: server::Handle,
    ) -> Result<bool, HandlerError> {
        let asked = u16::try_from(*port);
        let (Some(to), Ok(asked)) = (self.to()?, asked) else {
            self.refused(refusal::REVERSE, &format!("{address}:{port}")).await?;
            return Ok(false);
        };
        self.listeners.retain(|_, taken_back| !taken_back.is_closed());
        if self.listeners.len() >= LISTENERS_PER_CONNECTION_MAX {
            return Ok(false);
        }
        let (listening, heard) = oneshot::channel();
        let (take_back, taken_back) = oneshot::channel();
        let listen = Listen {
            wanted: Wanted::Listen { host: address.to_owned(), port: asked },
            operator: (operator, self.line.flow().clone()),
            listening,
            taken_back,
            held: self.line.hold(self.session()?),
        };
        listener::spawn(self.session()?.clone(), to, listen);
        let limit = Duration::from_secs(LISTEN_SECONDS_MAX);
        let Ok(Ok(chosen)) = tokio::time::timeout(limit, heard).await else { return Ok(false) };
        *port = u32::from(chosen);
        self.listeners.insert((address.to_owned(), *port), take_back);
        Ok(true)
    }
}
