//! The relay: one operator channel joined to one VM channel, recorded, at both sides' pace.
//!
//! [`run`] is the whole of it. An operator cannot tell it from a direct connection, except that
//! everything is on record: no byte is delivered that the recording does not have, output that
//! nobody takes is held back at its source, and neither a stuck operator nor a stuck VM stops
//! anything but its own channel.
//!
//! One thing an operator can tell: `ssh VM yes | head` does not end by itself. The client's wish
//! (`eow@openssh.com`) is sent to servers that say they are OpenSSH only, and russh has no hook for
//! it; the client goes on taking what it throws away, until Ctrl-C. The recording's bounds hold.

mod banner;
mod closing;
pub mod downstream;
mod fifo;
mod keystream;
mod outbox;
mod page;
mod pump;
mod quota;
pub mod recording;
mod scp;
mod scribe;
pub mod sftp;
pub(crate) mod socket;
mod spool;
mod tap;

pub use closing::{Closing, Evidence, Terms};
pub use outbox::Exit;
pub use page::Page;
pub use pump::run;
pub use quota::Quotas;
pub use spool::{Overrun, Spools};
pub use tap::{Seen, Tap, Tapped, Taps, Watcher};
