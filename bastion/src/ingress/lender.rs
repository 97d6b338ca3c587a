//! What a VM opens towards the operator, under a lease that lends it a way: the operator's agent or
//! display beside a session, or a port of theirs that the VM listens on.
//!
//! ```text
//! program on the VM ─▶ sshd ─▶ Doors ─▶ Lender ─▶ the operator's ssh ─▶ agent, display, port
//!                                        └─ forward.opened, a recording, the relay, forward.closed
//! ```
//!
//! Each connection has its entry before its first byte, a recording of its own, and the terms of
//! the lease. It ends with the lease, or with the session that it goes with.

use super::{channel::To, session::Session};
use crate::{
    app::App,
    ca::Lease,
    clock,
    egress::{Connected, Knock, Upstream},
    entropy,
    gate::lent::{Lent, LentEnd},
    ledger::LedgerError,
    relay::{
        self, Closing, Evidence, Terms,
        downstream::{Downstream, Flow, Inbox, Kind, Lent as Ways, Setup},
        recording::{Blank, ChannelMeta, Recording},
    },
};
use audit_schema::event::{ChannelKind, Outcome};
use bastion_core::{
    authorize::Grant,
    id::LeaseId,
    lease::Cause,
    limits::{
        EVIDENCE_WAITING_MAX, FINISH_SECONDS, LENT_CONNECTIONS_MAX, LENT_OPEN_SECONDS,
        LENT_PER_LEASE_MAX,
    },
    request::{AccessRequest, Beside},
};
use russh::{
    Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf,
    server::{Handle, Msg},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tracing::Instrument as _;

/// Whether a session may have the operator's agent or display with it; if not, the sentence that
/// says why, whose denial is entered.
pub(super) async fn would_lend(
    session: &Session,
    to: To,
    kind: ChannelKind,
) -> Result<Option<String>, LedgerError> {
    let entropy = entropy::draw().map_err(|error| LedgerError::Unavailable(error.to_string()))?;
    let request = AccessRequest {
        lease: LeaseId::from_entropy(entropy),
        session: session.id.clone(),
        operator: to.operator,
        source: session.source,
        vm: to.vm,
        account: to.account,
        kind,
        pty: false,
        command: None,
        destination: None,
        beside: Beside::default(),
    };
    let denied = session.app.gate.would_grant(request).await?.err();
    Ok(denied.map(|denial| denial.get().sentence()))
}

/// Whose agent, display or port it is, and by which right.
#[derive(Clone)]
pub(super) struct Lender {
    app: Arc<App>,
    grant: Arc<Grant>,
    terms: Terms,
    operator: Handle,
    flow: Flow,
    /// What the operator's client knows a listened port by: a VM does not choose.
    listens: Option<(String, u32)>,
    tally: Arc<Tally>,
}

/// All connections of a lease together.
#[derive(Default)]
struct Tally {
    over: AtomicBool,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// A lender at work. Dropping it ends what it lends.
pub(super) struct Lending {
    stop: oneshot::Sender<()>,
    work: JoinHandle<()>,
    tally: Arc<Tally>,
}

impl Lender {
    /// For a live lease, with the operator's side of it.
    pub fn of(app: &Arc<App>, lease: &Lease, (operator, flow): (Handle, Flow)) -> Self {
        let terms = Terms::of(lease, app.config.ingress.idle);
        Self {
            app: Arc::clone(app),
            grant: Arc::clone(lease.grant()),
            // A rule on files is about the session's own channel.
            terms: Terms { files: None, ..terms },
            operator,
            flow,
            listens: None,
            tally: Arc::default(),
        }
    }

    /// Names the port that a VM listens on, as the operator's client does.
    pub fn listening(self, host: &str, port: u16) -> Self {
        Self { listens: Some((host.to_owned(), u32::from(port))), ..self }
    }

    /// Serves what the VM opens, until told to stop.
    pub fn start(self, knocks: mpsc::Receiver<Knock>) -> Lending {
        let (stop, stopped) = oneshot::channel();
        let tally = Arc::clone(&self.tally);
        let span = tracing::info_span!("lent", lease = %self.grant.lease());
        let work = tokio::spawn(self.serve(knocks, stopped).instrument(span));
        Lending { stop, work, tally }
    }

    async fn serve(self, mut knocks: mpsc::Receiver<Knock>, mut stopped: oneshot::Receiver<()>) {
        let (mut open, mut number) = (JoinSet::new(), 0);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                Some(_) = open.join_next() => {}
                knock = knocks.recv() => match knock {
                    Some(knock) if open.len() < LENT_CONNECTIONS_MAX
                        && number < LENT_PER_LEASE_MAX => {
                        number += 1;
                        open.spawn(self.clone().connect(number, knock).in_current_span());
                    }
                    Some(knock) => knock.reply.reject(ChannelOpenFailure::ResourceShortage).await,
                    None => break,
                },
            }
        }
        drop(knocks);
        // The VM's connection is being closed, and they with it: their entries come first.
        let all = async { while open.join_next().await.is_some() {} };
        if timeout(Duration::from_secs(FINISH_SECONDS), all).await.is_err() {
            tracing::warn!("connections outlive what they were lent for");
        }
    }

    /// One connection, from its entry to its last.
    async fn connect(self, number: u64, knock: Knock) {
        let Knock { kind, channel, reply, from } = knock;
        let began = Instant::now();
        let (blank, lent) = match self.enter(kind, number).await {
            Ok(entered) => entered,
            Err(why) => {
                tracing::error!(why, "a VM's connection could not be entered, so it is refused");
                return reply.reject(ChannelOpenFailure::ConnectFailed).await;
            }
        };
        let (operator, recording) = match self.open(kind, &from, blank).await {
            Ok(opened) => opened,
            Err((outcome, reason)) => {
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
                let (reason, sealed) = (reason.to_owned(), None);
                let duration_ms = millis(began);
                let (bytes_in, bytes_out) = (0, 0);
                let end = LentEnd { outcome, reason, bytes_in, bytes_out, duration_ms, sealed };
                return self.close(lent, end).await;
            }
        };
        reply.accept().await;
        let closing = self.relay(operator, (channel, recording), &lent).await;
        let end = self.end(closing, began).await;
        self.close(lent, end).await;
    }

    async fn enter(&self, kind: ChannelKind, number: u64) -> Result<(Blank, Lent), String> {
        let blank = self.app.recorder.blank(&self.grant).map_err(|error| error.to_string())?;
        let lent = Lent { kind, number, recording: blank.id().clone() };
        let wrapped = blank.wrapped_json().to_owned();
        let entered = self.app.gate.lent(&self.grant, lent.clone(), wrapped).await;
        entered.map(|_| (blank, lent)).map_err(|error| error.to_string())
    }

    /// The operator's side, and the recording.
    async fn open(
        &self,
        kind: ChannelKind,
        from: &Connected,
        blank: Blank,
    ) -> Result<(Channel<Msg>, Recording), (Outcome, &'static str)> {
        let limit = Duration::from_secs(LENT_OPEN_SECONDS);
        let asked = timeout(limit, self.ask(kind, from)).await;
        let Ok(Ok(operator)) = asked else {
            return Err((Outcome::Unreachable, "operator_refused"));
        };
        let recorded = (self.grant.lease().clone(), self.grant.recording_level());
        let meta = ChannelMeta::of(recorded, &setup(kind), clock::now());
        let recording = self.app.recorder.open(blank, meta).await.map_err(|error| {
            tracing::error!(%error, "a VM's connection cannot be recorded, so it is refused");
            (Outcome::Failed, Cause::RecordingFailed.as_str())
        })?;
        Ok((operator, recording))
    }

    /// Asks the operator's client to take the connection.
    async fn ask(&self, kind: ChannelKind, from: &Connected) -> Result<Channel<Msg>, russh::Error> {
        let (by, port) = from.by.clone();
        match (kind, &self.listens) {
            (ChannelKind::ForwardAgent, _) => self.operator.channel_open_agent().await,
            (ChannelKind::ForwardX11, _) => self.operator.channel_open_x11(by, port).await,
            (_, Some((host, listens))) => {
                let operator = &self.operator;
                operator.channel_open_forwarded_tcpip(host, *listens, by, port).await
            }
            (_, None) => Err(russh::Error::WrongChannel),
        }
    }

    async fn relay(
        &self,
        operator: Channel<Msg>,
        (vm, recording): (Channel<russh::client::Msg>, Recording),
        lent: &Lent,
    ) -> Closing {
        let (read, write) = operator.split();
        let (inbox, input) = self.flow.channel(write.id());
        tokio::spawn(feed(read, inbox));
        let (evidence, seen) = mpsc::channel(EVIDENCE_WAITING_MAX);
        let (handle, setup) = (self.operator.clone(), setup(lent.kind));
        let down = Box::new(Downstream { input, write, handle, setup, opening: None });
        let up = Box::new(Upstream::opened_by_vm(vm));
        let relayed = relay::run(down, up, recording, self.terms.clone(), evidence);
        let (closing, ()) = tokio::join!(relayed, self.segments(lent, seen));
        closing
    }

    /// Enters the seals of the recording, as those of a channel are.
    async fn segments(&self, lent: &Lent, mut seen: mpsc::Receiver<Box<Evidence>>) {
        while let Some(evidence) = seen.recv().await {
            let Evidence::Segment(segment) = *evidence else { continue };
            let sealed = (segment.index, segment.bytes, segment.digest);
            let entered = self.app.gate.segment(&self.grant, &lent.recording, sealed).await;
            if let Err(error) = entered {
                tracing::error!(%error, "evidence could not be entered");
                self.app.live.end(self.grant.lease(), Cause::LogUnavailable);
            }
        }
    }

    async fn end(&self, closing: Closing, began: Instant) -> LentEnd {
        if closing.write.close().await.is_err() {
            tracing::debug!("the operator's side is gone");
        }
        let sealed = closing.recording.close().await;
        let over = self.tally.over.load(Ordering::Relaxed);
        let (outcome, reason) = match (&sealed, closing.outcome) {
            (Err(_), _) => (Outcome::Failed, Cause::RecordingFailed.as_str()),
            // Its session ended, and took the VM's connection along.
            (Ok(_), Outcome::Failed) if over => (Outcome::Completed, "session_over"),
            (Ok(_), outcome) => (outcome, closing.reason),
        };
        self.tally.bytes_in.fetch_add(closing.bytes_in, Ordering::Relaxed);
        self.tally.bytes_out.fetch_add(closing.bytes_out, Ordering::Relaxed);
        LentEnd {
            outcome,
            reason: reason.to_owned(),
            bytes_in: closing.bytes_in,
            bytes_out: closing.bytes_out,
            duration_ms: millis(began),
            sealed: sealed.ok().map(|sealed| (sealed.digest, sealed.bytes)),
        }
    }

    async fn close(&self, lent: Lent, end: LentEnd) {
        let closed: Result<_, LedgerError> =
            self.app.gate.lent_closed(&self.grant, lent, end).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the end of a VM's connection was not recorded");
        }
    }
}

