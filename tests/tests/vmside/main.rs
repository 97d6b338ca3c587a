//! The VM's side: how it is provisioned, how it proves itself, how its own record is compared with
//! the log. The judges are the machine's own tools: curl, openssl, ssh-keygen, sshd.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bootstrap;
mod enrolled;
mod https;
mod krl;
mod reconciled;
mod world;
