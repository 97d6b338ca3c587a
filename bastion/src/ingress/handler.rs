//! russh's callbacks, turned into our own steps.
//!
//! russh calls one of these for every message of a connection, one after the other, so none of
//! them waits for the peer: bytes go into the channel's inbox, channels are opened by spawned
//! tasks. The log is waited for where an answer must not be given before its entry: when the
//! identity is settled, and when a request is refused. Every request is answered; silence makes
//! clients hang. What is waited for is boxed: russh keeps the room of the largest callback in every
//! connection for as long as it lasts.

mod forwards;

use super::{
    connection::{Held, Line},
    jump,
    refusal::{self, Refusal},
    session::{Opening, Session},
    start::{self, Also, Asked, Start},
};
use crate::{
    app::End,
    authn::Identity,
    clock,
    ledger::LedgerError,
    relay::downstream::{Inbox, Input, Lent, Pty, WindowSize, X11},
};
use audit_schema::event::ChannelKind;
use bastion_core::{channel, destination::Wanted, limits::TERM_BYTES_MAX};
use russh::{
    Channel, ChannelId, ChannelWriteHalf, Disconnect, Sig,
    keys::ssh_key::Certificate,
    server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, VerifiedPublicKey},
};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::oneshot;

/// What ends a connection from inside a callback.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandlerError {
    /// The protocol, or the connection under it.
    #[error(transparent)]
    Protocol(#[from] russh::Error),
    /// An answer could not be given because its entry could not be written.
    #[error("the log cannot be written: {0}")]
    Log(String),
}

/// One connection's callbacks.
pub(super) struct Handler {
    line: Box<Line>,
    login: String,
    proven: Option<Identity>,
    session: Option<Arc<Session>>,
    channels: HashMap<ChannelId, Open>,
    /// What is not lent on this connection, with the sentence that says so.
    unlent: HashMap<ChannelKind, String>,
    /// Ports that VMs listen on for this connection; dropping one ends it.
    listeners: HashMap<(String, u32), oneshot::Sender<()>>,
}

/// A channel that the peer opened.
struct Open {
    inbox: Inbox,
    /// Until it is asked what the channel is for.
    waiting: Option<Waiting>,
}

struct Waiting {
    input: Input,
    write: ChannelWriteHalf<Msg>,
    held: Held,
    pty: Option<Pty>,
    env: Vec<(String, String)>,
    lent: Lent,
    notes: Vec<String>,
}

impl Handler {
    pub(super) fn new(line: Line) -> Self {
        Self {
            line: Box::new(line),
            login: String::new(),
            proven: None,
            session: None,
            channels: HashMap::new(),
            unlent: HashMap::new(),
            listeners: HashMap::new(),
        }
    }

    /// Takes a proof for what it is worth: the party is known only when russh says that the
    /// authentication succeeded.
    async fn settle(&mut self, login: &str, found: Option<Identity>) -> Result<Auth, HandlerError> {
        let Some(identity) = found else { return Ok(self.line.reject().await) };
        if let Some(outer) = self.line.outer()
            && outer.identity.who != identity.who
        {
            // Both are proven parties, so this is an attempt of an identified one.
            refusal::record(outer, ChannelKind::Forward, refusal::INNER, login)
                .await
                .map_err(|error| HandlerError::Log(error.to_string()))?;
            return Ok(Auth::reject());
        }
        self.login = login.to_owned();
        self.proven = Some(identity);
        Ok(Auth::Accept)
    }

    /// The session of an authenticated connection. russh calls nothing that needs it before.
    fn session(&self) -> Result<&Arc<Session>, HandlerError> {
        self.session.as_ref().ok_or(HandlerError::Protocol(russh::Error::NotAuthenticated))
    }

    /// Whether one more channel may be opened. Channels that we closed first are forgotten here:
    /// russh does not say when the peer closes them too.
    fn has_room(&mut self) -> bool {
        self.channels.retain(|_, open| open.waiting.is_some() || !open.inbox.is_abandoned());
        let most = self.line.app().config.ingress.channels_per_session_max;
        self.channels.len() < most
    }

    fn waiting(&mut self, channel: ChannelId) -> Option<&mut Waiting> {
        self.channels.get_mut(&channel)?.waiting.as_mut()
    }

    /// Starts what a channel is for, once. The answer is yes: whether it is allowed is decided
    /// next, and a refusal is spoken on the channel, where it can be heard.
    fn start(
        &mut self,
        channel: ChannelId,
        what: Start,
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        let ours = self.session()?.clone();
        let open = self.channels.get_mut(&channel);
        let Some(waiting) = open.and_then(|open| open.waiting.take()) else {
            return Ok(session.channel_failure(channel)?);
        };
        session.channel_success(channel)?;
        let asked = Asked {
            login: self.line.meaning(&self.login),
            what,
            pty: waiting.pty,
            env: waiting.env,
            input: waiting.input,
            write: waiting.write,
            handle: session.handle(),
            opening: None,
            spare: self.line.spare(),
            held: waiting.held,
            also: Also { lent: waiting.lent, notes: waiting.notes, flow: self.line.flow().clone() },
        };
        start::spawn(ours, asked);
        Ok(())
    }

