//! `bastion serve`: the gateway in the foreground, until SIGTERM or SIGINT.

use super::Fault;
use crate::{
    config::Config,
    serve::{self, Serving},
};
use std::{io, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// `bastion serve`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs in the foreground and says what it does on standard error. SIGTERM and SIGINT end it in
order: every channel is ended and entered in the log first. A second signal does not hurry it.

With --stdio it serves the one connection that is on standard input and output, for inetd or as a
ProxyCommand of ssh. A gateway that runs on this machine gets it, with the address that it comes
from; without one the store is opened for as long as the connection lasts, and no port is listened
on.

Examples:
  bastion serve --config /srv/bastion/bastion.toml
  ssh -o ProxyCommand=\"bastion serve --stdio --config /srv/bastion/bastion.toml\" bastion ls
  BASTION_CONFIG=/srv/bastion/bastion.toml RUST_LOG=debug bastion serve")]
pub struct Args {
    /// Put the policy files in force if they are not those in force; entered in the log
    #[arg(long)]
    accept_policy: bool,
    /// Serve one connection, on standard input and output
    #[arg(long)]
    stdio: bool,
}

/// Runs the gateway until it is asked to stop.
pub fn run(config: Config, args: &Args) -> Result<ExitCode, Fault> {
    if args.stdio {
        return super::stdio::run(config, args.accept_policy);
    }
    super::start_tracing(&config.tracing);
    let serving = Serving { accept_policy: args.accept_policy, visitors_only: false };
    let runtime = super::runtime()?;
    runtime.block_on(async {
        let stop = asked_to_stop().map_err(Fault::failed)?;
        serve::run(config, serving, stop).await.map_err(Fault::failed)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Resolves at SIGTERM or SIGINT.
pub(super) fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
