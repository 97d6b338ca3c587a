//! What goes over the Unix socket: frames of a tag, a length and a body.
//!
//! ```text
//! caller ─▶ gateway   A words as a JSON array │ I a piece of standard input │ E its end
//!                     V the address of a visitor: no frame follows, but the visitor's own SSH
//! gateway ─▶ caller   O a piece of the answer │ R a piece of what people should know
//!                     N the name of a file    │ F a piece of that file      │ X exit code
//! ```
//!
//! A frame is one byte of tag, four bytes of length (big endian) and at most
//! [`SOCKET_FRAME_BYTES_MAX`] bytes of body. Both sides are the same program on the same machine,
//! so there is no negotiation: what is not understood ends the connection.

use bastion_core::limits::SOCKET_FRAME_BYTES_MAX;
use std::{io, net::IpAddr};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The words of the command.
    Words(Vec<String>),
    /// Somebody from this address wants to speak SSH, from the next byte on.
    Visitor(IpAddr),
    /// A piece of its standard input.
    Input(Vec<u8>),
    /// The end of its standard input.
    InputEnd,
    /// A piece of the answer.
    Out(Vec<u8>),
    /// A piece of what people should know besides.
    Err(Vec<u8>),
    /// A file of the answer begins.
    FileName(String),
    /// A piece of that file.
    FilePiece(Vec<u8>),
    /// The command ended with this code.
    Exit(u8),
}

/// Reads one frame; `None` at a clean end.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut tag = [0];
    if stream.read(&mut tag).await? == 0 {
        return Ok(None);
    }
    let length = stream.read_u32().await?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > SOCKET_FRAME_BYTES_MAX {
        return Err(broken("a frame is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    parse(tag[0], body).map(Some)
}

/// Writes one frame; bodies of bytes are cut to size.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    let words;
    let address;
    let code;
    let (tag, body): (u8, &[u8]) = match frame {
        Frame::Words(list) => {
            words = serde_json::to_vec(list).map_err(|_| broken("words are not text"))?;
            (b'A', &words)
        }
        Frame::Visitor(source) => {
            address = source.to_string();
            (b'V', address.as_bytes())
        }
        Frame::Input(bytes) => (b'I', bytes),
        Frame::InputEnd => (b'E', &[]),
        Frame::Out(bytes) => (b'O', bytes),
        Frame::Err(bytes) => (b'R', bytes),
        Frame::FileName(name) => (b'N', name.as_bytes()),
        Frame::FilePiece(bytes) => (b'F', bytes),
        Frame::Exit(exit) => {
            code = [*exit];
            (b'X', &code)
        }
    };
    let cuttable = matches!(tag, b'I' | b'O' | b'R' | b'F');
    if !cuttable && body.len() > SOCKET_FRAME_BYTES_MAX {
        return Err(broken("a command line is too long"));
    }
    if body.is_empty() {
        return one(stream, tag, body).await;
    }
    for piece in body.chunks(SOCKET_FRAME_BYTES_MAX) {
        one(stream, tag, piece).await?;
    }
    Ok(())
}

async fn one(stream: &mut (impl AsyncWrite + Unpin), tag: u8, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| broken("a frame is too long"))?;
    let mut head = [tag, 0, 0, 0, 0];
    head[1..].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&head).await?;
    stream.write_all(body).await?;
    stream.flush().await
}

fn parse(tag: u8, body: Vec<u8>) -> io::Result<Frame> {
    let text = |body| String::from_utf8(body).map_err(|_| broken("a name is not text"));
    Ok(match (tag, body.as_slice()) {
        (b'A', _) => {
            let words = serde_json::from_slice(&body);
            Frame::Words(words.map_err(|_| broken("the words are not a JSON array"))?)
        }
        (b'V', _) => {
            let address = text(body)?.parse();
            Frame::Visitor(address.map_err(|_| broken("a visitor's address is none"))?)
        }
        (b'I', _) => Frame::Input(body),
        (b'E', []) => Frame::InputEnd,
        (b'O', _) => Frame::Out(body),
        (b'R', _) => Frame::Err(body),
        (b'N', _) => Frame::FileName(text(body)?),
        (b'F', _) => Frame::FilePiece(body),
        (b'X', [exit]) => Frame::Exit(*exit),
        _ => return Err(broken("an unknown frame")),
    })
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_and_long_ones_in_pieces() {
        let long = vec![7; SOCKET_FRAME_BYTES_MAX + 1];
        let sent = [
            Frame::Words(vec!["audit".into(), "a \"b\"\n".into()]),
            Frame::Input(b"x".to_vec()),
            Frame::InputEnd,
            Frame::Visitor(IpAddr::from([192, 0, 2, 7])),
            Frame::FileName("report.html".into()),
            Frame::FilePiece(Vec::new()),
            Frame::Exit(3),
        ];
        let mut wire = Vec::new();
        for frame in &sent {
            write(&mut wire, frame).await.unwrap();
        }
        write(&mut wire, &Frame::Out(long.clone())).await.unwrap();
        let mut wire = wire.as_slice();
        for frame in sent {
            assert_eq!(read(&mut wire).await.unwrap(), Some(frame));
        }
        let mut back = Vec::new();
        while let Some(frame) = read(&mut wire).await.unwrap() {
            let Frame::Out(piece) = frame else { panic!("not a piece of the answer") };
            back.extend(piece);
        }
        assert_eq!(back, long);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        let cases: [&[u8]; 8] = [
            b"V\0\0\0\x03::x",
            b"Z\0\0\0\0",
            b"A\0\0\0\x01{",
            b"A\xff\xff\xff\xff",
            b"X\0\0\0\x02ab",
            b"N\0\0\0\x01\xff",
            b"O\0\0",
            b"E\0\0\0\x01x",
        ];
        for bytes in cases {
            assert!(read(&mut &*bytes).await.is_err(), "{bytes:?}");
        }
    }
}
