//! The way to a VM: one SSH connection per operator channel.
//!
//! In order: [`Egress::dial`] connects, exchanges keys and demands the VM's host certificate;
//! this needs nobody's identity and may run while the operator still waits for an answer. Then
//! [`Dialled::log_in`] shows the lease's certificate, and opens the one channel that the lease is
//! for. A connection of its own means that holding back one channel's output never holds back
//! another's: we simply stop reading that socket ([`Gate`]).
//!
//! A VM that does not prove which instance it is gets nothing from us, not even a login attempt.

mod algorithms;
mod doors;
mod error;
mod host;
mod purpose;
mod spare;
mod stream;

pub use doors::{Connected, Knock};
pub use error::EgressError;
pub use purpose::Purpose;
pub use spare::Spare;
pub use stream::Gate;

use crate::{
    ca::{Certified, Lease},
    relay::{
        downstream::{Kind, Setup, X11},
        socket,
    },
};
use algorithms::Configs;
use audit_schema::event::ChannelKind;
use bastion_core::{
    authorize::Grant,
    id::InstanceId,
    lease::Cause,
    limits::{
        EGRESS_KEEPALIVE_SECONDS, EGRESS_LOGIN_SECONDS, EGRESS_OPEN_SECONDS, EGRESS_START_SECONDS,
        PARTING_SECONDS,
    },
    vm::VmInstance,
};
use doors::Doors;
use host::HostHandler;
use russh::{
    Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf,
    client::{self, AuthResult},
    keys::{PrivateKey, ssh_key},
};
use spare::Spares;
use ssh_key::{Certificate, public::KeyData};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use stream::VmSocket;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

/// Dials VMs.
#[derive(Clone, Debug)]
pub struct Egress {
    authorities: Arc<[KeyData]>,
    connect: Duration,
    keepalive: Duration,
    rekey_bytes: usize,
    configs: Configs,
    spares: Spares,
}

/// Where a VM is, and which one must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `host:port` of its sshd.
    pub address: String,
    /// The instance that its host certificate must name.
    pub instance: InstanceId,
}

/// What a VM is shown: taken from a live lease.
pub struct Credentials {
    /// The Unix login.
    pub unix_user: String,
    /// The lease's certificate.
    pub certificate: Certificate,
    /// The key that it is for, made for this channel alone.
    pub key: Arc<PrivateKey>,
}

/// A VM that proved which instance it is, before any login.
pub struct Dialled {
    handle: client::Handle<HostHandler>,
    gate: Gate,
    local: IpAddr,
    doors: Doors,
}

/// A VM's side of one channel.
pub struct Upstream {
    pub(crate) read: ChannelReadHalf,
    pub(crate) write: ChannelWriteHalf<client::Msg>,
    pub(crate) gate: Gate,
    /// Keeps the connection: it ends when the last sender is gone. None where this is one of
    /// several channels of a connection that somebody else keeps.
    pub(crate) handle: Option<client::Handle<HostHandler>>,
    doors: Doors,
}

impl Route {
    /// The way to the VM instance of a grant.
    pub fn of(grant: &Grant) -> Self {
        Self::to(grant.instance())
    }

    /// The way to a VM instance of the inventory.
    pub fn to(instance: &VmInstance) -> Self {
        Self { address: instance.address.clone(), instance: instance.id.clone() }
    }
}

impl Egress {
    /// Dials the VM of a lease, or takes the spare that was dialled for it, and logs in with the
    /// lease, unless that ends first.
    pub async fn connect(
        &self,
        (lease, certified): (&Lease, Box<Certified>),
        spare: Option<Spare>,
    ) -> Result<Upstream, EgressError> {
        // Each part has its room while it runs, and gives it back: what is kept until the end of
        // all would be torn from the same memory as the connection's own long-lived queues.
        let connect = async {
            let route = Route::of(lease.grant());
            let dialled = Box::pin(self.dial_or_take(&route, spare)).await?;
            Box::pin(dialled.log_in_with(lease, certified)).await
        };
        unless_ended(lease, Box::pin(connect)).await
    }

    async fn dial_or_take(
        &self,
        route: &Route,
        spare: Option<Spare>,
    ) -> Result<Dialled, EgressError> {
        let ready = match spare {
            Some(spare) => spare.take(route).await,
            None => None,
        };
        match ready {
            Some(outcome) => outcome,
            None => self.dial(route).await,
        }
    }

    /// Dials VMs whose host certificates one of these CAs signed; `connect` bounds dialling and key
    /// exchange together.
    pub fn new(authorities: Vec<KeyData>, connect: Duration) -> Self {
        let (keepalive, rekey_bytes) = (Duration::from_secs(EGRESS_KEEPALIVE_SECONDS), 64 << 30);
        Self {
            authorities: authorities.into(),
            connect,
            keepalive,
            rekey_bytes,
            configs: Configs::new(keepalive, rekey_bytes),
            spares: Spares::default(),
        }
    }

