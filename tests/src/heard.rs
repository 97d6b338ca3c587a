//! What a command printed, for tests that run commands without the SSH around them.

use bastion::api::Output;
use futures_util::future::BoxFuture;
use std::io;

/// Standard output and standard error of a command; a file that it would write is refused.
#[derive(Debug, Default)]
pub struct Heard {
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: Vec<u8>,
}

impl Output for Heard {
    fn out<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        self.out.extend(bytes);
        Box::pin(async { Ok(()) })
    }
    fn err<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        self.err.extend(bytes);
        Box::pin(async { Ok(()) })
    }
    fn file<'a>(&'a mut self, name: &'a str, _: Vec<u8>) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { Err(io::Error::other(format!("no place for {name}"))) })
    }
}
