//! `bastion serve --stdio`: the one connection that is on standard input and output.
//!
//! The store belongs to the gateway that runs, so the connection is passed on to it over its Unix
//! socket, with the address that it comes from. Without one a gateway is started here that listens
//! on no port, and the connection takes the same way; the gateway ends with its last visitor, and
//! others that come meanwhile find it, or start their own when it has ended.

use super::Fault;
use crate::{
    api::frame::{self, Frame},
    app::StartError,
    config::Config,
    serve::{self, ServeError, Serving},
    store::StoreError,
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, TcpStream},
    os::fd::AsFd as _,
    process::ExitCode,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{Instant, sleep},
};

/// How long a gateway may take to open its store.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Serves the connection to its end.
pub fn run(config: Config, accept_policy: bool) -> Result<ExitCode, Fault> {
    // Standard error is the terminal of whoever runs ssh: only what is wrong goes there.
    let quiet = crate::config::Tracing { filter: "warn".to_owned(), ..config.tracing.clone() };
    super::start_tracing(&quiet);
    let runtime = super::runtime()?;
    let done = runtime.block_on(async {
        // ssh ends its ProxyCommand by a signal as soon as it is done; what is open here must still
        // be entered. Standard input and output end anyway, and that is what ends us.
        let kept = [SignalKind::hangup(), SignalKind::terminate()].map(signal);
        let done = visit(config, accept_policy).await;
        drop(kept);
        done
    });
    // A read of standard input that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

async fn visit(config: Config, accept_policy: bool) -> Result<(), Fault> {
    let give_up = Instant::now() + OPEN_WITHIN;
    loop {
        if let Ok(gateway) = UnixStream::connect(&config.socket).await
            && let Some(passed) = pass(gateway).await.transpose()
        {
            return passed.map_err(broken);
        }
        // Nobody serves; or whoever did is just ending, or somebody is just starting.
        match alone(config.clone(), accept_policy).await {
            Ok(Some(())) => return Ok(()),
            Err(fault) if Instant::now() > give_up => return Err(Fault::failed(fault)),
            Err(ServeError::Open(fault)) if !is_taken(&fault) => return Err(Fault::failed(fault)),
            Ok(None) | Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Whether another process has the store, or the socket.
fn is_taken(fault: &StartError) -> bool {
    match fault {
        StartError::Store(StoreError::Unfit(_)) => true,
        StartError::Io(_, cause) => cause.kind() == io::ErrorKind::AddrInUse,
        _ => false,
    }
}

/// Serves the connection with a gateway of our own; nothing if it was not taken.
async fn alone(config: Config, accept_policy: bool) -> Result<Option<()>, ServeError> {
    let socket = config.socket.clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = Serving { accept_policy, visitors_only: true };
    let mut gateway = Box::pin(serve::run(config, serving, async {
        // A dropped sender says stop as well.
        stopped.await.unwrap_or_default();
    }));
    let visiting = async {
        loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => return pass(stream).await,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let passed = tokio::select! {
        ended = &mut gateway => return ended.map(|()| None),
        passed = visiting => passed,
    };
    drop(stop);
    gateway.await?;
    // Whoever spoke to us is gone, or never was: the gateway's end is what counts.
    Ok(passed.unwrap_or(Some(())))
}

fn broken(cause: io::Error) -> Fault {
    Fault::failed(format!("the gateway on this machine does not take the connection: {cause}"))
}

/// Carries standard input and output to the gateway, until it closes; nothing if it did not take
/// the connection. Until its first word, which SSH's server has, nothing of standard input is read.
async fn pass(gateway: UnixStream) -> io::Result<Option<()>> {
    let (mut from, mut to) = gateway.into_split();
    let mut first = vec![0; 512];
    if frame::write(&mut to, &Frame::Visitor(source())).await.is_err() {
        return Ok(None);
    }
    match from.read(&mut first).await {
        Ok(0) | Err(_) => return Ok(None),
        Ok(length) => first.truncate(length),
    }
    let up = tokio::spawn(async move {
        let (mut stdin, mut to) = (tokio::io::stdin(), to);
        tokio::io::copy(&mut stdin, &mut to).await?;
        to.shutdown().await
    });
    let mut stdout = tokio::io::stdout();
    let down = async {
        stdout.write_all(&first).await?;
        tokio::io::copy(&mut from, &mut stdout).await?;
        stdout.flush().await
    };
    // The gateway has the last word; whoever is gone meanwhile needs none.
    let passed = down.await;
    up.abort();
    match passed {
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(cause),
        _ => Ok(Some(())),
    }
}

/// Where the connection comes from: standard input's peer, if it is a TCP connection (inetd). A
/// pipe comes from this machine.
fn source() -> IpAddr {
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let peer =
        io::stdin().as_fd().try_clone_to_owned().and_then(|fd| TcpStream::from(fd).peer_addr());
    peer.map_or(here, |peer| peer.ip().to_canonical())
}
