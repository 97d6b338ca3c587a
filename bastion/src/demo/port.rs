//! Ports that are ours from the moment they are chosen until their listener takes them.
//!
//! A socket that is bound with SO_REUSEADDR but does not listen keeps others from choosing its
//! port, and does not keep the listener, which sets the same option, from taking it over. Choosing
//! a port, closing the socket and hoping would fail once in a while when tests run side by side.

use super::error::{DemoError, Doing as _};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that nobody else is given.
#[derive(Debug)]
pub struct Reserved {
    socket: TcpSocket,
}

impl Reserved {
    /// Reserves this port, or any free one for 0.
    pub fn new(port: u16) -> Result<Self, DemoError> {
        let doing = || format!("take the port {port} of 127.0.0.1 (is another demo running?)");
        let socket = TcpSocket::new_v4().doing(doing())?;
        socket.set_reuseaddr(true).doing(doing())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        socket.bind(address).doing(doing())?;
        Ok(Self { socket })
    }

    /// Its number.
    pub fn number(&self) -> Result<u16, DemoError> {
        let address = self.socket.local_addr().doing("read the port of a socket")?;
        Ok(address.port())
    }
}
