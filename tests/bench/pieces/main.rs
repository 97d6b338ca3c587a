//! The pieces that the relay's speed is made of, one by one: `cargo bench -p bastion-tests`.
//!
//! [`pieces`] are pure work on one core: a certificate, the sealing of a recording's bytes, a
//! recording through its writer thread to the disk. [`pump`] is the relay itself between a client
//! and a real sshd, without the questions that the product asks first.

// A panic is how a bench fails.
#![allow(clippy::unwrap_used)]
// Criterion's macro makes a function without a doc.
#![allow(missing_docs)]

mod pieces;
mod pump;
// The gateway of the relay's own tests: nothing but a relay.
#[path = "../../tests/relay/gateway.rs"]
#[allow(dead_code)]
mod gateway;
#[path = "../../tests/relay/vm.rs"]
#[allow(dead_code)]
mod vm;

criterion::criterion_group!(
    benches,
    pieces::certificate,
    pieces::sealing,
    pieces::recorder,
    pump::pump
);
criterion::criterion_main!(benches);
