//! What both legs' sockets have in common: a read buffer that grows with the traffic, and
//! acknowledgements that are not delayed.
//!
//! Russh reads an SSH packet in two small reads; a buffer turns them into one system call for many
//! packets. It starts at 4 KiB, since most connections are idle shells.
//!
//! Sshd without a terminal leaves Nagle's algorithm on, so it waits for our acknowledgement, which
//! the kernel likes to delay by 40 ms. TCP_QUICKACK turns that off but wears off again, so it is
//! set anew each time there is nothing to read. With a terminal neither side waits like that, and
//! the acknowledgement goes with the answer: one packet less for each keystroke and each echo.

use bastion_core::limits::{
    KEEPALIVE_UNANSWERED_MAX, READ_BUFFER_BYTES_MAX, READ_BUFFER_BYTES_MIN,
};
use socket2::{SockRef, TcpKeepalive};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

/// What remains of an `AsyncWrite` over `self.stream` that only its writes differ from: it is
/// flushed and ended as that is.
macro_rules! flushes_and_ends_its_stream {
    () => {
        fn poll_flush(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.stream).poll_flush(cx)
        }
        fn poll_shutdown(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    };
}
pub(crate) use flushes_and_ends_its_stream;

/// Bytes read from a socket that russh has not asked for yet.
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    size: usize,
}

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), from: 0, to: 0, size: READ_BUFFER_BYTES_MIN }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    pub(crate) fn len(&self) -> usize {
        self.to - self.from
    }

    /// Hands over what is there.
    pub(crate) fn take(&mut self, into: &mut ReadBuf<'_>) {
        let length = into.remaining().min(self.to - self.from);
        into.put_slice(&self.bytes[self.from..self.from + length]);
        self.from += length;
    }

    /// Reads from the socket, at most `limit` bytes; ready with zero at its end. Only to be called
    /// when empty. Ten thousand idle shells do not keep ten thousand buffers.
    pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let size = self.size.min(limit);
        self.bytes.resize(self.size, 0);
        let mut buffer = ReadBuf::new(&mut self.bytes[..size]);
        let length = match Pin::new(stream).poll_read(cx, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len())?,
            Poll::Pending => {
                if self.size == READ_BUFFER_BYTES_MIN {
                    self.bytes = Vec::new();
                }
                return Poll::Pending;
            }
        };
        (self.from, self.to) = (0, length);
        if length == self.size {
            self.size = (self.size * 2).min(READ_BUFFER_BYTES_MAX);
        } else if length < self.size / 8 {
            self.size = (self.size / 2).max(READ_BUFFER_BYTES_MIN);
        }
        Poll::Ready(Ok(length))
    }
}

/// Small packets leave at once. A socket that cannot do that is slow, not wrong.
pub(crate) fn no_delay(stream: &TcpStream) {
    if let Err(why) = stream.set_nodelay(true) {
        tracing::debug!(%why, "TCP_NODELAY was refused");
    }
}

/// Ends the connection when bytes of ours are not taken for so long. A kernel that cannot do that
/// gives up by itself, later.
pub(crate) fn give_up_after(stream: &TcpStream, silence: Duration) {
    if let Err(why) = SockRef::from(stream).set_tcp_user_timeout(Some(silence)) {
        tracing::debug!(%why, "TCP_USER_TIMEOUT was refused");
    }
}

/// Has the kernel ask a peer that says nothing whether its machine is still there, and end the
/// connection when it is not. Costs no SSH packet, so a client that waits for a passphrase sees
/// nothing.
pub(crate) fn ask_every(stream: &TcpStream, interval: Duration) {
    let asked = TcpKeepalive::new()
        .with_time(interval)
        .with_interval(interval)
        .with_retries(KEEPALIVE_UNANSWERED_MAX as u32);
    if let Err(why) = SockRef::from(stream).set_tcp_keepalive(&asked) {
        tracing::debug!(%why, "SO_KEEPALIVE was refused");
    }
}

/// Acknowledges at once, until the kernel forgets it again.
pub(crate) fn quick_ack(stream: &TcpStream) {
    if let Err(why) = stream.set_quickack(true) {
        tracing::trace!(%why, "TCP_QUICKACK was refused");
    }
}
