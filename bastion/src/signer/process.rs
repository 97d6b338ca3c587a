//! The signer as a process: how it is started, and what it does until its gateway is gone.
//!
//! `bastion signer` is no command for people: its standard input is one end of a socket pair, and
//! the gateway has the other. It ends when that is closed, and the gateway notices at its next
//! question when it has ended.

use super::{
    engine::{self, Engine, EngineError},
    message, sandbox,
};
use crate::config::Config;
use nix::sys::signal::{SigSet, Signal};
use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream as StdStream, process::CommandExt as _},
    },
    process::{Child, Command, Stdio},
};
use tokio::net::UnixStream;

/// Starts the signer of a deployment; the stream is our end.
pub(super) fn spawn(config: &Config) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = StdStream::pair()?;
    let child = Command::new(std::env::current_exe()?)
        .arg("signer")
        .arg("--config")
        .arg(&config.file)
        // The log says itself how it is called, and the signer cannot read it.
        .arg("--log")
        .arg(&config.provable.origin)
        .env_clear()
        .current_dir("/")
        // A key that the terminal sends to the gateway is not for it.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()?;
    tracing::info!(pid = child.id(), "the signer runs");
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, child))
}

/// What `bastion signer` does.
pub fn run(config: &Config) -> Result<(), EngineError> {
    // The gateway ends it by closing the socket, after its own last entry.
    let mut held = SigSet::empty();
    held.add(Signal::SIGTERM);
    held.add(Signal::SIGINT);
    held.add(Signal::SIGHUP);
    let broken = |error: io::Error| EngineError::State(engine::folder(config), error);
    held.thread_block().map_err(|error| broken(error.into()))?;
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(broken)?;
    let mut stream = StdStream::from(stdin);
    let mut engine = Engine::open(config)?;
    engine.confined_by(sandbox::confine(&engine::folder(config)).map_err(broken)?);
    while let Some(request) = message::take(&mut stream).map_err(broken)? {
        message::put(&mut stream, &engine.answer(request)).map_err(broken)?;
        engine.flush().map_err(broken)?;
    }
    Ok(())
}
