//! A stream that can be cut from outside.
//!
//! russh runs a connection in a task of its own, and hands messages for its peer over only while
//! the peer's windows are open, so asking it to disconnect may wait for ever. Cutting the stream
//! under it always works: the next read is the end of the stream and the next write fails.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream with a [`Blade`] over it.
pub struct Severable<S> {
    stream: S,
    shared: Arc<Shared>,
}

/// Cuts its stream, once and for good.
#[derive(Clone)]
pub struct Blade(Arc<Shared>);

#[derive(Default)]
struct Shared {
    cut: AtomicBool,
    // A reader and a writer: both have to wake up.
    wakers: Mutex<[Option<Waker>; 2]>,
}

const READER: usize = 0;
const WRITER: usize = 1;

impl<S> Severable<S> {
    /// The stream and its blade.
    pub fn new(stream: S) -> (Self, Blade) {
        let shared = Arc::<Shared>::default();
        let blade = Blade(shared.clone());
        (Self { stream, shared }, blade)
    }
}

impl Blade {
    /// Cuts.
    pub fn cut(&self) {
        self.0.cut.store(true, Ordering::SeqCst);
        let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        for waker in wakers.iter_mut().filter_map(Option::take) {
            waker.wake();
        }
    }

    /// Whether it has been cut.
    pub fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Registers who waits, and says whether the stream is cut. The order matters: a cut between
    /// the two would otherwise wake nobody.
    fn cut(&self, side: usize, cx: &Context<'_>) -> bool {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut wakers[side] {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        drop(wakers);
        self.cut.load(Ordering::SeqCst)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Severable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.shared.cut(READER, cx) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Severable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.shared.cut(WRITER, cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.cut(WRITER, cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.cut(WRITER, cx) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_cut_ends_a_waiting_read_and_a_waiting_write() {
        let (near, _far) = tokio::io::duplex(8);
        let (stream, blade) = Severable::new(near);
        let (mut reader, mut writer) = tokio::io::split(stream);
        let read = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
        let write = tokio::spawn(async move { writer.write_all(&[0; 64]).await });
        tokio::task::yield_now().await;
        blade.cut();
        assert_eq!(read.await.expect("joins").expect("reads"), 0);
        assert!(write.await.expect("joins").is_err());
    }
}
