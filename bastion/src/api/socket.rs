//! The Unix socket on which a running gateway answers local commands.
//!
//! The store belongs to the gateway while it runs, so `bastion audit query` on the same machine
//! asks the gateway instead of opening it. Who asks is settled by the kernel (peer credentials),
//! and stands in the log as `local:<uid>`. Only root and the gateway's own uid are answered: they
//! could read the store anyway.
//!
//! `bastion serve --stdio` comes this way too: its peer is passed on to the gateway that runs, with
//! the address that it comes from, and logs in as everybody does.

use super::{
    Caller, Invocation, Output,
    frame::{self, Frame},
    run,
};
use crate::{app::App, ingress::Visitor};
use audit_schema::event::{Actor, ActorKind};
use bastion_core::limits::{SOCKET_CONNECTIONS_MAX, SOCKET_INPUT_BYTES_MAX};
use futures_util::future::BoxFuture;
use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc},
};

/// How long a caller may take to say what it wants.
const WORDS_WITHIN: Duration = Duration::from_secs(10);

/// How long a caller may take to close after its answer.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// The listening socket.
pub struct Socket {
    listener: UnixListener,
}

impl Socket {
    /// Takes the socket's path. Another gateway that answers there is an error; what a crashed one
    /// left there is removed.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        match UnixStream::connect(path).await {
            Ok(_) => {
                let what = "another gateway answers there; stop it first";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, what));
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(_) => fs::remove_file(path)?,
        }
        if let Some(dir) = path.parent() {
            crate::keyfile::make_private_dir(dir).map_err(io::Error::other)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener })
    }

    /// Answers local commands until the task is dropped; visitors are passed on.
    pub async fn serve(self, app: Arc<App>, visitors: mpsc::Sender<Visitor>) {
        let places = Arc::new(Semaphore::new(SOCKET_CONNECTIONS_MAX));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(cause) => {
                    tracing::warn!(%cause, "cannot accept a local command");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            // The semaphore is never closed, so this waits for a place and nothing else.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (app, visitors) = (Arc::clone(&app), visitors.clone());
            tokio::spawn(async move {
                if let Err(cause) = answer(&app, stream, visitors).await {
                    tracing::debug!(%cause, "a local command broke off");
                }
                drop(place);
            });
        }
    }
}

/// Who a local command's entry names.
pub fn local_caller(uid: u32) -> Caller {
    Caller {
        actor: Actor { kind: ActorKind::Local, id: uid.to_string() },
        customer: None,
        handle: format!("uid {uid}"),
        session: None,
        source: None,
    }
}

async fn answer(app: &App, stream: UnixStream, visitors: mpsc::Sender<Visitor>) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let (mut from, to) = stream.into_split();
    let mut out = FrameOutput { to };
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        tracing::warn!(uid, "refused a local command of another user");
        let sentence = "bastion: only root and the gateway's own user are answered here\n";
        out.send(&Frame::Err(sentence.into())).await?;
        return out.send(&Frame::Exit(3)).await;
    }
    let first = tokio::time::timeout(WORDS_WITHIN, frame::read(&mut from)).await;
    let argv = match first.map_err(|_| io::ErrorKind::TimedOut)?? {
        Some(Frame::Words(argv)) => argv,
        Some(Frame::Visitor(source)) => {
            // Both halves are ours, and nothing is buffered between them.
            let stream = from.reunite(out.to).map_err(io::Error::other)?;
            let sent = visitors.send(Visitor { stream, source }).await;
            return sent.map_err(|_| io::ErrorKind::BrokenPipe.into());
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let (stdin, pump_to) = duplex(SOCKET_INPUT_BYTES_MAX);
    let invocation = Invocation { caller: local_caller(uid), argv, stdin: Box::new(stdin) };
    // A caller that goes away ends its command: `--follow` would go on for ever otherwise. What a
    // command asked the ledger to record is recorded all the same.
    let code = tokio::select! {
        code = run(app, invocation, &mut out) => code,
        () = pump(&mut from, pump_to) => return Ok(()),
    };
    out.send(&Frame::Exit(u8::try_from(code).unwrap_or(1))).await?;
    out.to.shutdown().await?;
    // Closing with something unread would take the answer away from a caller that is still
    // reading; so what else it sends is let go until it closes.
    let rest = async { while let Ok(Some(_)) = frame::read(&mut from).await {} };
    tokio::time::timeout(CLOSED_WITHIN, rest).await.map_err(|_| io::ErrorKind::TimedOut.into())
}

/// Carries standard input to the command; returns when the caller is gone.
async fn pump(from: &mut OwnedReadHalf, to: DuplexStream) {
    let mut to = Some(to);
    loop {
        match frame::read(from).await {
            Ok(Some(Frame::Input(piece))) => {
                // A command that reads no further drops its end; the rest is let go.
                if let Some(open) = &mut to
                    && open.write_all(&piece).await.is_err()
                {
                    to = None;
                }
            }
            Ok(Some(Frame::InputEnd)) => to = None,
            Ok(Some(_) | None) | Err(_) => return,
        }
    }
}

struct FrameOutput {
    to: OwnedWriteHalf,
}

impl FrameOutput {
    async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        frame::write(&mut self.to, frame).await
    }
}

impl Output for FrameOutput {
    fn out<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.send(&Frame::Out(bytes.to_vec())).await })
    }
    fn err<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.send(&Frame::Err(bytes.to_vec())).await })
    }
    fn file<'a>(&'a mut self, name: &'a str, bytes: Vec<u8>) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.send(&Frame::FileName(name.to_owned())).await?;
            self.send(&Frame::FilePiece(bytes)).await
        })
    }
    fn wants_files(&self) -> bool {
        true
    }
}
