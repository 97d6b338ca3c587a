//! One connection under supervision: the login grace, the idle limit, the end.
//!
//! The same for both forms. On a TCP connection the session begins and ends here; on the inner
//! connection of `ssh -J` it is the session of the connection around it.

use super::{
    Shared,
    admission::Place,
    ahead::Ahead,
    algorithms::Offers,
    greeting,
    handler::{Handler, HandlerError},
    login::Login,
    session::Session,
    severable::{Blade, Severable},
};
use crate::{
    app::{App, End},
    authn::Identity,
    egress::Spare,
    metrics::METRICS,
    relay::downstream::Flow,
    store::StoreError,
};
use bastion_core::{
    id::VmName,
    limits::{CHANNELS_END_MILLIS, VERSION_SECONDS},
};
use russh::server::{self, Auth, RunningSession};
use std::{
    io::ErrorKind,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{oneshot, watch},
};

/// Where a connection stands.
pub(super) enum Form {
    /// On the gateway's own port; it gives its place back when it has authenticated.
    Gateway(Place),
    /// Inside a channel of another connection, in front of a VM.
    Vm(VmName, Arc<Session>),
}

/// A connection to serve.
pub(super) struct Wire {
    pub shared: Arc<Shared>,
    pub form: Form,
    pub source: IpAddr,
    pub flow: Flow,
    /// The host key that it shows, and the algorithms.
    pub offers: Offers,
    /// What was dialled for it already.
    pub ahead: Ahead,
}

/// What the callbacks know of the connection under them.
pub(super) struct Line {
    shared: Arc<Shared>,
    here: Option<(VmName, Arc<Session>)>,
    source: IpAddr,
    flow: Flow,
    ahead: Ahead,
    blade: Blade,
    tries: Arc<Tries>,
    settled: Option<oneshot::Sender<Arc<Session>>>,
    open: Arc<watch::Sender<usize>>,
}

/// What a connection has tried before its identity is settled.
#[derive(Default)]
struct Tries {
    keys: AtomicUsize,
    /// That it did not succeed is our own failure, not the peer's.
    ours: AtomicBool,
}

impl Tries {
    fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }
}

/// An open channel; dropping it says that the channel is over.
pub(super) struct Held(Arc<watch::Sender<usize>>);

/// Serves a connection to its end.
pub(super) async fn serve<S>(wire: Wire, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Wire { shared, form, source, flow, offers, ahead } = wire;
    let (stream, blade) = Severable::new(stream);
    let (settled, session) = oneshot::channel();
    let (tries, open) = (Arc::<Tries>::default(), Arc::new(watch::Sender::new(0)));
    let (here, place) = match form {
        Form::Gateway(place) => (None, Some(place)),
        Form::Vm(vm, outer) => (Some((vm, outer)), None),
    };
    let (pace, is_inner) = (flow.clone(), here.is_some());
    let handler = Handler::new(Line {
        shared: shared.clone(),
        here,
        source,
        flow,
        ahead,
        blade: blade.clone(),
        tries: tries.clone(),
        settled: Some(settled),
        open: open.clone(),
    });
    // Boxed, since a connection lasts much longer than its login; so is the stream, as russh has
    // room for it many times over.
    let starting = async {
        let (stream, peer) = greeting::greet(stream).await.map_err(russh::Error::IO)?;
        let offers = if is_inner && peer.is_putty {
            pace.narrow();
            offers.narrow()
        } else {
            offers.to(peer.has_gcm)
        };
        server::run_stream(offers, Box::new(stream), handler).await
    };
    let login = Box::pin(login(starting, session));
    let grace = shared.app.config.ingress.login_grace;
    match tokio::time::timeout(grace, login).await {
        Ok(Ok((session, running))) => {
            shared.guessing.logged_in(source);
            Box::pin(attend(place, session, running, &open)).await;
        }
        // Inside a connection whose party is known a failure is refused there, and entered.
        Ok(Err(_)) | Err(_) if place.is_none() => {}
        Ok(Err(Nobody::Left)) if tries.keys() == 0 => shared.abandoned(source),
        Ok(Err(_)) | Err(_) if tries.ours.load(Ordering::Relaxed) => METRICS.login("none", false),
        Ok(Err(_)) | Err(_) => shared.failed(source, tries.keys()),
    }
    blade.cut();
}

