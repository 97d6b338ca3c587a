//! The operators' side, from TCP accept to a channel that the relay has taken to its end.
//!
//! ```text
//! Listener ─▶ admission ─▶ connection ─▶ handler ─▶ start ─▶ channel   a VM: the pipeline
//!  accept     a place?     grace, idle,  russh's    what is  └▶ command  `ssh bastion <command>`
//!                          the end       callbacks  it for?
//!                              ▲            │
//!                              └── jump ◀───┘ `ssh -J`: a connection inside a channel
//! ```
//!
//! Read [`channel`] first: it is the product in one function. What runs there has been
//! authenticated ([`handler`]) and nothing more; what it may do is asked there, for each channel.

pub mod admission;
mod ahead;
pub mod algorithms;
mod channel;
mod close;
mod command;
mod connection;
pub mod doorstep;
mod fault;
mod greeting;
pub mod guessing;
mod handler;
mod host_key;
mod jump;
mod lender;
mod listener;
pub mod login;
mod patience;
mod refusal;
pub mod session;
pub mod severable;
mod shut_outs;
mod start;
mod threads;
mod voice;

pub use host_key::HostKeyError;
pub use session::Session;
pub use threads::Threads;

use crate::{
    app::{App, End},
    authn::Failures,
    metrics::METRICS,
    relay::{downstream::Flow, socket},
};
use admission::{Admission, Place, Places};
use ahead::Ahead;
use bastion_core::{
    lease::Cause,
    limits::{DRAIN_MILLIS, LAST_WORDS_MILLIS},
};
use connection::{Form, Wire};
use doorstep::{Doorstep, Reason};
use guessing::Guessing;
use host_key::HostKeys;
use patience::Patience;
use shut_outs::ShutOuts;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    sync::{mpsc, watch},
};

/// How long a channel that ends is given to take the reason.
const LAST_WORDS: Duration = Duration::from_millis(LAST_WORDS_MILLIS);

/// The exit status of a channel that was refused.
const EXIT_DENIED: u32 = 254;

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// No host key.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// No thread for connections.
    #[error("no thread for connections can be started: {0}")]
    Threads(std::io::Error),
}

/// What all connections share.
struct Shared {
    app: Arc<App>,
    failures: Failures,
    guessing: Guessing,
    shut_outs: ShutOuts,
    doorstep: Doorstep,
    patience: Arc<Patience>,
    host_keys: HostKeys,
    /// The store did not answer the last time that it was asked who somebody is.
    trouble: AtomicBool,
}

/// A connection that another process of this machine took: `bastion serve --stdio`.
pub struct Visitor {
    /// The rest of its conversation.
    pub stream: UnixStream,
    /// Where it comes from, as that process says.
    pub source: IpAddr,
}

/// Where those arrive who are to be let in.
#[derive(Clone)]
struct Hall {
    shared: Arc<Shared>,
    door: Admission,
    threads: Threads,
}

/// The bound ports, not accepting yet.
pub struct Listener {
    shared: Arc<Shared>,
    door: Admission,
    threads: Threads,
    sockets: Vec<TcpListener>,
    visitors: mpsc::Receiver<Visitor>,
    visiting: watch::Sender<usize>,
}

impl Listener {
    /// Binds these addresses and makes the gateway's host certificate.
    pub async fn bind(
        app: Arc<App>,
        addresses: &[SocketAddr],
        visitors: mpsc::Receiver<Visitor>,
    ) -> Result<Self, ListenError> {
        let mut sockets = Vec::new();
        for &address in addresses {
            let bound = TcpListener::bind(address).await;
            sockets.push(bound.map_err(|cause| ListenError::Bind { address, cause })?);
        }
        let limits = &app.config.ingress;
        let door = Admission::new(Places {
            all: limits.connections_max,
            unauthenticated: limits.before_login_max,
            unauthenticated_per_prefix: limits.before_login_per_source_max,
        });
        let guessing = Guessing::new(app.config.guessing.clone());
        let shared = Shared {
            app,
            failures: Failures::default(),
            guessing,
            shut_outs: ShutOuts::default(),
            doorstep: Doorstep::default(),
            patience: Arc::default(),
            host_keys: HostKeys::default(),
            trouble: AtomicBool::new(false),
        };
        shared.host_keys.own(&shared.app)?;
        let visiting = watch::Sender::new(0);
        let threads = Threads::start().map_err(ListenError::Threads)?;
        Ok(Self { shared: Arc::new(shared), door, threads, sockets, visitors, visiting })
    }

    /// What connections live on, to be kept as long as anything that they opened is used.
    pub fn threads(&self) -> Threads {
        self.threads.clone()
    }

    /// How many visitors are here, logged in or not.
    pub fn visiting(&self) -> watch::Receiver<usize> {
        self.visiting.subscribe()
    }

