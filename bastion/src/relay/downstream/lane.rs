//! One channel's way in: the handler's end ([`Inbox`]) and the relay's end ([`Input`]).

use super::{Overrun, WindowSize, flow::Hold};
use crate::relay::{fifo::Fifo, quota::Brim, spool::Spools};
use bastion_core::limits::{
    CHANNEL_ACTIVE_MILLIS, PROBE_DUE_MILLIS, SIGNALS_WAITING_MAX, STALL_BYTES, UNSTALL_BYTES,
    WINDOW_FAR_BYTES, WINDOW_NEAR_BYTES, WINDOW_NEAR_MICROS,
};
use bytes::Bytes;
use russh::Sig;
use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, ReadBuf};

/// What flows in order.
#[derive(Debug)]
pub enum Piece {
    /// Bytes for the VM.
    Data(Bytes),
    /// The operator will send no more bytes.
    Eof,
    /// The operator closed the channel, or is gone.
    Closed,
}

/// What overtakes.
#[derive(Debug)]
pub enum Control {
    /// The operator's terminal has another size now.
    Resize(WindowSize),
    /// The operator sends a signal.
    Signal(Sig),
    /// The operator closed the channel, or is gone: nothing more comes.
    Closed,
}

/// The handler's end of a channel. Every call returns at once.
pub struct Inbox(Arc<Lane>);

/// The relay's end of a channel.
pub struct Input {
    lane: Arc<Lane>,
    /// For `AsyncRead`: what did not fit into the reader's buffer.
    rest: Bytes,
}

pub(super) struct Lane {
    spools: Arc<Spools>,
    state: Mutex<State>,
    brim: Arc<Brim>,
    hold: Arc<Hold>,
}

struct State {
    fifo: Fifo,
    overrun: Option<Overrun>,
    stalled: bool,
    eof: bool,
    eof_taken: bool,
    /// The operator was told the end of output, and not yet how the program ended.
    exit_due: bool,
    closed: bool,
    abandoned: bool,
    resize: Option<WindowSize>,
    signals: VecDeque<Sig>,
    last_data: Option<Instant>,
    last_grant: Option<Instant>,
    data_waker: Option<Waker>,
    control_waker: Option<Waker>,
}

impl Lane {
    pub(super) fn open(spools: &Arc<Spools>, hold: &Arc<Hold>) -> (Arc<Self>, Inbox, Input) {
        let state = State {
            fifo: Fifo::new(spools),
            overrun: None,
            stalled: false,
            eof: false,
            eof_taken: false,
            exit_due: false,
            closed: false,
            abandoned: false,
            resize: None,
            signals: VecDeque::new(),
            last_data: None,
            last_grant: None,
            data_waker: None,
            control_waker: None,
        };
        let (spools, hold) = (Arc::clone(spools), Arc::clone(hold));
        let brim = state.fifo.brim();
        let lane = Arc::new(Self { spools, state: Mutex::new(state), brim, hold });
        let input = Input { lane: Arc::clone(&lane), rest: Bytes::new() };
        (Arc::clone(&lane), Inbox(lane), input)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock can panic half-way through a change that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.lock().stalled
    }

    /// Nobody will ever put anything in or take anything out again.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.closed || state.abandoned
    }

    /// Sends at full pace just now.
    pub(super) fn is_active(&self, now: Instant) -> bool {
        let state = self.lock();
        let recent = Duration::from_millis(CHANNEL_ACTIVE_MILLIS);
        let sent = state.last_data.is_some_and(|at| now.duration_since(at) < recent);
        sent && !state.stalled
    }

    /// Has sent something so lately that more is likely to be under way.
    pub(super) fn probed(&self, now: Instant) -> bool {
        let lately = Duration::from_millis(PROBE_DUE_MILLIS);
        self.lock().last_data.is_some_and(|at| now.duration_since(at) < lately)
    }

    /// The window that suits this channel, judged by how long the last grant lasted.
    pub(super) fn window_at_grant(&self, now: Instant) -> u32 {
        let near = Duration::from_micros(WINDOW_NEAR_MICROS);
        let last = self.lock().last_grant.replace(now);
        let is_far = last.is_some_and(|at| now.duration_since(at) > near);
        if is_far { WINDOW_FAR_BYTES } else { WINDOW_NEAR_BYTES }
    }
}

fn wake(slot: &mut Option<Waker>) {
    if let Some(waker) = slot.take() {
        waker.wake();
    }
}

