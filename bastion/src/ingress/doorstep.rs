//! What somebody is told who is not let in at all: one SSH disconnect, before any cryptography.
//!
//! RFC 4253 lets either side disconnect at any time, so a version line and one plain packet are
//! enough for a client to show the reason; lines before the version, which it also permits, are
//! shown by none. It costs no key exchange, and nothing that depends on the peer: so many peers at
//! once are told, for a short time, and the rest are closed without a word.

use bastion_core::limits::{DOORSTEP_MAX, DOORSTEP_SECONDS};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
};

/// The gateway's version line.
pub const VERSION: &str = "SSH-2.0-bastion";

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Of all that is known about them (SSH_DISCONNECT_HOST_NOT_ALLOWED_TO_CONNECT).
    ShutOut = 1,
    /// There are too many already (SSH_DISCONNECT_TOO_MANY_CONNECTIONS).
    Full = 12,
}

/// Where those stand who are told.
#[derive(Clone)]
pub struct Doorstep(Arc<Semaphore>);

impl Default for Doorstep {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(DOORSTEP_MAX)))
    }
}

impl Doorstep {
    /// Tells a peer why it is not let in, and closes its connection.
    pub fn tell(&self, mut stream: TcpStream, reason: Reason, sentence: &str) {
        let Ok(place) = Arc::clone(&self.0).try_acquire_owned() else { return };
        let words = [VERSION.as_bytes(), b"\r\n", &disconnect(reason, sentence)].concat();
        tokio::spawn(async move {
            let said = async {
                stream.write_all(&words).await?;
                stream.shutdown().await?;
                // Closing on bytes that were not read would take the words back on the way.
                while stream.read(&mut [0; 1024]).await? > 0 {}
                Ok::<_, std::io::Error>(())
            };
            let limit = Duration::from_secs(DOORSTEP_SECONDS);
            if !matches!(tokio::time::timeout(limit, said).await, Ok(Ok(()))) {
                tracing::debug!("a peer that is not let in did not listen");
            }
            drop(place);
        });
    }
}

const MSG_DISCONNECT: u8 = 1;
const BLOCK: usize = 8;
const PADDING_MIN: usize = 4;

/// A disconnect as RFC 4253 §6 and §11.1 frame it when no keys are in use.
fn disconnect(reason: Reason, sentence: &str) -> Vec<u8> {
    let mut payload = vec![MSG_DISCONNECT];
    payload.extend((reason as u32).to_be_bytes());
    for text in [sentence, "en"] {
        payload.extend(be_length(text.len()));
        payload.extend(text.as_bytes());
    }
    let bare = 4 + 1 + payload.len() + PADDING_MIN;
    let padding = PADDING_MIN + bare.next_multiple_of(BLOCK) - bare;
    let mut packet = be_length(1 + payload.len() + padding).to_vec();
    // At most eleven.
    packet.push(padding as u8);
    packet.extend(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// The sentences are ours, and short.
fn be_length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disconnect_is_framed_as_the_protocol_wants_it() {
        for length in 0..40 {
            let sentence = "x".repeat(length);
            let packet = disconnect(Reason::Full, &sentence);
            assert_eq!(packet.len() % BLOCK, 0);
            assert!(packet.len() >= 16);
            let inside = u32::from_be_bytes(packet[..4].try_into().expect("four"));
            assert_eq!(inside as usize, packet.len() - 4);
            assert!((4..=11).contains(&packet[4]));
            assert_eq!(packet[5..10], [1, 0, 0, 0, 12]);
            assert_eq!(&packet[14..14 + length], sentence.as_bytes());
        }
    }
}
