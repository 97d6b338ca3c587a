//! VMs that misbehave, each in its own way: russh servers with certified host keys, and raw
//! sockets.

use bastion::ingress::severable::{Blade, Severable};
use bastion_tests::{
    own_vm::{add, host_key},
    world::World,
};
use russh::{
    Channel, ChannelId, ChannelOpenFailure,
    keys::Certificate,
    server::{self, Auth, ChannelOpenHandle, Handler, Msg, Session},
};
use socket2::{Domain, Socket, Type};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream as Plain},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

/// What is wrong with a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    NobodyListens,
    TakesNoConnection,
    Silent,
    Web,
    EndlessLines,
    LongLine,
    PlainKey,
    AnotherInstance,
    RefusesLogin,
    SilentLogin,
    DiesAtLogin,
    RefusesChannel,
    SilentChannel,
    DiesAtChannel,
    RefusesProgram,
    SilentProgram,
    ClosesAtOnce,
    EndsWithoutStatus,
    DiesRunning,
    FreezesRunning,
    /// The same, having asked for more than its socket holds.
    FreezesGreedy,
    OpensChannels,
}

/// What keeps a faulty VM alive.
pub struct Kept {
    port: u16,
    _sockets: Vec<Socket>,
    _streams: Vec<Plain>,
}

impl Kept {
    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The name of a VM that is wrong in this way.
pub fn name(how: How) -> String {
    format!("{}.acme", format!("{how:?}").to_lowercase())
}

/// Enters a faulty VM into the inventory and starts it.
pub fn start(world: &World, runtime: &Runtime, how: How) -> Kept {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let mut kept = Kept { port, _sockets: Vec::new(), _streams: Vec::new() };
    add(world, &name(how), port, "ops:troubleshoot");
    match how {
        How::NobodyListens => kept._sockets.push(socket),
        How::TakesNoConnection => {
            // A queue that is full drops what else comes, as a firewall does.
            socket.listen(0).unwrap();
            for _ in 0..2 {
                let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                filler.set_nonblocking(true).unwrap();
                // It says that it is in progress.
                filler.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).ok();
                kept._sockets.push(filler);
            }
            kept._sockets.push(socket);
        }
        _ => {
            socket.listen(16).unwrap();
            socket.set_nonblocking(true).unwrap();
            let certificate_of =
                if how == How::AnotherInstance { "pg-2.acme".into() } else { name(how) };
            let (key, certificate) = host_key(world, &name(how), &certificate_of);
            let config = Arc::new(server::Config {
                keys: vec![key],
                certificates: (how != How::PlainKey).then_some(certificate).into_iter().collect(),
                auth_rejection_time: Duration::ZERO,
                window_size: if how == How::FreezesGreedy { 1 << 30 } else { 2 << 20 },
                ..server::Config::default()
            });
            let _guard = runtime.enter();
            let listener = TcpListener::from_std(std::net::TcpListener::from(socket)).unwrap();
            runtime.spawn(accept(listener, config, how));
        }
    }
    kept
}

async fn accept(listener: TcpListener, config: Arc<server::Config>, how: How) {
    while let Ok((stream, _)) = listener.accept().await {
        let config = config.clone();
        tokio::spawn(async move {
            match how {
                How::Silent => std::future::pending().await,
                How::Web => say(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n", 1).await,
                How::EndlessLines => say(stream, b"no ssh here\r\n", usize::MAX).await,
                How::LongLine => say(stream, &[b'x'; 4096], usize::MAX).await,
                how => {
                    let (stream, blade) = Severable::new(stream);
                    if let Ok(session) =
                        server::run_stream(config, stream, Faulty { how, blade }).await
                    {
                        // However it ends: the gateway is what is looked at.
                        session.await.ok();
                    }
                }
            }
        });
    }
}

async fn say(mut stream: TcpStream, words: &[u8], times: usize) {
    for _ in 0..times {
        if stream.write_all(words).await.is_err() {
            return;
        }
    }
}

struct Faulty {
    how: How,
    blade: Blade,
}

impl Faulty {
    async fn vanish<T>(&self) -> Result<T, russh::Error> {
        self.blade.cut();
        Err(russh::Error::Disconnect)
    }
}

impl Handler for Faulty {
    type Error = russh::Error;

    async fn auth_openssh_certificate(
        &mut self,
        _: &str,
        _: &Certificate,
    ) -> Result<Auth, Self::Error> {
        match self.how {
            How::RefusesLogin => Ok(Auth::reject()),
            How::SilentLogin => std::future::pending().await,
            How::DiesAtLogin => self.vanish().await,
            _ => Ok(Auth::Accept),
        }
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.how {
            How::RefusesChannel => reply.reject(ChannelOpenFailure::ConnectFailed).await,
            How::SilentChannel => std::mem::forget(reply),
            How::DiesAtChannel => self.vanish().await?,
            _ => reply.accept().await,
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.how {
            How::RefusesProgram => return session.channel_failure(id),
            How::SilentProgram => return Ok(()),
            How::ClosesAtOnce => return session.close(id),
            _ => session.channel_success(id)?,
        }
        if self.how != How::OpensChannels {
            session.data(id, "part\n")?;
        }
        match self.how {
            How::EndsWithoutStatus => {
                session.eof(id)?;
                session.close(id)?;
            }
            How::OpensChannels => {
                let vm = session.handle();
                tokio::spawn(async move {
                    let said = crate::unasked::try_all(&vm).await;
                    // However the gateway takes it: what the operator gets is looked at.
                    vm.data(id, format!("{said}and goes on\n")).await.ok();
                    vm.exit_status_request(id, 0).await.ok();
                    vm.eof(id).await.ok();
                    vm.close(id).await.ok();
                });
            }
            How::DiesRunning => {
                let blade = self.blade.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    blade.cut();
                });
            }
            _ => {}
        }
        Ok(())
    }

    async fn data(&mut self, _: ChannelId, _: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        if matches!(self.how, How::FreezesRunning | How::FreezesGreedy) {
            // Neither reads nor answers from here on, and its kernel still acknowledges.
            std::future::pending().await
        }
        Ok(())
    }
}