    /// Accepts until it is told to stop, then ends what is open and returns.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) {
        let Self { shared, door, threads, sockets, visitors, visiting } = self;
        let hall = Hall { shared: Arc::clone(&shared), door, threads };
        let counting = {
            let shared = shared.clone();
            tokio::spawn(async move {
                let ledger = &shared.app.ledger;
                tokio::join!(shared.failures.enter(ledger), shared.shut_outs.enter(ledger))
            })
        };
        let visits = tokio::spawn(receive(hall.clone(), (visitors, visiting)));
        let accepting: Vec<_> = sockets
            .into_iter()
            .map(|socket| tokio::spawn(accept(hall.clone(), socket)))
            .chain([visits])
            .collect();
        // A sender that is gone means stop too.
        let stopped = stop.wait_for(|stop| *stop).await.map(drop);
        tracing::info!(asked = stopped.is_ok(), "no new connections");
        accepting.iter().for_each(tokio::task::JoinHandle::abort);
        counting.abort();
        drain(&shared.app).await;
        shared.failures.enter_now(&shared.app.ledger).await;
        shared.shut_outs.enter_now(&shared.app.ledger).await;
    }
}

/// What somebody is told for whom there is no place.
const NO_PLACE: &str = "too many connections wait for their login: try again in a minute";

impl Shared {
    /// A connection came to nothing, after so many refused keys.
    fn failed(&self, source: IpAddr, keys: usize) {
        METRICS.login("none", false);
        self.failures.count(source);
        if let Some(out) = self.guessing.failed(source, keys) {
            self.shut_outs.add(out);
        }
    }

    /// A connection ended before anybody tried to log in.
    fn abandoned(&self, source: IpAddr) {
        if let Some(out) = self.guessing.abandoned(source) {
            self.shut_outs.add(out);
        }
    }

    /// A place for a connection, or the reason why there is none said on its doorstep.
    fn admit(
        &self,
        door: &Admission,
        stream: TcpStream,
        from: IpAddr,
    ) -> Option<(TcpStream, Place)> {
        if let Some(left) = self.guessing.shut_out(from) {
            METRICS.turned_away("shut_out");
            self.doorstep.tell(stream, Reason::ShutOut, &guessing::sentence(left));
            return None;
        }
        let Some(place) = door.admit(from) else {
            METRICS.turned_away("no_place");
            self.failures.count(from);
            self.doorstep.tell(stream, Reason::Full, NO_PLACE);
            return None;
        };
        Some((stream, place))
    }
}

/// Takes connections from one port.
async fn accept(hall: Hall, socket: TcpListener) {
    loop {
        match socket.accept().await {
            Ok((stream, from)) => {
                if let Some((stream, place)) = hall.shared.admit(&hall.door, stream, from.ip()) {
                    welcome(&hall, stream, from, place);
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: some connection has to end first.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Takes connections that another process of this machine took.
async fn receive(
    Hall { shared, door, threads }: Hall,
    (mut visitors, visiting): (mpsc::Receiver<Visitor>, watch::Sender<usize>),
) {
    while let Some(Visitor { stream, source }) = visitors.recv().await {
        let place = match shared.guessing.shut_out(source) {
            None => door.admit(source),
            Some(_) => None,
        };
        match place.and_then(|place| wire(&shared, source, place)) {
            Some(wire) => {
                let visiting = visiting.clone();
                visiting.send_modify(|here| *here += 1);
                threads.spawn(async move {
                    match stream.into_std().and_then(UnixStream::from_std) {
                        Ok(stream) => {
                            let stream = wire.flow.socket(stream);
                            connection::serve(wire, stream).await;
                        }
                        Err(error) => tracing::warn!(%error, "a visitor was lost"),
                    }
                    visiting.send_modify(|here| *here -= 1);
                });
            }
            None => tracing::warn!("a visitor was turned away"),
        }
    }
}

fn welcome(hall: &Hall, stream: TcpStream, from: SocketAddr, place: Place) {
    let shared = &hall.shared;
    if let Some(wire) = wire(shared, from.ip(), place) {
        socket::ask_every(&stream, shared.app.config.ingress.keepalive);
        // Its readiness is told to the thread that it is served on.
        hall.threads.spawn(async move {
            match stream.into_std().and_then(TcpStream::from_std) {
                Ok(stream) => {
                    let stream = wire.flow.tcp(stream);
                    connection::serve(wire, stream).await;
                }
                Err(error) => tracing::warn!(%error, "a connection was lost"),
            }
        });
    }
}

/// A connection on the gateway's own door; nothing if there is no host key to show.
fn wire(shared: &Arc<Shared>, from: IpAddr, place: Place) -> Option<Wire> {
    let offers = match shared.host_keys.own(&shared.app) {
        Ok(offers) => offers,
        Err(error) => {
            tracing::error!(%error, "no host certificate, so no connection");
            return None;
        }
    };
    let (flow, source) = (Flow::new(&shared.app.spools), from.to_canonical());
    let (form, ahead) = (Form::Gateway(place), Ahead::default());
    Some(Wire { shared: shared.clone(), form, source, flow, offers, ahead })
}

/// Ends all channels, so that each operator is told, then all sessions, and gives their last
/// entries a moment.
async fn drain(app: &App) {
    app.live.end_all(Cause::GatewayStopping);
    tokio::time::sleep(LAST_WORDS).await;
    app.sessions.end_all(End::Stopping);
    let quiet = async {
        while app.sessions.count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_millis(DRAIN_MILLIS), quiet).await.is_err() {
        tracing::warn!(open = app.sessions.count(), "sessions did not end in time");
    }
}