    /// New keys after this many bytes in one direction, instead of after 64 GiB.
    #[must_use]
    pub fn rekeying_after(self, rekey_bytes: usize) -> Self {
        Self { rekey_bytes, configs: Configs::new(self.keepalive, rekey_bytes), ..self }
    }

    /// Asks a VM that says nothing for so long whether it still lives; one that does not answer
    /// four times is gone.
    #[must_use]
    pub fn asking_every(self, keepalive: Duration) -> Self {
        Self { keepalive, configs: Configs::new(keepalive, self.rekey_bytes), ..self }
    }

    /// Connects and makes the VM prove which instance it is.
    pub async fn dial(&self, route: &Route) -> Result<Dialled, EgressError> {
        timeout(self.connect, self.dial_unbounded(route))
            .await
            .unwrap_or(Err(EgressError::Slow { step: "the key exchange", limit: self.connect }))
    }

    async fn dial_unbounded(&self, route: &Route) -> Result<Dialled, EgressError> {
        let started = std::time::Instant::now();
        let stream = TcpStream::connect(&route.address).await.map_err(EgressError::Unreachable)?;
        let local = stream.local_addr().map_err(EgressError::Unreachable)?.ip();
        let config = self.configs.of(started.elapsed());
        socket::no_delay(&stream);
        // russh asks no VM that does not even take what it is sent; the kernel does.
        socket::give_up_after(&stream, algorithms::silence(self.keepalive));
        let gate = Gate::default();
        let handler = HostHandler::new(&self.authorities, &route.instance);
        let (refusal, doors) = (handler.refusal(), handler.doors());
        let stream = VmSocket::new(stream, gate.clone());
        match client::connect_stream(config, stream, handler).await {
            Ok(handle) => Ok(Dialled { handle, gate, local, doors }),
            Err(cause) => Err(match refusal.take() {
                Some(why) => EgressError::HostRefused(why),
                None => EgressError::Handshake(cause),
            }),
        }
    }
}

impl Dialled {
    /// The address that the VM sees us at.
    pub fn local(&self) -> IpAddr {
        self.local
    }

    /// Logs in with a lease, if it still stands.
    pub async fn log_in_with(
        self,
        lease: &Lease,
        certified: Box<Certified>,
    ) -> Result<Upstream, EgressError> {
        let alive = lease.ensure_live(crate::clock::now()).map_err(EgressError::Ended)?;
        let (certificate, key) = certified.for_login(&alive);
        let unix_user = lease.grant().unix_user().to_owned();
        let who = Credentials { unix_user, certificate, key: Arc::new(key) };
        let purpose = Purpose::of(lease.grant());
        unless_ended(lease, Box::pin(self.log_in_for(who, &purpose))).await
    }

    /// Logs in and opens a session channel.
    pub async fn log_in(self, who: Credentials) -> Result<Upstream, EgressError> {
        self.log_in_for(who, &Purpose::Session).await
    }

    /// Logs in and opens what the login is for.
    async fn log_in_for(
        mut self,
        who: Credentials,
        purpose: &Purpose,
    ) -> Result<Upstream, EgressError> {
        let login = self.handle.authenticate_openssh_cert(who.unix_user, who.key, who.certificate);
        match within("the login", EGRESS_LOGIN_SECONDS, login).await? {
            Ok(AuthResult::Success) => {}
            // russh takes a connection that ends here for a no.
            Ok(AuthResult::Failure { .. }) if self.handle.is_closed() => {
                return Err(EgressError::LoginCut);
            }
            Ok(AuthResult::Failure { .. }) => return Err(EgressError::CertificateRefused),
            Err(cause) => return Err(EgressError::Lost(cause)),
        }
        let open = purpose.open(&self.handle);
        let channel = match within("opening the channel", EGRESS_OPEN_SECONDS, open).await? {
            Ok(channel) => channel,
            Err(russh::Error::ChannelOpenFailure(why)) => {
                return Err(purpose.refused(&why));
            }
            Err(cause) => return Err(EgressError::Lost(cause)),
        };
        let (read, write) = channel.split();
        let (gate, handle, doors) = (self.gate, Some(self.handle), self.doors);
        Ok(Upstream { read, write, gate, handle, doors })
    }
}

impl Upstream {
    /// Lets the VM open channels of these kinds from now on.
    pub(crate) fn lend(&self, kinds: Vec<ChannelKind>) -> mpsc::Receiver<Knock> {
        self.doors.open(kinds)
    }

    /// The VM's side of a channel that it opened. It shares the connection, so its output is never
    /// held back at its source, which would hold back the others: it waits in the outbox, within
    /// that one's quota.
    pub(crate) fn opened_by_vm(channel: Channel<client::Msg>) -> Self {
        let (read, write) = channel.split();
        Self { read, write, gate: Gate::default(), handle: None, doors: Doors::default() }
    }

