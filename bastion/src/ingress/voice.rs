//! The gateway's own words on a channel: on standard error, and within bounds.
//!
//! A peer that does not read must not hold up what the gateway has to do, so nothing here waits
//! longer than a quarter of a second.

use russh::{ChannelWriteHalf, server::Msg};
use std::future::Future;

/// SSH's code for standard error.
pub(super) const STDERR: u32 = 1;

/// Speaks on one channel.
pub(super) struct Voice {
    write: ChannelWriteHalf<Msg>,
    terminal: bool,
}

impl Voice {
    /// On this channel; a terminal wants its lines ended in its own way.
    pub fn new(write: ChannelWriteHalf<Msg>, terminal: bool) -> Self {
        Self { write, terminal }
    }

    /// Says why the channel ends, with which status, and closes it.
    pub async fn last_words(&self, words: &str, status: u32) {
        let said = async {
            self.write.extended_data_bytes(STDERR, self.lines(words.as_bytes())).await?;
            self.write.exit_status(status).await?;
            self.write.eof().await
        };
        within(said).await;
        self.close().await;
    }

    /// Closes the channel with a status, when everything was said.
    pub async fn finish(&self, status: u32) {
        let said = async {
            self.write.exit_status(status).await?;
            self.write.eof().await
        };
        within(said).await;
        self.close().await;
    }

    /// Says something.
    pub async fn say(&self, words: &str) {
        within(self.write.extended_data_bytes(STDERR, self.lines(words.as_bytes()))).await;
    }

    /// Closes the channel.
    pub async fn close(&self) {
        hang_up(&self.write).await;
    }

    /// Writes to standard output (none) or standard error; waits for the peer's window.
    pub async fn write(&self, stream: Option<u32>, bytes: &[u8]) -> Result<(), russh::Error> {
        let bytes = self.lines(bytes);
        match stream {
            None => self.write.data_bytes(bytes).await,
            Some(code) => self.write.extended_data_bytes(code, bytes).await,
        }
    }

    /// What a terminal driver would make of line ends: there is none here to do it.
    fn lines(&self, bytes: &[u8]) -> Vec<u8> {
        if !self.terminal {
            return bytes.to_vec();
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        for &byte in bytes {
            if byte == b'\n' {
                out.push(b'\r');
            }
            out.push(byte);
        }
        out
    }
}

/// Closes a channel to which there is nothing more to say. Closing it again does nothing.
pub(super) async fn hang_up(write: &ChannelWriteHalf<Msg>) {
    within(write.close()).await;
}

async fn within(said: impl Future<Output = Result<(), russh::Error>>) {
    match tokio::time::timeout(super::LAST_WORDS, said).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the peer is gone"),
        Err(_) => tracing::debug!("the peer does not listen"),
    }
}
