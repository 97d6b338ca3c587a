//! The bastion, in the order in which a connection meets it.

pub mod api;
pub mod app;
pub mod authn;
pub mod backup;
pub mod ca;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
mod durable;
pub mod egress;
pub mod entropy;
pub mod gate;
pub mod https;
pub mod ingress;
pub mod keyfile;
pub mod ledger;
pub mod metrics;
pub mod notices;
pub mod relay;
pub mod render;
pub mod serve;
pub mod signer;
pub mod store;
pub mod witness;
