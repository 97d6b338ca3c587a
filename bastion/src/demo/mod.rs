//! `bastion demo`: a whole bastion on loopback, with VMs that are real sshd processes.
//!
//! The story in order: a folder is laid out ([`place`]), a deployment is made in it as `bastion
//! init` would, three VMs are laid out ([`vm`]) and entered into the inventory by the commands that
//! an officer would type ([`world`]), they boot, the gateway listens, and the files that a visitor
//! needs are written ([`visit`]). [`walk`] then tells what the product does with the real `ssh` and
//! `ssh-keygen`. All that was started ends with us ([`child`]).

mod child;
mod disk;
mod error;
mod files;
mod port;
mod separation;
mod vm;

pub use error::DemoError;