    /// Enters a refused request, before it is answered.
    async fn refused(&self, refusal: Refusal, asked: &str) -> Result<(), HandlerError> {
        Box::pin(refusal::record(self.session()?, ChannelKind::Forward, refusal, asked))
            .await
            .map_err(|error| HandlerError::Log(error.to_string()))
    }
}

impl server::Handler for Handler {
    type Error = HandlerError;

    // ---- who -----------------------------------------------------------------------------------

    async fn authentication_banner(&mut self) -> Result<Option<String>, HandlerError> {
        Ok(self.line.trouble())
    }

    /// Passwords prove nothing here, whatever they are; asking costs as much as a wrong key.
    async fn auth_password(&mut self, _login: &str, _word: &str) -> Result<Auth, HandlerError> {
        self.line.attempted();
        Ok(self.line.reject().await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _login: &str,
        _submethods: &str,
        _response: Option<server::Response<'a>>,
    ) -> Result<Auth, HandlerError> {
        self.line.attempted();
        Ok(self.line.reject().await)
    }

    async fn auth_publickey_offered(
        &mut self,
        login: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, HandlerError> {
        self.line.attempted();
        let authn = &self.line.app().authn;
        match Box::pin(authn.offered(offer.public_key, offer.algorithm)).await {
            Ok(offered) => {
                if let Some(owner) = &offered.owner {
                    self.line.offered(owner, login);
                }
                if offered.worth_signing { Ok(Auth::Accept) } else { Ok(self.line.reject().await) }
            }
            Err(error) => Ok(self.line.unknowable(&error)),
        }
    }

    async fn auth_publickey(
        &mut self,
        login: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, HandlerError> {
        let authn = &self.line.app().authn;
        match Box::pin(authn.by_key(key.public_key, key.algorithm)).await {
            Ok(found) => Box::pin(self.settle(login, found)).await,
            Err(error) => Ok(self.line.unknowable(&error)),
        }
    }

    async fn auth_openssh_certificate(
        &mut self,
        login: &str,
        certificate: &Certificate,
    ) -> Result<Auth, HandlerError> {
        let authn = &self.line.app().authn;
        let source = self.line.source();
        match Box::pin(authn.by_certificate(certificate, source, clock::now())).await {
            Ok(found) => Box::pin(self.settle(login, found)).await,
            Err(error) => Ok(self.line.unknowable(&error)),
        }
    }

    /// The peer learns that it is in only after this returns, so after the session's entry.
    async fn auth_succeeded(&mut self, session: &mut server::Session) -> Result<(), HandlerError> {
        let identity = self.proven.take();
        let identity = identity.ok_or(HandlerError::Protocol(russh::Error::NotAuthenticated))?;
        if let Some(outer) = self.line.outer() {
            self.session = Some(outer.clone());
        } else {
            let opening = Opening {
                identity,
                source: self.line.source(),
                client: printable(session.remote_sshid()),
                login: self.login.clone(),
                handle: session.handle(),
                blade: self.line.blade(),
                patience: self.line.shared().patience.clone(),
            };
            match Box::pin(Session::open(self.line.app(), opening)).await {
                Ok(opened) => self.session = Some(opened),
                Err(error) => {
                    tracing::error!(%error, "a session was refused");
                    self.line.not_their_fault();
                    let gone = matches!(error, LedgerError::Refused(_));
                    let end = if gone { End::Officer } else { End::Log };
                    session.disconnect(Disconnect::ByApplication, end.sentence(), "en")?;
                    return Ok(());
                }
            }
        }
        let settled = self.session()?.clone();
        self.line.settled(settled);
        Ok(())
    }

    // ---- channels ------------------------------------------------------------------------------

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        let ours = self.session()?.clone();
        if !self.has_room() {
            reply.reject(refusal::failure(refusal::CHANNELS)).await;
            return Ok(());
        }
        self.line.wanted(&ours.identity, &self.login);
        // russh also queues what comes for whoever reads the channel, and parks the connection
        // when the queue is full. Nobody reads: this handler sees everything first.
        let id = channel.id();
        let (_, write) = channel.split();
        let (inbox, input) = self.line.flow().channel(id);
        let waiting = Waiting {
            input,
            write,
            held: self.line.hold(&ours),
            pty: None,
            env: Vec::new(),
            lent: Lent::default(),
            notes: Vec::new(),
        };
        self.channels.insert(id, Open { inbox, waiting: Some(waiting) });
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        let ours = self.session()?.clone();
        if !self.has_room() {
            reply.reject(refusal::failure(refusal::CHANNELS)).await;
            return Ok(());
        }
        let Some(forward) = Wanted::tcp(host, port) else {
            reply.reject(refusal::failure(refusal::PORT)).await;
            return Ok(());
        };
        let asked = self.forward((channel, reply), forward, session)?;
        if self.line.outer().is_some() {
            // Inside a connection to a VM there is no other VM: one hop, one VM.
            start::spawn(ours, asked);
        } else {
            let wanted = jump::Wanted { host: host.to_owned(), port };
            jump::spawn(self.line.shared().clone(), ours, wanted, asked);
        }
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        let ours = self.session()?.clone();
        if !self.has_room() {
            reply.reject(refusal::failure(refusal::CHANNELS)).await;
            return Ok(());
        }
        let wanted = Wanted::Unix { path: path.to_owned() };
        start::spawn(ours, self.forward((channel, reply), wanted, session)?);
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        _session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        if let Some(open) = self.channels.get(&channel) {
            open.inbox.data(data);
        }
        Ok(())
    }

    fn adjust_window(&mut self, channel: ChannelId, current: u32) -> u32 {
        self.line.flow().adjust_window(channel, current)
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        _session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        if let Some(open) = self.channels.get(&channel) {
            open.inbox.eof();
        }
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        if let Some(open) = self.channels.remove(&channel) {
            open.inbox.closed();
        }
        Ok(())
    }

    // ---- requests on a channel -----------------------------------------------------------------

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(russh::Pty, u32)],
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        let plain = term.len() <= TERM_BYTES_MAX && term.bytes().all(|b| b.is_ascii_graphic());
        let Some(waiting) = self.waiting(channel).filter(|w| plain && w.pty.is_none()) else {
            return Ok(session.channel_failure(channel)?);
        };
        let size = WindowSize { columns, rows, width, height };
        waiting.pty = Some(Pty { term: term.to_owned(), size, modes: modes.to_vec() });
        self.line.flow().terminal();
        Ok(session.channel_success(channel)?)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        let Some(waiting) = self.waiting(channel) else {
            return Ok(session.channel_failure(channel)?);
        };
        if !channel::env_passes(name, value.as_bytes(), waiting.env.len()) {
            return Ok(session.channel_failure(channel)?);
        }
        waiting.env.push((name.to_owned(), value.to_owned()));
        Ok(session.channel_success(channel)?)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        let size = WindowSize { columns, rows, width, height };
        match self.channels.get_mut(&channel) {
            Some(Open { waiting: Some(Waiting { pty: Some(pty), .. }), .. }) => pty.size = size,
            Some(Open { waiting: None, inbox }) => inbox.window_change(size),
            _ => return Ok(session.channel_failure(channel)?),
        }
        Ok(session.channel_success(channel)?)
    }

