//! The beginning of a connection, read before the protocol's library reads it.
//!
//! SSH lets the *client's* list decide which cipher is used, and OpenSSH puts ChaCha20 first, which
//! costs either side twice what AES-GCM does. So a client that has AES-GCM is offered nothing else.
//! For that its key exchange proposal has to be seen before ours is made. OpenSSH sends it without
//! waiting for ours, so near clients have it here at once; for whoever does not show it within
//! [`PROPOSAL_MILLIS_MAX`] (a round trip far away, another client), everything is offered, as it is
//! to clients that have no AES-GCM. PuTTY is known by its name alone. Nothing is judged here: what
//! was read is read again by whoever speaks SSH.

use super::doorstep::VERSION;
use crate::relay::socket::flushes_and_ends_its_stream;
use bastion_core::limits::{PROPOSAL_BYTES_MAX, PROPOSAL_MILLIS_MAX, VERSION_BYTES_MAX};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// A stream whose first bytes have been exchanged.
pub(super) struct Greeted<S> {
    stream: S,
    /// What the peer has sent, still to be read.
    heard: Vec<u8>,
    read: usize,
    /// Our version line has been sent; whoever writes it again writes nothing.
    said: usize,
}

/// What is known of a peer before the key exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// It has AES-GCM.
    pub has_gcm: bool,
    /// It is one of PuTTY's programs.
    pub is_putty: bool,
}

/// Says our version, hears the peer's, and from OpenSSH its proposal if it comes at once.
pub(super) async fn greet<S>(mut stream: S) -> io::Result<(Greeted<S>, Peer)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = format!("{VERSION}\r\n");
    stream.write_all(line.as_bytes()).await?;
    stream.flush().await?;
    let mut heard = Vec::new();
    while !heard.contains(&b'\n') && heard.len() < VERSION_BYTES_MAX {
        if stream.read_buf(&mut heard).await? == 0 {
            break;
        }
    }
    let is_putty = heard.starts_with(b"SSH-2.0-PuTTY");
    let mut has_gcm = false;
    if heard.starts_with(b"SSH-2.0-OpenSSH_") {
        let proposal = proposal(&mut stream, &mut heard);
        let patience = Duration::from_millis(PROPOSAL_MILLIS_MAX);
        has_gcm = matches!(tokio::time::timeout(patience, proposal).await, Ok(Ok(true)));
    }
    let peer = Peer { has_gcm, is_putty };
    Ok((Greeted { stream, heard, read: 0, said: line.len() }, peer))
}