/// A connection that ended before anybody was settled.
enum Nobody {
    /// It just went away, as a health check does.
    Left,
    /// It spoke no SSH, or not in time.
    Garbage,
}

/// Waits until the identity is settled.
async fn login(
    starting: impl Future<Output = Result<RunningSession<Handler>, HandlerError>>,
    mut settled: oneshot::Receiver<Arc<Session>>,
) -> Result<(Arc<Session>, RunningSession<Handler>), Nobody> {
    let version = tokio::time::timeout(Duration::from_secs(VERSION_SECONDS), starting);
    let mut running = version.await.map_err(|_| Nobody::Garbage)?.map_err(|why| nobody(&why))?;
    let ended = tokio::select! {
        session = &mut settled => return session.map(|s| (s, running)).map_err(|_| Nobody::Left),
        ended = &mut running => ended,
    };
    Err(ended.err().map_or(Nobody::Left, |why| nobody(&why)))
}

/// What an end before the login says about the peer.
fn nobody(why: &HandlerError) -> Nobody {
    use russh::Error as E;
    match why {
        HandlerError::Log(_) => Nobody::Left,
        HandlerError::Protocol(E::Disconnect | E::HUP | E::IO(_)) => Nobody::Left,
        HandlerError::Protocol(_) => Nobody::Garbage,
    }
}

/// Stays with an authenticated connection until it ends, for whatever reason.
async fn attend(
    place: Option<Place>,
    session: Arc<Session>,
    mut running: RunningSession<Handler>,
    open: &watch::Sender<usize>,
) {
    let Some(mut place) = place else {
        // An inner connection: the session is the outer one's.
        tokio::select! {
            _ = &mut running => {}
            () = idle(open.subscribe(), session.app.config.ingress.idle) => {}
        }
        return quiet(open.subscribe()).await;
    };
    place.authenticated();
    tracing::info!(session = %session.id, who = %session.identity.actor().id, "session opened");
    METRICS.login(session.identity.method.as_str(), true);
    let mut asked = session.ending();
    let (end, over) = tokio::select! {
        ended = &mut running => (session.asked_for().unwrap_or_else(|| end_of(&ended)), true),
        end = asked.wait_for(Option::is_some) => {
            (end.ok().and_then(|end| *end).unwrap_or(End::Left), false)
        }
        () = idle(open.subscribe(), session.app.config.ingress.idle) => (End::Idle, false),
    };
    if !over {
        session.run_out().await;
        Box::pin(session.say_goodbye(end)).await;
        let gone = tokio::time::timeout(super::LAST_WORDS, &mut running).await;
        tracing::debug!(in_time = gone.is_ok(), "the peer was told to go");
    }
    session.cut();
    quiet(open.subscribe()).await;
    Box::pin(session.close(end)).await;
    tracing::info!(session = %session.id, reason = end.as_str(), "session closed");
}

/// What a peer that just goes away looks like; `ssh -J` always does.
const GONE: [ErrorKind; 3] =
    [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];

/// What russh's end of a connection means.
fn end_of(ended: &Result<(), HandlerError>) -> End {
    use russh::Error as E;
    match ended {
        Ok(()) => End::Left,
        Err(HandlerError::Log(_)) => End::Log,
        Err(HandlerError::Protocol(error)) => match error {
            E::Disconnect | E::HUP => End::Left,
            E::IO(io) if GONE.contains(&io.kind()) => End::Left,
            E::IO(_) | E::KeepaliveTimeout | E::InactivityTimeout | E::ConnectionTimeout => {
                End::Lost
            }
            _ => End::Protocol,
        },
    }
}