    async fn signal(
        &mut self,
        channel: ChannelId,
        signal: Sig,
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        if let Some(Open { waiting: None, inbox }) = self.channels.get(&channel) {
            inbox.signal(signal);
            return Ok(session.channel_success(channel)?);
        }
        Ok(session.channel_failure(channel)?)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        self.start(channel, Start::Shell, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        self.start(channel, Start::Exec(command.to_vec()), session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        if channel::subsystem_kind(name).is_some() {
            return self.start(channel, Start::Sftp, session);
        }
        Ok(session.channel_failure(channel)?)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        single: bool,
        protocol: &str,
        cookie: &str,
        screen: u32,
        session: &mut server::Session,
    ) -> Result<(), HandlerError> {
        let x11 = X11 { single, protocol: protocol.to_owned(), cookie: cookie.to_owned(), screen };
        if Box::pin(self.lend_display(channel, x11)).await? {
            Ok(session.channel_success(channel)?)
        } else {
            Ok(session.channel_failure(channel)?)
        }
    }

    async fn agent_request(
        &mut self,
        channel: ChannelId,
        _session: &mut server::Session,
    ) -> Result<bool, HandlerError> {
        Box::pin(self.lend_agent(channel)).await
    }

    // ---- requests on the connection ------------------------------------------------------------

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        session: &mut server::Session,
    ) -> Result<bool, HandlerError> {
        Box::pin(self.listen(address, port, session.handle())).await
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _session: &mut server::Session,
    ) -> Result<bool, HandlerError> {
        Ok(self.listeners.remove(&(address.to_owned(), port)).is_some())
    }

    async fn streamlocal_forward(
        &mut self,
        path: &str,
        _session: &mut server::Session,
    ) -> Result<bool, HandlerError> {
        self.refused(refusal::REVERSE, path).await?;
        Ok(false)
    }
}

/// What a client calls itself, for the log's side table: printable and of bounded length.
fn printable(id: &[u8]) -> String {
    let shown =
        id.iter().take(255).map(|&b| if b.is_ascii_graphic() || b == b' ' { b } else { b'?' });
    shown.map(char::from).collect()
}
