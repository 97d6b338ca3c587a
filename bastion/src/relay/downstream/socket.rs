//! The operator's connection as russh sees it: ordinary, except that reads can be held.
//!
//! `Pending` from here stops reading only; russh goes on sending. What is held is a probe of a
//! stalled channel that comes alone: sixteen bytes that nobody waits for. Whatever else arrives, a
//! keystroke on another channel say, is handed over at once, and the probe with it. Which arrivals
//! are probes is known by their size, learned from the last one that was answered.
//!
//! And once even what has arrived is held: a client whose end of input and close arrive together
//! must get the exit status in between, since russh answers a close at once and nothing can follow.

use super::flow::Hold;
use crate::relay::socket::{ReadBuffer, flushes_and_ends_its_stream};
use bastion_core::limits::{READ_BUFFER_BYTES_MAX, READ_BUFFER_BYTES_MIN};
use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Instant,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until},
};

/// A stream with the connection's holds.
pub struct Socket<S> {
    stream: S,
    buffer: ReadBuffer,
    /// What came behind a probe that is held.
    behind: ReadBuffer,
    is_held: bool,
    /// Bytes of the last arrival, and of one that was a probe alone.
    last: usize,
    probe: usize,
    hold: Arc<Hold>,
    timer: Option<Pin<Box<Sleep>>>,
    before_waiting: fn(&S),
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S, hold: Arc<Hold>, before_waiting: fn(&S)) -> Self {
        Self {
            stream,
            buffer: ReadBuffer::new(),
            behind: ReadBuffer::new(),
            is_held: false,
            last: 0,
            probe: 0,
            hold,
            timer: None,
            before_waiting,
        }
    }

    /// Ready when nothing is held: not what has arrived, for an exit status, or not what arrives.
    fn poll_hold(
        &mut self,
        cx: &mut Context<'_>,
        until: fn(&Hold, Instant, &Waker) -> Option<Instant>,
    ) -> Poll<()> {
        while let Some(until) = until(&self.hold, Instant::now(), cx.waker()) {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until.into())));
            timer.as_mut().reset(until.into());
            ready!(timer.as_mut().poll(cx));
        }
        self.timer = None;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> Socket<S> {
    /// Ready when there is something in the buffer to hand over, or the stream is at its end.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let hold = self.poll_hold(cx, Hold::until);
        if !self.is_held {
            let Poll::Ready(filled) =
                self.buffer.poll_fill(cx, &mut self.stream, READ_BUFFER_BYTES_MAX)
            else {
                if !self.hold.is_terminal() {
                    (self.before_waiting)(&self.stream);
                }
                return Poll::Pending;
            };
            self.last = filled?;
            self.is_held = hold.is_pending() && self.last > 0 && self.last == self.probe;
        }
        if self.is_held && hold.is_pending() {
            ready!(self.behind.poll_fill(cx, &mut self.stream, READ_BUFFER_BYTES_MIN))?;
        }
        self.is_held = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_hold(cx, Hold::until_exit));
        if this.buffer.is_empty() && !this.behind.is_empty() {
            std::mem::swap(&mut this.buffer, &mut this.behind);
            this.last = this.buffer.len();
        }
        if this.buffer.is_empty() || this.is_held {
            if this.hold.take_probed() {
                this.probe = this.last;
            }
            ready!(this.poll_arrival(cx))?;
        }
        this.buffer.take(into);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }
    flushes_and_ends_its_stream!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const SOON: Duration = Duration::from_secs(5);
    const A_WHILE: Duration = Duration::from_millis(20);

    /// A hold that ends long after this test, however busy the machine is.
    fn held(hold: &Hold) {
        hold.after_probe(Instant::now() + Duration::from_secs(60), false);
    }

    #[tokio::test]
    async fn a_probe_is_held_and_a_keystroke_is_not() {
        let (near, mut far) = tokio::io::duplex(4096);
        let hold = Arc::<Hold>::default();
        let mut socket = Socket::new(near, hold.clone(), |_| ());
        let mut seen = [0; 256];
        // The first probe shows its size.
        far.write_all(&[1; 52]).await.unwrap();
        assert_eq!(socket.read(&mut seen).await.unwrap(), 52);
        held(&hold);
        far.write_all(&[2; 52]).await.unwrap();
        let read = tokio::time::timeout(A_WHILE, socket.read(&mut seen)).await;
        assert!(read.is_err(), "a probe alone is held");
        far.write_all(&[3; 36]).await.unwrap();
        let read = tokio::time::timeout(SOON, socket.read_exact(&mut seen[..88])).await;
        assert_eq!(read.expect("at once").unwrap(), 88);
        assert_eq!((seen[0], seen[51], seen[52], seen[87]), (2, 2, 3, 3));
        // A keystroke that comes before the probe does not wait for it.
        far.write_all(&[4; 30]).await.unwrap();
        let read = tokio::time::timeout(SOON, socket.read(&mut seen)).await;
        assert_eq!(read.expect("at once").unwrap(), 30);
        drop(far);
        assert_eq!(socket.read(&mut seen).await.unwrap(), 0);
    }
}
