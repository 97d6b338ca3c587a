//! What can go wrong with a demo, and what to do about it.

use std::{io, path::PathBuf};

/// Why the demo could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The operating system refused something.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// The answer.
        source: io::Error,
    },
    /// The folder cannot be used.
    #[error("{dir:?} cannot be the demo's folder: {why}")]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A program of the machine is missing.
    #[error("{0} is missing: install openssh-server (on Debian: apt-get install openssh-server)")]
    Missing(&'static str),
    /// A VM did not come up.
    #[error("the VM {vm} does not answer on port {port}; its log, {log:?}, ends with: {last}")]
    Vm {
        /// Its name.
        vm: String,
        /// Where it should listen.
        port: u16,
        /// The log of its sshd.
        log: PathBuf,
        /// The last lines of that log.
        last: String,
    },
    /// A key or certificate could not be made.
    #[error("cannot make a key: {0}")]
    Key(#[from] russh::keys::ssh_key::Error),
    /// The gateway refused a step of the set-up, or failed.
    #[error("{0}")]
    Gateway(String),
}

/// Says what was being done when the operating system refused.
pub trait Doing<T> {
    /// Attaches the sentence.
    fn doing(self, what: impl Into<String>) -> Result<T, DemoError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, DemoError> {
        self.map_err(|source| DemoError::Io { doing: what.into(), source })
    }
}

impl<T> Doing<T> for nix::Result<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, DemoError> {
        self.map_err(io::Error::from).doing(what)
    }
}
