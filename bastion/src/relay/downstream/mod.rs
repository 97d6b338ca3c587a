//! The operator's side of a channel: what comes in, and at which pace.
//!
//! Russh calls a handler for every message of a connection, one after the other. A handler that
//! waits therefore stops the whole connection, the window adjustments included that would end the
//! wait. So nothing here waits: a callback puts the bytes into the channel's [`Inbox`] and returns,
//! and the relay takes them out of the [`Input`] at the VM's pace. What keeps an operator from
//! running ahead for ever is the window: once a channel is far behind, [`Flow::adjust_window`]
//! grants 16 bytes a round trip instead of megabytes, and the next reads of the connection are
//! held a little ([`Flow::tcp`]). Both are taken back as soon as the VM has caught up.
//!
//! ```text
//! socket ─▶ Flow::tcp (holds reads) ─▶ russh ─▶ Handler::data ─▶ Inbox │ Input ─▶ relay ─▶ VM
//!                                        └────▶ Handler::adjust_window ─▶ Flow::adjust_window
//! ```
//!
//! Data and EOF keep their order; a resized window and a signal overtake them, as they would have
//! overtaken bytes in a terminal's queue.

mod flow;
mod lane;
mod socket;

pub use flow::Flow;
pub use lane::{Control, Inbox, Input, Piece};
pub use socket::Socket;

use super::spool::Overrun;
use bastion_core::request::Beside;
use russh::{
    ChannelWriteHalf,
    server::{self, ChannelOpenHandle},
};

/// The operator's side of one channel, as the relay takes it over.
pub struct Downstream {
    /// What the operator sends.
    pub input: Input,
    /// Where the operator's output goes: waits for the operator's window.
    pub write: ChannelWriteHalf<server::Msg>,
    /// The connection, for an exit signal (russh's channel cannot send one).
    pub handle: server::Handle,
    /// What was asked for before the first byte.
    pub setup: Setup,
    /// The answer that a forward still waits for: it is given when the VM has been reached.
    pub opening: Option<ChannelOpenHandle>,
}

impl Downstream {
    /// Opens the operator's channel, if that has not been done.
    pub async fn accept(&mut self) {
        if let Some(opening) = self.opening.take() {
            opening.accept().await;
        }
    }
}

/// What the operator asked for: one channel's requests, gathered.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What is to run.
    pub kind: Kind,
    /// The terminal, if one was asked for.
    pub pty: Option<Pty>,
    /// The environment that the policy lets through.
    pub env: Vec<(String, String)>,
    /// What the VM may use of the operator's.
    pub lent: Lent,
    /// A line for the operator before the first byte of the VM's; recorded as output.
    pub notice: Option<String>,
}

/// What a session has besides its program, as far as policy permits.
#[derive(Clone, Debug, Default)]
pub struct Lent {
    /// The operator's agent.
    pub agent: bool,
    /// The operator's display.
    pub x11: Option<X11>,
}

impl Lent {
    /// Keeps what was granted.
    pub fn keep(&mut self, granted: Beside) {
        self.agent &= granted.agent;
        self.x11.take_if(|_| !granted.x11);
    }
}

/// How the operator's display is to be reached, passed on as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X11 {
    /// One connection only.
    pub single: bool,
    /// The name of the authentication protocol.
    pub protocol: String,
    /// A cookie that the client made up for this.
    pub cookie: String,
    /// Which screen.
    pub screen: u32,
}

/// What is to run at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The account's login shell.
    Shell,
    /// One command, exactly as sent.
    Exec(Vec<u8>),
    /// The sftp subsystem.
    Sftp,
    /// A connection: nothing runs, bytes go to and from this place.
    Forward(String),
}

/// The operator's terminal.
#[derive(Clone, Debug)]
pub struct Pty {
    /// Its type, as in `TERM`.
    pub term: String,
    /// Its size.
    pub size: WindowSize,
    /// Its modes, to be passed on as they are.
    pub modes: Vec<(russh::Pty, u32)>,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Columns of characters.
    pub columns: u32,
    /// Rows of characters.
    pub rows: u32,
    /// Width in pixels, or zero.
    pub width: u32,
    /// Height in pixels, or zero.
    pub height: u32,
}
