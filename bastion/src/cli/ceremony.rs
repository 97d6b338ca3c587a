//! `bastion audit new-epoch` and `new-mark`: what is done by hand after a loss, on the machine
//! itself and while no gateway runs.

use super::Fault;
use crate::{
    api::{audit::Lost, socket::local_caller},
    app::log,
    config::Config,
};
use audit_schema::event::Actor;
use std::process::ExitCode;

fn actor() -> Actor {
    local_caller(nix::unistd::getuid().as_raw()).actor
}

/// The log goes on under another name.
pub fn new_epoch(config: &Config, lost: Lost, reason: &str) -> Result<ExitCode, Fault> {
    let who = (actor(), reason.to_owned());
    let begun = log::new_epoch(config, lost.from..=lost.to, who);
    let origin = super::runtime()?.block_on(begun).map_err(Fault::failed)?;
    println!(
        "the log goes on as {origin}. Its first entry there says that entries {} to {} are lost; \
         each customer's chain has one, too.",
        lost.from, lost.to
    );
    println!(
        "next: start the gateway; give auditors, witnesses and VMs the new log key (`bastion audit \
         checkpoint --key`); keep the old checkpoints and the old published folder as evidence."
    );
    Ok(ExitCode::SUCCESS)
}

/// The gateway gets a high-water mark again.
pub fn new_mark(config: &Config, reason: &str) -> Result<ExitCode, Fault> {
    let made = log::new_mark(config, (actor(), reason.to_owned()));
    let seq = super::runtime()?.block_on(made).map_err(Fault::failed)?;
    println!("the high-water mark is at entry {seq}, which says why");
    Ok(ExitCode::SUCCESS)
}