    /// Has the VM listen on its loopback; the port that it is.
    pub(crate) async fn listen(&self, host: &str, port: u16) -> Result<u16, EgressError> {
        let Some(handle) = &self.handle else { return Err(EgressError::Vanished) };
        let asked = handle.tcpip_forward(host, u32::from(port));
        match within("listening", EGRESS_OPEN_SECONDS, asked).await? {
            // russh says zero where the port is the one that was asked for.
            Ok(0) => Ok(port),
            Ok(chosen) => u16::try_from(chosen).map_err(|_| EgressError::ForwardingRefused),
            Err(russh::Error::RequestDenied) => Err(EgressError::ForwardingRefused),
            Err(cause) => Err(EgressError::Lost(cause)),
        }
    }

    /// Returns when the VM's connection is gone.
    pub(crate) async fn lost(&mut self) {
        while self.read.wait().await.is_some() {}
    }

    /// Leaves the VM: what it opened ends, too. A VM that does not take our good-bye is dropped.
    pub(crate) async fn leave(&mut self) {
        let Some(handle) = self.handle.take() else { return };
        let farewell = async {
            let left = handle.disconnect(russh::Disconnect::ByApplication, "", "").await;
            // It may stand behind what the VM does not take: over is only what has ended.
            let ended = handle.await;
            tracing::debug!(?left, ?ended, "left a VM");
        };
        if timeout(Duration::from_secs(PARTING_SECONDS), farewell).await.is_err() {
            tracing::debug!("a VM does not take a good-bye");
            self.gate.cut();
        }
    }

    /// Asks for the terminal, the environment and the program, and waits for the VM's yes.
    pub(crate) async fn start(&mut self, setup: &Setup) -> Result<(), EgressError> {
        if matches!(setup.kind, Kind::Forward(_)) {
            // The connection is there: nothing more is asked.
            return Ok(());
        }
        let write = &self.write;
        let mut replies = 1;
        let ask = async {
            if let Some(pty) = &setup.pty {
                let size = pty.size;
                let (columns, rows) = (size.columns, size.rows);
                let (width, height) = (size.width, size.height);
                write
                    .request_pty(true, &pty.term, columns, rows, width, height, &pty.modes)
                    .await?;
                replies += 1;
            }
            if setup.lent.agent {
                // A VM that lends no way goes without, as with any server.
                write.agent_forward(false).await?;
            }
            if let Some(x11) = &setup.lent.x11 {
                let X11 { single, protocol, cookie, screen } = x11;
                write
                    .request_x11(false, *single, protocol.as_str(), cookie.as_str(), *screen)
                    .await?;
            }
            for (name, value) in &setup.env {
                // A VM that does not accept the variable does without: so would sshd's client.
                write.set_env(false, name.as_str(), value.as_str()).await?;
            }
            match &setup.kind {
                Kind::Shell => write.request_shell(true).await,
                Kind::Exec(command) => write.exec(true, command.clone()).await,
                Kind::Sftp => write.request_subsystem(true, "sftp").await,
                Kind::Forward(_) => Ok(()),
            }
        };
        ask.await.map_err(EgressError::Lost)?;
        let read = &mut self.read;
        let answers = async {
            while replies > 0 {
                match read.wait().await {
                    Some(ChannelMsg::Success) => replies -= 1,
                    Some(ChannelMsg::Failure) => return Err(EgressError::RequestRefused),
                    Some(ChannelMsg::Close) | None => return Err(EgressError::Vanished),
                    Some(_) => {}
                }
            }
            Ok(())
        };
        within("starting the program", EGRESS_START_SECONDS, answers).await?
    }
}

/// The local address from which the kernel would dial this one: for a certificate's
/// `source-address`, before there is a connection. Nothing is sent.
pub async fn source_of(address: &str) -> io::Result<IpAddr> {
    let to = tokio::net::lookup_host(address)
        .await?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the VM's name has no address"))?;
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = tokio::net::UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket.local_addr()?.ip())
}

async fn unless_ended<T>(
    lease: &Lease,
    work: impl Future<Output = Result<T, EgressError>>,
) -> Result<T, EgressError> {
    let mut end = lease.end();
    tokio::select! {
        biased;
        cause = end.wait_for(Option::is_some) => {
            let cause = cause.ok().and_then(|cause| *cause);
            Err(EgressError::Ended(cause.unwrap_or(Cause::Unconfirmed)))
        }
        done = work => done,
    }
}

async fn within<T>(
    step: &'static str,
    seconds: u64,
    work: impl Future<Output = T>,
) -> Result<T, EgressError> {
    let limit = Duration::from_secs(seconds);
    timeout(limit, work).await.map_err(|_| EgressError::Slow { step, limit })
}
