//! Forwards: denied by default and by name, permitted by policy and list, each connection on
//! record. Real sshd, real ssh, in both forms.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod closed;
mod cut;
mod dynamic;
mod editor;
mod lent;
mod local;
mod remote;
mod scene;
mod socks;