impl Inbox {
    /// Bytes from the operator. Past the quota they are dropped and the relay ends the channel.
    pub fn data(&self, data: &[u8]) {
        let mut state = self.0.lock();
        if state.abandoned || state.overrun.is_some() || state.eof || state.closed {
            return;
        }
        state.last_data = Some(Instant::now());
        if let Err(overrun) = state.fifo.push(data) {
            state.fifo.clear();
            state.stalled = false;
            state.overrun = Some(overrun);
        } else if state.fifo.bytes() > STALL_BYTES {
            state.stalled = true;
        }
        wake(&mut state.data_waker);
    }

    /// Whether nobody takes anything out any more: the channel is over on this side.
    pub fn is_abandoned(&self) -> bool {
        self.0.lock().abandoned
    }

    /// The operator will send no more bytes.
    pub fn eof(&self) {
        let mut state = self.0.lock();
        state.eof = true;
        if state.exit_due {
            self.0.hold.await_exit(Instant::now());
        }
        wake(&mut state.data_waker);
    }

    /// The operator closed the channel.
    pub fn closed(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.stalled = false;
        wake(&mut state.data_waker);
        wake(&mut state.control_waker);
        drop(state);
        self.0.hold.release();
    }

    /// The operator's terminal has another size. Only the last one counts.
    pub fn window_change(&self, size: super::WindowSize) {
        let mut state = self.0.lock();
        state.resize = Some(size);
        wake(&mut state.control_waker);
    }

    /// The operator sends a signal. More than a few that nobody took are dropped.
    pub fn signal(&self, signal: Sig) {
        let mut state = self.0.lock();
        if state.signals.len() < SIGNALS_WAITING_MAX {
            state.signals.push_back(signal);
        }
        wake(&mut state.control_waker);
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.closed();
    }
}

impl Input {
    /// The next piece, in order. After `Closed`, always `Closed`. May be dropped while it waits.
    pub async fn next(&mut self) -> Result<Piece, Overrun> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// The next thing that overtakes. May be dropped while it waits.
    pub async fn control(&self) -> Control {
        poll_fn(|cx| self.poll_control(cx)).await
    }

    /// Whether the operator will send no more bytes.
    pub(crate) fn has_ended(&self) -> bool {
        self.lane.lock().eof
    }

    /// The operator was told the end of output while the program goes on: a client that then ends
    /// its input may close at once.
    pub(crate) fn exit_is_due(&self) {
        self.lane.lock().exit_due = true;
    }

    /// The operator was told how the program ended.
    pub(crate) fn exit_was_told(&self) {
        if std::mem::take(&mut self.lane.lock().exit_due) {
            self.lane.hold.exit_told(Instant::now());
        }
    }

    /// Where the backlogs of this channel go, of both directions.
    pub(crate) fn spools(&self) -> &Arc<Spools> {
        &self.lane.spools
    }

    /// Returns when too much has waited for the VM for too long, or could not be kept.
    pub(crate) async fn overflow(&self) -> Overrun {
        self.lane.brim.overflow(self.lane.spools.quotas()).await
    }

    /// As [`Input::next`], for two loops that share this input: only one may ask for pieces.
    pub(crate) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Result<Piece, Overrun>> {
        let mut state = self.lane.lock();
        if let Some(overrun) = state.overrun.take() {
            return Poll::Ready(Err(overrun));
        }
        if let Some(data) = state.fifo.pop(usize::MAX)? {
            let was_stalled = state.stalled;
            state.stalled = was_stalled && state.fifo.bytes() > UNSTALL_BYTES;
            let freed = was_stalled && !state.stalled;
            drop(state);
            if freed {
                self.lane.hold.release();
            }
            return Poll::Ready(Ok(Piece::Data(data)));
        }
        if state.eof && !state.eof_taken {
            state.eof_taken = true;
            return Poll::Ready(Ok(Piece::Eof));
        }
        if state.closed {
            return Poll::Ready(Ok(Piece::Closed));
        }
        state.data_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_control(&self, cx: &mut Context<'_>) -> Poll<Control> {
        let mut state = self.lane.lock();
        if let Some(size) = state.resize.take() {
            return Poll::Ready(Control::Resize(size));
        }
        if let Some(signal) = state.signals.pop_front() {
            return Poll::Ready(Control::Signal(signal));
        }
        if state.closed {
            return Poll::Ready(Control::Closed);
        }
        state.control_waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let mut state = self.lane.lock();
        state.abandoned = true;
        state.stalled = false;
        state.fifo.clear();
        let due = std::mem::take(&mut state.exit_due);
        drop(state);
        if due {
            self.lane.hold.exit_told(Instant::now());
        }
        self.lane.hold.release();
    }
}

/// As a byte stream: the standard input of a command, or the transport of an inner connection.
impl AsyncRead for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match ready!(self.poll_piece(cx)).map_err(io::Error::other)? {
                Piece::Data(data) => self.rest = data,
                Piece::Eof | Piece::Closed => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}
