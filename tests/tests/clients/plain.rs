//! What clients of one program and one channel have in common: PuTTY's and dropbear's.

use crate::{
    desk::Trial,
    table::{Cell, Cell::Cannot, Feature, Feature as F},
};

/// What none of them has; they are tried with what is theirs.
pub const CELLS: &[(Feature, Cell<Trial>)] = &[
    (F::Signal, Cannot("The client sends no signals; Ctrl-C in a terminal does.")),
    (F::Channels, Cannot("One channel on each connection is what its command line does here.")),
    (F::Sshfs, Cannot("Not a thing of this client.")),
    (F::Git, Cannot("Not a thing of this client.")),
    (F::Ansible, Cannot("Not a thing of this client.")),
    (F::Forwarding, Cannot("Tried with OpenSSH.")),
];