/// Returns when no channel has been open for this long.
async fn idle(mut open: watch::Receiver<usize>, limit: Duration) {
    loop {
        if open.wait_for(|open| *open == 0).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(limit) => return,
            _ = open.wait_for(|open| *open > 0) => {}
        }
    }
}

/// Waits for the channels to be over, so that their entries stand before the session's last.
async fn quiet(mut open: watch::Receiver<usize>) {
    let over = open.wait_for(|open| *open == 0);
    if tokio::time::timeout(Duration::from_millis(CHANNELS_END_MILLIS), over).await.is_err() {
        tracing::warn!("channels outlive their connection");
    }
}

impl Line {
    pub fn app(&self) -> &Arc<App> {
        &self.shared.app
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub fn source(&self) -> IpAddr {
        self.source
    }

    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    pub fn blade(&self) -> Blade {
        self.blade.clone()
    }

    /// The session of the connection around this one.
    pub fn outer(&self) -> Option<&Arc<Session>> {
        self.here.as_ref().map(|(_, outer)| outer)
    }

    /// Somebody who may be this party offers a key: their VM is dialled ahead.
    pub fn offered(&mut self, identity: &Identity, login: &str) {
        let login = self.meaning(login);
        self.ahead.offered(&self.shared.app, self.source, (identity, &login));
    }

    /// This party opens a channel, and has not said for what: their VM is dialled ahead.
    pub fn wanted(&mut self, identity: &Identity, login: &str) {
        let login = self.meaning(login);
        self.ahead.wanted(&self.shared.app, self.source, (identity, &login));
    }

    /// What was dialled ahead.
    pub fn spare(&mut self) -> Option<Spare> {
        self.ahead.take()
    }

    /// What a login name means here.
    pub fn meaning(&self, login: &str) -> Login {
        match &self.here {
            None => Login::parse(login),
            Some((vm, _)) => Login::parse_inner(login, vm),
        }
    }

    /// Somebody tries to log in: if it comes to nothing it counts as a failure.
    pub fn attempted(&self) {
        self.tries.keys.fetch_add(1, Ordering::Relaxed);
    }

    /// What happens now must not count against the peer's address.
    pub fn not_their_fault(&self) {
        self.tries.ours.store(true, Ordering::Relaxed);
    }

    /// What is no key of anybody is answered the later, the more often its source has failed.
    pub async fn reject(&self) -> Auth {
        if self.here.is_none() {
            tokio::time::sleep(self.shared.guessing.delay(self.source)).await;
        }
        Auth::reject()
    }

    /// What whoever connects is told when the store does not answer: without it a refusal would
    /// look like a wrong key.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.shared.trouble.load(Ordering::Relaxed);
        trouble.then(|| format!("bastion: {}\n", End::Log.sentence()))
    }

    /// The store does not answer who this is, so it is nobody.
    pub fn unknowable(&self, error: &StoreError) -> Auth {
        self.shared.trouble.store(true, Ordering::Relaxed);
        self.not_their_fault();
        tracing::error!(%error, "a key cannot be looked up, so nobody can log in");
        Auth::reject()
    }

    /// The identity is settled and its entry durable.
    pub fn settled(&mut self, session: Arc<Session>) {
        self.shared.trouble.store(false, Ordering::Relaxed);
        if let Some(settled) = self.settled.take()
            && settled.send(session).is_err()
        {
            // The supervisor gave up a moment ago, and cuts the stream.
            tracing::debug!("a login came too late");
        }
    }

    /// Counts a channel of a session as open, until what this returns is dropped.
    pub fn hold(&self, session: &Session) -> Held {
        session.count_channel();
        self.open.send_modify(|open| *open += 1);
        Held(self.open.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}
