//! Forwards: denied by default and by name, permitted by policy and list, each connection on
//! record. Real sshd, real ssh, in both forms.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

/// Tests of what these kinds permit, once on each store.
macro_rules! on_both_stores {
    ($kinds:expr => $($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $name() { super::$name(&crate::scene::permitting($kinds)); })*
        }
        mod on_postgres {
            $(#[test] fn $name() { super::$name(&crate::scene::permitting_on_postgres($kinds)); })*
        }
    };
}
use on_both_stores;

mod closed;
mod cut;
mod dynamic;
mod editor;
mod lent;
mod local;
mod rebuilt;
mod recorded;
mod remote;
mod reported;
mod scene;
mod socks;
