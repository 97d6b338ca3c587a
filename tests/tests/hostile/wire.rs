//! Raw connections to the gateway, from any address of loopback.

use socket2::{Domain, Socket, Type};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects from an address of loopback.
pub fn connect(port: u16, from: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into()).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes; false when the gateway has closed before it took them.
pub fn send(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// Reads to the end; what was said, and after how long the gateway closed.
#[track_caller]
pub fn to_the_end(stream: &mut TcpStream) -> (Vec<u8>, Duration) {
    let began = Instant::now();
    let mut said = Vec::new();
    if let Err(why) = stream.read_to_end(&mut said) {
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(kinds.contains(&why.kind()), "the gateway does not close: {why}");
    }
    (said, began.elapsed())
}

/// Whether the gateway closed already, without waiting.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    let closed = loop {
        match stream.read(&mut bytes) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(why) => break why.kind() != ErrorKind::WouldBlock,
        }
    };
    stream.set_nonblocking(false).unwrap();
    closed
}

/// A packet before keys are in use, with its length as it should be.
pub fn packet(payload: &[u8]) -> Vec<u8> {
    let bare = 4 + 1 + payload.len() + 4;
    let padding = 4 + bare.next_multiple_of(8) - bare;
    let length = u32::try_from(1 + payload.len() + padding).unwrap();
    let mut packet = length.to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap());
    packet.extend(payload);
    packet.extend(std::iter::repeat_n(0, padding));
    packet
}

/// An SSH string.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

/// The payload of a KEXINIT with these lists: key exchange, host key, and one each for cipher, MAC
/// and compression, for both directions.
pub fn kexinit(lists: [&[u8]; 5]) -> Vec<u8> {
    let [kex, key, cipher, mac, compression] = lists;
    let mut payload = vec![20];
    payload.extend([7; 16]);
    let order = [kex, key, cipher, cipher, mac, mac, compression, compression, b"", b""];
    payload.extend(order.iter().flat_map(|list| string(list)));
    payload.extend([0; 5]);
    payload
}

/// A KEXINIT that the gateway can agree to.
pub fn good_kexinit() -> Vec<u8> {
    kexinit([
        b"curve25519-sha256",
        b"ssh-ed25519",
        b"aes256-gcm@openssh.com",
        b"hmac-sha2-256-etm@openssh.com",
        b"none",
    ])
}
