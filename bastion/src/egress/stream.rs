//! The connection to a VM as russh sees it: ordinary, except that reads can be gated.
//!
//! The VM's output is held back here, before russh reads it, because russh's client opens the
//! window again as soon as it has read. A closed gate still lets a little through: keepalives and
//! key exchanges must not time out, and the window adjustment that the other direction waits for
//! may stand behind output that nobody takes. (`head -c 2G /dev/zero | ssh VM cat | sleep` would
//! otherwise hang for ever.)

use crate::relay::socket::{self, ReadBuffer, flushes_and_ends_its_stream};
use bastion_core::limits::{
    READ_BUFFER_BYTES_MAX, SPOOL_HOLD_SECONDS, STARVED_MILLIS, TRICKLE_BYTES, TRICKLE_MILLIS,
    TRICKLE_STARVED_MILLIS,
};
use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep_until},
};

/// Whether a VM's connection may be read at full pace. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    closed: bool,
    /// Nothing at all is read.
    held: bool,
    /// The VM's sshd serves a terminal, and does not wait for acknowledgements.
    terminal: bool,
    /// Since when bytes for the VM wait for window.
    upload_waits: Option<Instant>,
    last_trickle: Option<Instant>,
    waker: Option<Waker>,
    /// The connection is given up.
    cut: bool,
    /// Whoever waits for the socket itself.
    waits: Option<Waker>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain fields, each set in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens or closes the gate.
    pub(crate) fn set_closed(&self, closed: bool) {
        let mut state = self.lock();
        if state.closed != closed {
            state.closed = closed;
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    /// Holds a closed gate shut, or lets it trickle again.
    pub(crate) fn set_held(&self, held: bool) {
        let mut state = self.lock();
        if state.held != held {
            state.held = held;
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    /// Gives the connection up, whatever is still to be read or written. russh looks at nothing
    /// else while a VM takes no byte, or opens no window for what waits.
    pub(crate) fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        for waker in [state.waker.take(), state.waits.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Whether the connection is given up; whoever waits for the socket hears of it.
    fn is_cut(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        match &mut state.waits {
            Some(waits) => waits.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
        state.cut
    }

    /// The channel has a terminal.
    pub(crate) fn set_terminal(&self) {
        self.lock().terminal = true;
    }

    /// Bytes for the VM begin, or cease, to wait for its window.
    pub(crate) fn set_upload_waits(&self, since: Option<Instant>) {
        let mut state = self.lock();
        state.upload_waits = since;
        if state.closed
            && since.is_some()
            && let Some(waker) = state.waker.take()
        {
            waker.wake();
        }
    }

    /// Until when to wait before the next read; nothing: read now, as much as stands there.
    fn admit(&self, now: Instant, waker: &Waker) -> Result<usize, Instant> {
        let mut state = self.lock();
        if !state.closed || state.cut {
            return Ok(READ_BUFFER_BYTES_MAX);
        }
        if state.held {
            state.waker = Some(waker.clone());
            return Err(now + Duration::from_secs(SPOOL_HOLD_SECONDS));
        }
        let starved_after = Duration::from_millis(STARVED_MILLIS);
        let starved = state.upload_waits.is_some_and(|since| now - since >= starved_after);
        let millis = if starved { TRICKLE_STARVED_MILLIS } else { TRICKLE_MILLIS };
        let mut next = match state.last_trickle {
            Some(last) => last + Duration::from_millis(millis),
            None => now,
        };
        if next <= now {
            return Ok(TRICKLE_BYTES);
        }
        if let Some(since) = state.upload_waits.filter(|_| !starved) {
            next = next.min(since + starved_after);
        }
        state.waker = Some(waker.clone());
        Err(next)
    }

    fn trickled(&self, now: Instant) {
        let mut state = self.lock();
        if state.closed {
            state.last_trickle = Some(now);
        }
    }
}

/// A VM's TCP connection behind a gate.
pub(super) struct VmSocket {
    stream: TcpStream,
    buffer: ReadBuffer,
    gate: Gate,
    timer: Option<Pin<Box<Sleep>>>,
}

impl VmSocket {
    pub(super) fn new(stream: TcpStream, gate: Gate) -> Self {
        Self { stream, buffer: ReadBuffer::new(), gate, timer: None }
    }

    /// Ready with how much may be read.
    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            match self.gate.admit(Instant::now(), cx.waker()) {
                Ok(limit) => {
                    self.timer = None;
                    return Poll::Ready(limit);
                }
                Err(until) => {
                    let timer =
                        self.timer.get_or_insert_with(|| Box::pin(sleep_until(until.into())));
                    timer.as_mut().reset(until.into());
                    ready!(timer.as_mut().poll(cx));
                }
            }
        }
    }
}

impl AsyncRead for VmSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.buffer.is_empty() {
            let limit = ready!(this.poll_gate(cx));
            match this.buffer.poll_fill(cx, &mut this.stream, limit) {
                Poll::Ready(filled) => filled?,
                Poll::Pending if this.gate.is_cut(cx.waker()) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    if !this.gate.lock().terminal {
                        socket::quick_ack(&this.stream);
                    }
                    return Poll::Pending;
                }
            };
            this.gate.trickled(Instant::now());
        }
        this.buffer.take(into);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for VmSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, data) {
            Poll::Pending if self.gate.is_cut(cx.waker()) => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            written => written,
        }
    }
    flushes_and_ends_its_stream!();
}
