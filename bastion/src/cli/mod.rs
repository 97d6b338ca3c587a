//! The local command line: to make a deployment, to run it, and to read it.
//!
//! Everything that changes a running deployment goes over SSH, where a key says who asks. What is
//! left here needs the machine itself: `init` (no officer exists yet), `serve`, `doctor`, and the
//! reading commands, which a running gateway answers over its Unix socket and whose entry in the
//! log names the Unix user.

mod ceremony;
mod doctor;
pub mod init;
mod local;
mod policy;
mod provable;
mod replay;
mod restore;
mod search;
mod serve;
mod stdio;
mod tracing;
mod verify;
mod witness;

use crate::{api, config::Config};
use bastion_core::limits::FREED_BYTES_KEPT;
use bastion_guard::config::Owner;
use clap::{CommandFactory as _, Parser, Subcommand};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

pub use tracing::start as start_tracing;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed: something of ours went wrong, or the state of things does not allow it
  2    the command is not well formed; nothing was done
  3    refused: not allowed, not found, or not yours; it is in the log
  4    verification failed: a signature, a digest or the log does not hold
  70   the log cannot be written; nothing was done

Examples:
  bastion init --dir /srv/bastion --officer odile --officer-key ~odile/.ssh/id_ed25519.pub
  bastion serve --config /srv/bastion/bastion.toml
  bastion doctor --config /srv/bastion/bastion.toml
  export BASTION_CONFIG=/srv/bastion/bastion.toml
  bastion audit query --customer acme --since 2026-11-01 --oldest
  bastion report --customer acme --from 2026-11-01 --to 2026-12-01 --format html --out report";

