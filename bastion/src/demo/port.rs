//! Ports that are ours from the moment they are chosen until their listener takes them.
//!
//! A socket that is bound with SO_REUSEADDR but does not listen keeps others from choosing its
//! port, and does not keep the listener, which sets the same option, from taking it over. Choosing
//! a port, closing the socket and hoping would fail once in a while when tests run side by side.

use super::error::{DemoError, Doing as _};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};
use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that nobody else is given.
#[derive(Debug)]
pub struct Reserved {
    socket: TcpSocket,
}

/// Where free ports are looked for: below those that Linux gives to outgoing connections, which
/// would else take a demo's port between its end and its next start.
const PORT_FIRST: u16 = 20_000;
const PORTS: u16 = 12_000;
/// How often another port is tried.
const TRIES: usize = 200;
/// How long a port that must be this one may still be held by what is just ending.
const WAIT_SECONDS_MAX: u64 = 5;

impl Reserved {
    /// Reserves any free port.
    pub fn any() -> Result<Self, DemoError> {
        for _ in 0..TRIES {
            let drawn = crate::entropy::draw::<2>()
                .map_err(|_| io::Error::other("no randomness"))
                .doing("choose a port")?;
            let port = PORT_FIRST + u16::from_be_bytes(drawn) % PORTS;
            // Bound to prove that nobody listens: two that only reserve may share a port.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            if let (true, Ok(reserved)) = (free, Self::bind(port)) {
                return Ok(reserved);
            }
        }
        Err(io::Error::from(io::ErrorKind::AddrInUse)).doing("find a free port on 127.0.0.1")
    }

    /// Reserves this port.
    pub fn this(port: u16) -> Result<Self, DemoError> {
        let give_up = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX);
        loop {
            match Self::bind(port) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up =>
                {
                    std::thread::sleep(Duration::from_millis(50));
                }
                done => {
                    return done.doing(format!(
                        "take the port {port} of 127.0.0.1 (is another demo running?)"
                    ));
                }
            }
        }
    }

    fn bind(port: u16) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        Ok(Self { socket })
    }

    /// Its number.
    pub fn number(&self) -> Result<u16, DemoError> {
        let address = self.socket.local_addr().doing("read the port of a socket")?;
        Ok(address.port())
    }
}