/// Reads until the proposal is there; whether both of its lists of ciphers have AES-GCM.
async fn proposal<S>(stream: &mut S, heard: &mut Vec<u8>) -> io::Result<bool>
where
    S: AsyncRead + Unpin,
{
    loop {
        let start = heard.iter().position(|&byte| byte == b'\n').map_or(heard.len(), |at| at + 1);
        match judge(&heard[start..]) {
            Proposal::Has(gcm) => return Ok(gcm),
            Proposal::Incomplete if heard.len() < PROPOSAL_BYTES_MAX => {}
            Proposal::Incomplete => return Ok(false),
        }
        // Dropped while it waits, it has read nothing.
        if stream.read_buf(heard).await? == 0 {
            return Ok(false);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Proposal {
    Incomplete,
    Has(bool),
}

/// RFC 4253 §7.1: a packet with a cookie and ten lists, of which the third and fourth are ciphers.
fn judge(packet: &[u8]) -> Proposal {
    let Some((length, rest)) = packet.split_first_chunk::<4>() else {
        return Proposal::Incomplete;
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > PROPOSAL_BYTES_MAX {
        return Proposal::Has(false);
    }
    let Some(body) = rest.get(..length) else { return Proposal::Incomplete };
    let lists = (body.get(1) == Some(&MSG_KEXINIT)).then(|| body.get(2 + COOKIE_BYTES..)).flatten();
    let Some(mut lists) = lists else { return Proposal::Has(false) };
    let mut next = || {
        let (length, rest) = lists.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        lists = rest.get(length..)?;
        rest.get(..length)
    };
    // Key exchanges and host keys come first.
    next();
    next();
    let both = [next(), next()].into_iter().all(|list| list.is_some_and(names_gcm));
    Proposal::Has(both)
}

fn names_gcm(list: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|name| GCM.contains(&name))
}

const MSG_KEXINIT: u8 = 20;
const COOKIE_BYTES: usize = 16;
const GCM: [&[u8]; 2] = [b"aes256-gcm@openssh.com", b"aes128-gcm@openssh.com"];

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let waiting = &this.heard[this.read..];
        if waiting.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, into);
        }
        let length = waiting.len().min(into.remaining());
        into.put_slice(&waiting[..length]);
        this.read += length;
        if this.read == this.heard.len() {
            (this.heard, this.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.said > 0 {
            let length = self.said.min(data.len());
            self.said -= length;
            return Poll::Ready(Ok(length));
        }
        Pin::new(&mut self.stream).poll_write(cx, data)
    }
    flushes_and_ends_its_stream!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(lists: &[&str]) -> Vec<u8> {
        let mut body = vec![4, MSG_KEXINIT];
        body.extend([7; COOKIE_BYTES]);
        for list in lists {
            body.extend(u32::try_from(list.len()).expect("short").to_be_bytes());
            body.extend(list.as_bytes());
        }
        let mut packet = u32::try_from(body.len()).expect("short").to_be_bytes().to_vec();
        packet.extend(body);
        packet
    }

    #[test]
    fn a_proposal_has_gcm_if_both_of_its_lists_have() {
        let (gcm, other) = ("chacha20-poly1305@openssh.com,aes128-gcm@openssh.com", "aes256-ctr");
        for (there, back, has) in [
            (gcm, gcm, true),
            (gcm, other, false),
            (other, gcm, false),
            ("aes128-gcm@openssh.com.example", gcm, false),
            ("", "", false),
        ] {
            let whole = packet(&["kex", "keys", there, back, "mac"]);
            assert_eq!(judge(&whole), Proposal::Has(has), "{there} {back}");
            for cut in 0..whole.len() {
                assert_eq!(judge(&whole[..cut]), Proposal::Incomplete, "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_proposal_has_nothing() {
        assert_eq!(judge(&[0xff; 64]), Proposal::Has(false));
        assert_eq!(judge(&[0, 0, 0, 0, 1, 2, 3]), Proposal::Has(false));
        assert_eq!(judge(&packet(&["kex"])), Proposal::Has(false));
        // A list that says it is longer than the packet.
        let mut lying = packet(&["kex", "keys", "aes256-gcm@openssh.com"]);
        lying[4 + 2 + COOKIE_BYTES] = 0xff;
        assert_eq!(judge(&lying), Proposal::Has(false));
    }

    #[tokio::test]
    async fn what_was_heard_is_heard_again_and_what_was_said_is_not_said_again() {
        let (near, mut far) = tokio::io::duplex(4096);
        let gcm = "aes256-gcm@openssh.com";
        let sent = [b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), packet(&["k", "h", gcm, gcm])].concat();
        far.write_all(&sent).await.expect("room");
        let (mut greeted, peer) = greet(near).await.expect("greets");
        assert_eq!(peer, Peer { has_gcm: true, is_putty: false });
        greeted.write_all(format!("{VERSION}\r\nnext").as_bytes()).await.expect("room");
        drop(far.write_all(b"more").await);
        let mut again = vec![0; sent.len() + 4];
        greeted.read_exact(&mut again).await.expect("all of it");
        assert_eq!(again, [&sent[..], b"more"].concat());
        let mut said = vec![0; VERSION.len() + 2 + 4];
        far.read_exact(&mut said).await.expect("all of it");
        assert_eq!(said, format!("{VERSION}\r\nnext").into_bytes());
    }
}