/// An SSH gateway with customer consent and a provable audit log
#[derive(Debug, Parser)]
#[command(name = "bastion", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// The deployment: its bastion.toml (or set BASTION_CONFIG)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer as JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a deployment: configuration, keys, empty store, first officer
    Init(init::Args),
    /// Run the gateway
    Serve(serve::Args),
    /// Run a whole bastion on loopback, with VMs, people and a story to walk through
    Demo(crate::demo::Args),
    /// Say what is in order, what is not, and what to do about it
    Doctor(doctor::Args),
    /// Ask the log, verify it, hand it out
    #[command(subcommand)]
    Audit(api::audit::Verb),
    /// A sealed copy of the log and of all beside it, made while the gateway runs
    Backup(api::backup::Ask),
    /// Put a backup back, where there is no store
    Restore(restore::Args),
    /// What is live and what was, the end of it, the recordings
    #[command(subcommand)]
    Session(api::session::Verb),
    /// What was done to a customer's services in a period
    Report(api::report::Ask),
    /// What an operator puts into ~/.ssh to reach the bastion and the VMs
    ConnectConfig(api::connect::Ask),
    /// What policy files say, before an officer puts them in force
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Be a witness of other people's logs: cosign what extends what was seen before
    #[command(subcommand)]
    Witness(witness::Verb),
    /// Keep the keys of a gateway that started this, and sign for it
    #[command(hide = true)]
    Signer {
        /// The log's name in checkpoints
        #[arg(long, value_name = "NAME")]
        log: String,
    },
    /// Check a certificate as a VM does; what `bastion-guard` does, for a VM of the demo
    #[command(hide = true)]
    Guard {
        /// The configuration is this user's, not root's
        #[arg(long)]
        of_this_user: bool,
        /// As bastion-guard takes them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Print the completions of a shell
    #[command(after_help = "Example:\n  bastion completions bash > \
                            ~/.local/share/bash-completion/completions/bastion")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Why a local command did not do what it was asked: the exit code and the sentence.
#[derive(Debug)]
pub struct Fault {
    exit: u8,
    sentence: String,
}

impl Fault {
    /// Something of ours failed, or the state of things does not allow it.
    pub fn failed(cause: impl std::fmt::Display) -> Self {
        Self { exit: 1, sentence: cause.to_string() }
    }
    /// The command is not well formed.
    pub fn usage(cause: impl std::fmt::Display) -> Self {
        Self { exit: 2, sentence: cause.to_string() }
    }
    /// A signature, a digest or the log does not hold.
    pub fn unverified(cause: impl std::fmt::Display) -> Self {
        Self { exit: 4, sentence: cause.to_string() }
    }
}

/// Runs the command line of the process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(wrong) => {
            // Help and version come this way too; clap knows which goes where.
            return match wrong.print() {
                Ok(()) => ExitCode::from(u8::try_from(wrong.exit_code()).unwrap_or(2)),
                Err(_) => ExitCode::from(1),
            };
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(Fault { exit, sentence }) => {
            if !sentence.is_empty() {
                eprintln!("bastion: {sentence}");
            }
            ExitCode::from(exit)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Fault> {
    match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Serve(args) => serve::run(configuration(cli.config.as_deref())?, &args),
        Command::Demo(args) => crate::demo::run(&args),
        Command::Doctor(args) => {
            doctor::run(&configuration(cli.config.as_deref())?, &args, cli.json)
        }
        Command::Audit(api::audit::Verb::Verify(ask)) if ask.file.is_some() => {
            // The guard has seen it; an empty path cannot be opened.
            let file = ask.file.clone().unwrap_or_default();
            verify::run(&file, &ask, cli.json)
        }
        Command::Audit(api::audit::Verb::NewEpoch { lost, reason }) => {
            ceremony::new_epoch(&configuration(cli.config.as_deref())?, lost, &reason.to_string())
        }
        Command::Audit(api::audit::Verb::NewMark { reason }) => {
            ceremony::new_mark(&configuration(cli.config.as_deref())?, &reason.to_string())
        }
        Command::Audit(_) | Command::Backup(_) => read(cli.config.as_deref(), None),
        Command::Restore(args) => {
            restore::run(&configuration(cli.config.as_deref())?, &args, cli.json)
        }
        Command::Session(api::session::Verb::Replay(ask)) => {
            replay::run(cli.config.as_deref(), &ask)
        }
        Command::Session(api::session::Verb::Search(ask)) if ask.key.is_some() => {
            search::run(cli.config.as_deref(), &ask, cli.json)
        }
        Command::Session(_) => read(cli.config.as_deref(), None),
        Command::ConnectConfig(_) => read(cli.config.as_deref(), None),
        Command::Report(ask) => read(cli.config.as_deref(), ask.out),
        Command::Policy(verb) => policy::run(cli.config.as_deref(), &verb, cli.json),
        Command::Witness(verb) => witness::run(cli.config.as_deref(), &verb),
        Command::Signer { log } => {
            let mut config = configuration(cli.config.as_deref())?;
            config.provable.origin = log;
            crate::signer::process::run(&config).map_err(Fault::failed)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Guard { of_this_user, arguments } => {
            let owner = match of_this_user {
                true => Owner::User(nix::unistd::geteuid().as_raw()),
                false => Owner::Root,
            };
            Ok(bastion_guard::run(owner, arguments.into_iter()))
        }
        Command::Completions { shell } => completions(shell),
    }
}

/// The deployment that `--config` or the environment names.
fn configuration(file: Option<&Path>) -> Result<Config, Fault> {
    Config::locate(file).map_err(Fault::usage)
}

/// A reading command, answered by the running gateway or by the store itself.
fn read(config: Option<&Path>, files_to: Option<PathBuf>) -> Result<ExitCode, Fault> {
    let config = configuration(config)?;
    let words = std::env::args().skip(1).collect();
    let mut out = local::LocalOutput::to_stdout(files_to);
    let code = runtime()?.block_on(local::run(&config, forwarded(words, &["config"]), &mut out))?;
    Ok(code)
}

/// The words of a command without the options that are for this side alone.
fn forwarded(words: Vec<String>, ours: &[&str]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").unwrap_or_default();
        if ours.contains(&name) {
            // Its value is the next word.
            words.next();
        } else if !ours.iter().any(|own| name.starts_with(&format!("{own}="))) {
            kept.push(word);
        }
    }
    kept
}

/// Every command that waits for something runs on this.
fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    keep_freed_memory();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Fault::failed)
}

/// Has the allocator keep what is freed for what comes next. Bytes that pass are freed a mebibyte
/// at a time, and glibc would give them back to the kernel and ask for them again: a fault for
/// every fourth page that goes through. It keeps twice the largest block that it ever mapped and
/// unmapped, so one is shown to it. Another allocator sees a block come and go.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(FREED_BYTES_KEPT / 2)));
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Fault> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bastion", &mut script);
    std::io::stdout().write_all(&script).map_err(Fault::failed)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_this_side_alone_is_not_forwarded() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (given, kept) in [
            ("--config f audit query --text a", "audit query --text a"),
            ("audit --config=f query", "audit query"),
            ("audit query --customer acme --config f", "audit query --customer acme"),
            ("audit query --configs f", "audit query --configs f"),
        ] {
            assert_eq!(forwarded(words(given), &["config"]), words(kept), "{given}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
