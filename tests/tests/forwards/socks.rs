//! A small SOCKS5 client: what a browser does behind `ssh -D`.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// Connects to this host, spelled as it is, through a SOCKS5 proxy on a port of ours.
pub fn connect(proxy: u16, host: &str, port: u16) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(&[5, 1, 0])?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer)?;
    let length = u8::try_from(host.len()).unwrap();
    let ask = [&[5, 1, 0, 3, length], host.as_bytes(), &port.to_be_bytes()].concat();
    stream.write_all(&ask)?;
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    match answer[1] {
        0 => Ok(stream),
        code => Err(io::Error::other(format!("SOCKS answer {code}"))),
    }
}