impl Lending {
    /// Ends what is lent, and waits until all of it is entered. Bytes from the operator and from
    /// the VM, over all connections.
    pub async fn end(self) -> (u64, u64) {
        self.tally.over.store(true, Ordering::Relaxed);
        if self.stop.send(()).is_err() {
            tracing::debug!("the VM's connection had ended already");
        }
        if self.work.await.is_err() {
            tracing::error!("what was lent ended in a panic");
        }
        let Tally { bytes_in, bytes_out, .. } = &*self.tally;
        (bytes_in.load(Ordering::Relaxed), bytes_out.load(Ordering::Relaxed))
    }
}

fn setup(kind: ChannelKind) -> Setup {
    let kind = Kind::Forward(kind.as_str().to_owned());
    Setup { kind, pty: None, env: Vec::new(), lent: Ways::default(), notice: None }
}

/// Puts what the operator sends into the channel's inbox. The handler does this for channels that
/// the operator opens; those that we open have a reader, which never waits, so that the connection
/// does not.
async fn feed(mut read: ChannelReadHalf, inbox: Inbox) {
    loop {
        match read.wait().await {
            Some(ChannelMsg::Data { data }) => inbox.data(&data),
            Some(ChannelMsg::Eof) => inbox.eof(),
            Some(ChannelMsg::Close) | None => return,
            Some(_) => {}
        }
    }
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
