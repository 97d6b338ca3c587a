//! The command form, `ssh bastion <command>`: the channel becomes the standard input, output and
//! error of the one command engine.

use super::{
    session::Session,
    start::{Asked, Start},
    voice::{STDERR, Voice},
};
use crate::{
    api::{self, Caller, Invocation, Output},
    relay::downstream::{Control, Input, Piece},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use russh::Sig;
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::{AsyncRead, ReadBuf};

/// The exit status of a command that the peer interrupted, as a shell has it.
const EXIT_INTERRUPTED: u32 = 130;
const EXIT_USAGE: u32 = 2;
const EXIT_FAILED: u32 = 1;

/// Runs the command of a channel.
pub(super) async fn run(session: &Session, asked: Asked) {
    let terminal = asked.pty.is_some();
    let voice = Voice::new(asked.write, terminal);
    let line = match asked.what {
        Start::Exec(line) => line,
        Start::Shell => b"help".to_vec(),
        Start::Sftp | Start::Forward(_) => {
            let said =
                "bastion: there are no files here: name a VM, as in sftp ACCOUNT+VM@bastion\n";
            return voice.last_words(said, super::EXIT_DENIED).await;
        }
    };
    if !stands(session).await {
        let said = "bastion: your key was removed, or you were disabled: ask a security officer\n";
        return voice.last_words(said, super::EXIT_DENIED).await;
    }
    let caller = Caller {
        actor: session.identity.actor(),
        customer: session.identity.customer().cloned(),
        handle: session.identity.handle.to_string(),
        session: Some(session.id.clone()),
        source: Some(session.source),
    };
    let Ok(line) = str::from_utf8(&line) else {
        return voice.last_words("bastion: the command is not UTF-8 text\n", EXIT_USAGE).await;
    };
    let (input, moved) = (Arc::new(asked.input), Arc::<AtomicU64>::default());
    let stdin = stdin(&input, &moved, terminal);
    let invocation = match Invocation::from_line(caller, line, stdin) {
        Ok(invocation) => invocation,
        Err(error) => return voice.last_words(&format!("bastion: {error}\n"), EXIT_USAGE).await,
    };
    let mut out = Spoken { voice: &voice, moved: &moved };
    let status = tokio::select! {
        status = api::run(&session.app, invocation, &mut out) => {
            u32::try_from(status).unwrap_or(EXIT_FAILED)
        }
        () = interrupted(&input) => EXIT_INTERRUPTED,
        () = typed_interrupt(&input), if terminal => EXIT_INTERRUPTED,
        () = still(&moved, session.app.config.ingress.idle) => EXIT_INTERRUPTED,
    };
    voice.finish(status).await;
}

/// Whether the party may still do anything: a connection can be older than a removal.
async fn stands(session: &Session) -> bool {
    session.app.authn.stands(&session.identity).await.unwrap_or_else(|error| {
        tracing::error!(%error, "whether a party still stands cannot be told, so it does not");
        false
    })
}

/// What a command reads. A terminal's keys are watched for an interrupt instead: without a
/// terminal driver there is no line to read.
fn stdin(
    input: &Arc<Input>,
    moved: &Arc<AtomicU64>,
    terminal: bool,
) -> Box<dyn AsyncRead + Send + Unpin> {
    if terminal {
        return Box::new(tokio::io::empty());
    }
    Box::new(Stdin { input: input.clone(), rest: Bytes::new(), moved: moved.clone() })
}

/// Returns when nothing has been read or written for this long: a peer that neither sends what a
/// command reads nor takes what it says would keep it for ever.
async fn still(moved: &AtomicU64, limit: Duration) {
    let mut before = moved.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(limit).await;
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// Returns when the peer sends a signal that ends programs, or is gone.
async fn interrupted(input: &Input) {
    loop {
        match input.control().await {
            Control::Closed | Control::Signal(Sig::INT | Sig::TERM | Sig::HUP | Sig::KILL) => {
                return;
            }
            Control::Signal(_) | Control::Resize(_) => {}
        }
    }
}

/// Returns when Ctrl-C or Ctrl-D is typed.
async fn typed_interrupt(input: &Input) {
    loop {
        match poll_fn(|cx| input.poll_piece(cx)).await {
            Ok(Piece::Data(keys)) if keys.iter().any(|key| matches!(key, 3 | 4)) => return,
            Ok(Piece::Data(_)) => {}
            // What ends the channel is told by `interrupted`.
            Ok(Piece::Eof | Piece::Closed) | Err(_) => return std::future::pending().await,
        }
    }
}

/// The channel's input as a command's standard input; `control` stays free for signals.
struct Stdin {
    input: Arc<Input>,
    rest: Bytes,
    moved: Arc<AtomicU64>,
}

/// The voice of a command, which keeps count of what it could say.
struct Spoken<'v> {
    voice: &'v Voice,
    moved: &'v AtomicU64,
}

impl Spoken<'_> {
    async fn write(&self, stream: Option<u32>, bytes: &[u8]) -> io::Result<()> {
        self.voice.write(stream, bytes).await.map_err(io::Error::other)?;
        self.moved.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match ready!(self.input.poll_piece(cx)).map_err(io::Error::other)? {
                Piece::Data(data) => {
                    self.moved.fetch_add(1, Ordering::Relaxed);
                    self.rest = data;
                }
                Piece::Eof | Piece::Closed => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Output for Spoken<'_> {
    fn out<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.write(None, bytes).await })
    }

    fn err<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.write(Some(STDERR), bytes).await })
    }

    fn file<'a>(&'a mut self, name: &'a str, _bytes: Vec<u8>) -> BoxFuture<'a, io::Result<()>> {
        let why = format!("{name} cannot be written over ssh: leave --out away");
        Box::pin(async move { Err(io::Error::other(why)) })
    }
}
