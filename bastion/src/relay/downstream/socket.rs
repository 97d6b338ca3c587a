//! The operator's connection as russh sees it: ordinary, except that reads can be held.
//!
//! `Pending` from here stops reading only; russh goes on sending. Bytes that are already in our
//! buffer are handed over, so a hold does not split what has arrived; but for one: a client whose
//! end of input and close arrive together must get the exit status in between, since russh answers
//! a close at once and nothing can follow.

use super::flow::Hold;
use crate::relay::socket::ReadBuffer;
use bastion_core::limits::READ_BUFFER_BYTES_MAX;
use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
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
    hold: Arc<Hold>,
    timer: Option<Pin<Box<Sleep>>>,
    before_waiting: fn(&S),
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S, hold: Arc<Hold>, before_waiting: fn(&S)) -> Self {
        Self { stream, buffer: ReadBuffer::new(), hold, timer: None, before_waiting }
    }

    /// Ready when reads are not held; of what has arrived, if there is something.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let arrived = !self.buffer.is_empty();
        let hold = Arc::clone(&self.hold);
        let held = |now, waker: &_| match hold.until_exit(now, waker) {
            None if !arrived => hold.until(now, waker),
            until => until,
        };
        while let Some(until) = held(Instant::now(), cx.waker()) {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until.into())));
            timer.as_mut().reset(until.into());
            ready!(timer.as_mut().poll(cx));
        }
        self.timer = None;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_hold(cx));
        if this.buffer.is_empty() {
            match this.buffer.poll_fill(cx, &mut this.stream, READ_BUFFER_BYTES_MAX) {
                Poll::Ready(filled) => filled?,
                Poll::Pending => {
                    (this.before_waiting)(&this.stream);
                    return Poll::Pending;
                }
            };
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
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
