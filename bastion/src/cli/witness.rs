//! `bastion witness`: what a customer or an auditor runs to see to it that the log shows one
//! history to everybody. It needs no deployment, no database and no account.

use super::Fault;
use crate::{
    config::Tracing,
    entropy, keyfile,
    witness::{
        memory::Memory,
        server,
        settings::{self, BadSettings, FILE_NAME, Settings, TEMPLATE},
    },
};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// `bastion witness`
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Make a witness: its key, its empty memory, its configuration; prints its public key
    Init(Init),
    /// Cosign what extends what was seen, until SIGTERM or SIGINT
    #[command(after_help = "\
It listens where its configuration says, for the one request of c2sp.org/tlog-witness. It keeps
size and root of the last checkpoint of each log, and nothing else.

Example:
  bastion witness serve --config /srv/witness/witness.toml")]
    Serve,
}

/// `bastion witness init`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  bastion witness init --dir /srv/witness --name witness.acme.example/w1 \\
      --log \"$(cat bastion.vkey)\"
  bastion witness serve --config /srv/witness/witness.toml")]
pub struct Init {
    /// The folder to make
    #[arg(long)]
    dir: PathBuf,
    /// Its name, as in a URL without https://; it never changes
    #[arg(long)]
    name: String,
    /// Where to listen; beyond loopback it needs a certificate in witness.toml
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: String,
    /// The key of a log that it is to see, as `bastion audit checkpoint --key` prints it
    #[arg(long, value_name = "VKEY")]
    log: Vec<String>,
}

/// Runs it; `config` is what `--config` names, never the gateway's of the environment.
pub fn run(config: Option<&Path>, verb: &Verb) -> Result<ExitCode, Fault> {
    match verb {
        Verb::Init(ask) => init(ask),
        Verb::Serve => serve(config),
    }
}

fn init(ask: &Init) -> Result<ExitCode, Fault> {
    let file = ask.dir.join(FILE_NAME);
    let logs: String = ask.log.iter().map(|key| format!("\n    \"{key}\",")).collect();
    let close = if logs.is_empty() { "" } else { "\n" };
    let text = TEMPLATE
        .replace("@NAME@", &ask.name)
        .replace("@LISTEN@", &ask.listen)
        .replace("@LOGS@", &(logs + close));
    // Beyond loopback the certificate is still to come: all the rest is checked now.
    let local = text.replace(&ask.listen, "127.0.0.1:1");
    ask.listen.parse::<std::net::SocketAddr>().map_err(Fault::usage)?;
    let settings = Settings::parse(&std::path::absolute(&file).map_err(Fault::failed)?, &local);
    let settings = settings.map_err(Fault::usage)?;
    keyfile::make_private_dir(&settings.memory).map_err(Fault::failed)?;
    let seed = entropy::draw().map_err(Fault::failed)?;
    let key = keyfile::make_log_key(&settings.key, seed).map_err(Fault::failed)?;
    let public = settings::public(&ask.name, &key).map_err(Fault::usage)?;
    Memory::create(&settings.memory, &public).map_err(Fault::failed)?;
    // Last: without it there is no witness.
    keyfile::write_private(&file, text.as_bytes()).map_err(Fault::failed)?;
    println!("{public}");
    eprintln!("the line above is the witness's public key: give it to those who run the log");
    if ask.log.is_empty() {
        eprintln!("name the keys of the logs that it is to see in {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(config: Option<&Path>) -> Result<ExitCode, Fault> {
    let file = config.ok_or_else(|| Fault::usage(BadSettings::Unnamed))?;
    let settings = Settings::load(file).map_err(Fault::usage)?;
    super::start_tracing(&Tracing { json: false, filter: "info".into() });
    super::runtime()?.block_on(async {
        let stop = super::serve::asked_to_stop().map_err(Fault::failed)?;
        tokio::select! {
            ended = server::run(&settings) => ended.map_err(Fault::failed)?,
            // Whatever was cosigned is on the disk; whoever waits asks again.
            () = stop => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}
